"""Many reports: every combination of classes, domains, strengths and methods, with a table and a page of links."""

from __future__ import annotations

import hashlib
import html
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click
import pandas as pd

from .. import __version__
from ..core.errors import InputError, first_line
from ..images.datasets import features_key
from ..measure.setting import SurveyConfig, prepare
from ..models.clip import Clip
from ..models.files import writable_home
from .analysis import ReportConfig
from .report import absolute, write_report

FINISHED = "finished.json"
_GROUPS = ("retained", "same_class", "same_domain", "unrelated")
COLUMNS = [
    *(
        "name",
        "status",
        "classes",
        "domains",
        "method",
        "strength",
        "before",
        "forget",
        "paraphrased",
    ),
    *_GROUPS,
    *("H", "seconds", "report", "error"),
]


@dataclass(frozen=True)
class Combination:
    """One report of a sweep: its parameters, not yet validated, and the folder name that they decide."""

    parameters: dict

    @property
    def name(self) -> str:
        """Words that a person reads, and a hash of all parameters (but for what changes no number)."""
        p = absolute(self.parameters)
        what, where = (("+".join(p[k]) or f"all {k}") for k in ("classes", "domains"))
        readable = _plain(f"{what} in {where} {p['method']} {p['strength']:g}")[:80].strip("-")
        decisive = {k: v for k, v in p.items() if k != "workers"} | {"version": __version__}
        return f"{readable}-{hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]}"


def _plain(text: str) -> str:
    """A text as a folder name: letters and digits of every script, hyphens for the rest."""
    return re.sub(r"[^\w.+]+", "-", unicodedata.normalize("NFC", text))


def combinations(shared: Mapping, axes: Mapping[str, Sequence]) -> Iterator[Combination]:
    """Every combination of the axes classes, domains, methods, strengths; () on an axis is all of its names.

    All classes in all domains is no request, so that corner of a sweep is left out.
    """
    for classes, domains, method, strength in product(
        *(axes[k] for k in ("classes", "domains", "methods", "strengths"))
    ):
        if classes or domains:
            own = {
                "classes": tuple(classes),
                "domains": tuple(domains),
                "method": method,
                "strength": strength,
            }
            yield Combination({**shared, **own})


def run_sweep(
    shared: Mapping,
    axes: Mapping[str, Sequence],
    every: tuple[bool, bool],
    out: Path,
    again: bool = False,
    say: Callable[[str], None] = click.echo,
) -> list[str]:
    """Write each report that is not finished yet, and the table and page of all; returns the names that failed.

    `shared` are parameters of every report; `every` puts each class, each domain of the grid on its
    axis. Raises InputError, before anything is written, for what would stop every combination:
    model, images, an empty sweep.
    """
    known = {k: v for k, v in shared.items() if k in SurveyConfig.__dataclass_fields__}
    writable_home(out)
    names = SurveyConfig(**known).inputs()[1]
    axes = {
        **axes,
        "classes": list(axes["classes"]) or [()],
        "domains": list(axes["domains"]) or [()],
    }
    for axis, each, found in zip(
        ("classes", "domains"), every, (names.classes, names.domains), strict=True
    ):
        axes[axis] = [(name,) for name in found] if each else axes[axis]
    todo = list({c.name: c for c in combinations(_all_parameters(shared), axes)}.values())
    if not todo:
        raise InputError(
            "nothing to forget: name classes, domains, or both, or take --every-class or --every-domain."
        )
    config = SurveyConfig(**known)
    setting = prepare(
        config, progress=True
    )  # the slow steps, once; every report finds them in the cache
    inputs = _inputs(setting.clip, config)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    for number, combination in enumerate(todo, 1):
        rows.append(_one(combination, out, again, inputs))
        _write_overview(pd.DataFrame(rows, columns=COLUMNS), len(todo), out)
        row = rows[-1]
        tail = f": {row['error']}" if row["status"] == "failed" else f", {row['seconds']:.1f} s"
        say(f"[{number}/{len(todo)}] {row['name']}  {row['status']}{tail}")
    failed = [row["name"] for row in rows if row["status"] == "failed"]
    say(f"\n{len(rows) - len(failed)} of {len(rows)} reports")
    say(f"table    {out / 'summary.csv'}\npage     {out / 'index.html'}")
    if failed:
        say("failed   " + "\n         ".join(failed))
    return failed


def _all_parameters(shared: Mapping) -> dict:
    """`shared` over the defaults of a report: a parameter left out and one given at its default are the same."""
    defaults = {name: f.default for name, f in ReportConfig.__dataclass_fields__.items()}
    return {**defaults, **shared}


