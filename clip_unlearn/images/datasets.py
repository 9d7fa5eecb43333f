"""Image folders <domain>/<class>/*.jpg|png|webp: listed, encoded once, and kept as features."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..core.cache import bundled
from ..core.concepts import ConceptGrid
from ..core.ondemand.store import Rows, name_of
from ..core.ondemand.threads import free_threads
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
    names = image_names(clip, images) if cache else [str(path) for path in images.paths]
    store = Rows("features", clip.fingerprint()) if cache else None
    features = _Features(names)
    if store:
        for found, rows, took in store.parts(names):
            features.put(found, rows)
            features.seconds += took

    missing = features.missing()
    skipped: list[str] = []
    if len(missing):
        if workers is None:
            workers = default_workers(len(missing))
        todo = images.only(missing)
        opened = Opened(todo.paths, images.root, clip.preprocess)
        loader = batches(opened, batch, workers, pin=clip.device.type == "cuda")
        names_todo = [names[i] for i in missing.tolist()]
        skipped = _encode(clip, loader, names_todo, features, store, skip_unreadable, progress)
    if features.f is None:
        raise DataError(f"no readable image in {images.root}.")

    kept = features.known.nonzero().flatten()
    readable = images.only(kept)
    return Features(
        f=features.f if len(kept) == len(images) else features.f[kept],
        class_of=readable.class_of,
        domain_of=readable.domain_of,
        paths=readable.paths,
        skipped=tuple(skipped),
        seconds=features.seconds,
        cached=not len(missing),
    )


class _Features:
    """The features of named images, as far as they are known: one tensor for all of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.place = {name: i for i, name in enumerate(names)}
        self.known = torch.zeros(len(names), dtype=torch.bool)
        self.f: Tensor | None = None  # (n, D), once the first are known
        self.seconds = 0.0

    def put(self, names: Sequence[str], rows: Tensor) -> None:
        """Rows (b, D) of so many of the images."""
        if self.f is None:
            # Room for all at once: joining a list at the end would hold everything twice.
            self.f = rows.new_empty(len(self.known), rows.shape[1])
        places = torch.tensor([self.place[name] for name in names])
        self.f[places] = rows
        self.known[places] = True

    def get(self, names: Sequence[str]) -> Tensor:
        """The rows (b, D) of some that are known."""
        return self.f[[self.place[name] for name in names]]

    def missing(self) -> Tensor:
        """The places of those that are not known."""
        return (~self.known).nonzero().flatten()


@torch.no_grad()
def _encode(
    clip: Clip,
    loader: Iterable[Batch],
    names: Sequence[str],
    features: _Features,
    store: Rows | None,
    skip_unreadable: bool,
    progress: bool,
) -> list[str]:
    """Run the image tower over all batches; a line for each image that cannot be read.

    What is encoded is kept every SHARD images, and when the work is interrupted.
    """
    skipped: list[str] = []
    shard: list[str] = []
    start = time.perf_counter()

    def keep_shard() -> None:
        nonlocal start
        now = time.perf_counter()
        if store and shard:
            store.add(shard, features.get(shard), now - start)
        features.seconds += now - start
        start = now
        shard.clear()

    shown = tqdm(total=len(names), desc="encoding", disable=not progress)
    with ExitStack() as stack:
        bar = stack.enter_context(shown)
        look_for_cores = stack.enter_context(free_threads())
        stack.callback(keep_shard)
        for part in loader:
            if part.errors and not skip_unreadable:
                raise DataError(
                    f"unreadable image {part.errors[0]} "
                    "(--skip-unreadable goes on without such images)."
                )
            skipped += part.errors
            bar.update(len(part.numbers) + len(part.errors))
            if part.pixels is not None:
                encoded = [names[number] for number in part.numbers]
                features.put(encoded, clip.image_features(part.pixels).cpu())
                shard += encoded
                if len(shard) >= SHARD:
                    keep_shard()
            del part  # before the next one comes
            look_for_cores()
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
