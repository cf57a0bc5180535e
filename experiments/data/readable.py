"""Images that cannot be read, found before a run trains on the others: as far as a look is worth its time.

Every image of a split of up to `DECODED_UP_TO` is decoded. Of a larger one that is held out every header is read, so
that a file that is no image does not end an evaluation after an epoch of training; that takes 0.4 ms an image on two
busy cores (measured on 5,000), 20 seconds for ImageNet. A larger training split is left to its first epoch, which
reads it all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from experiments.data.images import ArrayImages, Images
from experiments.schema.errors import DataError, UserError

DECODED_UP_TO = 2_000  # images
READERS = 8  # that wait for a file server's answers at the same time


def require_readable(images: Images, held_out: bool, side: int | None = None) -> None:
    """Raise UserError for the first image that cannot be read or, where none is resized (`side`), is not of that width
    and height. Every rank looks at all of them, and finds the same."""
    decoded = len(images) <= DECODED_UP_TO
    if isinstance(images, ArrayImages) or not (decoded or held_out):
        return

    def look(index: int) -> None:
        width, height = images.image(index).size if decoded else images.size(index)
        if side and (width, height) != (side, side):
            raise UserError(
                f"data.resize=false, but {images.describe(index)} has {width} x {height} pixels, not "
                f"{side} x {side}: give data.resize=true"
            )

    with ThreadPoolExecutor(READERS) as readers:
        try:
            for _ in readers.map(look, range(len(images))):
                pass
        except DataError as error:
            raise UserError(str(error)) from error