def _inputs(clip: Clip, config: SurveyConfig) -> str:
    """A hash of what the parameters only name: weights, images, and the files of prompts and class names."""
    digest = hashlib.sha256(features_key(clip, config.inputs()[0]).encode())
    for file in map(Path, (config.prompts, config.class_names)):
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()[:16]


def _finished(folder: Path, inputs: str) -> bool:
    """Whether a report of these very inputs lies there."""
    if not ((folder / FINISHED).is_file() and (folder / "metrics.json").is_file()):
        return False
    return json.loads((folder / FINISHED).read_text(encoding="utf-8")).get("inputs") == inputs


def _one(combination: Combination, out: Path, again: bool, inputs: str) -> dict:
    """One row of the table: of a finished report, of a new one, or of one that failed."""
    p, name, start = combination.parameters, combination.name, time.perf_counter()
    row = {"name": name, "method": p["method"], "strength": p["strength"]}
    row |= {k: "; ".join(p[k]) or "all" for k in ("classes", "domains")}
    done = out / name / FINISHED
    try:
        if not again and _finished(out / name, inputs):
            found, status = (
                json.loads((out / name / "metrics.json").read_text(encoding="utf-8")),
                "kept",
            )
        else:
            done.unlink(missing_ok=True)
            found, status = write_report(ReportConfig(**p), out / name, progress=False), "made"
            told = absolute(p) | {"inputs": inputs}
            done.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except (
        Exception
    ) as error:  # whatever stops one report is told in its row, and the next one is made
        return {
            **row,
            "status": "failed",
            "seconds": time.perf_counter() - start,
            "error": first_line(error),
        }
    return {
        **row,
        "status": status,
        **_numbers(found),
        "report": f"{name}/report.html",
        "error": "",
    }


def _numbers(found: Mapping) -> dict:
    """The columns that metrics.json fills: accuracies of what is forgotten, changes in points of the rest."""
    groups = {name: g for name, g in found["groups"].items() if g}
    changes = {g: 100 * (groups[g]["after"] - groups[g]["before"]) for g in _GROUPS if g in groups}
    accuracy = {"before": groups["forget"]["before"], "forget": groups["forget"]["after"]}
    return {
        "method": found["method"],
        **accuracy,
        "paraphrased": found["paraphrase"]["after"],
        **changes,
        "H": found["H"],
        "seconds": found["seconds"]["total"],
    }


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>clip-unlearn sweep</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222 }}
table {{ border-collapse: collapse }}
th, td {{ padding: .3em .7em; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child, td:first-child, .text {{ text-align: left }}
.failed {{ color: #a02020 }}
</style></head><body>
<h1>What was forgotten, and what it cost</h1>
<p>{count} of {total} combinations. <em>before</em>, <em>forget</em> and <em>paraphrased</em> are accuracies on the
images to forget: before the edit, after it, and after it by prompts that built nothing. The groups that should stay are
changes in points. The same numbers: <a href="summary.csv">summary.csv</a>.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


def _write_overview(frame: pd.DataFrame, total: int, out: Path) -> None:
    """summary.csv and index.html, each whole or not at all."""
    shown = [
        "domains",
        "method",
        "strength",
        "before",
        "forget",
        "paraphrased",
        *_GROUPS,
        "H",
        "status",
    ]
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("classes", *shown))
    body = "\n".join(_line(row, shown) for row in frame.to_dict("records"))
    page = _PAGE.format(count=len(frame), total=total, head=head, body=body)
    for name, text in (
        ("summary.csv", frame.to_csv(index=False, float_format="%.4f")),
        ("index.html", page),
    ):
        partial = out / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(out / name)


def _line(row: Mapping, shown: Sequence[str]) -> str:
    """One row of the page: its classes are the link to the report; a failed one tells why instead."""
    first = html.escape(row["classes"])
    if row["status"] == "failed":
        why = html.escape(str(row["error"]))
        told = "".join(f'<td class="text">{html.escape(_shown(row, n))}</td>' for n in shown[:3])
        rest = f'<td class="text" colspan="{len(shown) - 3}">failed: {why}</td>'
        return f'<tr class="failed"><td>{first}</td>{told}{rest}</tr>'
    cells = "".join(f"<td>{html.escape(_shown(row, name))}</td>" for name in shown)
    return f'<tr><td><a href="{html.escape(row["report"])}">{first}</a></td>{cells}</tr>'


def _shown(row: Mapping, name: str) -> str:
    """One value as the page shows it."""
    value = row[name]
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    if name == "strength":
        return f"{value:g}"
    return f"{value:+.1f}" if name in _GROUPS else f"{value:.3f}"
