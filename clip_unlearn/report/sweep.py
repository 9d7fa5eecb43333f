"""Many reports: every combination of classes, domains, methods and strengths.

A table and a page of links show them all. What is finished already is kept, so that an interrupted
sweep goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from string import Template

import click
import pandas as pd

from .. import __version__
from ..core import InputError, first_line
from ..core.concepts import ConceptGrid, ForgetRequest
from ..images.datasets import features_key
from ..images.prompts import check_prompts
from ..measure.evaluate import points
from ..measure.setting import DEFAULT, SurveyConfig, encoded_task, prototypes_for
from ..models.clip import Clip
from ..models.files import writable_home
from .analysis import ReportConfig
from .report import absolute, write_report

FINISHED = "finished.json"
# What should stay, shown as changes in points.
_GROUPS = ["retained", "same_class", "same_domain", "unrelated"]
_REQUEST = ["classes", "domains", "method", "strength"]
_FORGOTTEN = ["before", "forget", "paraphrased", "never_named"]
# The columns of summary.csv, and those that the page shows.
COLUMNS = [
    "name",
    "status",
    *_REQUEST,
    *_FORGOTTEN,
    *_GROUPS,
    "H",
    "seconds",
    "report",
    "error",
]
_SHOWN = [*_REQUEST, *_FORGOTTEN, *_GROUPS, "H", "status"]


@dataclass(frozen=True)
class Axes:
    """What a sweep varies: every combination of a point on each axis is a report.

    A point of classes or domains is a tuple of names that are forgotten together; () is all names.
    """

    classes: Sequence[tuple[str, ...]] = ()
    domains: Sequence[tuple[str, ...]] = ()
    methods: Sequence[str] = (DEFAULT,)
    strengths: Sequence[float] = (1.0,)
    every_class: bool = False  # each class of the grid is a point, whatever `classes` says
    every_domain: bool = False  # the same with the domains

    def on(self, grid: ConceptGrid) -> Axes:
        """The axes of a grid; one without any point gets (), all names."""
        classes = [(name,) for name in grid.classes] if self.every_class else self.classes
        domains = [(name,) for name in grid.domains] if self.every_domain else self.domains
        return replace(self, classes=classes or [()], domains=domains or [()])


@dataclass(frozen=True)
class Combination:
    """One report of a sweep: its parameters, not yet validated."""

    parameters: dict

    @property
    def name(self) -> str:
        """The folder: words that a person reads, and a hash of all that can change a number."""
        p = absolute(self.parameters)
        classes = "+".join(p["classes"]) or "all classes"
        domains = "+".join(p["domains"]) or "all domains"
        words = f"{classes} in {domains} {p['method']} {p['strength']:g}"
        readable = _plain(words)[:80].strip("-")

        decisive = p | {"version": __version__}
        decisive.pop("workers", None)  # changes no number
        text = json.dumps(decisive, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{readable}-{digest[:8]}"


def _plain(text: str) -> str:
    """A text as a folder name: letters and digits of every script, hyphens for the rest."""
    return re.sub(r"[^\w.+]+", "-", unicodedata.normalize("NFC", text))


def combinations(shared: Mapping, axes: Axes) -> Iterator[Combination]:
    """Every combination of the axes, each with the shared parameters of a report.

    A parameter that `shared` leaves out is at its default. All classes in all domains is no
    request, so that corner of a sweep is left out.
    """
    defaults = {field.name: field.default for field in fields(ReportConfig)}
    every = product(axes.classes, axes.domains, axes.methods, axes.strengths)
    for classes, domains, method, strength in every:
        if classes or domains:
            varied = {
                "classes": tuple(classes),
                "domains": tuple(domains),
                "method": method,
                "strength": strength,
            }
            yield Combination({**defaults, **shared, **varied})


def run_sweep(shared: Mapping, axes: Axes, out: Path, again: bool = False) -> list[str]:
    """Write each report that is not finished yet, the table and the page of them all.

    `shared` are parameters of every report; with `again`, finished ones are made anew. Returns the
    names of the reports that failed. Raises InputError, before anything is written, for what would
    stop every combination: model, images, an empty sweep.
    """
    writable_home(out)
    names = {field.name for field in fields(SurveyConfig)}
    config = SurveyConfig(**{name: value for name, value in shared.items() if name in names})
    _, grid = config.inputs()
    todo = {combination.name: combination for combination in combinations(shared, axes.on(grid))}
    if not todo:
        raise InputError(
            "nothing to forget: name classes, domains, or both, or take --every-class or "
            "--every-domain."
        )

    # The slow steps, once: every report reads them from the cache.
    clip = _prepared(config, list(todo.values()))
    inputs = _inputs(clip, config)

    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    for number, combination in enumerate(todo.values(), 1):
        row = _row(combination, out, again, inputs)
        rows.append(row)
        _write_overview(pd.DataFrame(rows, columns=COLUMNS), len(todo), out)
        end = f": {row['error']}" if row["status"] == "failed" else f", {row['seconds']:.1f} s"
        click.echo(f"[{number}/{len(todo)}] {row['name']}  {row['status']}{end}")

    failed = [row["name"] for row in rows if row["status"] == "failed"]
    click.echo(f"\n{len(rows) - len(failed)} of {len(rows)} reports")
    click.echo(f"table    {out / 'summary.csv'}")
    click.echo(f"page     {out / 'index.html'}")
    if failed:
        click.echo("failed   " + "\n         ".join(failed))
    return failed


def _prepared(config: SurveyConfig, todo: Sequence[Combination]) -> Clip:
    """Encode the images and make the pictures that the reports need, but for those that fail."""
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)
    encoded_task(config, clip, images, grid, progress=True)

    requests: dict[str, list[ForgetRequest]] = {}
    for combination in todo:
        with contextlib.suppress(InputError):
            report = ReportConfig(**combination.parameters)
            requests.setdefault(report.method, []).append(report.request.on(grid))
    for method, of_method in requests.items():
        prototypes_for(replace(config, method=method), clip, grid, of_method)
    return clip


def _inputs(clip: Clip, config: SurveyConfig) -> str:
    """A hash of what the parameters only name: weights, images, files of prompts and names."""
    images, _ = config.inputs()
    key = features_key(clip, images)
    digest = hashlib.sha256(key.encode())
    for name in (config.prompts, config.class_names):
        file = Path(name)
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _row(combination: Combination, out: Path, again: bool, inputs: str) -> dict:
    """One row of the table: of a finished report, of a new one, or of one that failed."""
    start = time.perf_counter()
    p = combination.parameters
    name = combination.name
    row = {
        "name": name,
        "classes": "; ".join(p["classes"]) or "all",
        "domains": "; ".join(p["domains"]) or "all",
        "method": p["method"],
        "strength": p["strength"],
    }
    # Whatever stops one report is the end of that one alone; its row says why.
    try:
        numbers = None if again else _finished(out / name, inputs)
        status = "made" if numbers is None else "kept"
        if numbers is None:
            numbers = _make(p, out / name, inputs)
    except Exception as error:
        seconds = time.perf_counter() - start
        return row | {"status": "failed", "seconds": seconds, "error": first_line(error)}
    report = f"{name}/report.html"
    return row | _accuracies(numbers) | {"status": status, "report": report, "error": ""}


def _finished(folder: Path, inputs: str) -> dict | None:
    """The metrics of a report that lies there, if it is finished and was made of these inputs.

    Files that are missing, cut or overwritten mean that it is not: it is made anew.
    """
    try:
        made_of = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        numbers = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        _accuracies(numbers)  # all that the table needs is there
        return numbers if made_of["inputs"] == inputs else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _make(parameters: Mapping, folder: Path, inputs: str) -> dict:
    """Write one report, mark it as finished, and return its metrics."""
    mark = folder / FINISHED
    mark.unlink(missing_ok=True)
    numbers = write_report(ReportConfig(**parameters), folder, progress=False)
    made_of = absolute(parameters) | {"inputs": inputs}
    text = json.dumps(made_of, indent=2, ensure_ascii=False)
    _write_whole(mark, text + "\n")
    return numbers


def _accuracies(numbers: Mapping) -> dict:
    """The columns that metrics.json fills.

    Accuracies of what is forgotten, changes in points of what should stay; a group that the
    paradigm does not have is left out.
    """
    groups = numbers["groups"]
    never_named = groups.get("never_named")  # only if a whole domain is forgotten
    row = {
        "method": numbers["method"],
        "before": groups["forget"]["before"],
        "forget": groups["forget"]["after"],
        "paraphrased": numbers["paraphrase"]["after"],
        "never_named": never_named["after"] if never_named else None,
        "H": numbers["H"],
        "seconds": numbers["seconds"]["total"],
    }
    for name in _GROUPS:
        if group := groups[name]:
            row[name] = points(group["before"], group["after"])
    return row


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>clip-unlearn sweep</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse }
th, td { padding: .3em .7em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child, .text { text-align: left }
.failed { color: #a02020 }
</style></head><body>
<h1>What was forgotten, and what it cost</h1>
<p>$count of $total combinations. <em>before</em>, <em>forget</em> and <em>paraphrased</em> are accuracies on the
images to forget: before the edit, after it, and after it by prompts that built nothing. The groups that should stay are
changes in points. The same numbers: <a href="summary.csv">summary.csv</a>.</p>
<table><thead><tr>$head</tr></thead><tbody>
$body
</tbody></table></body></html>
""")  # noqa: E501


