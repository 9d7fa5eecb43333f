"""Audits by request: of one request, of a saved edit, and of every request of a paradigm.

One request proves nothing, so `every_audit` makes them all, and `audit_summary` gives mean and
worst of each check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ..core import InputError
from ..core.applied import ProjectionEdit, check_strength
from ..core.concepts import ForgetRequest, all_requests
from ..core.edit import check_fit, fit_edit
from ..images.datasets import ImageSet, encode, grid_of, open_images
from ..images.prompts import check_prompts
from ..measure.evaluate import group_masks, make_task
from ..measure.setting import Setting, SurveyConfig, check_measurable, prepare
from ..measure.survey import LIKE
from ..models.markdown import markdown_table
from ..models.saved import load_edit, read_edit
from .verdict import Audit, audit, should_stay


def audit_of(
    config: SurveyConfig,
    request: ForgetRequest | None,
    edit_file: Path | None = None,
    strength: float = 1.0,
    towers: str = "visual",
    unrelated: str = "",
) -> tuple[Audit, ProjectionEdit]:
    """The audit of a request, or of the edit in a file, and that edit.

    `unrelated` is a folder of images of other classes. Everything named is checked before the work
    begins: raises InputError for anything wrong with it.
    """
    # What can be refused in a moment.
    images, grid = config.inputs()
    strength = check_strength(strength)
    if edit_file:
        request = _request_of(edit_file)
        load_edit(edit_file, config.load())  # refused here if it is an edit of another CLIP
        request = request.on(grid)
    else:
        request = request.on(grid)
        check_fit(request, config.chosen_method, towers)
    check_measurable(request, grid, images)
    others = _unrelated(unrelated, request.classes or ())

    # What takes minutes.
    setting = _prepared(config, others, [request])
    check_measurable(request, grid, setting.task.images)  # unreadable images may be left out
    if edit_file:
        edit = load_edit(edit_file, setting.clip)
    else:
        edit = fit_edit(setting.prototypes, request, config.chosen_method, towers)
    return audit(setting, edit, strength, config.seed), edit


def audit_all(
    config: SurveyConfig,
    paradigm: str,
    strength: float = 1.0,
    towers: str = "visual",
    unrelated: str = "",
) -> pd.DataFrame:
    """`every_audit` of a paradigm from names alone.

    `unrelated` is a folder as in `audit_of`; it may show no class of the grid.
    """
    check_fit(LIKE[paradigm], config.chosen_method, towers)
    strength = check_strength(strength)
    _, grid = config.inputs()
    others = _unrelated(unrelated, grid.classes)

    setting = _prepared(config, others, all_requests(grid, paradigm))
    return every_audit(
        setting, paradigm, config.chosen_method, strength, config.seed, towers=towers
    )


def _request_of(edit_file: Path) -> ForgetRequest:
    """The request that the edit in a file was fitted for."""
    note = read_edit(edit_file)
    return ForgetRequest(note["classes"], note["domains"], note.get("complete", False))


def _unrelated(folder: str, forgotten: Sequence[str]) -> ImageSet | None:
    """The images of the unrelated task; None without a folder.

    Raises InputError if they show what is forgotten, or one class alone.
    """
    if not folder:
        return None
    images = open_images(folder)
    names = grid_of(images).classes
    shown = {name.casefold() for name in names}
    forgotten_too = shown & {name.casefold() for name in forgotten}
    if forgotten_too:
        raise InputError(
            f'the unrelated images of {folder} show "{min(forgotten_too)}", which is forgotten;'
            " leave it out."
        )
    if len(names) < 2:
        raise InputError(
            f'the unrelated images of {folder} show "{names[0]}" alone; a task needs two classes.'
        )
    return images


def _prepared(
    config: SurveyConfig, others: ImageSet | None, requests: Sequence[ForgetRequest]
) -> Setting:
    """Everything a config names, with other images as the unrelated task if there are any."""
    setting = prepare(config, progress=True, requests=requests)
    if others is None:
        return setting
    grid = grid_of(others)
    check_prompts(setting.clip.tokenizer, grid)
    encoded = encode(setting.clip, others, config.skip_unreadable, workers=config.workers)
    return replace(setting, unrelated=make_task(setting.clip, grid, encoded))


def every_audit(
    setting: Setting,
    paradigm: str,
    method: str | None = None,
    strength: float = 1.0,
    seed: int = 0,
    progress: bool = True,
    **settings: float,
) -> pd.DataFrame:
    """The frames of the audits of every request of a paradigm, one below the other.

    Two columns are added: request, and complete. Requests without images are left out. Raises
    InputError if that leaves none.
    """
    task = setting.task
    requests = all_requests(task.grid, paradigm)
    frames = []
    for request in tqdm(requests, desc=paradigm, disable=not progress):
        groups = group_masks(request.mask(task.grid), task.images)
        if not groups["forget"].any():
            continue
        edit = fit_edit(setting.prototypes, request, method, **settings)
        result = audit(setting, edit, strength, seed)
        frame = result.frame.assign(complete=result.complete)
        frame.insert(0, "request", str(request))
        frames.append(frame)
    if not frames:
        raise InputError(f"no image of any {paradigm} request: nothing to audit.")
    return pd.concat(frames, ignore_index=True)


def audit_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst of each check of `every_audit`, a row a check.

    Columns: check, where, requests (how many were measured), before, after, worst, readings (how
    many requests were read as what). Worst is the most that an attack still finds, and the least
    that is left of what should stay; of a similarity, the one farthest from random pairs.
    """
    # Each request has a worst cell of its own.
    where = frame["where"].where(frame["check"] != "worst cell", "any that stays")
    frame = frame.assign(where=where)

    rows = []
    for (check, place), part in frame.groupby(["check", "where"], sort=False):
        measured = part.dropna(subset=["before", "after"])
        rows.append(
            {
                "check": check,
                "where": place,
                "requests": len(measured),
                "before": measured["before"].mean(),
                "after": measured["after"].mean(),
                "worst": _worst(check, place, measured),
                "readings": _readings(check, part["reading"]),
            }
        )
    return pd.DataFrame(rows)


def _worst(check: str, where: str, measured: pd.DataFrame) -> float:
    """The value after the edit that speaks most against it, over the requests measured."""
    after = measured["after"]
    if check == "similarity":
        distance = (after - measured["chance"]).abs()
        return after.get(distance.idxmax())
    stays = should_stay(measured["reading"]).any() or where.startswith("control")
    return after.min() if stays else after.max()


def _readings(check: str, readings: pd.Series) -> str:
    """How many requests have each reading; "" for a gain, of which each is another number."""
    if check.startswith("regained"):
        return ""
    # Without the number of points or the reason that follows.
    kinds = readings.str.replace(r"^(lost|not measured).*", r"\1", regex=True)
    counts = kinds.value_counts()
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def audit_table(frame: pd.DataFrame) -> str:
    """The summary of `every_audit` in Markdown, and how many requests are complete."""
    header = ("check", "where", "before", "after (worst)", "readings")
    rows = []
    for row in audit_summary(frame).itertuples():
        where = row.where.replace("_", " ")
        before = after = ""
        if row.requests:
            before = f"{row.before:.3f}"
            after = f"{row.after:.3f} ({row.worst:.2f})"
        rows.append((row.check, where, before, after, row.readings))
    table = markdown_table(header, rows, texts=len(header))

    each = frame.drop_duplicates("request")
    complete = each["complete"].sum()
    meaning = "a linear probe on h at chance, and prompts and prototypes too"
    return f"{table}\n\nComplete ({meaning}): {complete} of {len(each)} requests."
