"""The paper's edit, as we reconstruct it: project what is to be forgotten out of W.

An edit is a low-rank Delta = A B, kept as its factors A (D, r) and B (r, d); the edited projection
is W + strength * A B. After this one no embedding f (W + A B) has a component in the span U of the
forgotten prototypes: they lie in the null space of what follows. Everything here is torch on plain
tensors; no model, no image, no file. Source: arXiv 2512.14113 and 2512.14137, of which we know the
public abstract and summaries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

Factors = tuple[Tensor, Tensor]


class TowerPrototypes(NamedTuple):
    """What every edit of one tower is fitted on: C classes, K domains, m prototypes a cell."""

    W: Tensor  # (D, d) the tower's final projection
    text: Tensor  # (C, K, d) unit text prototype of each cell
    class_text: Tensor  # (C, d) unit text embedding of each class, whatever the domain
    features: Tensor  # (C, K, m, D) prototypes before the projection
    reached: Tensor | None = None  # (C, K, d) mean of the unit embeddings of a cell's pictures
    words: Tensor | None = None  # (n, d) unit texts of other words that the CLIP knows


def orthonormal_basis(vectors: Tensor, rtol: float = 1e-3) -> Tensor:
    """U (d, r): orthonormal basis of the span of the rows of vectors (n, d).

    By SVD; directions weaker than `rtol` of the strongest one are left out.
    """
    if vectors.numel() == 0:
        return vectors.new_zeros(vectors.shape[-1], 0)
    if len(vectors) > vectors.shape[1]:
        vectors = torch.linalg.qr(vectors, mode="r").R  # the same span, and no more rows than d
    _, s, vh = torch.linalg.svd(vectors, full_matrices=False)
    return vh[s > rtol * s[0]].T


def seen(W: Tensor, span: Tensor) -> Tensor:
    """W (D, d) followed by the orthogonal projection on the columns of span (d, r)."""
    return W @ span @ span.T


def null_space(p: TowerPrototypes, mask: Tensor, use: str = "both", rtol: float = 0.1) -> Factors:
    """Project the prototypes of the forgotten cells out: Delta = -W U U^T.

    mask (C, K) is True for the cells to forget. `use` says which prototypes span U: "text"
    (arXiv 2512.14137), "visual", or "both" (arXiv 2512.14113). Directions weaker than `rtol` of the
    strongest are the scatter of single pictures, and stay.
    """
    if use not in ("text", "visual", "both"):
        raise ValueError(f'use="{use}": "text", "visual" or "both".')
    spanning = []
    if use != "visual":
        spanning.append(p.text[mask])  # (cells, d)
    if use != "text":
        pictures = p.features[mask].flatten(0, 1)  # (cells * m, D)
        spanning.append(normalize(pictures @ p.W, dim=-1))
    U = orthonormal_basis(torch.cat(spanning), rtol)  # (d, r)
    return -p.W @ U, U.T
