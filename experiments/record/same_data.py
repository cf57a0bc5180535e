"""Whether two runs read the same data, as far as their descriptions can tell.

A description is what stands in a run's `data.json`, and with what training adds in its record's `data`:

    name, source            in words, without folders of this machine
    digest, digest_covers   SHA-256, and what of the data it covers
    loaded                  digest and digest_covers of what was made of the data when they were loaded

One without any digest, such as a simulator's engine and versions, is compared as it is.
"""

from __future__ import annotations

from typing import Any

from experiments.record.canonical import value_digest

Description = dict[str, Any]

# What digests of earlier records cover: not the contents of files, or what was made of the data when they were loaded,
# which nobody knows before a run begins.
FORMER = frozenset(
    {
        "relative paths and file sizes",
        "labels in order",
        "pixels and labels",
        "vocabulary and tokens in order",
        "texts and labels in order",
        "texts of all documents in order",
    }
)
SPLITS = ("train", "held_out")  # of documents, whose earlier records have a digest for each split and none of both


def differ(one: Description, other: Description) -> bool:
    """Whether two descriptions are known to be of different data: where they have digests of the same, those decide;
    where they have none in common, one of which earlier code left only what it left is given the benefit of the
    doubt."""
    mine, theirs = digests(one), digests(other)
    common = mine.keys() & theirs.keys()
    if common:
        return any(mine[covered] != theirs[covered] for covered in common)
    return not (_is_former(one) or _is_former(other))


def digests(data: Description) -> dict[str, str]:
    """All digests of a description by what they cover."""
    found = {}
    for part in (data, data.get("loaded") or {}):
        if "digest_covers" in part:
            of_splits = (part[split]["digest"] for split in SPLITS if "digest" in part.get(split, {}))
            found[part["digest_covers"]] = part.get("digest") or " ".join(of_splits)
    return found or {"": value_digest(data)}


def with_what_was_loaded(identity: Description, manifest: Description) -> Description:
    """`identity`, which was known before the run (or is empty), with the facts and the digest that the task's manifest
    adds."""
    loaded = {}
    if identity and (covers := manifest.get("digest_covers")):
        loaded = {"loaded": {"digest": digests(manifest)[covers], "digest_covers": covers}}
    return {**manifest, **identity, **loaded}


def in_words(data: Description, other: Description, place: str | None) -> str:
    """Say what tells these data from `other`; `place` is where they lie, as the user gave it."""
    if "source" not in data:
        facts = [f"{key} {value}" for key, value in data.items() if other.get(key) != value]
        return f"{data.get('name', 'data')} ({', '.join(facts)})"
    digest = str(next(iter(digests(data).values())))[:12]
    return f"{data['source']} ({', '.join(filter(None, [place, f'digest {digest}']))})"


def _is_former(data: Description) -> bool:
    return not data or data.get("digest_covers") in FORMER
