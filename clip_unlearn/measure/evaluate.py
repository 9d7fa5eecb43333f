"""What an edit did to images: accuracy by cell and by group, over a range of strengths.

Images are encoded once. Everything here is matrix products on their features, so that a change of
strength takes no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import fmean, harmonic_mean
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.applied import ProjectionEdit
from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from ..models.clip import Clip

GROUPS = ("forget", "retained", "same_class", "same_domain", "unrelated", "never_named")
TO_FORGET = ("forget", "never_named")  # the others should stay
SHOULD_STAY = tuple(group for group in GROUPS if group not in TO_FORGET)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


# ---- images and the prompts that classify them


@dataclass(frozen=True)
class Task:
    """Encoded images and the prompts that classify them, as text features before the projection.

    Prompts are tuples of one tensor a class, since classes may have different numbers of them.
    """

    grid: ConceptGrid
    images: Features
    prompts: tuple[Tensor, ...]  # C of (n, D_text)
    paraphrases: tuple[Tensor, ...]  # C of (n, D_text)
    translations: tuple[Tensor, ...] = ()  # C of (n, D_text), n may be 0; () if there are none


def make_task(clip: Clip, grid: ConceptGrid, images: Features) -> Task:
    """Encode the test prompts, paraphrases and translations of a grid, beside its images."""

    def encoded(prompts: list[list[str]]) -> tuple[Tensor, ...]:
        features = clip.text_features([prompt for row in prompts for prompt in row])
        return tuple(features.split([len(row) for row in prompts]))

    translations = grid.translation_prompts()
    return Task(
        grid,
        images,
        encoded(grid.test_prompts()),
        encoded(grid.paraphrase_prompts()),
        encoded(translations) if any(translations) else (),
    )


def halves(task: Task, seed: int = 0) -> tuple[Task, Task]:
    """Disjoint random halves of every cell: one to fit or choose on, one to measure on.

    An odd image is measured.
    """
    images = task.images
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    cell = images.cells(len(task.grid.domains))[order]

    to_fit = torch.zeros(len(images), dtype=torch.bool)
    for c in cell.unique():
        members = order[cell == c]
        to_fit[members[: len(members) // 2]] = True
    fitted = images.only(to_fit.nonzero().flatten())
    measured = images.only((~to_fit).nonzero().flatten())
    return replace(task, images=fitted), replace(task, images=measured)


# ---- predictions


def classifier(prompts: Sequence[Tensor], W_text: Tensor) -> Tensor:
    """(C, d) unit class embeddings: the mean of normalised prompts, normalised, as in open_clip."""
    means = [normalize(g @ W_text, dim=-1).mean(0) for g in prompts]
    return normalize(torch.stack(means), dim=-1)


def predict(task: Task, W: Tensor, W_text: Tensor, paraphrase: bool = False) -> Tensor:
    """(n,) predicted class of each image, by the test prompts or by the paraphrases."""
    prompts = task.paraphrases if paraphrase else task.prompts
    scores = task.images.f @ W @ classifier(prompts, W_text).T  # the norm of h moves no argmax
    return scores.argmax(1)


def edited_weights(
    prototypes: Prototypes, edit: ProjectionEdit, strength: float
) -> tuple[Tensor, Tensor]:
    """(W, W_text) at a strength: what `predict` takes."""
    W = edit.weight(prototypes.W, strength)
    W_text = edit.weight(prototypes.W_text, strength, "text")
    return W, W_text


# ---- accuracies


def accuracy_grid(task: Task, predicted: Tensor) -> pd.DataFrame:
    """Accuracy of each cell, classes x domains; NaN for a cell without images."""
    C, K = task.grid.shape
    right = predicted.eq(task.images.class_of).float()
    cell = task.images.cells(K)
    images = torch.bincount(cell, minlength=C * K)
    hits = torch.bincount(cell, right, minlength=C * K)
    accuracy = (hits / images).reshape(C, K)
    return pd.DataFrame(
        accuracy.numpy(), index=list(task.grid.classes), columns=list(task.grid.domains)
    )


def group_masks(mask: Tensor, images: Features) -> dict[str, Tensor | None]:
    """(n,) bool for each group of images; None if the paradigm has no such group.

    forget: the cells to forget; retained: all others; same_class: a forgotten class in a domain in
    which it is retained; same_domain: another class in a domain in which something is forgotten
    (both for domain-specific requests only).
    """
    forget = mask[images.class_of, images.domain_of]
    rows, columns = mask.any(1), mask.any(0)
    whole_classes = mask[rows].all()
    whole_domains = mask[:, columns].all()
    groups = {"forget": forget, "retained": ~forget, "same_class": None, "same_domain": None}
    if not whole_classes and not whole_domains:
        groups["same_class"] = rows[images.class_of] & ~forget
        groups["same_domain"] = columns[images.domain_of] & ~forget
    return groups


def group_accuracy(right: Tensor, groups: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Accuracy of each group: the mean of right (n, ...), 0 or 1, over its images.

    Groups of None are left out; a group without images is NaN. The precision is that of `right`:
    double where an accuracy is compared with chance, which float32 rounds.
    """
    return {name: right[members].mean(0) for name, members in groups.items() if members is not None}


