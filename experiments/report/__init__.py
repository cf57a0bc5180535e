"""Tables of results beside the reported numbers; pages, tables and figures of studies. Imports no torch."""
