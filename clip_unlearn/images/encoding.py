"""From image files to batches of pixels: opened by worker processes, never more than a window of them in memory."""

from __future__ import annotations

import multiprocessing
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..core.errors import first_line

WINDOW = 2048  # the most images that are held as pixels at once, in all processes together
SMALL = 2000  # below this many images, starting workers costs more than they save
_PREFETCH = 2


class Batch(NamedTuple):
    """Pixels (n, 3, s, s) of the images that could be read, their numbers, and a line for each that could not."""

    numbers: list[int]
    pixels: Tensor | None
    errors: list[str]


class Opened(Dataset):
    """Opens and preprocesses one image; an unreadable one comes back as its message."""

    def __init__(self, paths: Sequence[Path], root: Path, preprocess: Callable) -> None:
        self.paths, self.root, self.preprocess = paths, root, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[int, Tensor | str]:
        try:
            with Image.open(self.paths[i]) as image:
                return i, self.preprocess(image.convert("RGB"))
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            struct.error,
            Image.DecompressionBombError,
        ) as error:
            return i, f"{self.paths[i].relative_to(self.root).as_posix()}: {first_line(error)}"


def default_workers(n: int) -> int:
    """Processes that open n images: none for a small set, up to one a core for a large one.

    Also none where new processes import the main program again (Windows, macOS): a script without a
    `__name__ == "__main__"` guard would fail there, so workers must be asked for.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if n < SMALL or cores == 1 or multiprocessing.get_start_method() != "fork":
        return 0
    return min(cores, n // (SMALL // 2))


def fitting(batch: int, workers: int) -> int:
    """The batch size, smaller where so many workers would hold more than WINDOW images.

    Each worker has _PREFETCH batches under way and one of them twice while it is stacked; the main
    process has one on its way in and one in the model.
    """
    return max(1, min(batch, WINDOW // ((_PREFETCH + 1) * workers + 2)))


def batches(
    paths: Sequence[Path],
    root: Path,
    preprocess: Callable,
    batch: int,
    workers: int,
    pin: bool = False,
) -> Iterator[Batch]:
    """All images in order, a batch at a time. Whoever reads must let go of a batch before asking for the next."""
    loader = DataLoader(
        Opened(paths, root, preprocess),
        fitting(batch, workers),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        collate_fn=_stacked,
        pin_memory=pin,
    )
    return iter(loader)


def _stacked(items: list[tuple[int, Tensor | str]]) -> Batch:
    """One batch; in a worker, default_collate stacks straight into the memory that both processes share."""
    good = [(i, x) for i, x in items if isinstance(x, torch.Tensor)]
    pixels = default_collate([x for _, x in good]) if good else None
    return Batch([i for i, _ in good], pixels, [x for _, x in items if isinstance(x, str)])
