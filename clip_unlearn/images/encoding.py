"""From image files to batches of pixels.

Worker processes open the images, and never more than a window of them are in memory.
"""

from __future__ import annotations

import multiprocessing
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..core import first_line
from .pictures import open_picture

WINDOW = 2048  # the most images that are held as pixels at once, in all processes together
SMALL = 2000  # below this many images, starting workers costs more than they save
_PREFETCH = 2  # batches that each worker prepares ahead
# What PIL and its decoders raise for a file that is no image, or a broken one.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class Batch(NamedTuple):
    """What became of the images of one batch."""

    numbers: list[int]  # n: places in the list of paths of the images that could be read
    pixels: Tensor | None  # (n, 3, s, s); None if no image could be read
    errors: list[str]  # a line for each image that could not


class Opened(Dataset):
    """Opens and preprocesses one image; an unreadable one comes back as its message."""

    def __init__(self, paths: Sequence[Path], root: Path, preprocess: Callable) -> None:
        self.paths = paths
        self.root = root  # messages name a path relative to it
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[int, Tensor | str]:
        path = self.paths[i]
        try:
            return i, self.preprocess(open_picture(path))
        except _UNREADABLE as error:
            return i, f"{path.relative_to(self.root).as_posix()}: {first_line(error)}"


def batches(opened: Opened, batch: int, workers: int, pin: bool = False) -> Iterable[Batch]:
    """All images in order, a batch at a time.

    The reader must let go of a batch before asking for the next, or more than WINDOW images are in
    memory. `pin` puts the pixels where a GPU reads them faster.
    """
    return DataLoader(
        opened,
        batch_size=fitting(batch, workers),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        collate_fn=_stacked,
        pin_memory=pin,
    )


def fitting(batch: int, workers: int) -> int:
    """The batch size, smaller if so many workers would hold more than WINDOW images.

    Each worker has _PREFETCH batches under way and one of them twice while it is stacked; the main
    process has one on its way in and one in the model.
    """
    batches_in_memory = (_PREFETCH + 1) * workers + 2
    return max(1, min(batch, WINDOW // batches_in_memory))


def _stacked(items: list[tuple[int, Tensor | str]]) -> Batch:
    """One batch; in a worker, default_collate stacks into memory that both processes share."""
    numbers: list[int] = []
    images: list[Tensor] = []
    errors: list[str] = []
    for i, opened in items:
        if isinstance(opened, str):
            errors.append(opened)
        else:
            numbers.append(i)
            images.append(opened)
    pixels = default_collate(images) if images else None
    return Batch(numbers, pixels, errors)


def default_workers(n: int) -> int:
    """Processes that open n images: none for a small set, up to one a core for a large one.

    Also none where new processes import the main program again (Windows, macOS): a script without a
    `__name__ == "__main__"` guard would fail there, so the user must ask for workers.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    can_fork = multiprocessing.get_start_method() == "fork"
    if n < SMALL or cores == 1 or not can_fork:
        return 0
    return min(cores, n // (SMALL // 2))
