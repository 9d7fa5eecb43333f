"""The checks of an audit: each is one question to the edited model, asked at one strength.

A check either looks for what was forgotten, and then it is an attack, or it looks at what should
have stayed. `findings` makes them all; `verdict.audit` sets two strengths side by side and says
what the numbers mean. The word "probe" is kept for the checks that train one: a linear probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core.applied import ProjectionEdit
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
from .probes import (
    few_shot,
    few_shot_mean,
    linear_probe,
    nearest_prototype,
    precision_at_k,
    residual_similarity,
)

SHOTS = (1, 4, 16)  # labelled images of each forgotten cell, for relearning
NEAREST_SHOTS = 4  # labelled images of each cell, for the nearest mean
# How many times chance translations must have found for the edit to be judged by them: a CLIP may
# know no language but English.
KNEW_TRANSLATED = 2.0
NEAREST = 0.25  # the share of the retained cells that counts as the nearest to the forgotten ones

# Where a check looks, as the column "where" says it; the groups of `evaluate` are others.
FORGET = "forget"
UNKNOWN = "forget, unknown before"  # translations that this CLIP did not know
INSIDE = "forgotten domains"
EVERYWHERE = "all images"
SOUGHT = (FORGET, INSIDE, EVERYWHERE)  # where a check is an attack
RANDOM_PAIRS = "control: random pairs"
RANDOM_SD = "control: their sd"

NAN = float("nan")


class Finding(NamedTuple):
    """What one check finds at one strength; NaN if it cannot be made."""

    check: str
    where: str
    value: float  # an accuracy, a precision or a cosine
    chance: float  # what would be found without any knowledge


class Comparison(NamedTuple):
    """What one check finds before and after an edit: a row of an audit's frame."""

    check: str
    where: str
    before: float
    after: float
    chance: float


@dataclass(frozen=True)
class EditedModel:
    """A model at one strength of an edit, with the images to check it on."""

    setting: Setting
    edit: ProjectionEdit
    strength: float
    # Draws folds and labelled images; the same at every strength.
    seed: int
    # (C, K) bool, True where something is forgotten.
    mask: Tensor
    # (n,) bool, the images to forget.
    forget: Tensor
    # (D, d), the projection of the images, and (D_text, d), that of the texts.
    W: Tensor
    W_text: Tensor
    # (C, d), the unit embedding of each class by its prompts.
    text: Tensor
    # (n, d), the unit embedding of each image.
    h: Tensor

    @classmethod
    def at(cls, setting: Setting, edit: ProjectionEdit, strength: float, seed: int) -> EditedModel:
        """The model of a setting under an edit at a strength; 0 is the unedited model."""
        task = setting.task
        mask = edit.request.mask(task.grid)
        W, W_text = edited_weights(setting.prototypes, edit, strength)
        return cls(
            setting=setting,
            edit=edit,
            strength=strength,
            seed=seed,
            mask=mask,
            forget=group_masks(mask, task.images)["forget"],
            W=W,
            W_text=W_text,
            text=classifier(task.prompts, W_text),
            h=normalize(task.images.f @ W, dim=-1),
        )

    @property
    def task(self) -> Task:
        """The images, and the prompts that classify them."""
        return self.setting.task

    @property
    def forgotten_classes(self) -> Tensor:
        """(C,) bool: the classes of which something is forgotten."""
        return self.mask.any(1)

    @property
    def forgotten_domains(self) -> Tensor:
        """(K,) bool: the domains in which something is forgotten."""
        return self.mask.any(0)

    @property
    def whole(self) -> bool:
        """Whether something is forgotten of every class, as for a whole domain."""
        return bool(self.forgotten_classes.all())

    @property
    def inside(self) -> Tensor:
        """(n,) bool: the images of the domains in which something is forgotten."""
        return self.forgotten_domains[self.task.images.domain_of]

    @property
    def chance(self) -> float:
        """How often naming a class at random is right."""
        return 1 / len(self.text)


