"""Image folders <domain>/<class>/*.jpg|png|webp: listed, encoded once, kept as features."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm.auto import tqdm

from ..core.cache import bundled, cache_dir, keep
from ..core.concepts import ConceptGrid
from ..core.errors import first_line
from ..models.clip import Clip
from .encoding import batches, default_workers
from .layouts import DataError, list_files, named_folders, read_layout


@dataclass(frozen=True)
class ImageSet:
    """The images of a folder, not yet opened: paths with class and domain indices into `classes` and `domains`."""

    root: Path
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    paths: tuple[Path, ...]
    class_of: Tensor
    domain_of: Tensor

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Features:
    """Encoded images: f (n, D) before the projection, with class and domain indices, paths, and what was skipped."""

    f: Tensor
    class_of: Tensor
    domain_of: Tensor
    paths: tuple[Path, ...]
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.f)

    def cells(self, domains: int) -> Tensor:
        """(n,) cell number of each image: class * domains + domain."""
        return self.class_of * domains + self.domain_of

    def only(self, index: Tensor) -> Features:
        """The images at index (m,), in that order."""
        paths = tuple(self.paths[i] for i in index.tolist())
        return replace(
            self,
            f=self.f[index],
            class_of=self.class_of[index],
            domain_of=self.domain_of[index],
            paths=paths,
        )


def open_images(
    root: str | Path | Sequence[str],
    layout: str = "",
    split: str = "",
    class_names: str | Path = "",
) -> ImageSet:
    """List the images of <domain>/<class>/*, of <class>/* (one domain, "photo"), or of several "domain=folder".

    Domains and classes are read from the folder names; see `layouts.read_layout` for `layout`,
    `split` and `class_names`. A class may be absent from a domain, but a class folder without
    images is an error (DataError).
    """
    folders = read_layout(root, layout, split, class_names)
    files = list_files(folders, split)
    classes = sorted({name for _, name, _ in files})
    domains = [folder.name for folder in folders]
    class_index = {name: i for i, name in enumerate(classes)}
    domain_index = {name: i for i, name in enumerate(domains)}
    # Names are told and remembered relative to the folder that was given, or to what several have
    # in common.
    several = named_folders(root)
    return ImageSet(
        Path(os.path.commonpath(several.values())) if several else Path(root),
        tuple(classes),
        tuple(domains),
        tuple(path for path, _, _ in files),
        torch.tensor([class_index[name] for _, name, _ in files]),
        torch.tensor([domain_index[name] for _, _, name in files]),
    )


def bundled_images(unrelated: bool = False) -> ImageSet:
    """The evaluation images that ship with the package: 16 classes x 4 domains, or the 8 unrelated classes."""
    return open_images(bundled("four_domains") / ("unrelated" if unrelated else "images"))


def subset(images: ImageSet, per_cell: int, seed: int | None = None) -> ImageSet:
    """At most `per_cell` images of each cell: the first, or with a seed a random choice, in the same order.

    The choice in a cell depends on the seed and on that cell's class, domain and number of images
    alone.
    """
    cells: dict[tuple[int, int], list[int]] = {}
    for i, cell in enumerate(zip(images.class_of.tolist(), images.domain_of.tolist(), strict=True)):
        cells.setdefault(cell, []).append(i)
    keep: list[int] = []
    for (c, k), members in cells.items():
        if seed is None or len(members) <= per_cell:
            keep += members[:per_cell]
        else:
            keep += random.Random(f"{seed} {images.classes[c]} {images.domains[k]}").sample(
                members, per_cell
            )
    keep.sort()
    paths = tuple(images.paths[i] for i in keep)
    return replace(
        images, paths=paths, class_of=images.class_of[keep], domain_of=images.domain_of[keep]
    )


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
    """Features f (n, D) of all images, before the projection; every later edit is a matrix product on them.

    Cached by content: weights, preprocessing, and each file's name, size and time of change.
    `workers` processes open the images, None takes a number that suits the set; at most
    `encoding.WINDOW` images are in memory at once. Raises DataError naming the first unreadable
    image, unless skip_unreadable: then such images are left out and listed.
    """
    if workers is not None and workers < 0:
        raise DataError(f"workers is {workers}; it must be a whole number, at least 0.")
    entry = (
        cache_dir() / "features" / f"{features_key(clip, images)}.safetensors" if cache else None
    )
    found = _read(entry) if entry else None
    if not found:
        start = time.perf_counter()
        workers = default_workers(len(images)) if workers is None else workers
        f, kept, skipped = _encode(clip, images, skip_unreadable, progress, batch, workers)
        note = {"skipped": skipped, "seconds": time.perf_counter() - start}
        found = f, kept, note
        if (
            entry and not skipped
        ):  # a folder with broken files is read again each time: they may have been mended
            keep(entry, {"f": f, "kept": kept}, {"note": json.dumps(note)})
    f, kept, note = found
    paths = tuple(images.paths[i] for i in kept.tolist())
    return Features(
        f,
        images.class_of[kept],
        images.domain_of[kept],
        paths,
        tuple(note["skipped"]),
        note["seconds"],
    )


@torch.no_grad()
def _encode(
    clip: Clip, images: ImageSet, skip_unreadable: bool, progress: bool, batch: int, workers: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Features, the indices that could be read, and a line for each image that could not."""
    loader = batches(
        images.paths, images.root, clip.preprocess, batch, workers, pin=clip.device.type == "cuda"
    )
    f, kept, skipped = None, [], []
    with tqdm(total=len(images), desc="encoding", disable=not progress) as bar:
        for part in loader:
            if part.errors and not skip_unreadable:
                raise DataError(
                    f"unreadable image {part.errors[0]} (--skip-unreadable goes on without such images)."
                )
            skipped += part.errors
            bar.update(len(part.numbers) + len(part.errors))
            if part.pixels is not None:
                found = clip.image_features(part.pixels).cpu()
                if (
                    f is None
                ):  # all of it at once: a list to join at the end would hold everything twice
                    f = found.new_empty(len(images), found.shape[1])
                f[len(kept) : len(kept) + len(found)] = found
                kept += part.numbers
            del part  # before the next one comes
    if f is None:
        raise DataError(f"no readable image in {images.root}.")
    return f[: len(kept)], torch.tensor(kept), skipped


def features_key(clip: Clip, images: ImageSet) -> str:
    """A name for these features, from everything that decides them."""
    # A function among the transforms prints with its address, which is another one in every
    # process.
    preprocess = re.sub(r" at 0x[0-9a-fA-F]+", "", str(clip.preprocess))
    digest = hashlib.sha256(f"{clip.fingerprint()} {preprocess}".encode())
    for path in images.paths:
        stat = path.stat()
        digest.update(
            f"{path.relative_to(images.root)} {stat.st_size} {stat.st_mtime_ns}\n".encode()
        )
    return digest.hexdigest()[:16]


def _read(entry: Path) -> tuple[Tensor, Tensor, dict] | None:
    """A cache entry; None where there is none, or where it cannot be read and has to be made again."""
    if not entry.is_file():
        return None
    try:
        with safe_open(entry, "pt") as file:
            return (
                file.get_tensor("f"),
                file.get_tensor("kept"),
                json.loads(file.metadata()["note"]),
            )
    except (OSError, SafetensorError) as error:
        warnings.warn(
            f"cache entry {entry} cannot be read, so it is made again: {first_line(error)}",
            stacklevel=3,
        )
        return None
