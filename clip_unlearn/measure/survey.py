"""One request proves nothing: the same edit over every request of a kind, mean and worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm

from ..core import InputError
from ..core.concepts import ForgetRequest, all_requests
from ..core.edit import check_fit, fit_edit
from ..core.prototypes import Prototypes
from ..models.markdown import markdown_table
from .evaluate import (
    GROUPS,
    TO_FORGET,
    Task,
    edited_weights,
    evaluate,
    one_thread,
    points,
    search,
)
from .predicted import predicted_change, simulated
from .setting import SurveyConfig, prepare

# A request of each paradigm, whose names do not matter: to check a method before any work.
LIKE = {
    "global": ForgetRequest(("class",)),
    "domain-specific": ForgetRequest(("class",), ("domain",)),
    "whole-domain": ForgetRequest(None, ("domain",)),
}
# Columns of the table, and how it shows mean (worst) of each.
_ACCURACY, _CHANGE = "{:.3f} ({:.2f})", "{:+.1f} ({:+.1f})"
_TITLES = {
    "forget": ("forget", _ACCURACY),
    "paraphrase": ("paraphrased", _ACCURACY),
    "retained": ("retained", _CHANGE),
    "same_class": ("same class", _CHANGE),
    "same_domain": ("same domain", _CHANGE),
    "unrelated": ("unrelated", _CHANGE),
    "never_named": ("never named", _ACCURACY),
    "predicted": ("retained, predicted", _CHANGE),
}
# Average precision of a search, only of complete requests: where it is measured, and how called.
_SEARCHES = {"inside": "search in the domain", "elsewhere": "search elsewhere"}


@one_thread()
def every_request(
    prototypes: Prototypes,
    task: Task,
    paradigm: str,
    method: str | None = None,
    unrelated: Task | None = None,
    strength: float = 1.0,
    progress: bool = True,
    complete: bool = False,
    **settings: float,
) -> pd.DataFrame:
    """One row for every request of a paradigm.

    before, forget, paraphrase: accuracies of what is forgotten; never_named, and that before: of
    classes that the request did not name; other groups: changes in points. predicted: the change of
    what is retained as it was foreseen without images. Of complete requests also the average
    precision of a search, before and after: in the domains that lose the class (inside), and in the
    others (elsewhere).
    """
    rows = []
    foreseen = simulated(prototypes, task)
    requests = all_requests(prototypes.grid, paradigm, complete)
    for request in tqdm(requests, desc=paradigm, disable=not progress):
        edit = fit_edit(prototypes, request, method, **settings)
        frame = evaluate(prototypes, edit, task, sorted({0.0, strength}), unrelated)
        table = frame.pivot(index="group", columns="strength", values=["accuracy", "paraphrase"])
        accuracy, paraphrase = table["accuracy"], table["paraphrase"]
        if "forget" not in table.index:
            continue  # a cell without images cannot be measured

        row = {
            "request": str(request),
            "method": edit.method,
            "before": accuracy.loc["forget", 0.0],
            "forget": accuracy.loc["forget", strength],
            "paraphrase": paraphrase.loc["forget", strength],
        }
        for group in table.index.difference(["forget"]):
            before, after = accuracy.loc[group, 0.0], accuracy.loc[group, strength]
            row[group] = points(before, after)
            if group in TO_FORGET:
                row[f"{group} before"], row[group] = before, after
        if complete:
            before = search(task, edit.request, *edited_weights(prototypes, edit, 0.0))
            after = search(task, edit.request, *edited_weights(prototypes, edit, strength))
            for where in _SEARCHES:
                row[f"{where} before"] = getattr(before, where)
                row[where] = getattr(after, where)
        if foreseen is not None:
            row["predicted"] = predicted_change(prototypes, edit, foreseen, strength)
        rows.append(row)
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> dict[str, float | str | int]:
    """Mean and worst over the rows of `every_request`: highest forget accuracy, largest losses."""
    result: dict[str, float | str | int] = {
        "requests": len(frame),
        "method": frame["method"].iloc[0],
    }
    for column in ("before", "forget", "paraphrase", *GROUPS[1:], "predicted"):
        if column not in frame:
            continue
        values = frame[column].dropna()
        result[column] = values.mean()
        if column in (*TO_FORGET, "paraphrase"):
            result[f"{column} worst"] = values.max()
        elif column != "before":
            result[f"{column} worst"] = values.min()
    for where in _SEARCHES:
        if where in frame:
            result[f"{where} before"] = frame[f"{where} before"].mean()
            result[where] = frame[where].mean()
            result[f"{where} worst"] = (
                frame[where].max() if where == "inside" else frame[where].min()
            )
    return result


def survey_all(
    config: SurveyConfig,
    paradigms: Sequence[str],
    strength: float = 1.0,
    towers: str = "visual",
    complete: bool = False,
) -> tuple[pd.DataFrame, str]:
    """Every request of every paradigm: one row each, and the table of means (worst) in Markdown.

    With one domain only global requests leave something to retain; the others are left out.
    `complete` adds every class in every domain again, from a search too.
    """
    if complete:
        check_fit(replace(LIKE["domain-specific"], complete=True), config.chosen_method, towers)
    for paradigm in paradigms:
        check_fit(LIKE[paradigm], config.chosen_method, towers)
    _, grid = config.inputs()
    domains = grid.domains
    if len(domains) == 1:
        paradigms = [paradigm for paradigm in paradigms if paradigm == "global"]
    if not paradigms:
        raise InputError(
            f'the only domain is "{domains[0]}": a request for a domain needs another.'
        )

    requests = [request for paradigm in paradigms for request in all_requests(grid, paradigm)]
    if complete and len(domains) > 1:
        requests += all_requests(grid, "domain-specific", complete=True)
    s = prepare(config, progress=True, requests=requests)

    frames, summaries = [], []
    for paradigm in paradigms:
        frame = every_request(
            s.prototypes,
            s.task,
            paradigm,
            config.chosen_method,
            s.unrelated,
            strength,
            towers=towers,
        )
        frames.append(frame.assign(paradigm=paradigm))
        summaries.append({**summary(frame), "kind": paradigm})
    if complete and len(domains) > 1:
        frame = every_request(
            s.prototypes,
            s.task,
            "domain-specific",
            config.chosen_method,
            s.unrelated,
            strength,
            complete=True,
        )
        frames.append(frame.assign(paradigm="domain-specific"))
        summaries.append({**summary(frame), "kind": "complete"})
    return pd.concat(frames, ignore_index=True), markdown(summaries)


def markdown(summaries: Sequence[Mapping]) -> str:
    """A Markdown table of summaries: mean accuracies and changes in points, the worst in brackets.

    An accuracy or a change that was not measured is left empty. A search has columns if one of the
    summaries has it.
    """
    searches = [where for where in _SEARCHES if any(where in row for row in summaries)]
    header = ["requests", "edit", "before", *(title for title, _ in _TITLES.values())]
    header += [_SEARCHES[where] for where in searches]
    rows = []
    for row in summaries:
        cells = [f"{row['requests']} {row['kind']}", row["method"], f"{row['before']:.3f}"]
        for column, (_, form) in _TITLES.items():
            if column in row:
                cells.append(form.format(row[column], row[f"{column} worst"]))
            else:
                cells.append("")
        for where in searches:
            if where in row:
                after = _ACCURACY.format(row[where], row[f"{where} worst"])
                cells.append(f"{row[f'{where} before']:.3f} → {after}")
            else:
                cells.append("")
        rows.append(cells)
    return markdown_table(header, rows, texts=2)
