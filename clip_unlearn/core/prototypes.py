"""Prototypes of every cell from text alone: text embeddings, and visual prototypes made from them.

No function here takes an image of any data set. Each picture is kept under what made it, so that a
notebook starts at once, and a larger grid needs only the pictures that are new.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from . import ClipLike, InputError
from .concepts import ConceptGrid
from .nullspace import TowerPrototypes, orthonormal_basis, seen
from .ondemand.blend import blended
from .ondemand.kept import OnDemand, prompts_of
from .synthesis import Synthesis
from .variants import known_words
from .variants.words import SPAN_RTOL

KINDS = ("blend", "pixel", "latent")


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
    pictures: Tensor | None = None  # (C, K, m, D) features of the pictures, NaN where none is made
    latent: Tensor | None = None  # (C, K, m, D) features in closed form
    has_bias: bool = False  # whether the last feature is a 1, and the last row of W a bias
    sample: int = 0  # on how many pictures an edit is fitted; 0 is all that there are

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
    def made(self) -> int:
        """How many pictures there are, in all cells together."""
        return 0 if self.pictures is None else int((~self.pictures[..., 0].isnan()).sum())

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

    def only(self, counts: Tensor) -> Prototypes:
        """The same as if only so many pictures (C, K) of each cell had been made."""
        made = torch.arange(self.per_cell) < counts[..., None]  # (C, K, m)
        pictures = self.pictures.masked_fill(~made[..., None], float("nan"))
        W = self.seen_projection
        visual, reached = blended(pictures, self.latent, self.text, W, self.has_bias)
        return replace(self, visual=visual, reached=reached, pictures=pictures)


def text_prototypes(clip: ClipLike, grid: ConceptGrid) -> tuple[Tensor, Tensor, Tensor]:
    """Text features of all cells (C, K, D_text) and classes (C, D_text), and what prompts span.

    The feature of a prompt is divided by the norm of its embedding, so that the mean feature times
    W_text is the mean of the normalised embeddings: open_clip's own way to build a classifier.
    The span is an orthonormal basis (d, r) of the embeddings of all these prompts.
    """
    groups = prompts_of(grid)
    W = clip.heads["text"].weight

    g = clip.text_features([prompt for group in groups for prompt in group])  # (n, D_text)
    unit = g / (g @ W).norm(dim=-1, keepdim=True)
    means = torch.stack([part.mean(0) for part in unit.split([len(group) for group in groups])])
    span = orthonormal_basis(unit @ W, SPAN_RTOL)
    classes = means[-len(grid.classes) :]
    return means[: -len(classes)].unflatten(0, grid.shape), classes, span


def synthesize_prototypes(
    clip: ClipLike,
    grid: ConceptGrid,
    per_cell: int | Tensor = 8,
    seed: int = 0,
    kind: str = "blend",
    how: Synthesis = Synthesis(),
    progress: bool = True,
    cache: bool = True,
) -> Prototypes:
    """Prototypes of every cell of the grid; each picture is kept under what made it.

    `kind`: "pixel" are pictures optimised by gradient, "latent" features solved in closed form,
    "blend" the sum of the two at equal norm. Latent ones alone suffice to forget classes
    everywhere; a domain needs pictures. `per_cell` may be a tensor (C, K) that says how many
    pictures each cell gets (see `sampling`). Raises InputError for an unknown kind or per_cell < 1.
    """
    if kind not in KINDS:
        raise InputError(f'unknown kind of prototype "{kind}": blend, pixel or latent.')
    counts = torch.as_tensor(per_cell).expand(grid.shape)  # (C, K)
    m = int(counts.max())
    if m < 1:
        raise InputError(f"per_cell is {m}; at least 1 prototype a cell is needed.")

    text_features, class_features, span = text_prototypes(clip, grid)
    W = clip.heads["visual"].weight
    W_text = clip.heads["text"].weight
    text = normalize(text_features @ W_text, dim=-1)  # (C, K, d)
    has_bias = clip.heads["visual"].has_bias
    made = OnDemand(clip, grid, seed, how, progress, cache)

    pictures = latent = None
    seconds, cached = 0.0, True
    if kind != "latent":
        pictures, seconds, cached = made.pictures(text, span, counts)
    if kind != "pixel":
        latent = made.latent(text, seen(W, span), m)
    visual, reached = blended(pictures, latent, text, seen(W, span), has_bias)
    return Prototypes(
        grid=grid,
        visual=visual,
        reached=reached,
        text_features=text_features,
        class_features=class_features,
        W=W,
        W_text=W_text,
        span=span,
        seed=seed,
        kind=kind,
        seconds=seconds,
        cached=cached,
        base=clip.fingerprint(),
        words=known_words(clip, grid),
        pictures=pictures,
        latent=latent,
        has_bias=has_bias,
    )
