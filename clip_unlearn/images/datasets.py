"""Image folders <domain>/<class>/*.jpg|png|webp: listed, encoded once, and kept as features."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..core.cache import bundled, cache_dir, keep, read_kept
from ..core.concepts import ConceptGrid
from ..core.ondemand.threads import free_threads
from ..models.clip import Clip
from .encoding import Batch, Opened, batches, default_workers
from .layouts import DataError, list_files, named_folders, read_layout

Images = TypeVar("Images", bound="_Labelled")
# Increase it when `open_picture` changes: older cache entries then no longer match.
_OPENED = 2


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
    content: weights, preprocessing, and each file's name, size and time of change. `workers`
    processes open the images; None takes a number that suits the set. At most `encoding.WINDOW`
    images are in memory at once. Raises DataError naming the first unreadable image, unless
    `skip_unreadable`: then such images are left out and listed.
    """
    if workers is not None and workers < 0:
        raise DataError(f"workers is {workers}; it must be a whole number, at least 0.")
    entry = None
    encoded = None
    if cache:
        entry = cache_dir() / "features" / f"{features_key(clip, images)}.safetensors"
        encoded = _read(entry)

    cached = encoded is not None
    if encoded is None:
        if workers is None:
            workers = default_workers(len(images))
        opened = Opened(images.paths, images.root, clip.preprocess)
        loader = batches(opened, batch, workers, pin=clip.device.type == "cuda")
        encoded = _encode(clip, images, loader, skip_unreadable, progress)
        # A folder with unreadable files is encoded each time: they may have been fixed.
        if entry and not encoded.skipped:
            _keep(entry, encoded)

    readable = images.only(encoded.kept)
    return Features(
        f=encoded.f,
        class_of=readable.class_of,
        domain_of=readable.domain_of,
        paths=readable.paths,
        skipped=tuple(encoded.skipped),
        seconds=encoded.seconds,
        cached=cached,
    )


class _Encoded(NamedTuple):
    """What a cache entry holds: the features of a list of n images, m of which could be read."""

    f: Tensor  # (m, D)
    kept: Tensor  # (m,) int, places in the list of those that could be read
    skipped: list[str]  # a line for each that could not
    seconds: float


@torch.no_grad()
def _encode(
    clip: Clip, images: ImageSet, loader: Iterable[Batch], skip_unreadable: bool, progress: bool
) -> _Encoded:
    """Run the image tower over all batches."""
    start = time.perf_counter()
    f: Tensor | None = None
    kept: list[int] = []
    skipped: list[str] = []
    shown = tqdm(total=len(images), desc="encoding", disable=not progress)
    with shown as bar, free_threads() as look_for_cores:
        for part in loader:
            look_for_cores()
            if part.errors and not skip_unreadable:
                raise DataError(
                    f"unreadable image {part.errors[0]} "
                    "(--skip-unreadable goes on without such images)."
                )
            skipped += part.errors
            bar.update(len(part.numbers) + len(part.errors))
            if part.pixels is not None:
                rows = clip.image_features(part.pixels).cpu()  # (b, D)
                if f is None:
                    # Room for all at once: joining a list at the end would hold everything twice.
                    f = rows.new_empty(len(images), rows.shape[1])
                f[len(kept) : len(kept) + len(rows)] = rows
                kept += part.numbers
            del part  # before the next one comes
    if f is None:
        raise DataError(f"no readable image in {images.root}.")
    seconds = time.perf_counter() - start
    return _Encoded(f[: len(kept)], torch.tensor(kept), skipped, seconds)


def features_key(clip: Clip, images: ImageSet) -> str:
    """A name for these features, from everything that decides them."""
    # A function among the transforms prints with its address, which changes with every process.
    preprocess = re.sub(r" at 0x[0-9a-fA-F]+", "", str(clip.preprocess))
    model = f"{clip.fingerprint()} {preprocess} opened as {_OPENED}"
    digest = hashlib.sha256(model.encode())
    for path in images.paths:
        name = path.relative_to(images.root)
        stat = path.stat()
        line = f"{name} {stat.st_size} {stat.st_mtime_ns}\n"
        digest.update(line.encode())
    return digest.hexdigest()[:16]


def _read(entry: Path) -> _Encoded | None:
    """A cache entry; None if there is none, or it must be made again."""
    contents = read_kept(entry)
    if contents is None:
        return None
    tensors, metadata = contents
    try:
        note = json.loads(metadata["note"])
        return _Encoded(tensors["f"], tensors["kept"], note["skipped"], note["seconds"])
    except (KeyError, TypeError, ValueError):  # not written by `_keep`, or by another version
        return None


def _keep(entry: Path, encoded: _Encoded) -> None:
    """Write a cache entry."""
    note = {"skipped": encoded.skipped, "seconds": encoded.seconds}
    keep(entry, {"f": encoded.f, "kept": encoded.kept}, {"note": json.dumps(note)})
