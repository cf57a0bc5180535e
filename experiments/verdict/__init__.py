"""Reported numbers, statistics, verdicts, and the comparison with the authors' curves. Imports no torch."""
