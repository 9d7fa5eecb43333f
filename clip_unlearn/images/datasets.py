"""Image folders <domain>/<class>/*.jpg|png|webp: listed, encoded once, and kept as features."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..core.cache import bundled
from ..core.concepts import ConceptGrid
from ..core.ondemand.store import Rows, name_of
from ..models.clip import Clip
from .encoding import Batch, Opened, batches, default_workers
from .layouts import DataError, list_files, named_folders, read_layout

Images = TypeVar("Images", bound="_Labelled")
# Increase it when `open_picture` changes: older cache entries then no longer match.
_OPENED = 3
SHARD = 2048  # images that are kept together, and at most lost when the work is interrupted


class _Labelled:
    """What images have before and after they are encoded: a file, a class and a domain each."""

    paths: tuple[Path, ...]
    class_of: Tensor
    domain_of: Tensor

    def cells(self, domains: int) -> Tensor:
        """(n,) int, the cell number of each image: class * domains + domain."""
        return self.class_of * domains + self.domain_of

    def only(self: Images, index: Tensor) -> Images:
        """The images at index (m,), in that order."""
        return replace(
            self,
            paths=tuple(self.paths[i] for i in index.tolist()),
            class_of=self.class_of[index],
            domain_of=self.domain_of[index],
        )


@dataclass(frozen=True)
class ImageSet(_Labelled):
    """The n images of a folder, not yet opened."""

    root: Path  # messages and the cache name a path relative to it
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    paths: tuple[Path, ...]
    class_of: Tensor  # (n,) int, index into `classes`
    domain_of: Tensor  # (n,) int, index into `domains`

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Features(_Labelled):
    """The n images of a folder that could be read, encoded."""

    f: Tensor  # (n, D) float32, before the projection
    class_of: Tensor  # (n,) int
    domain_of: Tensor  # (n,) int
    paths: tuple[Path, ...]
    skipped: tuple[str, ...] = ()  # a line for each image that could not be read
    seconds: float = 0.0  # how long the encoding took
    cached: bool = False  # whether that was in an earlier run

    def __len__(self) -> int:
        return len(self.f)

    def only(self, index: Tensor) -> Features:
        """The images at index (m,), in that order."""
        return replace(super().only(index), f=self.f[index])


def open_images(
    root: str | Path | Sequence[str],
    layout: str = "",
    split: str = "",
    class_names: str | Path = "",
) -> ImageSet:
    """List the images of <domain>/<class>/* in a folder.

    `root` may also hold <class>/* (one domain, "photo"), or be several "domain=folder". Domains and
    classes are read from the folder names; see `layouts.read_layout` for `layout`, `split` and
    `class_names`. A class may be absent from a domain, but a class folder without images is an
    error (DataError).
    """
    folders = read_layout(root, layout, split, class_names)
    files = list_files(folders, split)
    classes = sorted({file.class_name for file in files})
    domains = [folder.name for folder in folders]
    class_index = {name: i for i, name in enumerate(classes)}
    domain_index = {name: i for i, name in enumerate(domains)}
    several = named_folders(root)
    return ImageSet(
        root=Path(os.path.commonpath(several.values())) if several else Path(root),
        classes=tuple(classes),
        domains=tuple(domains),
        paths=tuple(file.path for file in files),
        class_of=torch.tensor([class_index[file.class_name] for file in files]),
        domain_of=torch.tensor([domain_index[file.domain] for file in files]),
    )


def bundled_images(unrelated: bool = False) -> ImageSet:
    """The evaluation images of the package: 16 classes x 4 domains, or the 8 unrelated classes."""
    name = "unrelated" if unrelated else "images"
    return open_images(bundled("four_domains") / name)


def subset(images: ImageSet, images_per_cell: int, seed: int | None = None) -> ImageSet:
    """At most `images_per_cell` images of each cell: the first, or with a seed a random choice.

    They stay in their order. The choice in a cell depends on nothing but the seed and that cell's
    class, domain and number of images.
    """
    K = len(images.domains)
    members_of: dict[int, list[int]] = defaultdict(list)
    for i, cell in enumerate(images.cells(K).tolist()):
        members_of[cell].append(i)

    chosen: list[int] = []
    for cell, members in members_of.items():
        if seed is not None and len(members) > images_per_cell:
            c, k = divmod(cell, K)
            rng = random.Random(f"{seed} {images.classes[c]} {images.domains[k]}")
            members = rng.sample(members, images_per_cell)
        chosen += members[:images_per_cell]
    index = torch.tensor(sorted(chosen), dtype=torch.int64)
    return images.only(index)


def grid_of(images: ImageSet, synonyms: dict[str, Sequence[str]] | None = None) -> ConceptGrid:
    """The concept grid of an image folder: its classes x its domains."""
    return ConceptGrid(images.classes, images.domains, synonyms=synonyms or {})


def encode(
    clip: Clip,
    images: ImageSet,
    skip_unreadable: bool = False,
    progress: bool = True,
    cache: bool = True,
    batch: int = 128,
    workers: int | None = None,
) -> Features:
    """Features f (n, D) of all images, before the projection.

    Every later edit is a matrix product on them, so no image is opened twice. They are cached by
    content, each by itself: weights, preprocessing, and the file. `workers` processes open the
    images; None takes a number that suits the set. At most `encoding.WINDOW` images are in memory
    at once. Raises DataError naming the first unreadable image, unless `skip_unreadable`: then such
    images are left out and listed.
    """
    if workers is not None and workers < 0:
        raise DataError(f"workers is {workers}; it must be a whole number, at least 0.")
    features = _Known(len(images))
    if cache:
        store = Rows("features", clip.fingerprint())
        features = _Known(len(images), store, image_names(clip, images))
        features.read()

    missing = features.missing()
    skipped: list[str] = []
    if len(missing):
        if workers is None:
            workers = default_workers(len(missing))
        opened = Opened(images.only(missing).paths, images.root, clip.preprocess)
        loader = batches(opened, batch, workers, pin=clip.device.type == "cuda")
        skipped = _encode(clip, loader, missing, features, skip_unreadable, progress)
    if features.f is None:
        raise DataError(f"no readable image in {images.root}.")

    readable = images.only(features.known.nonzero().flatten())
    return Features(
        f=features.together(),
        class_of=readable.class_of,
        domain_of=readable.domain_of,
        paths=readable.paths,
        skipped=tuple(skipped),
        seconds=features.seconds,
        cached=not len(missing),
    )


class _Known:
    """Features of n images as far as they are known, in one tensor, and their way to the cache.

    One tensor for all: joining a list at the end would hold everything twice.
    """

    def __init__(self, n: int, store: Rows | None = None, names: Sequence[str] = ()) -> None:
        self.f: Tensor | None = None  # (n, D), once the first are known
        self.known = torch.zeros(n, dtype=torch.bool)
        self.seconds = 0.0  # what computing them took
        self._store = store
        self._names = names
        self._new: list[int] = []  # the places of those that are not kept yet
        self._since = time.perf_counter()  # when the first of those began

    def read(self) -> None:
        """Take what the store has."""
        places_of: dict[str, list[int]] = defaultdict(list)  # a file may be listed twice
        for place, name in enumerate(self._names):
            places_of[name].append(place)
        for names, rows, seconds in self._store.parts(places_of):
            repeats = torch.tensor([len(places_of[name]) for name in names])
            places = [place for name in names for place in places_of[name]]
            self._put(places, rows.repeat_interleave(repeats, dim=0))
            self.seconds += seconds
        self._since = time.perf_counter()

    def add(self, places: list[int], rows: Tensor) -> None:
        """Rows (b, D) of b images that were just encoded; kept when there are SHARD of them."""
        self._put(places, rows)
        self._new += places
        if len(self._new) >= SHARD:
            self.keep()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """At the end everything is kept, also when what happens inside is interrupted."""
        try:
            yield
        finally:
            self.keep()

    def keep(self) -> None:
        """Write those that are not kept yet."""
        now = time.perf_counter()
        took = now - self._since
        self.seconds += took
        if self._store and self._new:
            names = [self._names[place] for place in self._new]
            self._store.add(names, self.f[self._new], took)
        self._new = []
        self._since = now

    def missing(self) -> Tensor:
        """(m,) the places of those that are not known."""
        return (~self.known).nonzero().flatten()

    def together(self) -> Tensor:
        """The rows of those that are known, in order, without the gaps; made in place."""
        kept = self.known.nonzero().flatten()
        if len(kept) < len(self.known):
            for start, places in zip(range(0, len(kept), SHARD), kept.split(SHARD), strict=True):
                self.f[start : start + len(places)] = self.f[places]
        return self.f[: len(kept)]

    def _put(self, places: list[int], rows: Tensor) -> None:
        if self.f is None:
            self.f = rows.new_empty(len(self.known), rows.shape[1])
        self.f[places] = rows
        self.known[places] = True


@torch.no_grad()
def _encode(
    clip: Clip,
    loader: Iterable[Batch],
    places: Tensor,
    features: _Known,
    skip_unreadable: bool,
    progress: bool,
) -> list[str]:
    """Run the image tower over all batches; a line for each image that cannot be read.

    The images of the loader belong at places (m,) of the features.
    """
    skipped: list[str] = []
    shown = tqdm(total=len(places), desc="encoding", disable=not progress)
    with shown as bar, features.kept():
        for part in loader:
            if part.errors and not skip_unreadable:
                raise DataError(
                    f"unreadable image {part.errors[0]} "
                    "(--skip-unreadable goes on without such images)."
                )
            skipped += part.errors
            bar.update(len(part.numbers) + len(part.errors))
            if part.pixels is not None:
                rows = clip.image_features(part.pixels).cpu()  # (b, D)
                features.add(places[part.numbers].tolist(), rows)
            del part  # before the next one comes
    return skipped


def image_names(clip: Clip, images: ImageSet) -> list[str]:
    """The name of each image's features, from everything that decides them.

    Name, size and time of change of a file, and some of its bytes: images from an archive may have
    the first three in common with those of another.
    """
    # A function among the transforms prints with its address, which changes with every process.
    preprocess = re.sub(r" at 0x[0-9a-fA-F]+", "", str(clip.preprocess))
    common = name_of(preprocess, _OPENED)
    names = []
    for path in images.paths:
        stat = path.stat()
        name = path.relative_to(images.root).as_posix()
        names.append(name_of(common, name, stat.st_size, stat.st_mtime_ns, _some_bytes(path)))
    return names


def _some_bytes(path: Path, most: int = 4096) -> str:
    """A hash of the beginning, the middle and the end of a file; "" if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            for place in (0, size // 2, max(size - most, 0)):
                file.seek(place)
                digest.update(file.read(most))
    except OSError:
        return ""
    return digest.hexdigest()


def features_key(clip: Clip, images: ImageSet) -> str:
    """A name for the features of all images together."""
    return name_of(clip.fingerprint(), image_names(clip, images))
