"""Audits by request: of one, of a saved edit, and of every request of a kind, since one proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ..core.concepts import ForgetRequest, all_requests
from ..core.edit import ProjectionEdit, check_method, check_strength, check_towers, fit_edit
from ..core.errors import InputError
from ..images.datasets import ImageSet, encode, grid_of, open_images
from ..images.prompts import check_prompts
from ..measure.evaluate import group_masks, make_task
from ..measure.setting import Setting, SurveyConfig, check_measurable, prepare
from ..measure.survey import LIKE
from ..models.saved import load_edit, read_edit
from .verdict import Audit, audit


def audit_of(
    config: SurveyConfig,
    request: ForgetRequest | None,
    edit_file: Path | None = None,
    strength: float = 1.0,
    towers: str = "visual",
    unrelated: str = "",
) -> tuple[Audit, ProjectionEdit]:
    """The audit of a request, or of the edit in a file, and that edit; request and files are checked before the work.

    `unrelated` is a folder of images of other classes. Raises InputError for anything wrong with
    what is named.
    """
    images, grid = config.inputs()
    method, strength = _checked(config, strength, towers, request and request.on(grid))
    if edit_file:
        request = ForgetRequest(*(read_edit(edit_file)[kind] for kind in ("classes", "domains")))
        load_edit(
            edit_file, config.load()
        )  # refused before minutes of work, where it is of another CLIP
    request = request.on(grid)
    check_measurable(request, grid, images)
    others = _unrelated(unrelated, request.classes or ())
    setting = _with(others, config)
    check_measurable(request, grid, setting.task.images)  # unreadable images may have been left out
    fitted = (
        load_edit(edit_file, setting.clip)
        if edit_file
        else fit_edit(setting.prototypes, request, method, towers)
    )
    return audit(setting, fitted, strength, config.seed), fitted


def audit_all(
    config: SurveyConfig,
    paradigm: str,
    strength: float = 1.0,
    towers: str = "visual",
    unrelated: str = "",
) -> pd.DataFrame:
    """`every_audit` of a paradigm from names alone; `unrelated` as in `audit_of`, without any class of the grid."""
    method, strength = _checked(config, strength, towers, LIKE[paradigm])
    others = _unrelated(unrelated, config.inputs()[1].classes)
    return every_audit(
        _with(others, config), paradigm, method, strength, config.seed, towers=towers
    )


def _checked(
    config: SurveyConfig, strength: float, towers: str, request: ForgetRequest | None
) -> tuple[str | None, float]:
    """(method, strength), and the request's fit with method and towers checked; without one, the edit is made."""
    method = None if config.method == "default" else config.method
    if request:
        check_towers(towers, request)
    if request and method:
        check_method(method, request)
    return method, check_strength(strength)


def _unrelated(folder: str, forgotten: Sequence[str]) -> ImageSet | None:
    """The images of the unrelated task, None without a folder; InputError where they show what is forgotten."""
    if not folder:
        return None
    images = open_images(folder)
    names = grid_of(images).classes
    if shared := {c.casefold() for c in forgotten} & {c.casefold() for c in names}:
        raise InputError(
            f'the unrelated images of {folder} show "{min(shared)}", which is forgotten; leave it out.'
        )
    if len(names) < 2:
        raise InputError(
            f'the unrelated images of {folder} show "{names[0]}" alone; a task needs two classes.'
        )
    return images


def _with(others: ImageSet | None, config: SurveyConfig) -> Setting:
    """Everything a config names, with other images as the unrelated task where there are any."""
    setting = prepare(config, progress=True)
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
    """The frames of the audits of every request of a paradigm that has images, with columns request and complete."""
    frames = []
    for request in tqdm(
        all_requests(setting.task.grid, paradigm), desc=paradigm, disable=not progress
    ):
        if not group_masks(request.mask(setting.task.grid), setting.task.images)["forget"].any():
            continue  # a cell without images cannot be audited
        found = audit(
            setting, fit_edit(setting.prototypes, request, method, **settings), strength, seed
        )
        frames.append(found.frame.assign(complete=found.complete))
        frames[-1].insert(0, "request", str(request))
    if not frames:
        raise InputError(f"no image of any {paradigm} request: nothing to audit.")
    return pd.concat(frames, ignore_index=True)


def audit_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst of each measure of `every_audit`: check, where, requests, before, after, worst, readings.

    Worst is the most that an attack still finds, and the least that is left of what should stay; of
    a similarity, the one farthest from random pairs. Readings count the requests by what was read
    of them.
    """
    frame = frame.assign(
        where=frame["where"].where(frame["check"] != "worst cell", "any that stays")
    )
    rows = []
    for (check, where), part in frame.groupby(["check", "where"], sort=False):
        measured = part.dropna(subset=["before", "after"])
        stays = measured["reading"].str.startswith(("kept", "lost")).any() or where.startswith(
            "control"
        )
        worst = measured["after"].min() if stays else measured["after"].max()
        if check == "similarity":
            worst = measured["after"].get((measured["after"] - measured["chance"]).abs().idxmax())
        counts = (
            part["reading"].str.replace(r"^(lost|not measured).*", r"\1", regex=True).value_counts()
        )
        words = (
            ""
            if check.startswith("regained")
            else ", ".join(f"{n} {name}" for name, n in counts.items())
        )
        rows.append(
            (check, where, len(measured), *measured[["before", "after"]].mean(), worst, words)
        )
    return pd.DataFrame(
        rows, columns=["check", "where", "requests", "before", "after", "worst", "readings"]
    )


def audit_table(frame: pd.DataFrame) -> str:
    """The summary of `every_audit` as a Markdown table, and how many requests were forgotten completely."""
    each = frame.drop_duplicates("request")
    lines = ["| check | where | before | after (worst) | readings |", "|---|---|---|---|---|"]
    for row in audit_summary(frame).itertuples():
        numbers = f"{row.before:.3f} | {row.after:.3f} ({row.worst:.2f})" if row.requests else "|"
        lines.append(
            f"| {row.check} | {row.where.replace('_', ' ')} | {numbers} | {row.readings} |"
        )
    told = f"Complete (a linear probe on h at chance, and prompts and prototypes too): {each['complete'].sum()}"
    return "\n".join([*lines, "", f"{told} of {len(each)} requests."])
