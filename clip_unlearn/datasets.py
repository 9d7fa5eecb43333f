"""Image folders <domain>/<class>/*.jpg|png|webp: read by ImageFolder, encoded once, kept as features."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from tqdm.auto import tqdm

from .concepts import ConceptGrid, words
from .errors import InputError, first_line
from .models import Clip
from .paths import bundled, cache_dir, keep

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


class DataError(InputError):
    """An image folder that cannot be used; the message names the folder or file."""


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

    def only(self, index: Tensor) -> Features:
        """The images at index (m,), in that order."""
        paths = tuple(self.paths[i] for i in index.tolist())
        return replace(
            self, f=self.f[index], class_of=self.class_of[index], domain_of=self.domain_of[index], paths=paths
        )


def open_images(root: str | Path) -> ImageSet:
    """List <domain>/<class>/* under root; domains and classes are read from the folder names.

    A class may be absent from a domain, but a class folder without images is an error (DataError), as are an empty
    folder and one whose domains hold images directly.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"no image folder {root}.")
    domains = sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))
    if not domains:
        raise DataError(f"{root} is empty; it should hold <domain>/<class>/*.jpg|png|webp.")
    per_domain = [(d, _class_folder(d)) for d in domains]
    names = sorted({words(c) for _, folder in per_domain for c in folder.classes})
    paths, class_of, domain_of = [], [], []
    for k, (_, folder) in enumerate(per_domain):
        index = [names.index(words(c)) for c in folder.classes]
        paths += [Path(p) for p, _ in folder.samples]
        class_of += [index[c] for _, c in folder.samples]
        domain_of += [k] * len(folder.samples)
    return ImageSet(
        root,
        tuple(names),
        tuple(words(d.name) for d in domains),
        tuple(paths),
        torch.tensor(class_of),
        torch.tensor(domain_of),
    )


def _class_folder(domain: Path) -> ImageFolder:
    """The classes of one domain, by torchvision; an empty class folder is named."""
    classes = sorted(c for c in domain.iterdir() if c.is_dir() and not c.name.startswith("."))
    if not classes:
        raise DataError(f"{domain} holds no class folders; it should hold <class>/*.jpg|png|webp.")
    for c in classes:
        if not any(p.suffix.lower() in EXTENSIONS for p in c.rglob("*")):
            raise DataError(f"class folder {c} holds no images ({', '.join(EXTENSIONS)}).")
    return _ClassFolder(domain, is_valid_file=lambda p: p.lower().endswith(EXTENSIONS))


class _ClassFolder(ImageFolder):
    """ImageFolder that passes over hidden folders, such as .ipynb_checkpoints."""

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        names = [n for n in super().find_classes(directory)[0] if not n.startswith(".")]
        return names, {n: i for i, n in enumerate(names)}


def bundled_images(unrelated: bool = False) -> ImageSet:
    """The evaluation images that ship with the package: 16 classes x 4 domains, or the 8 unrelated classes."""
    return open_images(bundled("four_domains") / ("unrelated" if unrelated else "images"))


def subset(images: ImageSet, per_cell: int) -> ImageSet:
    """The first `per_cell` images of each cell: for quick runs."""
    cell = images.class_of * len(images.domains) + images.domain_of
    seen: dict[int, int] = {}
    keep = []
    for i, c in enumerate(cell.tolist()):
        seen[c] = seen.get(c, 0) + 1
        if seen[c] <= per_cell:
            keep.append(i)
    paths = tuple(images.paths[i] for i in keep)
    return ImageSet(images.root, images.classes, images.domains, paths, images.class_of[keep], images.domain_of[keep])


def grid_of(images: ImageSet, synonyms: dict[str, Sequence[str]] | None = None) -> ConceptGrid:
    """The concept grid of an image folder: its classes x its domains."""
    return ConceptGrid(images.classes, images.domains, synonyms=synonyms or {})


class _Opened(torch.utils.data.Dataset):
    """Opens and preprocesses one image; an unreadable one comes back as its message."""

    def __init__(self, images: ImageSet, preprocess) -> None:
        self.images, self.preprocess = images, preprocess

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[int, Tensor | str]:
        path = self.images.paths[i]
        try:
            with Image.open(path) as image:
                return i, self.preprocess(image.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return i, f"{path.relative_to(self.images.root)}: {first_line(error)}"


def encode(
    clip: Clip,
    images: ImageSet,
    skip_unreadable: bool = False,
    progress: bool = True,
    cache: bool = True,
    batch: int = 128,
    workers: int = 0,
) -> Features:
    """Features f (n, D) of all images, before the projection; every later edit is a matrix product on them.

    Cached by content: weights, preprocessing, and each file's name, size and time of change. Raises DataError naming
    the first unreadable image, unless skip_unreadable: then such images are left out and listed.
    """
    entry = cache_dir() / "features" / f"{_key(clip, images)}.safetensors"
    if cache and entry.is_file():
        f, kept, note = _read(entry)
    else:
        start = time.perf_counter()
        f, kept, skipped = _encode(clip, images, skip_unreadable, progress, batch, workers)
        note = {"skipped": skipped, "seconds": time.perf_counter() - start}
        if cache and not skipped:  # a folder with broken files is read again each time: they may have been mended
            keep(entry, {"f": f, "kept": kept}, {"note": json.dumps(note)})
    paths = tuple(images.paths[i] for i in kept.tolist())
    return Features(f, images.class_of[kept], images.domain_of[kept], paths, tuple(note["skipped"]), note["seconds"])


@torch.no_grad()
def _encode(
    clip: Clip, images: ImageSet, skip_unreadable: bool, progress: bool, batch: int, workers: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Features, the indices that could be read, and a line for each image that could not."""
    loader = DataLoader(_Opened(images, clip.preprocess), batch, num_workers=workers, collate_fn=list)
    f, kept, skipped = [], [], []
    with tqdm(total=len(images), desc="encoding", disable=not progress) as bar:
        for items in loader:
            bad = [x for _, x in items if isinstance(x, str)]
            if bad and not skip_unreadable:
                raise DataError(f"unreadable image {bad[0]} (--skip-unreadable goes on without such images).")
            skipped += bad
            good = [(i, x) for i, x in items if not isinstance(x, str)]
            if good:
                f.append(clip.image_features(torch.stack([x for _, x in good])).cpu())
                kept += [i for i, _ in good]
            bar.update(len(items))
    if not kept:
        raise DataError(f"no readable image in {images.root}.")
    return torch.cat(f), torch.tensor(kept), skipped


def _key(clip: Clip, images: ImageSet) -> str:
    """A name for these features, from everything that decides them."""
    digest = hashlib.sha256(f"{clip.fingerprint()} {clip.preprocess}".encode())
    for path in images.paths:
        stat = path.stat()
        digest.update(f"{path.relative_to(images.root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _read(entry: Path) -> tuple[Tensor, Tensor, dict]:
    with safe_open(entry, "pt") as file:
        return file.get_tensor("f"), file.get_tensor("kept"), json.loads(file.metadata()["note"])
