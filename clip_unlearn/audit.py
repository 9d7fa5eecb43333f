"""What was really forgotten: attacks that know more than a prompt, and what the edit cost elsewhere.

An edit changes the last projection alone, h = f (W + Delta), so f knows what it knew. Real images only measure here.
Accuracies, precisions and cosines are fractions; "before" is always the same check on the unedited model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from torch import Tensor
from torch.nn.functional import normalize

from .analysis import Setting
from .errors import InputError
from .evaluate import (
    GROUPS,
    Task,
    accuracy_grid,
    classifier,
    edited_weights,
    evaluate,
    group_masks,
    one_thread,
    predict,
)
from .probes import few_shot, linear_probe, nearest_prototype, precision_at_k, residual_similarity
from .prototypes import Prototypes
from .unlearn import ProjectionEdit

# Of what a check found over chance before the edit: the share up to which it is gone, and from which it is still there.
GONE, STILL = 0.1, 0.5
KNEW = 0.1  # what a check must have found over chance, to tell anything
LOSS, CELL_LOSS = 0.02, 0.1  # a fall worth a word: of a group, of a cell
OVER = 2.0  # standard deviations below random pairs at which a low similarity to its own text gives an image away
SHOTS = (1, 4, 16)  # labelled images a cell, for relearning
NEAREST_SHOTS = 4  # and for the nearest mean


@dataclass(frozen=True)
class Audit:
    """frame (check, where, before, after, chance, reading), `neighbours`, and the verdict in plain sentences."""

    frame: pd.DataFrame
    neighbours: pd.DataFrame
    verdict: str


def audit(setting: Setting, edit: ProjectionEdit, strength: float = 1.0, seed: int = 0) -> Audit:
    """Every check of an edit at a strength; a few seconds. Raises InputError where there is no image to forget."""
    task, p = setting.task, setting.prototypes
    mask = edit.request.mask(task.grid)
    forget = group_masks(mask, task.images)["forget"]
    if not forget.any():
        raise InputError(f"no image of {edit.request}: nothing to audit.")
    near = neighbours(task, p, edit, strength)
    with one_thread():
        before, after = (_checks(setting, edit, x, seed) for x in (0.0, strength))
    frame = pd.DataFrame(after, columns=["check", "where", "after", "chance"])
    frame.insert(2, "before", [row[2] for row in before])
    sd = frame["after"].iloc[-1]
    partial = not (mask.all(0).any() or mask.all(1).any())
    for cell in near.nsmallest(1, "change").itertuples():
        frame.loc[len(frame)] = ["worst cell", f"{cell[1]} in {cell.domain}", cell.before, cell.after, 1 / len(mask)]
    frame["reading"] = [_reading(row, sd, partial) for row in frame.itertuples()]
    return Audit(frame, near, _verdict(frame, str(edit.request)))


def neighbours(task: Task, prototypes: Prototypes, edit: ProjectionEdit, strength: float = 1.0) -> pd.DataFrame:
    """Cells that stay: class, domain, similarity (largest cosine to a forgotten cell's text), before, after, change."""
    mask, text = edit.request.mask(task.grid), prototypes.text
    grids = [accuracy_grid(task, predict(task, *edited_weights(prototypes, edit, x))) for x in (0.0, strength)]
    like = pd.DataFrame((text @ text[mask].T).amax(-1).numpy(), grids[0].index, grids[0].columns)
    tables = [g.where(~mask.numpy()).stack() for g in (like, *grids)]
    frame = pd.concat(tables, axis=1, keys=["similarity", "before", "after"]).dropna()
    return frame.assign(change=frame["after"] - frame["before"]).rename_axis(["class", "domain"]).reset_index()


def _checks(setting: Setting, edit: ProjectionEdit, strength: float, seed: int) -> list[tuple]:
    """Every check at one strength: (check, where, found, chance)."""
    task, p = setting.task, setting.prototypes
    mask = edit.request.mask(task.grid)
    forget = group_masks(mask, task.images)["forget"]
    W, W_text = edited_weights(p, edit, strength)
    text = classifier(task.prompts, W_text)
    return [
        *_answers(setting, edit, strength),
        *_probes(task, mask, W, text, seed),
        *_examples(task, p, forget, W, text, seed),
    ]


def _answers(setting: Setting, edit: ProjectionEdit, strength: float) -> Iterator[tuple]:
    """What prompts and paraphrases find, by group of images."""
    for row in evaluate(setting.prototypes, edit, setting.task, [strength], setting.unrelated).itertuples():
        task = setting.unrelated if row.group == "unrelated" else setting.task
        chance = 1 / len(task.prompts)
        yield "prompts", row.group, row.accuracy, chance
        yield "paraphrases", row.group, row.paraphrase, chance


def _probes(task: Task, mask: Tensor, W: Tensor, text: Tensor, seed: int) -> Iterator[tuple]:
    """Linear probes and search: over all images, inside the domains where something is forgotten, and outside."""
    images, rows = task.images, mask.any(1)
    inside = mask.any(0)[images.domain_of]
    features = {"f": images.f, "h": normalize(images.f @ W, dim=-1)}
    scopes = {"all images": inside | True, "forgotten domains": inside, "same_class": ~inside}
    whole = bool(rows.all())  # all classes: then one probe tells them apart, instead of each from the rest
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
        found = [precision_at_k(features["h"][scope], text[y[kind][0]], kind) for kind in kinds]
        share = [kind.float().mean().item() for kind in kinds]
        yield "search", where, pd.Series(found).mean(), pd.Series(share).mean()
    for name, x in features.items() if whole else ():
        found = [linear_probe(x, images.domain_of == k, seed) for k in mask.any(0).nonzero()]
        yield f"domain probe on {name}", "all images", pd.Series(found).mean(), 0.5


def _examples(task: Task, p: Prototypes, forget: Tensor, W: Tensor, text: Tensor, seed: int) -> Iterator[tuple]:
    """What prototypes and a few real images bring back, and how like its text an image still is."""
    chance = 1 / len(text)
    right = nearest_prototype(task, p, W).eq(task.images.class_of).float()
    yield "nearest prototype", "forget", right[forget].mean().item(), chance
    by_mean = few_shot(task, forget, W, text, NEAREST_SHOTS, seed, nearest=True)
    yield f"nearest mean of {NEAREST_SHOTS}", "forget", by_mean[0].item(), chance
    for k in SHOTS:
        forgotten, retained, said = few_shot(task, forget, W, text, k, seed).tolist()
        yield f"relearning from {k}", "forget", forgotten, max(chance, said)
        yield f"relearning from {k}", "control: retained", retained, chance
    own, other, sd = residual_similarity(task, forget, W, text)
    yield "similarity", "forget", own, other
    yield "similarity", "control: random pairs", other, other
    yield "similarity", "control: their sd", sd, other


def _reading(row: tuple, sd: float, partial: bool) -> str:
    """One row in a few words; `sd` of random pairs; `partial`: the forgotten classes stay in other domains."""
    gained, knew, lost = row.after - row.chance, row.before - row.chance, row.before - row.after
    if pd.isna(lost):
        return "not measured"
    if row.where.startswith("control") or (partial and row.where == "all images"):
        return "for comparison"
    if row.check == "similarity" and gained < -OVER * sd:
        return "over-forgotten"
    if row.check == "worst cell" or row.where in GROUPS[1:]:
        limit = CELL_LOSS if row.check == "worst cell" else LOSS
        return f"lost {100 * lost:.0f} points" if lost > limit else "kept"
    if knew < KNEW:
        return "tells nothing"
    if gained <= GONE * knew:
        return "gone"
    return "still there" if gained >= STILL * knew else "partly there"


def _verdict(frame: pd.DataFrame, name: str) -> str:
    """The frame in plain sentences."""
    first, *rows = frame.itertuples()  # what prompts find
    verb = {"gone": "no longer find", "partly there": "still find part of", "tells nothing": "never found"}
    parts = [f"Prompts {verb.get(first.reading, 'still find')} {name} ({first.after:.2f}, chance {first.chance:.2f})."]
    for reading, words in (("still there", "Still found by"), ("partly there", "In part by"), ("gone", "Not by")):
        if found := [f"{r.check} ({r.after:.2f})" for r in rows if r.reading == reading]:
            parts.append(f"{words}: {', '.join(found)}.")
    behind = [r for r in rows if not r.check.startswith(("linear probe on f", "domain probe"))]
    if first.reading == "gone" and any(r.reading == "still there" for r in behind):
        parts.append("The head no longer says it, the features still know it: this hides, it does not erase.")
    elif first.reading == "gone":
        parts.append("Nothing tried here finds it behind the projection; f, in front of it, is as it was.")
    if (frame["reading"] == "over-forgotten").any():
        parts.append("Its images are less like their own text than random pairs are, which gives them away.")
    lost = [f"{r.check}, {r.where} ({r.before:.2f} to {r.after:.2f})" for r in rows if r.reading.startswith("lost")]
    return " ".join([*parts, f"Lost: {'; '.join(lost)}." if lost else "What should stay stayed."])
