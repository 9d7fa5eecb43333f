"""One request proves nothing: the same edit over every request of a kind, mean and worst."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from tqdm.auto import tqdm

from ..core.concepts import ForgetRequest, all_requests
from ..core.edit import check_method, check_towers, fit_edit
from ..core.errors import InputError
from ..core.prototypes import Prototypes
from .evaluate import GROUPS, Task, evaluate, one_thread
from .setting import SurveyConfig, prepare


@one_thread()
def every_request(
    prototypes: Prototypes,
    task: Task,
    paradigm: str,
    method: str | None = None,
    unrelated: Task | None = None,
    strength: float = 1.0,
    progress: bool = True,
    **settings: float,
) -> pd.DataFrame:
    """One row for every request of a paradigm: forget before and after, and changes of the other groups, in points."""
    rows = []
    for request in tqdm(
        all_requests(prototypes.grid, paradigm), desc=paradigm, disable=not progress
    ):
        edit = fit_edit(prototypes, request, method, **settings)
        frame = evaluate(prototypes, edit, task, sorted({0.0, strength}), unrelated)
        table = frame.pivot(index="group", columns="strength", values=["accuracy", "paraphrase"])
        if "forget" not in table.index:
            continue  # a cell without images cannot be measured
        row = {
            "request": str(request),
            "method": edit.method,
            "before": table.loc["forget", ("accuracy", 0.0)],
        }
        row["forget"] = table.loc["forget", ("accuracy", strength)]
        row["paraphrase"] = table.loc["forget", ("paraphrase", strength)]
        for group in table.index.difference(["forget"]):
            before, after = table.loc[group, "accuracy"][[0.0, strength]]
            row[group] = 100 * (after - before)
        rows.append(row)
    return pd.DataFrame(rows)


def summary(frame: pd.DataFrame) -> dict[str, float | str | int]:
    """Mean and worst over the rows of `every_request`: the highest forget accuracy, the largest losses."""
    out: dict[str, float | str | int] = {"requests": len(frame), "method": frame["method"].iloc[0]}
    for column in ("before", "forget", "paraphrase", *GROUPS[1:]):
        if column in frame:
            values = frame[column].dropna()
            out[column] = values.mean()
            if column != "before":
                out[f"{column} worst"] = (
                    values.max() if column in ("forget", "paraphrase") else values.min()
                )
    return out


# A request of each paradigm, whose names do not matter.
LIKE = {
    "global": ForgetRequest(("class",)),
    "domain-specific": ForgetRequest(("class",), ("domain",)),
    "whole-domain": ForgetRequest(None, ("domain",)),
}


def survey_all(
    config: SurveyConfig, paradigms: Sequence[str], strength: float = 1.0, towers: str = "visual"
) -> tuple[pd.DataFrame, str]:
    """Every request of every paradigm: one row each, and the table of means (worst) in Markdown.

    Where there is one domain alone, only global requests leave something to keep; the others are
    left out.
    """
    method, frames = None if config.method == "default" else config.method, []
    for paradigm in paradigms:
        check_towers(towers, LIKE[paradigm])
        if method:
            check_method(method, LIKE[paradigm])
    s = prepare(config, progress=True)
    if len(s.prototypes.grid.domains) == 1:
        paradigms = [paradigm for paradigm in paradigms if paradigm == "global"]
    if not paradigms:
        raise InputError(
            f'the only domain is "{s.prototypes.grid.domains[0]}": a request for a domain needs another.'
        )
    for paradigm in paradigms:
        frame = every_request(
            s.prototypes, s.task, paradigm, method, s.unrelated, strength, towers=towers
        )
        frames.append(frame.assign(paradigm=paradigm))
    return pd.concat(frames, ignore_index=True), markdown(
        [summary(f) | {"kind": f["paradigm"][0]} for f in frames]
    )


def markdown(rows: Sequence[dict]) -> str:
    """A Markdown table of summaries: accuracies as fractions, changes in points, the worst request in brackets."""
    titles = {
        "forget": "forget", "paraphrase": "paraphrased", "retained": "retained", "same_class": "same class",
        "same_domain": "same domain", "unrelated": "unrelated",
    }  # fmt: skip
    lines = [
        "| requests | edit | before | " + " | ".join(titles.values()) + " |",
        "|---" * (3 + len(titles)) + "|",
    ]
    for row in rows:
        cells = []
        for column in titles:
            form = "{:.3f} ({:.2f})" if column in ("forget", "paraphrase") else "{:+.1f} ({:+.1f})"
            cells.append(form.format(row[column], row[f"{column} worst"]) if column in row else "")
        lines.append(
            f"| {row['requests']} {row['kind']} | {row['method']} | {row['before']:.3f} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)