def points(before: float, after: float) -> float:
    """The change of an accuracy in percentage points."""
    return 100 * (after - before)


def harmonic(retained: float, forget: float) -> float:
    """ADU's H: harmonic mean of memory (retained accuracy) and forgetting (1 - forget accuracy).

    Source: arXiv 2510.08132.
    """
    return float(harmonic_mean([retained, 1 - forget]))  # of a 0 it is the whole number 0


def evaluate(
    prototypes: Prototypes,
    edit: ProjectionEdit,
    task: Task,
    strengths: Sequence[float] = STRENGTHS,
    unrelated: Task | None = None,
) -> pd.DataFrame:
    """Accuracy of each group at each strength: a tidy frame.

    Its columns: strength, group, n, accuracy, paraphrase (accuracy by other words), H. `unrelated`
    is a task of other classes, which the request did not name. Its images in a domain that is
    forgotten whole are a group of their own, never_named: they should be forgotten too. All others
    are the group unrelated, which should stay.
    """
    mask = edit.request.mask(prototypes.grid)
    tasks = [(task, group_masks(mask, task.images))]
    if unrelated is not None:
        never_named = _in_whole_domains(prototypes, mask, unrelated)
        tasks.append((unrelated, {"unrelated": ~never_named, "never_named": never_named}))
    tasks = [(part, _with_images(groups)) for part, groups in tasks]

    rows = []
    for strength in strengths:
        W, W_text = edited_weights(prototypes, edit, strength)
        accuracy, paraphrase = {}, {}
        for part, groups in tasks:
            truth = part.images.class_of
            right = predict(part, W, W_text).eq(truth).float()
            right_by_paraphrase = predict(part, W, W_text, paraphrase=True).eq(truth).float()
            accuracy |= group_accuracy(right, groups)
            paraphrase |= group_accuracy(right_by_paraphrase, groups)

        H = None
        if {"retained", "forget"} <= accuracy.keys():
            H = harmonic(accuracy["retained"].item(), accuracy["forget"].item())
        for _, groups in tasks:
            for name, members in groups.items():
                by_prompts, by_paraphrase = accuracy[name].item(), paraphrase[name].item()
                rows.append((strength, name, int(members.sum()), by_prompts, by_paraphrase, H))
    return pd.DataFrame(rows, columns=["strength", "group", "n", "accuracy", "paraphrase", "H"])


def _with_images(groups: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The groups that this paradigm and these images have."""
    return {name: g for name, g in groups.items() if g is not None and g.any()}


def _in_whole_domains(prototypes: Prototypes, mask: Tensor, unrelated: Task) -> Tensor:
    """(n,) bool: the images of an unrelated task in domains that are forgotten whole."""
    forgotten = mask.all(0).tolist()
    names = prototypes.grid.domains
    gone = {name for name, whole in zip(names, forgotten, strict=True) if whole}
    goes = torch.tensor([name in gone for name in unrelated.grid.domains])
    return goes[unrelated.images.domain_of]


# ---- search by a text


class Search(NamedTuple):
    """Average precision of a search for the forgotten classes, their mean."""

    inside: float  # among the images of the domains in which they are forgotten
    elsewhere: float  # among the images of the other domains; NaN if there are none
    chance: float  # the share of a class among the images inside


def average_precision(scores: Tensor, relevant: Tensor) -> float:
    """Mean, over the relevant images, of the precision down to their place in the ranking.

    scores (n,), the highest first; relevant (n,) bool. NaN if none is.
    """
    found = relevant[scores.argsort(descending=True, stable=True)].double()
    precision = found.cumsum(0) / torch.arange(1, len(found) + 1)
    return ((precision * found).sum() / found.sum()).item()


def search(task: Task, request: ForgetRequest, W: Tensor, W_text: Tensor) -> Search:
    """Rank images by their cosine with the prompts of each class of the request: what is found?"""
    mask = request.mask(task.grid)
    images = task.images
    inside = mask.any(0)[images.domain_of]
    scores = normalize(images.f @ W, dim=-1) @ classifier(task.prompts, W_text).T  # (n, C)

    found_inside, found_elsewhere, chances = [], [], []
    for c in mask.any(1).nonzero().flatten().tolist():
        own = images.class_of == c
        found_inside.append(average_precision(scores[inside, c], own[inside]))
        found_elsewhere.append(average_precision(scores[~inside, c], own[~inside]))
        chances.append(own[inside].double().mean().item())
    return Search(fmean(found_inside), fmean(found_elsewhere), fmean(chances))


@contextmanager
def one_thread() -> Iterator[None]:
    """For many small products: threads that wait for each other cost 30 times what they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
