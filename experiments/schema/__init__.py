"""What a configuration may say: dataclasses, composition, checks, digest. Imports no torch."""
