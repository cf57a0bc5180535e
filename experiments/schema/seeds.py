"""Seeds of random streams: every random choice of a run is a function of (seed, purpose, indices)."""

from __future__ import annotations

from hashlib import blake2b


def derive(seed: int, purpose: str, *indices: int) -> int:
    """Seed of one random stream, in [0, 2**63): the same in every process, on every platform and version.

    `purpose` names what the stream is for ("order", "augmentation", "initialisation", ...), `indices` say which
    one (epoch, sample, update). Streams of different arguments are independent; a BLAKE2b hash of the arguments
    written out sees to that.
    """
    text = "/".join([str(seed), purpose, *map(str, indices)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
