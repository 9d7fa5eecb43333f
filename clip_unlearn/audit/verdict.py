"""What was really forgotten: the checks of an audit before and after an edit, and what they mean.

An edit changes the last projection alone, h = f (W + Delta), so f knows what it knew before. Real
images are used here, and only to measure. Accuracies, precisions and cosines are fractions;
"before" is always the same check on the unedited model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd

from ..core import InputError
from ..core.applied import ProjectionEdit
from ..core.concepts import ForgetRequest
from ..measure.evaluate import SHOULD_STAY, group_masks, one_thread
from ..measure.setting import Setting
from .checks import (
    EVERYWHERE,
    FORGET,
    INSIDE,
    RANDOM_SD,
    SHOTS,
    SOUGHT,
    UNKNOWN,
    Comparison,
    Finding,
    findings,
    neighbour_rows,
    neighbours,
)

# What a check found over chance before the edit is its knowledge. Up to this share of it is "gone",
# and from that share on it is "still there".
GONE = 0.1
STILL = 0.5
KNEW = 0.1  # a check with less knowledge than this tells nothing
# A fall of more than this is a loss: of a group of images, of a single cell.
LOSS = 0.02
CELL_LOSS = 0.1
# An image gives itself away if it is less like its own text than random pairs are, by so many
# standard deviations.
OVER = 2.0
# What must be at chance for an edit to be called complete.
COMPLETE = ("prompts", "paraphrases", "translations", "nearest prototype", "linear probe on h")
STILL_FOUND = ("still there", "partly there")  # readings
# Why a check was not measured, by the first word of its name.
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
    """What an audit found out about one edit at one strength."""

    # A row for each check: check, where, before, after, chance, reading.
    frame: pd.DataFrame
    # A row for each cell that stays, as `checks.neighbours` makes them.
    neighbours: pd.DataFrame
    # What the numbers mean, in plain sentences.
    verdict: str

    @property
    def complete(self) -> bool:
        """Whether all of COMPLETE is at chance for what was forgotten; see `is_complete`."""
        return is_complete(self.frame)


def audit(setting: Setting, edit: ProjectionEdit, strength: float = 1.0, seed: int = 0) -> Audit:
    """Make every check of an edit at a strength; a few seconds.

    Raises InputError if there is no image to forget.
    """
    task = setting.task
    mask = edit.request.mask(task.grid)
    if not group_masks(mask, task.images)["forget"].any():
        raise InputError(f"no image of {edit.request}: nothing to audit.")

    with one_thread():
        cells = neighbours(task, setting.prototypes, edit, strength)
        before = findings(setting, edit, 0.0, seed)
        after = findings(setting, edit, strength, seed)

    # Side by side.
    classes = task.grid.classes
    forgotten = {classes[c] for c in mask.any(1).nonzero().flatten()}
    rows = _side_by_side(before, after)
    rows += neighbour_rows(cells, forgotten, 1 / len(classes))
    frame = pd.DataFrame(rows, columns=Comparison._fields)

    # What each row means.
    (sd,) = (row.after for row in rows if row.where == RANDOM_SD)
    whole_domain = mask.all(0).any()
    whole_class = mask.all(1).any()
    partial = not (whole_domain or whole_class)
    frame["reading"] = [_reading(row, sd, partial) for row in rows]
    return Audit(frame, cells, _verdict(frame, edit.request))


def _side_by_side(before: list[Finding], after: list[Finding]) -> list[Comparison]:
    """The same checks at two strengths; chance is that of the edited model."""
    rows = []
    for old, new in zip(before, after, strict=True):
        row = Comparison(
            check=new.check,
            where=new.where,
            before=old.value,
            after=new.value,
            chance=new.chance,
        )
        rows.append(row)
    return rows


def is_complete(frame: pd.DataFrame) -> bool:
    """Whether nothing in COMPLETE still finds what was forgotten, in the frame of an audit.

    The linear probe on h must have been measured, and be at chance.
    """
    rows = _sought(frame)
    rows = rows[rows["check"].isin(COMPLETE)]
    probes = rows[rows["check"] == "linear probe on h"]
    probe_gone = (probes["reading"] == "gone").all()
    any_found = rows["reading"].isin(STILL_FOUND).any()
    return bool(probe_gone and not any_found)


def should_stay(readings: pd.Series) -> pd.Series:
    """(rows,) bool: which readings are about something that should have stayed."""
    return readings.str.startswith(("kept", "lost"))


def _sought(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that look for what was forgotten, where it was to be forgotten."""
    attack = frame["where"].isin(SOUGHT)
    return frame[attack & (frame["reading"] != "for comparison")]


