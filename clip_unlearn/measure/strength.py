"""Choose the strength by a rule: accuracies and similarities along the strengths, and the rules that read them.

A forgotten image is of class c: *own* is its cosine with the text of c, *other* with the texts of
the other classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core.concepts import all_requests
from ..core.edit import ProjectionEdit, fit_edit
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from .evaluate import Task, classifier, edited_weights, group_masks, harmonic, one_thread

STEPS = tuple(i / 20 for i in range(21))
RULES = ("chance rule", "residual rule", "prototype rule")
Measured = tuple[pd.DataFrame, Tensor, Tensor]


def measure_at(
    p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float]
) -> Measured:
    """`image_curve`, and behind it the cosines of the images to forget: own (S, n), other (S, n, C - 1)."""
    images, groups = task.images, group_masks(edit.request.mask(p.grid), task.images)
    both, plain = (
        [edited_weights(p, edit, s) for s in strengths],
        classifier(task.prompts, p.W_text),
    )
    W = torch.stack([W for W, _ in both])
    text = torch.stack([plain if T is p.W_text else classifier(task.prompts, T) for _, T in both])
    S, C = text.shape[:2]
    scores = images.f @ (W @ text.mT).movedim(0, 1).flatten(
        1
    )  # (n, S * C): one product for all strengths
    right = scores.unflatten(1, (S, C)).argmax(-1).eq(images.class_of[:, None]).double()
    gone = images.class_of[groups["forget"]]
    cosine, mine = (
        normalize(images.f[groups["forget"]] @ W, dim=-1) @ text.mT,
        one_hot(gone, C).bool(),
    )
    own, other = cosine[:, mine], cosine[:, ~mine].view(S, len(gone), C - 1)
    table = {name: right[g].mean(0) for name, g in groups.items() if g is not None}
    table |= {
        "own": own.mean(1),
        "other": other.mean((1, 2)),
        "farthest": (own < other.amin(-1)).double().mean(1),
    }
    curve = pd.DataFrame(
        {k: v.numpy() for k, v in table.items()}, index=pd.Index(strengths, name="strength")
    )
    H = [harmonic(r, f) for r, f in zip(curve["retained"], curve["forget"], strict=True)]
    return curve.assign(H=H, chance=1 / C), own, other


def image_curve(
    p: Prototypes, edit: ProjectionEdit, task: Task, strengths: Sequence[float] = STEPS
) -> pd.DataFrame:
    """By strength: accuracy of each group of images, H, and of the images to forget the mean own and other cosine.

    farthest is the share of them that are farther from their own class's text than from any other:
    about 1 / C where the model knows nothing, more where the edit marks the class for a stranger.
    """
    return measure_at(p, edit, task, strengths)[0]


def prototype_curve(
    p: Prototypes, edit: ProjectionEdit, strengths: Sequence[float] = STEPS
) -> pd.DataFrame:
    """The same for the visual prototypes, taken as images, and the class prompts: no image of any data set."""
    C, K, m, _ = p.visual.shape
    cell = torch.arange(C * K).repeat_interleave(m)
    images = Features(p.visual.flatten(0, 2), cell // K, cell % K, ())
    return image_curve(
        p, edit, Task(p.grid, images, tuple(g[None] for g in p.class_features), ()), strengths
    )


# ---- rules: from a curve to a strength; NaN where no strength will do


def chance_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which forgotten images are named no better than by guessing."""
    return float(curve.index.where(curve["forget"] <= curve["chance"]).min())


def residual_rule(curve: pd.DataFrame) -> float:
    """The smallest strength at which the own text is no nearer than the others, on average; for either curve."""
    return float(curve.index.where(curve["own"] <= curve["other"]).min())


def budget_rule(curve: pd.DataFrame, points: float, group: str = "retained") -> float:
    """The largest strength up to which a group never loses more than `points` points of accuracy."""
    within = (100 * (curve[group].iloc[0] - curve[group]) <= points + 1e-4).cummin()
    return float(curve.index.where(within).max())


def choose(p: Prototypes, edit: ProjectionEdit, curve: pd.DataFrame) -> dict[str, float]:
    """The strength that each rule takes: the first two from an image curve, the last from prototypes alone."""
    found = (chance_rule(curve), residual_rule(curve), residual_rule(prototype_curve(p, edit)))
    return dict(zip(RULES, found, strict=True))


@one_thread()
def every_choice(
    p: Prototypes, task: Task, paradigm: str, measured: Task | None = None
) -> pd.DataFrame:
    """Each rule on every request of a paradigm: the strength it takes on `task`, and `measured`'s curve there.

    A rule that no strength satisfies (reached is False) takes 1, as the rule "full" always does.
    """
    rows = []
    for request in all_requests(p.grid, paradigm):
        edit = fit_edit(p, request)
        curve = image_curve(p, edit, task)
        if curve["forget"].isna().any():
            continue  # a cell without images cannot be measured
        seen = curve if measured is None else image_curve(p, edit, measured)
        for rule, found in ({"full": 1.0} | choose(p, edit, curve)).items():
            at = 1.0 if np.isnan(found) else found
            row = {
                "request": str(request),
                "rule": rule,
                "strength": at,
                "reached": not np.isnan(found),
            }
            rows.append(row | seen.loc[at].to_dict())
    return pd.DataFrame(rows)
