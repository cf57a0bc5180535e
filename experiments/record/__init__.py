"""What happened, kept so that it can be checked: events, provenance, seal, verify, trackers. Imports no torch."""
