"""What was really forgotten: attacks that know more than a prompt, and what the edit cost elsewhere.

An edit changes the last projection alone, h = f (W + Delta), so f knows what it knew. Real images
only measure here. Accuracies, precisions and cosines are fractions; "before" is always the same
check on the unedited model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ..core.edit import ProjectionEdit
from ..core.errors import InputError
from ..measure.evaluate import GROUPS, group_masks, one_thread
from ..measure.setting import Setting
from .checks import SHOTS as SHOTS
from .checks import UNKNOWN, findings, neighbour_rows
from .checks import neighbours as neighbours

# Of what a check found over chance before the edit: the share up to which it is gone, and from
# which it is still there.
GONE, STILL = 0.1, 0.5
KNEW = 0.1  # what a check must have found over chance, to tell anything
LOSS, CELL_LOSS = 0.02, 0.1  # a fall worth a word: of a group, of a cell
OVER = 2.0  # standard deviations below random pairs at which a low similarity to its own text gives an image away
# What must be at chance for an edit to be called complete.
COMPLETE = ("prompts", "paraphrases", "translations", "nearest prototype", "linear probe on h")
# Why a check was not measured.
FEW = "a forgotten cell has too few images"
WHY = {
    "prompts": "no image of an unrelated task that should stay",
    "translations": "none is given for what is forgotten",
    "nearest": FEW,
    "relearning": FEW,
    "regained": FEW,
    "linear": "it needs two images of the class and two of others",
    "domain": "it needs two images of the domain and two of others",
    "search": "no image of these classes",
}


@dataclass(frozen=True)
class Audit:
    """frame (check, where, before, after, chance, reading), `neighbours`, and the verdict in plain sentences."""

    frame: pd.DataFrame
    neighbours: pd.DataFrame
    verdict: str

    @property
    def complete(self) -> bool:
        """Whether a linear probe on h is at chance for what was forgotten, and so is all else in COMPLETE."""
        return is_complete(self.frame)


def audit(setting: Setting, edit: ProjectionEdit, strength: float = 1.0, seed: int = 0) -> Audit:
    """Every check of an edit at a strength; a few seconds. Raises InputError where there is no image to forget."""
    task = setting.task
    mask = edit.request.mask(task.grid)
    if not group_masks(mask, task.images)["forget"].any():
        raise InputError(f"no image of {edit.request}: nothing to audit.")
    with one_thread():
        near = neighbours(task, setting.prototypes, edit, strength)
        before, after = (findings(setting, edit, x, seed) for x in (0.0, strength))
    rows = [(*new[:2], old[2], *new[2:]) for old, new in zip(before, after, strict=True)]
    sd = after[-1][2]
    forgotten = {c for c, gone in zip(task.grid.classes, mask.any(1).tolist(), strict=True) if gone}
    rows += neighbour_rows(near, forgotten, 1 / len(mask))
    frame = pd.DataFrame(rows, columns=["check", "where", "before", "after", "chance"])
    partial = not (mask.all(0).any() or mask.all(1).any())
    frame["reading"] = [_reading(row, sd, partial) for row in frame.itertuples()]
    return Audit(frame, near, _verdict(frame, str(edit.request)))


def is_complete(frame: pd.DataFrame) -> bool:
    """Whether all of COMPLETE is at chance in the frame of an audit, the linear probe on h certainly so."""
    rows = _sought(frame)
    rows = rows[rows["check"].isin(COMPLETE)]
    probe = rows.loc[rows["check"] == "linear probe on h", "reading"]
    return bool(
        (probe == "gone").all() and not rows["reading"].isin(("still there", "partly there")).any()
    )


def _sought(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that look for what was forgotten, where it was to be forgotten."""
    where = frame["where"].isin(("forget", "forgotten domains", "all images"))
    return frame[where & (frame["reading"] != "for comparison")]


def _reading(row: tuple, sd: float, partial: bool) -> str:
    """One row in a few words; `sd` of random pairs; `partial`: the forgotten classes stay in other domains."""
    gained, knew, lost = row.after - row.chance, row.before - row.chance, row.before - row.after
    if pd.isna(lost):
        return f"not measured: {WHY.get(row.check.split()[0], 'no images')}"
    if row.where == UNKNOWN:
        return f"not measured: this CLIP did not know them before ({row.before:.2f}, chance {row.chance:.2f})"
    if row.where.startswith("control") or (partial and row.where == "all images"):
        return "for comparison"
    if row.check.startswith("regained"):
        return f"{100 * row.after:+.0f} points"
    if row.check == "similarity" and gained < -OVER * sd:
        return "over-forgotten"
    if row.check in ("worst cell", "neighbours") or row.where in GROUPS[1:]:
        limit = CELL_LOSS if row.check == "worst cell" else LOSS
        return f"lost {100 * lost:.0f} points" if lost > limit else "kept"
    if knew < KNEW:
        return "tells nothing"
    if gained <= GONE * knew:
        return "gone"
    return "still there" if gained >= STILL * knew else "partly there"


