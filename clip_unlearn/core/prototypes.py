"""Prototypes of every cell from text alone: text embeddings, and visual prototypes made from them.

No function here takes an image of any data set. Everything is cached by content, so that a notebook
starts at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from . import ClipLike, InputError
from .cache import cache_dir, keep, kept_pictures, prototype_key
from .concepts import ConceptGrid
from .nullspace import TowerPrototypes, orthonormal_basis
from .synthesis import Synthesis, pixel_prototypes
from .variants import known_words, latent_prototypes

KINDS = ("blend", "pixel", "latent")
# Directions in which prompts vary less than this share of the strongest count as unseen.
SPAN_RTOL = 0.01


@dataclass(frozen=True)
class Prototypes:
    """Everything that an edit is fitted on. Tensors are float32 on the CPU."""

    grid: ConceptGrid
    visual: Tensor  # (C, K, m, D) features f of the synthesised prototypes
    reached: Tensor  # (C, K, d) mean of the unit embeddings of the pictures, where they end up
    text_features: Tensor  # (C, K, D_text) mean of the prompts that name class and domain
    class_features: Tensor  # (C, D_text) mean of the prompts that name the class alone
    W: Tensor  # (D, d) final projection of the image tower
    W_text: Tensor  # (D_text, d) final projection of the text tower
    span: Tensor  # (d, r) orthonormal basis of the embeddings of all prompts of the grid
    seed: int = 0
    kind: str = "blend"
    seconds: float = 0.0  # that the synthesis took when it was made
    cached: bool = False  # whether that was in an earlier run
    base: str = ""  # fingerprint of the CLIP
    words: Tensor | None = None  # (n, d) unit texts of words that the grid does not name

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

    @property
    def seen_projection(self) -> Tensor:
        """(D, d): the part of W that texts can see; what lies outside their span moves no score."""
        return seen(self.W, self.span)

    def of_tower(self, tower: str) -> TowerPrototypes:
        """What an edit of the tower is fitted on; on the text side prompts stand for pictures."""
        W, features = self.seen_projection, self.visual
        if tower == "text":
            W, features = self.W_text, self.text_features[:, :, None]
        return TowerPrototypes(W, self.text, self.class_text, features, self.reached, self.words)


def seen(W: Tensor, span: Tensor) -> Tensor:
    """W (D, d) followed by the orthogonal projection on the columns of span (d, r)."""
    return W @ span @ span.T


def text_prototypes(clip: ClipLike, grid: ConceptGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Text features of all cells (C, K, D_text) and classes (C, D_text), and what prompts span.

    The feature of a prompt is divided by the norm of its embedding, so that the mean feature times
    W_text is the mean of the normalised embeddings: open_clip's own way to build a classifier.
    The span is an orthonormal basis (d, r) of the embeddings of all these prompts.
    """
    W = clip.heads["text"].weight
    embeddings = []

    def mean_feature(prompts: list[str]) -> Tensor:
        g = clip.text_features(prompts)  # (n, D_text)
        unit = g / (g @ W).norm(dim=-1, keepdim=True)
        embeddings.append(unit @ W)
        return unit.mean(0)

    cells = [
        torch.stack([mean_feature(grid.cell_prompts(c, d)) for d in grid.domains])
        for c in grid.classes
    ]
    classes = [mean_feature(grid.class_prompts(c)) for c in grid.classes]
    span = orthonormal_basis(torch.cat(embeddings), SPAN_RTOL)
    return torch.stack(cells), torch.stack(classes), span


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

    # Text prototypes are cheap, so only what is synthesised from them is cached.
    text_features, class_features, span = text_prototypes(clip, grid)
    W = clip.heads["visual"].weight
    W_text = clip.heads["text"].weight
    targets = normalize(text_features @ W_text, dim=-1).flatten(0, 1)  # (C * K, d)

    entry = f"{prototype_key(clip, grid, per_cell, seed, kind, how)}.safetensors"
    synthesised = kept_pictures(entry) if cache else None
    if synthesised is None:
        start = time.perf_counter()
        through = seen(W, span)
        visual, reached = _synthesised(clip, through, targets, per_cell, seed, kind, how, progress)
        seconds = time.perf_counter() - start
        tensors = {
            "visual": visual.unflatten(0, grid.shape).contiguous(),
            "reached": reached.unflatten(0, grid.shape),
        }
        synthesised = {**tensors, "seconds": seconds}
        if cache:
            keep(cache_dir() / "prototypes" / entry, tensors, {"seconds": f"{seconds:.2f}"})
    return Prototypes(
        grid=grid,
        text_features=text_features,
        class_features=class_features,
        W=W,
        W_text=W_text,
        span=span,
        seed=seed,
        kind=kind,
        base=clip.fingerprint(),
        words=known_words(clip, grid),
        **synthesised,
    )


def _synthesised(
    clip: ClipLike,
    W: Tensor,
    targets: Tensor,
    per_cell: int,
    seed: int,
    kind: str,
    how: Synthesis,
    progress: bool,
) -> tuple[Tensor, Tensor]:
    """visual (n, m, D) and reached (n, d) for the unit texts targets (n, d), seen through W."""
    parts = []
    if kind != "latent":
        of_pictures, _ = pixel_prototypes(clip, targets, per_cell, seed, how, progress, W=W)
        parts.append(of_pictures)
    if kind != "pixel":
        parts.append(latent_prototypes(clip, targets, per_cell, seed, W=W))

    # Where pictures end up; closed-form features stand for them if there are none.
    embeddings = normalize(parts[0] @ W, dim=-1)  # (n, m, d)
    reached = embeddings.mean(1)

    # The mean direction, at the mean norm of the closed-form features if there are any.
    D = len(W) - clip.heads["visual"].has_bias
    ones = parts[0][..., D:]  # empty unless there is a bias
    parts = [features[..., :D] for features in parts]
    directions = [normalize(features, dim=-1) for features in parts]
    mean_direction = torch.stack(directions).mean(0)
    usual_norm = parts[-1].norm(dim=-1).mean()
    visual = usual_norm * normalize(mean_direction, dim=-1)
    return torch.cat([visual, ones], dim=-1), reached
