"""Other ways to forget that are closed forms: one solve or one projection, no step of training.

Each takes prototypes and the forget mask (C, K), and encoded images if it sees data. Shapes are
those of `nullspace`.
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
    _, directions = nullspace.null_space(p.of_tower("visual"), mask)
    rank = len(directions)
    return variants.random_subspace(p.W, rank, seed)


def ccup_ridge(p: Prototypes, mask: Tensor, lam: float = 100.0, mu: float = 10.0) -> Factors:
    """CCUP's ridge form (arXiv 2512.14137), on the text prototypes of the cells.

    W M, with M = I - lam T_f T_f^T A^-1 and A = I + lam T_f T_f^T + mu T_r T_r^T; T_f and T_r
    (d, n) are the forgotten and the retained texts. M minimises |M - I|^2 + lam |M T_f|^2 + mu
    |M T_r - T_r|^2. With mu = 0 and lam -> infinity it is the text null space.
    """
    text = p.text.double()  # (C, K, d)
    forget = text[mask].T  # (d, forgotten cells)
    retain = text[~mask].T  # (d, retained cells)
    forget_gram = lam * forget @ forget.T  # (d, d)
    retain_gram = mu * retain @ retain.T  # (d, d)
    identity = torch.eye(len(forget))
    A = identity + forget_gram + retain_gram
    solution = torch.linalg.solve(A, forget)  # A^-1 T_f, and A is symmetric
    detectors = lam * solution.T.float()  # (forgotten cells, d)
    removed = forget.float()
    return -p.W @ removed, detectors


def uce_ridge(p: Prototypes, mask: Tensor, weight: float = 1.0, lam: float = 0.3) -> Factors:
    """Unified Concept Editing (arXiv 2308.14761), of the image projection.

    The paper edits cross-attention matrices in the same way. Over the visual prototypes f,

        min  w sum_F |f (W + Delta) - n|^2 + sum_R |f Delta|^2 + lam |Delta|^2

    n is neutral: the mean text embedding of the retained classes, as long as the mean f W. w and
    lam are relative, as in `variants.retain_aware`.
    """
    f = variants.unit_features(p.visual)
    forget = f[mask].flatten(0, 1)  # (n_F, D)
    retain = f[~mask].flatten(0, 1)  # (n_R, D)
    h = forget @ p.W

    # If a whole domain is forgotten, something is forgotten of every class: then all are neutral.
    forgotten_classes = mask.any(1)
    retained_classes = forgotten_classes == forgotten_classes.all()
    neutral_text = p.class_text[retained_classes].mean(0)
    neutral = normalize(neutral_text, dim=0) * h.norm(dim=1).mean()

    # One least-squares problem, X Delta = Y: weights go in as square roots.
    w = weight * len(retain) / len(forget)
    root = w**0.5
    change_forget = root * (neutral - h)
    change_retain = h.new_zeros(len(retain), h.shape[1])
    X = torch.cat([root * forget, retain])
    Y = torch.cat([change_forget, change_retain])
    ridge = lam * X.square().sum() / X.shape[1]
    delta = variants.ridge_solution(X, Y, ridge)
    return variants.thin(delta)


def oracle(
    p: Prototypes,
    mask: Tensor,
    images: Features,
    beta: float = 2.0,
    weight: float = 0.3,
    lam: float = 0.3,
) -> Factors:
    """`variants.retain_aware` on real images: what perfect prototypes would give it."""
    # Each image is handed over as a class of its own, with one domain and one prototype.
    forgotten = mask[images.class_of, images.domain_of]
    cells = forgotten[:, None]  # (n, 1)
    real = p.of_tower("visual")._replace(
        features=images.f[:, None, None],  # (n, 1, 1, D)
        class_text=p.class_text[images.class_of],  # (n, d)
    )
    return variants.retain_aware(real, cells, beta, weight, lam)


def leace(p: Prototypes, mask: Tensor, images: Features) -> Factors:
    """Least-squares concept erasure (arXiv 2306.03819) of the label z in h = f W.

    z (n, C) is the class of a forgotten image, one-hot, and 0 for a retained one. After
    h (I - S^+ S_hz (S_hz^T S^+ S_hz)^+ S_hz^T) no linear probe with a bias finds z in the fitted h.
    The constant that would keep the mean of h is left out, as a projection has no bias: every h is
    shifted by the same amount.
    """
    forgotten = mask[images.class_of, images.domain_of]
    label = one_hot(images.class_of).double()  # (n, C)
    z = label * forgotten[:, None]
    z = z[:, z.any(0)]  # a class without a forgotten image has nothing to erase
    z = z - z.mean(0)
    h = (images.f @ p.W).double()
    h = h - h.mean(0)

    # Scatter matrices: of h with itself, and of h with z.
    S = h.T @ h  # (d, d)
    S_hz = h.T @ z  # (d, labels)
    whitened = torch.linalg.pinv(S, hermitian=True) @ S_hz
    middle = S_hz.T @ whitened
    detectors = whitened @ torch.linalg.pinv(middle, hermitian=True)
    removed = S_hz.T.float()
    return p.W @ -detectors.float(), removed