def _verdict(frame: pd.DataFrame, name: str) -> str:
    """The frame in plain sentences."""
    first = next(frame.itertuples())  # what prompts find
    verb = {
        "gone": "no longer find",
        "partly there": "still find part of",
        "tells nothing": "never found",
    }
    parts = [
        f"Prompts {verb.get(first.reading, 'still find')} {name} ({first.after:.2f}, chance {first.chance:.2f})."
    ]
    rows = [r for r in frame[1:].itertuples() if r.check != "similarity"]
    for reading, words in (
        ("still there", "Still found by"),
        ("partly there", "In part by"),
        ("gone", "Not by"),
    ):
        if found := [f"{r.check} ({r.after:.2f})" for r in rows if r.reading == reading]:
            parts.append(f"{words}: {', '.join(found)}.")
    if first.reading == "gone":
        parts += _regained(frame)
    behind = [r for r in rows if not r.check.startswith(("linear probe on f", "domain probe"))]
    if first.reading == "gone" and any(r.reading == "still there" for r in behind):
        parts.append(
            "The head no longer says it, the features still know it: this hides, it does not erase."
        )
    elif first.reading == "gone":
        parts.append(
            "Nothing tried here finds it behind the projection; f, in front of it, is as it was."
        )
    return " ".join([*parts, *_completeness(frame), *_likeness(frame), *_costs(frame)])


def _regained(frame: pd.DataFrame) -> Iterator[str]:
    """What few labelled images win back, where it is more than saying the class of everything earns."""
    rows = frame[frame["where"] == "forget"].set_index("check")
    taught = [
        k
        for k in SHOTS
        if rows.loc[f"relearning from {k}", "reading"] in ("still there", "partly there")
    ]
    if taught:
        won = [
            f"{k} {'brings' if k == 1 else 'bring'} {rows.loc[f'regained from {k}', 'after']:+.2f}"
            for k in taught
        ]
        yield f"Labelled images of each forgotten cell bring accuracy back: {', '.join(won)}."


def _completeness(frame: pd.DataFrame) -> Iterator[str]:
    """Whether a linear probe on h is at chance, and with it all else that a complete edit must silence."""
    rows = _sought(frame)
    for probe in rows[rows["check"] == "linear probe on h"].itertuples():
        number = f"({probe.after:.2f}, chance {probe.chance:.2f})"
        found = [
            r.check
            for r in rows[rows["check"].isin(COMPLETE)].itertuples()
            if r.reading.endswith("there")
        ]
        if is_complete(frame):
            yield f"Complete: a linear probe on h is at chance {number}, as are prompts and nearest prototypes."
        elif pd.isna(probe.after):
            yield f"Whether it is complete is not known: no linear probe on h, for {WHY['linear']}."
        elif probe.reading == "gone":
            yield f"Not complete: a linear probe on h is at chance {number}, but not {', '.join(found)}."
        else:
            yield f"Not complete: a linear probe on h is not at chance {number}."


def _likeness(frame: pd.DataFrame) -> Iterator[str]:
    """How like their own text the forgotten images are, against random pairs."""
    row = next(frame[(frame["check"] == "similarity") & (frame["where"] == "forget")].itertuples())
    if row.reading == "over-forgotten":
        yield (
            f"Its images are less like their own text than random pairs are ({row.after:.2f} against {row.chance:.2f}),"
            " which gives them away."
        )
    elif row.reading in ("still there", "partly there"):
        yield f"Its images are closer to their own text than random pairs are ({row.after:.2f}, {row.chance:.2f})."


def _costs(frame: pd.DataFrame) -> Iterator[str]:
    """What was not measured, how neighbours fared, and what was lost."""
    why = {
        r.check: r.reading.partition(": ")[2]
        for r in frame.itertuples()
        if r.reading.startswith("not measured")
    }
    if why:
        names = {check: "the unrelated task" if check == "prompts" else check for check in why}
        yield f"Not measured: {', '.join(f'{names[check]} ({reason})' for check, reason in why.items())}."
    near = frame[frame["check"] == "neighbours"]
    if len(near):
        yield f"Neighbours: {', '.join(f'{r.where} {r.before:.2f} to {r.after:.2f}' for r in near.itertuples())}."
    lost = [r for r in frame.itertuples() if r.reading.startswith("lost")]
    told = [
        f"{r.check}, {r.where.replace('_', ' ')} ({r.before:.2f} to {r.after:.2f})" for r in lost
    ]
    yield f"Lost: {'; '.join(told)}." if told else "What should stay stayed."
