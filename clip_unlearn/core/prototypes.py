"""Prototypes of every cell from text alone: text embeddings, and visual prototypes made from them.

No function here takes an image of any data set. Everything is cached by content, so that a notebook
starts at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from . import ClipLike
from .cache import bundled, cache_dir, keep, prototype_key, read_kept
from .concepts import ConceptGrid
from .errors import InputError
from .nullspace import TowerPrototypes
from .synthesis import Synthesis, pixel_prototypes
from .variants import latent_prototypes

KINDS = ("blend", "pixel", "latent")


@dataclass(frozen=True)
class Prototypes:
    """Everything that an edit is fitted on. Tensors are float32 on the CPU."""

    grid: ConceptGrid
    visual: Tensor  # (C, K, m, D) features f of the synthesised prototypes
    reached: Tensor  # (C, K, d) mean unit embedding of the pictures: how near a text they come
    text_features: Tensor  # (C, K, D_text) of the prompts that name a domain
    class_features: Tensor  # (C, D_text) of the prompts that do not
    W: Tensor  # (D, d) final projection of the image tower
    W_text: Tensor  # (D_text, d) final projection of the text tower
    seed: int = 0
    kind: str = "blend"
    seconds: float = 0.0  # of the synthesis, also if it was read from the cache
    base: str = ""  # fingerprint of the CLIP

    @property
    def text(self) -> Tensor:
        """t (C, K, d): unit text prototype of each cell."""
        return normalize(self.text_features @ self.W_text, dim=-1)

    @property
    def class_text(self) -> Tensor:
        """(C, d): unit text embedding of each class, whatever the domain."""
        return normalize(self.class_features @ self.W_text, dim=-1)

    @property
    def per_cell(self) -> int:
        """m: how many visual prototypes each cell has."""
        return self.visual.shape[2]

    def of_tower(self, tower: str) -> TowerPrototypes:
        """What an edit of the tower is fitted on; on the text side prompts stand for pictures."""
        W, features = self.W, self.visual
        if tower == "text":
            W, features = self.W_text, self.text_features[:, :, None]
        return TowerPrototypes(W, self.text, self.class_text, features, self.reached)


def text_prototypes(clip: ClipLike, grid: ConceptGrid) -> tuple[Tensor, Tensor]:
    """Text features of all cells (C, K, D_text) and of all classes (C, D_text).

    The feature of a prompt is divided by the norm of its embedding, so that the mean feature times
    W_text is the mean of the normalised embeddings: open_clip's own way to build a classifier.
    """
    W = clip.heads["text"].weight

    def mean_feature(prompts: list[str]) -> Tensor:
        g = clip.text_features(prompts)  # (n, D_text)
        norms = (g @ W).norm(dim=-1, keepdim=True)
        return (g / norms).mean(0)

    cells = [
        torch.stack([mean_feature(grid.cell_prompts(c, d)) for d in grid.domains])
        for c in grid.classes
    ]
    classes = [mean_feature(grid.class_prompts(c)) for c in grid.classes]
    return torch.stack(cells), torch.stack(classes)


def synthesize_prototypes(
    clip: ClipLike,
    grid: ConceptGrid,
    per_cell: int = 8,
    seed: int = 0,
    kind: str = "blend",
    how: Synthesis = Synthesis(),
    progress: bool = True,
    cache: bool = True,
) -> Prototypes:
    """Prototypes of every cell of the grid; cached by content (weights, prompts, recipe, seed).

    `kind`: "pixel" are pictures optimised by gradient, "latent" features solved in closed form,
    "blend" the sum of the two at equal norm. Latent ones alone suffice to forget classes
    everywhere; a domain needs pictures. Raises InputError for an unknown kind or per_cell < 1.
    """
    if kind not in KINDS:
        raise InputError(f'unknown kind of prototype "{kind}": blend, pixel or latent.')
    if per_cell < 1:
        raise InputError(f"per_cell is {per_cell}; at least 1 prototype a cell is needed.")

    # All but the pictures takes seconds and is made anew.
    cells, classes = text_prototypes(clip, grid)
    W = clip.heads["visual"].weight
    W_text = clip.heads["text"].weight
    none_yet = W[:0]
    prototypes = Prototypes(
        grid, none_yet, none_yet, cells, classes, W, W_text, seed, kind, base=clip.fingerprint()
    )

    entry = f"{prototype_key(clip, grid, per_cell, seed, kind, how)}.safetensors"
    kept = _kept_pictures(entry) if cache else None
    if kept is not None:
        return replace(prototypes, **kept)

    start = time.perf_counter()
    targets = prototypes.text.flatten(0, 1)  # (C * K, d)
    pixel = latent = None
    if kind != "latent":
        pixel, _ = pixel_prototypes(clip, targets, per_cell, seed, how, progress)
    if kind != "pixel":
        latent = latent_prototypes(clip, targets, per_cell, seed)
    visual, reached = _blend(pixel, latent, W, clip.heads["visual"].constant)
    pictures = {
        "visual": visual.unflatten(0, grid.shape).contiguous(),
        "reached": reached.unflatten(0, grid.shape),
    }
    seconds = time.perf_counter() - start
    if cache:
        keep(cache_dir() / "prototypes" / entry, pictures, {"seconds": f"{seconds:.2f}"})
    return replace(prototypes, **pictures, seconds=seconds)


def _kept_pictures(entry: str) -> dict[str, Tensor | float] | None:
    """The fields of Prototypes that a cache entry holds; None if nobody has made them yet."""
    for folder in (bundled("prototypes"), cache_dir() / "prototypes"):
        kept = read_kept(folder / entry)
        if kept is not None:
            tensors, metadata = kept
            fields = {name: tensors[name].float() for name in ("visual", "reached")}
            return {**fields, "seconds": float(metadata.get("seconds", 0))}
    return None


def _blend(
    pixel: Tensor | None, latent: Tensor | None, W: Tensor, constant: bool
) -> tuple[Tensor, Tensor]:
    """visual (n, m, D) and reached (n, d) from features of pictures, of closed form, or of both.

    `constant`: the last feature is the 1 that meets a bias; it stays 1.
    """
    kinds = [features for features in (pixel, latent) if features is not None]
    embeddings = normalize(kinds[0] @ W, dim=-1)  # (n, m, d)
    reached = embeddings.mean(1)

    D = len(W) - constant
    ones = kinds[0][..., D:]
    kinds = [features[..., :D] for features in kinds]
    directions = [normalize(features, dim=-1) for features in kinds]
    mean_direction = torch.stack(directions).mean(0)
    usual_norm = kinds[-1].norm(dim=-1).mean()
    f = usual_norm * normalize(mean_direction, dim=-1)
    return torch.cat([f, ones], dim=-1), reached
