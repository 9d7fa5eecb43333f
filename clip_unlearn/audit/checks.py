"""What each check of an audit finds of an edit at one strength, as rows (check, where, found, chance).

A check that cannot be made finds NaN; `audit` puts two strengths side by side and says what the
numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core.edit import ProjectionEdit
from ..core.prototypes import Prototypes
from ..measure.evaluate import (
    Task,
    accuracy_grid,
    classifier,
    edited_weights,
    evaluate,
    group_masks,
    predict,
)
from ..measure.setting import Setting
from .probes import few_shot, linear_probe, nearest_prototype, precision_at_k, residual_similarity

SHOTS = (1, 4, 16)  # labelled images a cell, for relearning
NEAREST_SHOTS = 4  # and for the nearest mean
KNEW_TRANSLATED = (
    2.0  # times chance that translations must have found: a CLIP may know no language but English
)
UNKNOWN = "forget, unknown before"  # where the row of translations stands that found less
NEAREST = 0.25  # the share of the cells that stay that counts as neighbours of what is forgotten


def findings(setting: Setting, edit: ProjectionEdit, strength: float, seed: int = 0) -> list[tuple]:
    """Every check at one strength: (check, where, found, chance), in the same order at each strength."""
    task, p = setting.task, setting.prototypes
    mask = edit.request.mask(task.grid)
    forget = group_masks(mask, task.images)["forget"]
    W, W_text = edited_weights(p, edit, strength)
    text = classifier(task.prompts, W_text)
    return [
        *_answers(setting, edit, strength),
        *_translations(task, p, forget, W, W_text),
        *_probes(task, mask, W, text, seed),
        *_examples(task, p, forget, W, text, seed),
    ]


def _answers(setting: Setting, edit: ProjectionEdit, strength: float) -> Iterator[tuple]:
    """What prompts and paraphrases find, by group of images; the unrelated task has a row even where there is none."""
    frame = evaluate(setting.prototypes, edit, setting.task, [strength], setting.unrelated)
    for row in frame.itertuples():
        task = setting.unrelated if row.group == "unrelated" else setting.task
        chance = 1 / len(task.prompts)
        yield "prompts", row.group, row.accuracy, chance
        yield "paraphrases", row.group, row.paraphrase, chance
    if "unrelated" not in set(frame["group"]):
        yield "prompts", "unrelated", float("nan"), float("nan")


def _translations(
    task: Task, p: Prototypes, forget: Tensor, W: Tensor, W_text: Tensor
) -> Iterator[tuple]:
    """What translated names find of the images to forget, where the unedited CLIP knew them: class by class.

    Classes without translations keep their prompts. Chance is what calling images of other classes
    so would earn.
    """
    y, C = task.images.class_of, len(task.prompts)
    given = torch.tensor([len(texts) > 0 for texts in task.translations or [()] * C])
    if not (forget & given[y]).any():
        yield "translations", "forget", float("nan"), 1 / C
        return
    prompts = tuple(
        t if len(t) else own for t, own in zip(task.translations, task.prompts, strict=True)
    )
    translated = replace(task, prompts=prompts)

    def by_class(W: Tensor, W_text: Tensor) -> tuple[Tensor, Tensor]:
        called = one_hot(predict(translated, W, W_text), C).float()
        own = [called[forget & (y == c), c].mean() for c in range(C)]
        others = [called[y != c, c].mean() for c in range(C)]
        return torch.stack(own), torch.stack(others).clamp_min(1 / C)

    found, chance = by_class(p.W, p.W_text)
    known = given & (found >= KNEW_TRANSLATED * chance)
    asked = y[forget & (known if known.any() else given)[y]]
    found, chance = by_class(W, W_text)
    yield (
        "translations",
        "forget" if known.any() else UNKNOWN,
        found[asked].mean().item(),
        chance[asked].mean().item(),
    )


def _probes(task: Task, mask: Tensor, W: Tensor, text: Tensor, seed: int) -> Iterator[tuple]:
    """Linear probes and search: over all images, inside the domains where something is forgotten, and outside."""
    images, rows = task.images, mask.any(1)
    inside = mask.any(0)[images.domain_of]
    features = {"f": images.f, "h": normalize(images.f @ W, dim=-1)}
    scopes = {"all images": inside | True, "forgotten domains": inside, "same_class": ~inside}
    whole = bool(
        rows.all()
    )  # all classes: then one probe tells them apart, instead of each from the rest
    if whole:
        wanted = ["forgotten domains"]
    elif mask.any(0).all():
        wanted = ["all images"]
    else:
        wanted = list(scopes)
    for where in wanted:
        scope = scopes[where]
        y = images.class_of[scope]
        kinds = [y == c for c in rows.nonzero() if (y == c).any()]
        chance = 1 / len(y.unique()) if whole else 0.5
        for name, x in features.items() if where != "same_class" else ():
            found = [linear_probe(x[scope], labels, seed) for labels in ([y] if whole else kinds)]
            yield f"linear probe on {name}", where, pd.Series(found).mean(), chance
        yield "search", where, *_search(features["h"][scope], text, y, rows)
    kept = ~inside if whole else inside | True
    yield (
        "search",
        "retained",
        *_search(features["h"][kept], text, images.class_of[kept], rows if whole else ~rows),
    )
    for name, x in features.items() if whole else ():
        found = [linear_probe(x, images.domain_of == k, seed) for k in mask.any(0).nonzero()]
        yield f"domain probe on {name}", "all images", pd.Series(found).mean(), 0.5


def _search(h: Tensor, text: Tensor, y: Tensor, classes: Tensor) -> tuple[float, float]:
    """Mean precision of a search for each of `classes` (C,) bool that images h (n, d) of classes y show; and chance.

    Precision at k, k being the number of images of the class: what text-to-image retrieval shows
    first.
    """
    kinds = {int(c): y == c for c in classes.nonzero() if (y == c).any()}
    found = [precision_at_k(h, text[c], kind) for c, kind in kinds.items()]
    return pd.Series(found, dtype=float).mean(), pd.Series(
        [k.float().mean().item() for k in kinds.values()]
    ).mean()


def _examples(
    task: Task, p: Prototypes, forget: Tensor, W: Tensor, text: Tensor, seed: int
) -> Iterator[tuple]:
    """What prototypes and a few real images bring back, and how like its text an image still is."""
    chance = 1 / len(text)
    right = nearest_prototype(task, p, W).eq(task.images.class_of).float()
    yield "nearest prototype", "forget", right[forget].mean().item(), chance
    by_mean = few_shot(task, forget, W, text, NEAREST_SHOTS, seed, nearest=True)
    yield f"nearest mean of {NEAREST_SHOTS}", "forget", by_mean[0].item(), chance
    untaught = (
        (task.images.f @ W @ text.T)
        .argmax(1)
        .eq(task.images.class_of)[forget]
        .float()
        .mean()
        .item()
    )
    for k in SHOTS:
        forgotten, retained, said = few_shot(task, forget, W, text, k, seed).tolist()
        blind = max(chance, said)  # what saying it of everything earns
        yield f"relearning from {k}", "forget", forgotten, blind
        yield f"regained from {k}", "forget", forgotten - untaught, blind - untaught
        yield f"relearning from {k}", "control: retained", retained, chance
    own, other, sd = residual_similarity(task, forget, W, text)
    yield "similarity", "forget", own, other
    yield "similarity", "control: random pairs", other, other
    yield "similarity", "control: their sd", sd, other


def neighbours(
    task: Task, prototypes: Prototypes, edit: ProjectionEdit, strength: float = 1.0
) -> pd.DataFrame:
    """Cells that stay: class, domain, similarity (largest cosine to a forgotten cell's text), before, after, change."""
    mask, text = edit.request.mask(task.grid), prototypes.text
    grids = [
        accuracy_grid(task, predict(task, *edited_weights(prototypes, edit, x)))
        for x in (0.0, strength)
    ]
    like = pd.DataFrame((text @ text[mask].T).amax(-1).numpy(), grids[0].index, grids[0].columns)
    tables = [g.where(~mask.numpy()).stack() for g in (like, *grids)]
    frame = pd.concat(tables, axis=1, keys=["similarity", "before", "after"]).dropna()
    return (
        frame.assign(change=frame["after"] - frame["before"])
        .rename_axis(["class", "domain"])
        .reset_index()
    )


def neighbour_rows(near: pd.DataFrame, forgotten: set[str], chance: float) -> Iterator[tuple]:
    """(check, where, before, after, chance) of the cells of `neighbours` by likeness, and of the one that lost most.

    Only classes that are not forgotten count as neighbours; where every class is, the cells that
    stay do.
    """
    others = near[~near["class"].isin(forgotten)]
    others = (others if len(others) else near).sort_values(
        "similarity", ascending=False, kind="stable"
    )
    first = max(1, round(NEAREST * len(others)))
    for where, part in (("nearest quarter", others[:first]), ("all others", others[first:])):
        if len(part):
            yield "neighbours", where, part["before"].mean(), part["after"].mean(), chance
    for cell in near.nsmallest(1, "change").itertuples():
        yield "worst cell", f"{cell[1]} in {cell.domain}", cell.before, cell.after, chance