# ---- one row in a few words


def _reading(row: Comparison, sd: float, partial: bool) -> str:
    """What one row means.

    `sd` is that of random pairs; `partial` says that the forgotten classes stay in other domains.
    """
    if pd.isna(row.before) or pd.isna(row.after):
        kind = row.check.split()[0]
        return f"not measured: {WHY.get(kind, 'no images')}"
    if row.where == UNKNOWN:
        numbers = f"({row.before:.2f}, chance {row.chance:.2f})"
        return f"not measured: this CLIP did not know them before {numbers}"
    if row.where.startswith("control") or (partial and row.where == EVERYWHERE):
        return "for comparison"
    if row.check.startswith("regained"):
        return f"{100 * row.after:+.0f} points"
    if row.check == "similarity" and row.after - row.chance < -OVER * sd:
        return "over-forgotten"
    if row.check in ("worst cell", "neighbours") or row.where in SHOULD_STAY:
        return _loss(row)
    return _remainder(row)


def _loss(row: Comparison) -> str:
    """What happened to something that should have stayed."""
    lost = row.before - row.after
    limit = CELL_LOSS if row.check == "worst cell" else LOSS
    if lost > limit:
        return f"lost {100 * lost:.0f} points"
    return "kept"


def _remainder(row: Comparison) -> str:
    """How much an attack still finds of what it found before."""
    knew = row.before - row.chance
    knows = row.after - row.chance
    if knew < KNEW:
        return "tells nothing"
    if knows <= GONE * knew:
        return "gone"
    return "still there" if knows >= STILL * knew else "partly there"


# ---- all rows in plain sentences


def _verdict(frame: pd.DataFrame, request: ForgetRequest) -> str:
    """The frame of an audit in plain sentences."""
    sentences = [
        _prompts(frame, str(replace(request, complete=False))),
        *(_search_inside(frame) if request.complete else ()),
        *_never_named(frame),
        *_attacks(frame),
        *_regained(frame),
        *_hiding(frame),
        *_completeness(frame),
        *_likeness(frame),
        *_not_measured(frame),
        *_neighbours(frame),
        _losses(frame),
    ]
    return " ".join(sentences)


# What prompts do, by the reading of their row; they "still find" what has no entry here.
_VERBS = {
    "gone": "no longer find",
    "partly there": "still find part of",
    "tells nothing": "never found",
}


def _prompts(frame: pd.DataFrame, request: str) -> str:
    """What prompts still find of what was forgotten: the first row."""
    prompts = frame.iloc[0]
    verb = _VERBS.get(prompts["reading"], "still find")
    return f"Prompts {verb} {request} ({prompts['after']:.2f}, chance {prompts['chance']:.2f})."


def _search_inside(frame: pd.DataFrame) -> Iterator[str]:
    """What a search in the forgotten domains finds, of a request that it should not find."""
    rows = frame[(frame["check"] == "search") & (frame["where"] == INSIDE)]
    for row in rows[~rows["reading"].str.startswith("not measured")].itertuples():
        yield (
            f"It was to go from a search too, which inside these domains shows {row.after:.2f} "
            f"where it showed {row.before:.2f} (chance {row.chance:.2f}): {row.reading}."
        )


def _never_named(frame: pd.DataFrame) -> Iterator[str]:
    """What prompts still find of other classes in a domain that was to be forgotten whole."""
    prompts = (frame["check"] == "prompts") & (frame["where"] == "never_named")
    for row in frame[prompts].itertuples():
        verb = _VERBS.get(row.reading, "still find")
        numbers = f"({row.after:.2f}, chance {row.chance:.2f})"
        yield f"They {verb} other classes there, which the request did not name {numbers}."


def _prompts_are_silent(frame: pd.DataFrame) -> bool:
    return frame["reading"].iloc[0] == "gone"


def _other_attacks(frame: pd.DataFrame) -> pd.DataFrame:
    """All rows but that of prompts, those of similarity, and those of classes never named."""
    rows = frame.iloc[1:]
    attacks = (rows["check"] != "similarity") & (rows["where"] != "never_named")
    return rows[attacks]


