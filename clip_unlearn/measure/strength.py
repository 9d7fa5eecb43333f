"""Choose the strength by a rule: accuracies and similarities by strength, and rules that read them.

For a forgotten image of class c, *own* is its cosine with the text of c, and *other* are those with
the texts of the other classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core.applied import ProjectionEdit
from ..core.concepts import all_requests
from ..core.edit import fit_edit
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from .evaluate import (
    Task,
    classifier,
    edited_weights,
    group_accuracy,
    group_masks,
    harmonic,
    one_thread,
)

STEPS = tuple(i / 20 for i in range(21))
RULES = ("chance rule", "residual rule", "prototype rule")
Measured = tuple[pd.DataFrame, Tensor, Tensor]


# ---- curves


def measure_at(
    p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float]
) -> Measured:
    """`image_curve`, and the cosines of the images to forget: own (S, n), other (S, n, C - 1)."""
    images = task.images
    groups = group_masks(edit.request.mask(p.grid), images)
    W, text = _stacked_weights(p, edit, task, strengths)  # (S, D, d), (S, C, d)
    S, C, _ = text.shape

    # Accuracy of each group: one product for all strengths.
    classify = W @ text.mT  # (S, D, C)
    scores = images.f @ classify.movedim(0, 1).flatten(1)  # (n, S * C)
    predicted = scores.unflatten(1, (S, C)).argmax(-1)  # (n, S)
    right = predicted.eq(images.class_of[:, None]).double()
    columns = group_accuracy(right, groups)

    # Similarity of the images to forget to their own text, and to the others.
    forget = groups["forget"]
    classes = images.class_of[forget]
    h = normalize(images.f[forget] @ W, dim=-1)  # (S, n, d)
    cosine = h @ text.mT  # (S, n, C)
    is_own = one_hot(classes, C).bool()  # (n, C)
    own = cosine[:, is_own]
    other = cosine[:, ~is_own].view(S, len(classes), C - 1)
    columns["own"] = own.mean(1)
    columns["other"] = other.mean((1, 2))
    columns["farthest"] = (own < other.amin(-1)).double().mean(1)

    index = pd.Index(strengths, name="strength")
    curve = pd.DataFrame({name: column.numpy() for name, column in columns.items()}, index=index)
    pairs = zip(curve["retained"], curve["forget"], strict=True)
    curve["H"] = [harmonic(retained, forgotten) for retained, forgotten in pairs]
    curve["chance"] = 1 / C
    return curve, own, other


def _stacked_weights(
    p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """W (S, D, d) and classifiers (S, C, d) at every strength."""
    unedited = classifier(task.prompts, p.W_text)
    projections, classifiers = [], []
    for strength in strengths:
        W, W_text = edited_weights(p, edit, strength)
        projections.append(W)
        if W_text is p.W_text:  # not built again for every strength
            classifiers.append(unedited)
        else:
            classifiers.append(classifier(task.prompts, W_text))
    return torch.stack(projections), torch.stack(classifiers)


def image_curve(
    p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float] = STEPS
) -> pd.DataFrame:
    """By strength: accuracy of each group, H, and mean own and other cosine of images to forget.

    farthest is the share of those that are farther from the text of their own class than from any
    other: about 1 / C if the model knows nothing, more if the edit marks the class for a stranger.
    """
    curve, _, _ = measure_at(p, edit, task, strengths)
    return curve


def prototype_curve(
    p: Prototypes, edit: ProjectionEdit, strengths: Sequence[float] = STEPS
) -> pd.DataFrame:
    """The same for visual prototypes and class prompts: it needs no image of a data set."""
    C, K, m, _ = p.visual.shape
    cell = torch.arange(C * K).repeat_interleave(m)
    images = Features(p.visual.flatten(0, 2), cell // K, cell % K, ())
    prompts = tuple(g[None] for g in p.class_features)
    task = Task(p.grid, images, prompts, ())
    return image_curve(p, edit, task, strengths)


# ---- rules: from a curve to a strength; NaN if no strength will do


def chance_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which forgotten images are named no better than by guessing."""
    at_chance = curve["forget"] <= curve["chance"]
    return float(curve.index.where(at_chance).min())


def residual_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which the own text is no nearer than the others, on average."""
    no_nearer = curve["own"] <= curve["other"]
    return float(curve.index.where(no_nearer).min())


def budget_rule(curve: pd.DataFrame, points: float, group: str = "retained") -> float:
    """The largest strength up to which a group never loses more than `points` of accuracy."""
    lost = 100 * (curve[group].iloc[0] - curve[group])
    within = (lost <= points + 1e-4).cummin()
    return float(curve.index.where(within).max())


def choose(p: Prototypes, edit: ProjectionEdit, curve: pd.DataFrame) -> dict[str, float]:
    """The strength that each rule takes: two from an image curve, the last from prototypes."""
    strengths = (
        chance_rule(curve),
        residual_rule(curve),
        residual_rule(prototype_curve(p, edit)),
    )
    return dict(zip(RULES, strengths, strict=True))


@one_thread()
def every_choice(
    p: Prototypes, task: Task, paradigm: str, measured: Task | None = None
) -> pd.DataFrame:
    """Each rule on every request of a paradigm: the strength that it takes, and what that does.

    Rules read the curve on `task`; what the strength does is read from `measured`, or from `task`
    too. A rule that no strength satisfies (reached is False) takes 1, as the rule "full" does.
    """
    rows = []
    for request in all_requests(p.grid, paradigm):
        edit = fit_edit(p, request)
        curve = image_curve(p, edit, task)
        if curve["forget"].isna().any():
            continue  # a cell without images cannot be measured
        outcome = curve if measured is None else image_curve(p, edit, measured)

        choices = {"full": 1.0, **choose(p, edit, curve)}
        for rule, choice in choices.items():
            reached = not np.isnan(choice)
            strength = choice if reached else 1.0
            row = {
                "request": str(request),
                "rule": rule,
                "strength": strength,
                "reached": reached,
            }
            rows.append(row | outcome.loc[strength].to_dict())
    return pd.DataFrame(rows)
