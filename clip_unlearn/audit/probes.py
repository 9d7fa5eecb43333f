"""The single measures of an audit: what probes, prototypes, a few labelled images and a search find behind W.

Each takes tensors and returns numbers; `audit` puts them together. Accuracies, precisions and
cosines are fractions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot, pad

from ..core.prototypes import Prototypes
from ..measure.evaluate import Task

DRAWS = 5  # how often the labelled images of `few_shot` are drawn


def linear_probe(
    features: Tensor, labels: Tensor, seed: int = 0, folds: int = 5, ridge: float = 0.1
) -> float:
    """Balanced accuracy of logistic regression, every image held out once: features (n, D), labels (n,), of any kind.

    Stratified folds, labels of equal weight, + ridge / 2 |w|^2. NaN for fewer than two labels, or a
    label of one image.
    """
    _, y, count = labels.unique(return_inverse=True, return_counts=True)
    if len(count) < 2 or count.min() < 2:
        return float("nan")
    z = (features - features.mean(0)) / features.std(0).clamp_min(
        1e-6
    )  # over all images: this needs no label
    z = pad(z, (0, 1), value=1.0)
    fold = _rank_within(y, seed) % folds
    train = (fold != torch.arange(folds)[:, None]).to(z)
    weight = train / (train @ one_hot(y).to(z))[:, y] / len(count)

    def loss(w: Tensor) -> Tensor:  # all folds in one: they share nothing
        losses = cross_entropy((z @ w).flatten(0, 1), y.repeat(folds), reduction="none")
        return weight.flatten() @ losses + ridge / 2 * w[:, :-1].square().sum()

    w = _minimise(loss, z.new_zeros(folds, z.shape[1], len(count)), 100)
    right = (z @ w)[fold, torch.arange(len(y))].argmax(1).eq(y).to(z)
    return (torch.bincount(y, right) / torch.bincount(y)).mean().item()


def relearn(
    W: Tensor, f: Tensor, labels: Tensor, text: Tensor, ridge: float = 1.0, steps: int = 30
) -> Tensor:
    """W (D, d) fine-tuned until the classifier text (C, d) names images f (n, D); without images, W itself.

    L-BFGS; cross-entropy at logit scale 30 + ridge |W' - W|^2 / |W|^2, which keeps it from naming
    all images alike.
    """
    if not len(f):
        return W
    h = f @ W
    Q = torch.linalg.qr(f.T).Q  # every gradient lies in the span of the images

    def loss(step: Tensor) -> Tensor:
        logits = 30 * normalize(h + f @ Q @ step, dim=-1) @ text.T
        return cross_entropy(logits, labels) + ridge * step.square().sum() / W.square().sum()

    return W + Q @ _minimise(loss, W.new_zeros(Q.shape[1], W.shape[1]), steps)


def few_shot(
    task: Task, forget: Tensor, W: Tensor, text: Tensor, k: int, seed: int, nearest: bool = False
) -> Tensor:
    """(3,) accuracy on forgotten (n,) bool and on retained images that are no shots, after `relearn` from k a cell.

    Third: how often retained images get the answers sought, which is what saying them of everything
    would earn. `nearest`: by the nearest mean of k shots of every cell instead. Mean over DRAWS;
    NaN if a cell has too few images.
    """
    f, y, K = task.images.f, task.images.class_of, task.grid.shape[1]
    cells = y * K + task.images.domain_of
    found = []
    if torch.bincount(cells[forget])[cells[forget]].min() <= k:
        return torch.full((3,), torch.nan)
    for draw in range(DRAWS):
        shots = _rank_within(cells, seed * DRAWS + draw) < k
        if nearest:
            predicted = nearest_mean(f @ W, f[shots] @ W, cells[shots]) // K
        else:
            taught = shots & forget
            predicted = (f @ relearn(W, f[taught], y[taught], text) @ text.T).argmax(1)
        right = predicted.eq(y).float()
        held, rest = forget & ~shots, ~forget & ~shots
        said = one_hot(predicted[rest], len(text)).float().mean(0)[y[held]]
        found.append([right[held].mean(), right[rest].mean(), said.mean()])
    return torch.tensor(found).mean(0)


def nearest_mean(queries: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
    """(n,) label whose mean unit anchor has the largest cosine: queries (n, d), anchors (a, d), labels (a,)."""
    values, y = labels.unique(return_inverse=True)
    means = anchors.new_zeros(len(values), anchors.shape[1]).index_add(
        0, y, normalize(anchors, dim=-1)
    )
    return values[(queries @ normalize(means, dim=-1).T).argmax(1)]


def nearest_prototype(task: Task, prototypes: Prototypes, W: Tensor) -> Tensor:
    """(n,) class of the cell whose visual prototypes, seen through the same W, are nearest to each image."""
    C, K, m, _ = prototypes.visual.shape
    cells = torch.arange(C * K).repeat_interleave(m)
    return nearest_mean(task.images.f @ W, prototypes.visual.flatten(0, 2) @ W, cells) // K


def residual_similarity(
    task: Task, forget: Tensor, W: Tensor, text: Tensor
) -> tuple[float, float, float]:
    """Mean cosine of forgotten images and own class's text; mean and sd of all (image, other class's text) pairs."""
    cosine = normalize(task.images.f @ W, dim=-1) @ text.T
    own = one_hot(task.images.class_of, len(text)).bool()
    return cosine[own][forget].mean().item(), cosine[~own].mean().item(), cosine[~own].std().item()


def precision_at_k(h: Tensor, text: Tensor, relevant: Tensor) -> float:
    """Share of relevant (n,) bool among the k images h (n, d) most like a text (d,), k the number of relevant ones."""
    scores = normalize(h, dim=-1) @ text
    nearest = scores.topk(int(relevant.sum())).indices
    return relevant[nearest].float().mean().item()


def _rank_within(groups: Tensor, seed: int) -> Tensor:
    """(n,) the place of each member of a group in a random order of that group, from 0."""
    noise = torch.rand(
        len(groups), generator=torch.Generator().manual_seed(seed), dtype=torch.double
    )
    ordered, order = (groups + noise).sort()
    return (torch.arange(len(order)) - torch.searchsorted(ordered, ordered.floor()))[
        order.argsort()
    ]


def _minimise(loss: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """Where L-BFGS takes `start` on a smooth loss."""
    x = start.clone().requires_grad_(True)
    solver = torch.optim.LBFGS(
        [x], max_iter=steps, tolerance_change=1e-6, line_search_fn="strong_wolfe"
    )

    def step() -> Tensor:
        value = loss(x)
        (x.grad,) = torch.autograd.grad(value, x)
        return value

    solver.step(step)
    return x.detach()
