"""Other ways to forget that are closed forms: one solve or one projection, no step of training.

Each takes prototypes and the forget mask (C, K), and encoded images if it sees data; shapes as in
`nullspace`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core import nullspace, variants
from ..core.nullspace import Factors
from ..core.prototypes import Prototypes
from ..images.datasets import Features


def random_subspace(p: Prototypes, mask: Tensor, seed: int = 0) -> Factors:
    """The control: project out a random subspace of the rank that `nullspace.null_space` has."""
    return nullspace.random_subspace(
        p.W, nullspace.null_space(p.W, p.text, p.visual, mask)[1].shape[0], seed
    )


def ccup_ridge(p: Prototypes, mask: Tensor, lam: float = 100.0, mu: float = 10.0) -> Factors:
    """W M, M = I - lam T_f T_f^T A^-1, A = I + lam T_f T_f^T + mu T_r T_r^T; T (d, n) cell texts (arXiv 2512.14137).

    M minimises |M - I|^2 + lam |M T_f|^2 + mu |M T_r - T_r|^2; mu = 0, lam -> infinity is the text
    null space.
    """
    forget, retain = p.text[mask].double().T, p.text[~mask].double().T
    A = torch.eye(len(forget)) + lam * forget @ forget.T + mu * retain @ retain.T
    return -p.W @ forget.float(), lam * torch.linalg.solve(A, forget).T.float()  # A is symmetric


def uce_ridge(p: Prototypes, mask: Tensor, weight: float = 1.0, lam: float = 0.3) -> Factors:
    """Unified Concept Editing (arXiv 2308.14761), its cross-attention matrix replaced by the image projection.

    min  w sum_F |f (W + Delta) - n|^2 + sum_R |f Delta|^2 + lam |Delta|^2 over the visual
    prototypes. n is neutral: the mean text embedding of the classes that stay, as long as the mean
    f W. w and lam are relative, as in `retain_aware`.
    """
    f = variants.unit_features(p.visual, p.W)
    forget, retain = f[mask].flatten(0, 1), f[~mask].flatten(0, 1)
    h = forget @ p.W
    stays = mask.any(1) == mask.any(1).all()  # all classes, where a whole domain goes
    neutral = normalize(p.class_text[stays].mean(0), dim=0) * h.norm(dim=1).mean()
    w = weight * len(retain) / len(forget)
    X = torch.cat([w**0.5 * forget, retain])
    Y = torch.cat([w**0.5 * (neutral - h), h.new_zeros(len(retain), h.shape[1])])
    ridge = lam * X.square().sum() / X.shape[1] * torch.eye(X.shape[1])
    return variants.thin(torch.linalg.solve(X.T @ X + ridge, X.T @ Y))


def oracle(
    p: Prototypes,
    mask: Tensor,
    images: Features,
    beta: float = 2.0,
    weight: float = 0.3,
    lam: float = 0.3,
) -> Factors:
    """`variants.retain_aware` with real images where the prototypes stood: what perfect prototypes would give it."""
    # Each image is handed over as a cell of its own.
    gone = mask[images.class_of, images.domain_of, None]
    cells = images.f[:, None, None]
    return variants.retain_aware(p.W, p.class_text[images.class_of], cells, gone, beta, weight, lam)


def leace(p: Prototypes, mask: Tensor, images: Features) -> Factors:
    """Least-squares concept erasure (arXiv 2306.03819) of h = f W; z (n, C) one-hot class, 0 for what stays.

    h (I - S^+ S_hz (S_hz^T S^+ S_hz)^+ S_hz^T): no linear probe with a bias finds z in the fitted
    h. The constant that would keep the mean of h is left out, as a projection has no bias: every h
    is shifted alike.
    """
    z = one_hot(images.class_of).double() * mask[images.class_of, images.domain_of, None]
    z = z[:, z.any(0)]
    h = (images.f @ p.W).double()
    h, z = h - h.mean(0), z - z.mean(0)
    cross = h.T @ z
    left = torch.linalg.pinv(h.T @ h, hermitian=True) @ cross
    return p.W @ -(
        left @ torch.linalg.pinv(cross.T @ left, hermitian=True)
    ).float(), cross.T.float()