def _attacks(frame: pd.DataFrame) -> Iterator[str]:
    """Which other checks find it, and which do not."""
    starts = {
        "still there": "Still found by",
        "partly there": "In part by",
        "gone": "Not by",
    }
    rows = _other_attacks(frame)
    for reading, start in starts.items():
        same = rows[rows["reading"] == reading]
        if len(same):
            names = [f"{row.check} ({row.after:.2f})" for row in same.itertuples()]
            yield f"{start}: {', '.join(names)}."


def _regained(frame: pd.DataFrame) -> Iterator[str]:
    """What few labelled images win back, if more than giving one answer to everything earns."""
    if not _prompts_are_silent(frame):
        return
    rows = frame[frame["where"] == FORGET].set_index("check")
    gains = []
    for k in SHOTS:
        if rows.loc[f"relearning from {k}", "reading"] in STILL_FOUND:
            verb = "brings" if k == 1 else "bring"
            gain = rows.loc[f"regained from {k}", "after"]
            gains.append(f"{k} {verb} {gain:+.2f}")
    if gains:
        yield f"Labelled images of each forgotten cell bring accuracy back: {', '.join(gains)}."


def _hiding(frame: pd.DataFrame) -> Iterator[str]:
    """Whether prompts are silent because it is hidden, or because nothing finds it in h."""
    if not _prompts_are_silent(frame):
        return
    rows = _other_attacks(frame)
    in_front = rows["check"].str.startswith(("linear probe on f", "domain probe"))
    if (rows["reading"][~in_front] == "still there").any():
        yield (
            "The head no longer says it, the features still know it: this hides, it does not erase."
        )
    else:
        yield "Nothing tried here finds it behind the projection; f, in front of it, is as it was."


def _completeness(frame: pd.DataFrame) -> Iterator[str]:
    """Whether a linear probe on h is at chance, and all else that a complete edit must silence."""
    rows = _sought(frame)
    found = rows["check"].isin(COMPLETE) & rows["reading"].isin(STILL_FOUND)
    finders = ", ".join(rows["check"][found])
    for probe in rows[rows["check"] == "linear probe on h"].itertuples():
        numbers = f"({probe.after:.2f}, chance {probe.chance:.2f})"
        at_chance = f"a linear probe on h is at chance {numbers}"
        if is_complete(frame):
            yield f"Complete: {at_chance}, as are prompts and nearest prototypes."
        elif pd.isna(probe.after):
            reason = WHY["linear"]
            yield f"Whether it is complete is not known: no linear probe on h, for {reason}."
        elif probe.reading == "gone":
            yield f"Not complete: {at_chance}, but not {finders}."
        else:
            yield f"Not complete: a linear probe on h is not at chance {numbers}."


def _likeness(frame: pd.DataFrame) -> Iterator[str]:
    """How like their own text the forgotten images are, against random pairs."""
    similarity = (frame["check"] == "similarity") & (frame["where"] == FORGET)
    row = frame[similarity].iloc[0]
    own = f"{row['after']:.2f}"
    random = f"{row['chance']:.2f}"
    if row["reading"] == "over-forgotten":
        yield (
            f"Its images are less like their own text than random pairs are ({own} against"
            f" {random}), which gives them away."
        )
    elif row["reading"] in STILL_FOUND:
        yield f"Its images are closer to their own text than random pairs are ({own}, {random})."


def _not_measured(frame: pd.DataFrame) -> Iterator[str]:
    """Which checks could not be made, each with the reason."""
    rows = frame[frame["reading"].str.startswith("not measured")]
    reasons = {row.check: row.reading.partition(": ")[2] for row in rows.itertuples()}
    missing = []
    for check, reason in reasons.items():
        name = "the unrelated task" if check == "prompts" else check
        missing.append(f"{name} ({reason})")
    if missing:
        yield f"Not measured: {', '.join(missing)}."


def _neighbours(frame: pd.DataFrame) -> Iterator[str]:
    """How the cells that stay fared, near and far from what was forgotten."""
    rows = frame[frame["check"] == "neighbours"]
    changes = []
    for row in rows.itertuples():
        changes.append(f"{row.where} {row.before:.2f} to {row.after:.2f}")
    if changes:
        yield f"Neighbours: {', '.join(changes)}."


def _losses(frame: pd.DataFrame) -> str:
    """What should have stayed and did not."""
    rows = frame[frame["reading"].str.startswith("lost")]
    losses = []
    for row in rows.itertuples():
        where = row.where.replace("_", " ")
        numbers = f"({row.before:.2f} to {row.after:.2f})"
        losses.append(f"{row.check}, {where} {numbers}")
    if losses:
        return f"Lost: {'; '.join(losses)}."
    return "What should stay stayed."