def findings(
    setting: Setting, edit: ProjectionEdit, strength: float, seed: int = 0
) -> list[Finding]:
    """What every check finds at one strength, in the same order at each strength."""
    model = EditedModel.at(setting, edit, strength, seed)
    return [
        *_prompts(model),
        _translations(model),
        *_probes_and_searches(model),
        _nearest_prototype(model),
        _nearest_mean(model),
        *_relearning(model),
        *_similarity(model),
    ]


# ---- by words alone


def _prompts(model: EditedModel) -> Iterator[Finding]:
    """What prompts and paraphrases find, by group of images.

    The unrelated task has a row even if there is none.
    """
    setting = model.setting
    frame = evaluate(
        setting.prototypes, model.edit, setting.task, [model.strength], setting.unrelated
    )
    for row in frame.itertuples():
        of_others = row.group in ("unrelated", "never_named")
        task = setting.unrelated if of_others else setting.task
        chance = 1 / len(task.prompts)
        yield Finding("prompts", row.group, row.accuracy, chance)
        yield Finding("paraphrases", row.group, row.paraphrase, chance)
    if "unrelated" not in set(frame["group"]):
        yield Finding("prompts", "unrelated", NAN, NAN)


def _translations(model: EditedModel) -> Finding:
    """What translated names find of the images to forget, if the unedited CLIP knew these names.

    Each image counts by the accuracy of its class. Classes without translations keep their prompts.
    """
    task = model.task
    class_of = task.images.class_of
    C = len(task.prompts)
    if not task.translations:
        return Finding("translations", FORGET, NAN, 1 / C)
    given = torch.tensor([len(texts) > 0 for texts in task.translations])  # (C,)
    if not (model.forget & given[class_of]).any():
        return Finding("translations", FORGET, NAN, 1 / C)

    prompts = [
        translated if len(translated) else own
        for translated, own in zip(task.translations, task.prompts, strict=True)
    ]
    translated_task = replace(task, prompts=tuple(prompts))

    # Which names did the CLIP know before the edit? If none, all of them are looked at.
    original = model.setting.prototypes
    accuracy, chance = _named(translated_task, model.forget, original.W, original.W_text)
    known = given & (accuracy >= KNEW_TRANSLATED * chance)  # (C,)
    where = FORGET if known.any() else UNKNOWN
    looked_at = known if known.any() else given

    accuracy, chance = _named(translated_task, model.forget, model.W, model.W_text)
    counted = model.forget & looked_at[class_of]
    classes = class_of[counted]
    return Finding(
        "translations", where, accuracy[classes].mean().item(), chance[classes].mean().item()
    )


def _named(task: Task, forget: Tensor, W: Tensor, W_text: Tensor) -> tuple[Tensor, Tensor]:
    """How often each class is named (C,): of its own images to forget, and of other classes'.

    The second is what a class is called by chance, at least 1 / C. The first is NaN for a class
    with no image to forget.
    """
    class_of = task.images.class_of
    C = len(task.prompts)
    named = one_hot(predict(task, W, W_text), C).float()  # (n, C)
    rightly = []
    wrongly = []
    for c in range(C):
        own = forget & (class_of == c)
        other = class_of != c
        rightly.append(named[own, c].mean())
        wrongly.append(named[other, c].mean())
    return torch.stack(rightly), torch.stack(wrongly).clamp_min(1 / C)


# ---- by linear probes and by search


def _probes_and_searches(model: EditedModel) -> Iterator[Finding]:
    """Linear probes and searches over all images, in the domains that lose something, and outside.

    Outside, where nothing is forgotten, a search alone.
    """
    for where, scope in _scopes(model).items():
        if where != "same_class":
            yield from _linear_probes(model, where, scope)
        yield _search(model, where, scope, model.forgotten_classes)
    yield _search_retained(model)
    if model.whole:
        yield from _domain_probes(model)