def _write_overview(frame: pd.DataFrame, total: int, out: Path) -> None:
    """summary.csv and index.html, each whole or not at all."""
    summary = frame.to_csv(index=False, float_format="%.4f")
    titles = [name.replace("_", " ") for name in _SHOWN]
    rows = [_page_row(row) for row in frame.to_dict("records")]
    page = _PAGE.substitute(
        count=len(frame),
        total=total,
        head="".join(f"<th>{title}</th>" for title in titles),
        body="\n".join(rows),
    )
    _write_whole(out / "summary.csv", summary)
    _write_whole(out / "index.html", page)


def _write_whole(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def _page_row(row: Mapping) -> str:
    """One row of the page: its classes are the link to the report, or its end says why it failed.

    Not by `DataFrame.to_html`, which has no cell over several columns for the reason.
    """
    cells = [html.escape(_shown(row, name)) for name in _SHOWN]
    classes, *others = cells
    if row["status"] == "failed":
        request = others[: len(_REQUEST) - 1]
        texts = "".join(f'<td class="text">{cell}</td>' for cell in request)
        width = len(others) - len(request)
        reason = html.escape(row["error"])
        why = f'<td class="text" colspan="{width}">failed: {reason}</td>'
        return f'<tr class="failed"><td>{classes}</td>{texts}{why}</tr>'
    address = html.escape(row["report"])
    link = f'<a href="{address}">{classes}</a>'
    values = "".join(f"<td>{cell}</td>" for cell in others)
    return f"<tr><td>{link}</td>{values}</tr>"


def _shown(row: Mapping, name: str) -> str:
    """One value as the page shows it."""
    value = row[name]
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    if name == "strength":
        return f"{value:g}"
    if name in _GROUPS:
        return f"{value:+.1f}"
    return f"{value:.3f}"
