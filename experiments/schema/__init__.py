"""The configuration of a run: dataclasses, composition, checks, digest. Imports no torch."""