def _scopes(model: EditedModel) -> dict[str, Tensor]:
    """The images (n,) bool that are probed and searched, by the name of where they are."""
    inside = model.inside
    everywhere = torch.ones_like(inside)
    if model.whole:
        return {INSIDE: inside}
    if model.forgotten_domains.all():
        return {EVERYWHERE: everywhere}
    return {EVERYWHERE: everywhere, INSIDE: inside, "same_class": ~inside}


def _linear_probes(model: EditedModel, where: str, scope: Tensor) -> Iterator[Finding]:
    """Linear probes for the forgotten classes on f and on h: each class from all others.

    If something is forgotten of every class, one probe tells all of them apart.
    """
    class_of = model.task.images.class_of[scope]
    if model.whole:
        labellings = [class_of]
        chance = 1 / len(class_of.unique())
    else:
        labellings = [class_of == c for c in _shown(model.forgotten_classes, class_of)]
        chance = 0.5
    for name, x in _features(model).items():
        accuracies = [linear_probe(x[scope], labels, model.seed) for labels in labellings]
        yield Finding(f"linear probe on {name}", where, _mean(accuracies), chance)


def _domain_probes(model: EditedModel) -> Iterator[Finding]:
    """Linear probes for the forgotten domains on f and on h: each domain from all others."""
    domain_of = model.task.images.domain_of
    forgotten = model.forgotten_domains.nonzero().flatten()
    labellings = [domain_of == k for k in forgotten]
    for name, x in _features(model).items():
        accuracies = [linear_probe(x, labels, model.seed) for labels in labellings]
        yield Finding(f"domain probe on {name}", EVERYWHERE, _mean(accuracies), 0.5)


def _search_retained(model: EditedModel) -> Finding:
    """A search for what should stay: other classes, or all of them in other domains."""
    if model.whole:
        return _search(model, "retained", ~model.inside, model.forgotten_classes)
    return _search(model, "retained", torch.ones_like(model.inside), ~model.forgotten_classes)


def _search(model: EditedModel, where: str, scope: Tensor, classes: Tensor) -> Finding:
    """Mean precision of a search for each of classes (C,) bool among the images of scope (n,) bool.

    Precision at k, k being the number of images of the class: what text-to-image retrieval shows
    first. Chance is the share of the class among the images.
    """
    h = model.h[scope]
    class_of = model.task.images.class_of[scope]
    precisions = []
    chances = []
    for c in _shown(classes, class_of):
        relevant = class_of == c
        precisions.append(precision_at_k(h, model.text[c], relevant))
        chances.append(relevant.float().mean().item())
    return Finding("search", where, _mean(precisions), _mean(chances))


def _features(model: EditedModel) -> dict[str, Tensor]:
    """What a probe reads: f, in front of the edited projection, and h, behind it."""
    return {"f": model.task.images.f, "h": model.h}


def _shown(classes: Tensor, class_of: Tensor) -> list[int]:
    """Those of classes (C,) bool of which there is an image among class_of (n,)."""
    wanted = classes.nonzero().flatten()
    shown = torch.isin(wanted, class_of)
    return wanted[shown].tolist()


def _mean(values: Sequence[float]) -> float:
    """The mean of the values that are no NaN; NaN if there is none."""
    return pd.Series(values, dtype=float).mean()


# ---- by examples: prototypes, or a few labelled images


def _nearest_prototype(model: EditedModel) -> Finding:
    """How many of the images to forget still lie nearest to the prototypes of their class."""
    predicted = nearest_prototype(model.task, model.setting.prototypes, model.W)
    accuracy = _accuracy_on_forgotten(model, predicted)
    return Finding("nearest prototype", FORGET, accuracy, model.chance)


def _nearest_mean(model: EditedModel) -> Finding:
    """How many lie nearest to the mean of a few labelled images of their class."""
    k = NEAREST_SHOTS
    numbers = few_shot_mean(model.task, model.forget, model.W, k, model.seed)
    forgotten, _, _ = numbers.tolist()
    return Finding(f"nearest mean of {k}", FORGET, forgotten, model.chance)


