"""Tables of results beside the reported numbers. Imports no torch."""
