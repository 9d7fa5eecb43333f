"""Prototypes of every cell from text alone: text embeddings, and visual prototypes synthesised from them.

No function here takes an image of any data set. Everything is cached by content, so a notebook
starts at once.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import normalize

from ..models.clip import Clip
from .cache import bundled, cache_dir, keep
from .concepts import ConceptGrid
from .errors import InputError
from .synthesis import Synthesis, latent_prototypes, pixel_prototypes

KINDS = ("blend", "pixel", "latent")
_RECIPE = 2  # raise when synthesis changes: older cache entries then no longer match


@dataclass(frozen=True)
class Prototypes:
    """Everything an edit is fitted on. Tensors are float32 on the CPU.

    visual (C, K, m, D) features f of the synthesised prototypes; reached (C, K, d) the mean unit
    embedding of the synthesised pictures (of the latent features where no picture was made), whose
    cosine with a text tells how near to it an image comes; text_features (C, K, D_text) and
    class_features (C, D_text) of the prompts with and without domain words; W (D, d) and W_text
    (D_text, d) the two projections; seconds the time that the synthesis took, also when it was read
    from the cache; base the fingerprint of the CLIP.
    """

    grid: ConceptGrid
    visual: Tensor
    reached: Tensor
    text_features: Tensor
    class_features: Tensor
    W: Tensor
    W_text: Tensor
    seed: int = 0
    kind: str = "blend"
    seconds: float = 0.0
    base: str = ""

    @property
    def text(self) -> Tensor:
        """t (C, K, d): unit text prototype of each cell."""
        return normalize(self.text_features @ self.W_text, dim=-1)

    @property
    def class_text(self) -> Tensor:
        """(C, d): unit domain-free text embedding of each class."""
        return normalize(self.class_features @ self.W_text, dim=-1)

    @property
    def per_cell(self) -> int:
        return self.visual.shape[2]


def text_prototypes(clip: Clip, grid: ConceptGrid) -> tuple[Tensor, Tensor]:
    """Text features of all cells (C, K, D_text) and of all classes (C, D_text).

    A prompt's feature is divided by the norm of its embedding, so the mean feature times W_text is
    the mean of the normalised embeddings: open_clip's own way to build a zero-shot classifier.
    """
    W = clip.heads["text"].weight

    def mean_feature(prompts: list[str]) -> Tensor:
        g = clip.text_features(prompts)
        return (g / (g @ W).norm(dim=-1, keepdim=True)).mean(0)

    cells = [[mean_feature(grid.cell_prompts(c, d)) for d in grid.domains] for c in grid.classes]
    classes = [mean_feature(grid.class_prompts(c)) for c in grid.classes]
    return torch.stack([torch.stack(row) for row in cells]), torch.stack(classes)


def synthesize_prototypes(
    clip: Clip,
    grid: ConceptGrid,
    per_cell: int = 8,
    seed: int = 0,
    kind: str = "blend",
    how: Synthesis = Synthesis(),
    progress: bool = True,
    cache: bool = True,
) -> Prototypes:
    """Prototypes of every cell of the grid; cached by content (weights, prompts, recipe, seed).

    `kind`: "pixel" pictures optimised by gradient; "latent" features solved in closed form; "blend"
    the sum of the two at equal norm. Latent ones alone suffice to forget classes everywhere; a
    domain needs pictures (README, Results). Raises InputError for an unknown kind or per_cell < 1.
    """
    if kind not in KINDS:
        raise InputError(f'unknown kind of prototype "{kind}": blend, pixel or latent.')
    if per_cell < 1:
        raise InputError(f"per_cell is {per_cell}; at least 1 prototype a cell is needed.")
    cells, classes = text_prototypes(clip, grid)
    heads = clip.heads
    W = heads["visual"].weight
    W_text, base = heads["text"].weight, clip.fingerprint()
    shell = Prototypes(grid, W[:0], W[:0], cells, classes, W, W_text, seed, kind, base=base)
    key = prototype_key(clip, grid, per_cell, seed, kind, how)
    for folder in (bundled("prototypes"), cache_dir() / "prototypes") if cache else ():
        if found := _read(folder / f"{key}.safetensors"):
            return replace(shell, **found)
    start = time.perf_counter()
    visual, reached = _synthesize(
        clip, shell.text.flatten(0, 1), per_cell, seed, kind, how, progress
    )
    made = {
        "visual": visual.unflatten(0, grid.shape).contiguous(),
        "reached": reached.unflatten(0, grid.shape),
    }
    seconds = time.perf_counter() - start
    if cache:
        keep(cache_dir() / "prototypes" / f"{key}.safetensors", made, {"seconds": f"{seconds:.2f}"})
    return replace(shell, **made, seconds=seconds)


def _synthesize(
    clip: Clip, targets: Tensor, per_cell: int, seed: int, kind: str, how: Synthesis, progress: bool
) -> tuple[Tensor, Tensor]:
    """visual (n, m, D) and reached (n, d) for text targets (n, d)."""
    W, parts = clip.heads["visual"].weight, []
    if kind != "latent":
        parts.append(pixel_prototypes(clip, targets, per_cell, seed, how, progress)[0])
    if kind != "pixel":
        parts.append(latent_prototypes(clip, targets, per_cell, seed))
    reached = normalize(parts[0] @ W, dim=-1).mean(1)
    D = len(W) - clip.heads["visual"].constant  # the constant feature of a bias stays 1
    f = torch.stack([normalize(part[..., :D], dim=-1) for part in parts]).mean(0)
    f = normalize(f, dim=-1) * parts[-1][..., :D].norm(dim=-1).mean()
    return torch.cat([f, parts[0][..., D:]], dim=-1), reached


def prototype_key(
    clip: Clip,
    grid: ConceptGrid,
    per_cell: int,
    seed: int,
    kind: str = "blend",
    how: Synthesis = Synthesis(),
) -> str:
    """A name for this very synthesis, from everything that decides its outcome."""
    prompts = [[grid.cell_prompts(c, d) for d in grid.domains] for c in grid.classes]
    norm = [
        list(getattr(clip.model.visual, f"image_{k}")) for k in ("mean", "std")
    ]  # pictures are shown through it
    steps = {name: value for name, value in asdict(how).items() if name != "bf16" or value}
    what = [
        _RECIPE,
        clip.fingerprint(),
        norm,
        prompts,
        per_cell,
        seed,
        kind,
        steps if kind != "latent" else None,
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _read(path: Path) -> dict[str, Tensor | float] | None:
    """The fields of Prototypes that a cache entry holds; None where there is none, or one that cannot be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_tensor(name).float() for name in ("visual", "reached")}
            return {**found, "seconds": float((file.metadata() or {}).get("seconds", 0))}
    except (OSError, SafetensorError) as error:
        warnings.warn(f"{path} cannot be read and is made again: {error}", stacklevel=2)
        return None
