"""Starting runs: planned, in this process, as ranks under torch elastic, or several at a time."""
