"""The measurements behind the checks of an audit: each takes tensors and returns numbers.

A linear probe, relearning from a few labelled images, nearest means, similarity and search: what
an attacker still gets out of the features once the edit is in place. Accuracies, precisions and
cosines are fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot, pad

from ..core.prototypes import Prototypes
from ..core.variants import minimise
from ..measure.evaluate import Task

DRAWS = 5  # how often the labelled images of `few_shot` are drawn
LOGIT_SCALE = 30.0
# An attack need not be exact to the last digit; looser than L-BFGS's default, it is fast.
TOLERANCE = 1e-6


def linear_probe(
    features: Tensor, labels: Tensor, seed: int = 0, folds: int = 5, ridge: float = 0.1
) -> float:
    """Balanced accuracy of a logistic regression of labels (n,), of any kind, on features (n, D).

    Every image is held out once, in stratified folds. All labels have equal weight, and ridge / 2
    |w|^2 is added to the loss. NaN for fewer than two labels, or for a label with only one image.
    """
    _, y, count = labels.unique(return_inverse=True, return_counts=True)
    if len(count) < 2 or count.min() < 2:
        return float("nan")

    # Standardised over all images, which needs no label; the last column is the intercept.
    z = (features - features.mean(0)) / features.std(0).clamp_min(1e-6)
    z = pad(z, (0, 1), value=1.0)  # (n, D + 1)

    # Every label of a fold's training images weighs the same in total.
    fold = _rank_within(y, seed) % folds  # (n,) the fold that holds each image out
    held_out_by = torch.arange(folds)[:, None] == fold  # (folds, n)
    train = (~held_out_by).to(z)
    label_count = train @ one_hot(y).to(z)  # (folds, labels)
    weight = train / label_count[:, y] / len(count)  # (folds, n)

    # The folds share no unknown, so all of them are fitted in one go.
    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (w,) = unknowns
        logits = (z @ w).flatten(0, 1)  # (folds * n, labels)
        losses = cross_entropy(logits, y.repeat(folds), reduction="none")
        slopes = w[:, :-1]  # the intercept is free
        penalty = ridge / 2 * slopes.square().sum()
        return weight.flatten() @ losses + penalty

    start = z.new_zeros(folds, z.shape[1], len(count))
    (w,) = minimise(loss, [start], 100, tolerance_change=TOLERANCE)

    every_image = torch.arange(len(y))
    held_out = (z @ w)[fold, every_image]  # (n, labels), each by the fold that never saw it
    right = held_out.argmax(1).eq(y).to(z)
    hits = torch.bincount(y, right)  # (labels,)
    recall = hits / torch.bincount(y)
    return recall.mean().item()


def relearn(
    W: Tensor, f: Tensor, labels: Tensor, text: Tensor, ridge: float = 1.0, steps: int = 30
) -> Tensor:
    """W (D, d), fine-tuned until the classifier text (C, d) names images f (n, D) by labels (n,).

    L-BFGS on cross-entropy + ridge |W' - W|^2 / |W|^2; the second term keeps W from giving every
    image the same name. Without images, W itself.
    """
    if not len(f):
        return W
    h = f @ W  # (n, d)
    size = W.square().sum()
    Q = torch.linalg.qr(f.T).Q  # (D, n): every gradient lies in the span of the images

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (step,) = unknowns
        moved = h + f @ Q @ step
        logits = LOGIT_SCALE * normalize(moved, dim=-1) @ text.T
        relative_size = step.square().sum() / size
        return cross_entropy(logits, labels) + ridge * relative_size

    start = W.new_zeros(Q.shape[1], W.shape[1])
    (step,) = minimise(loss, [start], steps, tolerance_change=TOLERANCE)
    return W + Q @ step


def few_shot(task: Task, forget: Tensor, W: Tensor, text: Tensor, k: int, seed: int) -> Tensor:
    """What `relearn` from k images of each forgotten cell brings back; mean over DRAWS choices.

    (3,): accuracy on the forgotten images, forget (n,) bool, that were not shown; accuracy on the
    retained ones; and how often the retained ones get the answers sought, which is what giving
    these answers to everything would earn. NaN if a forgotten cell has no image to hold out.
    """
    f = task.images.f
    class_of = task.images.class_of

    def predict(shots: Tensor) -> Tensor:
        shown = shots & forget
        taught = relearn(W, f[shown], class_of[shown], text)
        return (f @ taught @ text.T).argmax(1)

    return _mean_over_draws(task, forget, k, seed, predict)


def few_shot_mean(task: Task, forget: Tensor, W: Tensor, k: int, seed: int) -> Tensor:
    """As `few_shot`, but by the nearest mean of k images of every cell, without training."""
    f = task.images.f
    cell_of = task.images.cells(len(task.grid.domains))

    def predict(shots: Tensor) -> Tensor:
        anchors = f[shots] @ W
        nearest_cell = nearest_mean(f @ W, anchors, cell_of[shots])
        return nearest_cell // len(task.grid.domains)

    return _mean_over_draws(task, forget, k, seed, predict)


def _mean_over_draws(
    task: Task, forget: Tensor, k: int, seed: int, predict: Callable[[Tensor], Tensor]
) -> Tensor:
    """The three numbers of `few_shot`; `predict` turns the shots (n,) bool into classes (n,)."""
    class_of = task.images.class_of
    cell_of = task.images.cells(len(task.grid.domains))
    cell_size = torch.bincount(cell_of[forget])  # (cells,)
    if cell_size[cell_of[forget]].min() <= k:
        return torch.full((3,), torch.nan)

    draws = []
    for draw in range(DRAWS):
        shots = _rank_within(cell_of, seed * DRAWS + draw) < k
        forgotten = forget & ~shots
        retained = ~forget & ~shots

        predicted = predict(shots)
        right = predicted.eq(class_of).float()
        answers = one_hot(predicted[retained], len(task.grid.classes)).float()
        answer_rate = answers.mean(0)  # (C,)
        sought_rate = answer_rate[class_of[forgotten]]
        numbers = (right[forgotten], right[retained], sought_rate)
        draws.append([values.mean() for values in numbers])
    return torch.tensor(draws).mean(0)


def nearest_mean(queries: Tensor, anchors: Tensor, labels: Tensor) -> Tensor:
    """(n,) the label whose mean unit anchor has the largest cosine with each query.

    queries (n, d), anchors (a, d), labels (a,).
    """
    values, y = labels.unique(return_inverse=True)
    unit_anchors = normalize(anchors, dim=-1)
    sums = anchors.new_zeros(len(values), anchors.shape[1])  # (labels, d)
    sums = sums.index_add(0, y, unit_anchors)
    means = normalize(sums, dim=-1)
    nearest = (queries @ means.T).argmax(1)  # a query's own length does not matter here
    return values[nearest]


def nearest_prototype(task: Task, prototypes: Prototypes, W: Tensor) -> Tensor:
    """(n,) class of the cell whose visual prototypes, seen through the same W, are nearest."""
    C, K, m, _ = prototypes.visual.shape
    f = prototypes.visual.flatten(0, 2)  # (C * K * m, D)
    cell_of = torch.arange(C * K).repeat_interleave(m)
    nearest_cell = nearest_mean(task.images.f @ W, f @ W, cell_of)
    return nearest_cell // K


class Similarity(NamedTuple):
    """How like texts the images are: cosines."""

    own: float  # forgotten images and the text of their class, on average
    other: float  # all images and the texts of all other classes, on average
    sd: float  # and their standard deviation


def residual_similarity(task: Task, forget: Tensor, W: Tensor, text: Tensor) -> Similarity:
    """Cosine of forgotten images, forget (n,) bool, and their own text, beside all wrong pairs."""
    cosine = normalize(task.images.f @ W, dim=-1) @ text.T  # (n, C)
    is_own = one_hot(task.images.class_of, len(text)).bool()  # (n, C)
    own = cosine[is_own]  # (n,)
    other = cosine[~is_own]  # (n * (C - 1),)
    return Similarity(
        own=own[forget].mean().item(),
        other=other.mean().item(),
        sd=other.std().item(),
    )


def precision_at_k(h: Tensor, text: Tensor, relevant: Tensor) -> float:
    """Share of relevant images among the k images most like a text, k the number of relevant ones.

    h (n, d), text (d,), relevant (n,) bool.
    """
    scores = normalize(h, dim=-1) @ text
    k = int(relevant.sum())
    nearest = scores.topk(k).indices
    return relevant[nearest].float().mean().item()


def _rank_within(groups: Tensor, seed: int) -> Tensor:
    """(n,) the place of each member in a random order of its own group, from 0."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(len(groups), generator=generator, dtype=torch.double)
    shuffled, order = (groups + noise).sort()  # group by group, in random order within each
    group = shuffled.floor()
    group_start = torch.searchsorted(shuffled, group)
    rank = torch.arange(len(order)) - group_start
    original_order = order.argsort()
    return rank[original_order]
