"""What an edit did: accuracy grids, groups of images, paraphrases, over a range of strengths.

Images are encoded once; everything here is matrix products on their features, so a strength change
is instant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.concepts import ConceptGrid
from ..core.edit import ProjectionEdit
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from ..models.clip import Clip

GROUPS = ("forget", "retained", "same_class", "same_domain", "unrelated")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Task:
    """Encoded images and the prompts that classify them.

    images: features f, classes, domains; prompts (C, n, D_text) and paraphrases (C, n', D_text):
    text features before the text projection, lists because classes may have different numbers of
    prompts. translations: the same, with none (0, D_text) for a class without; () where no class
    has any.
    """

    grid: ConceptGrid
    images: Features
    prompts: tuple[Tensor, ...]
    paraphrases: tuple[Tensor, ...]
    translations: tuple[Tensor, ...] = ()


def make_task(clip: Clip, grid: ConceptGrid, images: Features) -> Task:
    """Encode the test prompts, paraphrases and translations of a grid once, beside its encoded images."""

    def encoded(prompts: list[list[str]]) -> tuple[Tensor, ...]:
        features = clip.text_features([p for row in prompts for p in row])
        return tuple(features.split([len(row) for row in prompts]))

    translated = grid.translation_prompts()
    return Task(
        grid,
        images,
        encoded(grid.test_prompts()),
        encoded(grid.paraphrase_prompts()),
        encoded(translated) if any(translated) else (),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """For many small products: on a busy machine threads that wait for each other cost 30 times what they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def classifier(prompts: Sequence[Tensor], W_text: Tensor) -> Tensor:
    """(C, d) unit class embeddings: the normalised mean of normalised prompt embeddings, as open_clip builds them."""
    rows = [normalize(g @ W_text, dim=-1).mean(0) for g in prompts]
    return normalize(torch.stack(rows), dim=-1)


def predict(task: Task, W: Tensor, W_text: Tensor, paraphrase: bool = False) -> Tensor:
    """(n,) predicted class of each image, by the test prompts or by the paraphrases."""
    weights = classifier(task.paraphrases if paraphrase else task.prompts, W_text)
    return (task.images.f @ W @ weights.T).argmax(1)  # the norm of h does not move the argmax


def edited_weights(
    prototypes: Prototypes, edit: ProjectionEdit, strength: float
) -> tuple[Tensor, Tensor]:
    """(W, W_text) at a strength: what `predict` takes."""
    return edit.weight(prototypes.W, strength), edit.weight(prototypes.W_text, strength, "text")


def accuracy_grid(task: Task, predicted: Tensor) -> pd.DataFrame:
    """Accuracy of each cell, classes x domains; NaN where a cell has no images."""
    right = predicted.eq(task.images.class_of).float()
    cell = task.images.class_of * task.grid.shape[1] + task.images.domain_of
    total = torch.bincount(cell, minlength=task.grid.shape[0] * task.grid.shape[1])
    hits = torch.bincount(cell, right, minlength=len(total))
    return pd.DataFrame(
        (hits / total).reshape(task.grid.shape).numpy(),
        index=list(task.grid.classes),
        columns=list(task.grid.domains),
    )


def group_masks(mask: Tensor, images: Features) -> dict[str, Tensor | None]:
    """(n,) bool for each group of images; None where the paradigm has no such group.

    forget: the cells to forget; retained: all others; same_class: a forgotten class in a domain
    where it stays; same_domain: another class in a domain where something is forgotten (both only
    for domain-specific requests).
    """
    forget = mask[images.class_of, images.domain_of]
    rows, columns = mask.any(1), mask.any(0)
    specific = not (mask[rows].all() or mask[:, columns].all())
    return {
        "forget": forget,
        "retained": ~forget,
        "same_class": rows[images.class_of] & ~forget if specific else None,
        "same_domain": columns[images.domain_of] & ~forget if specific else None,
    }


def group_accuracy(right: Tensor, groups: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Accuracy of each group: the mean of right (n, ...) bool over its images; no group that is None.

    A group without images is NaN. Double precision, so that comparing with chance is exact.
    """
    return {
        name: right[members].double().mean(0)
        for name, members in groups.items()
        if members is not None
    }


def points(before: float, after: float) -> float:
    """The change of an accuracy in percentage points."""
    return 100 * (after - before)


def halves(task: Task, seed: int = 0) -> tuple[Task, Task]:
    """(to fit or choose on, to measure on): disjoint random halves of every cell; the odd image is measured."""
    images = task.images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    cell = (images.class_of * task.grid.shape[1] + images.domain_of)[order]
    first = torch.zeros(len(images), dtype=torch.bool)
    for c in cell.unique():
        own = order[cell == c]
        first[own[: len(own) // 2]] = True
    return tuple(
        replace(task, images=images.only(part.nonzero().flatten())) for part in (first, ~first)
    )


def harmonic(retained: float, forget: float) -> float:
    """ADU's H: harmonic mean of memory (retained accuracy) and forgetting (1 - forget accuracy), arXiv 2510.08132."""
    forgotten = 1 - forget
    return 0.0 if retained + forgotten == 0 else 2 * retained * forgotten / (retained + forgotten)


def evaluate(
    prototypes: Prototypes,
    edit: ProjectionEdit,
    task: Task,
    strengths: Sequence[float] = STRENGTHS,
    unrelated: Task | None = None,
) -> pd.DataFrame:
    """Accuracy of each group at each strength: a tidy frame (strength, group, n, accuracy, paraphrase, H).

    `unrelated` is a task of other classes; its images in domains that are forgotten whole are left
    out, since forgetting them is what was asked.
    """
    mask = edit.request.mask(prototypes.grid)
    groups = {
        name: (task, g) for name, g in group_masks(mask, task.images).items() if g is not None
    }
    if unrelated is not None:
        gone = {
            d
            for d, whole in zip(prototypes.grid.domains, mask.all(0).tolist(), strict=True)
            if whole
        }
        stays = torch.tensor([d not in gone for d in unrelated.grid.domains])[
            unrelated.images.domain_of
        ]
        groups["unrelated"] = (unrelated, stays)
    groups = {name: (t, g) for name, (t, g) in groups.items() if g.any()}
    rows = []
    for strength in strengths:
        W, W_text = edited_weights(prototypes, edit, strength)
        right = {
            id(t): [predict(t, W, W_text, p).eq(t.images.class_of).float() for p in (False, True)]
            for t in {id(t): t for t, _ in groups.values()}.values()
        }
        found = {
            name: [r[g].mean().item() for r in right[id(t)]] for name, (t, g) in groups.items()
        }
        H = (
            harmonic(found["retained"][0], found["forget"][0])
            if {"retained", "forget"} <= found.keys()
            else None
        )
        rows += [
            (strength, name, int(groups[name][1].sum()), plain, other, H)
            for name, (plain, other) in found.items()
        ]
    return pd.DataFrame(rows, columns=["strength", "group", "n", "accuracy", "paraphrase", "H"])