def _relearning(model: EditedModel) -> Iterator[Finding]:
    """What a few labelled images bring back, beside what prompts find without them."""
    predicted = predict(model.task, model.W, model.W_text)
    untaught = _accuracy_on_forgotten(model, predicted)
    for k in SHOTS:
        numbers = few_shot(model.task, model.forget, model.W, model.text, k, model.seed)
        forgotten, retained, sought_rate = numbers.tolist()
        blind = max(model.chance, sought_rate)  # what giving one answer to everything earns

        check = f"relearning from {k}"
        gain = forgotten - untaught
        blind_gain = blind - untaught
        yield Finding(check, FORGET, forgotten, blind)
        yield Finding(f"regained from {k}", FORGET, gain, blind_gain)
        yield Finding(check, "control: retained", retained, model.chance)


def _similarity(model: EditedModel) -> Iterator[Finding]:
    """How like the text of its class an image to forget still is, beside random pairs."""
    cosine = residual_similarity(model.task, model.forget, model.W, model.text)
    random = cosine.other
    yield Finding("similarity", FORGET, cosine.own, random)
    yield Finding("similarity", RANDOM_PAIRS, random, random)
    yield Finding("similarity", RANDOM_SD, cosine.sd, random)


def _accuracy_on_forgotten(model: EditedModel, predicted: Tensor) -> float:
    """How many of the images to forget the predicted classes (n,) name rightly."""
    right = predicted.eq(model.task.images.class_of)
    right = right[model.forget].float()
    return right.mean().item()


# ---- what happened to the neighbours


def neighbours(
    task: Task, prototypes: Prototypes, edit: ProjectionEdit, strength: float = 1.0
) -> pd.DataFrame:
    """The cells that stay: class, domain, similarity, before, after and change of accuracy.

    The similarity is the largest cosine of the cell's text and the text of a forgotten cell. Cells
    without images are left out.
    """
    mask = edit.request.mask(task.grid)
    before = _accuracy_grid(task, prototypes, edit, 0.0)
    after = _accuracy_grid(task, prototypes, edit, strength)

    text = prototypes.text  # (C, K, d)
    forgotten_text = text[mask]  # (forgotten cells, d)
    cosine = text @ forgotten_text.T  # (C, K, forgotten cells)
    nearest = cosine.amax(-1).numpy()
    similarity = pd.DataFrame(nearest, before.index, before.columns)

    # One row for each cell that stays, instead of a table of all cells.
    grids = {"similarity": similarity, "before": before, "after": after}
    stays = ~mask.numpy()
    columns = {name: grid.where(stays).stack() for name, grid in grids.items()}
    frame = pd.concat(columns, axis=1).dropna()
    frame["change"] = frame["after"] - frame["before"]
    return frame.rename_axis(["class", "domain"]).reset_index()


def _accuracy_grid(
    task: Task, prototypes: Prototypes, edit: ProjectionEdit, strength: float
) -> pd.DataFrame:
    """Accuracy of each cell at a strength, classes x domains."""
    W, W_text = edited_weights(prototypes, edit, strength)
    return accuracy_grid(task, predict(task, W, W_text))


def neighbour_rows(cells: pd.DataFrame, forgotten: set[str], chance: float) -> Iterator[Comparison]:
    """The cells of `neighbours` in two halves by similarity, and the cell that lost most.

    Only classes of which nothing is forgotten count as neighbours; if there is none, every cell
    that stays does.
    """
    others = cells[~cells["class"].isin(forgotten)]
    if others.empty:
        others = cells
    others = others.sort_values("similarity", ascending=False, kind="stable")

    count = max(1, round(NEAREST * len(others)))
    parts = {"nearest quarter": others[:count], "all others": others[count:]}
    for where, part in parts.items():
        if len(part):
            before = part["before"].mean()
            after = part["after"].mean()
            yield Comparison("neighbours", where, before, after, chance)

    worst = cells.nsmallest(1, "change")
    for cell in worst.to_dict("records"):
        where = f"{cell['class']} in {cell['domain']}"
        yield Comparison("worst cell", where, cell["before"], cell["after"], chance)
