"""Keep what happened so that it can be checked: events, provenance, seal, verify, trackers. Imports no torch."""
