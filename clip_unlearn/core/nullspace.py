"""The mathematics: closed-form (or nearly) edits of a final projection, each a low-rank Delta = A B.

Everything here is torch on plain tensors; no model, no image, no file. Shapes: W (D, d) projection;
text (C, K, d) unit text prototypes; class_text (C, d) domain-free ones; visual (C, K, m, D)
prototype features; mask (C, K) bool, True to forget. Every function returns the factors A (D, r), B
(r, d); the edited projection is W + strength * A B. Source: arXiv 2512.14113 and 2512.14137,
reconstructed from the public abstract and summaries.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

Factors = tuple[Tensor, Tensor]


def orthonormal_basis(vectors: Tensor, rtol: float = 1e-3) -> Tensor:
    """U (d, r): orthonormal basis of the span of the rows of vectors (n, d), by SVD with a relative tolerance."""
    if vectors.numel() == 0:
        return vectors.new_zeros(vectors.shape[-1], 0)
    _, s, vh = torch.linalg.svd(vectors, full_matrices=False)
    return vh[s > rtol * s[0]].T


def null_space(
    W: Tensor, text: Tensor, visual: Tensor, mask: Tensor, use: str = "both", rtol: float = 0.1
) -> Factors:
    """Project the forgotten cells' prototypes out: Delta = -W U U^T (arXiv 2512.14113; `use="text"` is 2512.14137).

    `use` says which prototypes span U: "text", "visual" or "both"; directions weaker than `rtol` of
    the strongest are the scatter of single pictures, and stay.
    """
    if use not in ("text", "visual", "both"):
        raise ValueError(f'use="{use}": "text", "visual" or "both".')
    rows = [] if use == "visual" else [text[mask]]
    if use != "text":
        rows.append(normalize(visual[mask].flatten(0, 1) @ W, dim=-1))
    U = orthonormal_basis(torch.cat(rows), rtol)
    return -W @ U, U.T


def random_subspace(W: Tensor, rank: int, seed: int = 0) -> Factors:
    """The control: project out a random subspace of the same rank, Delta = -W Q Q^T."""
    noise = torch.randn(W.shape[1], rank, generator=torch.Generator().manual_seed(seed))
    Q = torch.linalg.qr(noise).Q
    return -W @ Q, Q.T
