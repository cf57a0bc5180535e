"""Files and folders that are no data though they lie among them."""

from __future__ import annotations

OF_ARCHIVERS = ("__MACOSX", "@eaDir")  # what macOS's archives and Synology's servers leave


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is hidden (`.git`, `.ipynb_checkpoints`, the `._*` files of macOS) or an
    archiver's."""
    return name.startswith(".") or name in OF_ARCHIVERS
