"""The main job: a papermill run of report.ipynb, its HTML, metrics.json and the edited CLIP, all or nothing."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from traitlets.config import Config

from ..core.cache import bundled, cache_dir
from ..core.errors import InputError
from ..images.prompts import NAMED
from ..measure.evaluate import GROUPS
from ..measure.plots import LABELS
from ..models.files import put, writable_home
from ..models.saved import check_folder, save_edited
from .analysis import Analysis, ReportConfig, analyse

ARTEFACTS = ("report.ipynb", "report.html", "metrics.json", "edited-clip")


def metrics(a: Analysis) -> dict:
    """The numbers of a report as plain JSON; a group that the paradigm does not have is null."""
    groups = a.groups()
    rows = {name: groups.loc[name] for name in groups.index}
    at = a.frame[a.frame["group"] == "forget"].set_index("strength")
    curve = a.frame.pivot(index="strength", columns="group", values="accuracy")
    return {
        "paradigm": a.edit.request.paradigm,
        "classes": list(a.edit.request.classes or a.grid.classes),
        "domains": list(a.edit.request.domains or a.grid.domains),
        "method": a.edit.method,
        "towers": a.edit.towers,
        "strength": a.config.strength,
        "seed": a.config.seed,
        "model": a.clip.name,
        "groups": {
            g: {
                "n": int(rows[g]["n"]),
                "before": float(rows[g]["before"]),
                "after": float(rows[g]["after"]),
            }
            if g in rows
            else None
            for g in GROUPS
        },
        "paraphrase": {
            "before": at.loc[0.0, "paraphrase"],
            "after": at.loc[a.config.strength, "paraphrase"],
        },
        "H": at.loc[a.config.strength, "H"]
        if not pd.isna(at.loc[a.config.strength, "H"])
        else None,
        "curve": [
            {"strength": s} | {g: None if math.isnan(v) else v for g, v in row.items()}
            for s, row in curve.iterrows()
        ],
        "seconds": a.seconds,
        "skipped": list(a.task.images.skipped),
        "versions": versions(),
    }


def headline(a: Analysis) -> str:
    """The request, the answer in one sentence, and the accuracy of each group, in Markdown."""
    groups, c = a.groups(), a.config
    forget = groups.loc["forget"]
    lines = [
        f"**Forget {a.edit.request}** ({a.edit.request.paradigm}) in `{a.clip.name}`, by the {a.edit.method} edit of "
        f"the {a.edit.towers} projection{'s' if a.edit.towers == 'both' else ''} at strength {c.strength:g}.",
        "",
        f"Of {forget['n']:.0f} images to forget, the model named {100 * forget['before']:.1f}% before and "
        f"**{100 * forget['after']:.1f}%** after (chance is {100 / len(a.grid.classes):.1f}%).",
        "",
        "| images | n | before | after | change, points |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, row in groups.iterrows():
        lines.append(
            f"| {LABELS[name]} | {row['n']:.0f} | {100 * row['before']:.1f}% | {100 * row['after']:.1f}% "
            f"| {row['change']:+.1f} |"
        )
    if skipped := a.task.images.skipped:
        lines += [
            "",
            f"**{len(skipped)} unreadable image{'s were' if len(skipped) > 1 else ' was'} left out:**",
            "",
        ]
        lines += [f"- `{line}`" for line in skipped]
    return "\n".join(lines)


def paraphrases(a: Analysis) -> str:
    """Accuracy by the test prompts and by the paraphrases, before and after, in Markdown."""
    lines = ["| images | prompts | before | after |", "|:--|:--|--:|--:|"]
    for group, rows in a.frame.groupby("group", sort=False):
        at = rows.set_index("strength").loc[[0.0, a.config.strength]]
        for column, label in (("accuracy", "as tested"), ("paraphrase", "paraphrased")):
            before, after = 100 * at[column]
            lines.append(f"| {LABELS[group]} | {label} | {before:.1f}% | {after:.1f}% |")
    return "\n".join(lines)


def provenance(a: Analysis) -> str:
    """Model, seed, timings and versions, in Markdown."""
    timings = " | ".join(f"{v:.3f} s" if k == "fit" else f"{v:.1f} s" for k, v in a.seconds.items())
    rank = ", ".join(f"{a.edit.rank(t)} in the {t} projection" for t in a.edit.factors)
    return "\n".join(
        [
            f"Model `{a.clip.name}` (weights {a.clip.fingerprint()}), seed {a.config.seed}, {a.prototypes.per_cell} "
            f"visual prototypes a cell, {len(a.task.images)} images. Rank of the edit: {rank}.",
            "",
            "| encode images | synthesise prototypes | fit the edit | the analysis |",
            "|--:|--:|--:|--:|",
            f"| {timings} |",
            "",
            "Encoding and synthesis are kept and reused: their times are those of the run that made them.",
            "",
            ", ".join(f"{name} {number}" for name, number in versions().items()),
        ]
    )


def result_table(found: Mapping) -> str:
    """The metrics of a report as a few lines for a terminal."""
    what = ", ".join(found["classes"]) if found["paradigm"] != "whole-domain" else "everything"
    where = ", ".join(found["domains"]) if found["paradigm"] != "global" else "all domains"
    lines = [f"forget {what} in {where}: {found['method']}, strength {found['strength']:g}", ""]
    lines.append(f"{'images':30s}{'n':>6s}{'before':>9s}{'after':>9s}")
    rows = [(name.replace("_", " "), g) for name, g in found["groups"].items() if g]
    rows.insert(1, ("forget, paraphrased", {"n": rows[0][1]["n"], **found["paraphrase"]}))
    lines += [
        f"{name:30s}{g['n']:6d}{100 * g['before']:8.1f}%{100 * g['after']:8.1f}%"
        for name, g in rows
    ]
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in found["seconds"].items())
    return "\n".join(
        [*lines, "", f"H {found['H']:.3f}   {seconds}" if found["H"] is not None else seconds]
    )


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("clip_unlearn", "torch", "torchvision", "open_clip_torch", "timm", "papermill")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def save_results(a: Analysis) -> None:
    """Write metrics.json and edited-clip (where wanted) into the folder the report was asked to save to, if any."""
    if not a.config.save_to:
        return
    folder = Path(a.config.save_to)
    found = metrics(a)
    (folder / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
    if a.config.save_clip:
        names = [a.config.images] if isinstance(a.config.images, str) else a.config.images
        on = f"{len(a.task.images)} images of {', '.join(Path(name).name for name in names)}"
        save_edited(a.clip, a.edit, a.config.strength, folder / "edited-clip", found["groups"], on)


def write_report(config: ReportConfig, out: str | Path, progress: bool = True) -> dict:
    """Write the report into `out` and return its metrics. A failed run leaves `out` exactly as it was.

    The heavy work runs here first, with progress bars, and is cached; the notebook then finds it
    done. Raises InputError for bad input, before anything is written.
    """
    start, out = time.perf_counter(), Path(out)
    home = _check_output(out)
    if config.save_clip:
        check_folder(out / "edited-clip", config.model)
    os.environ["CLIP_UNLEARN_CACHE"] = str(
        cache_dir()
    )  # absolute: the kernel runs in another folder
    analyse(config, progress)
    with tempfile.TemporaryDirectory(prefix=".clip-unlearn.partial-", dir=home) as stage:
        _run_notebook(config, Path(stage))
        found = json.loads((Path(stage) / "metrics.json").read_text())
        found["seconds"]["total"] = time.perf_counter() - start
        (Path(stage) / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
        out.mkdir(parents=True, exist_ok=True)
        for name in ARTEFACTS:
            if (Path(stage) / name).exists():
                put(Path(stage) / name, out / name)
    return found


def _check_output(out: Path) -> Path:
    """The nearest existing folder, to work in on the same disk; InputError where `out` cannot become a report."""
    home = writable_home(out)
    if out.resolve() == bundled("notebooks").resolve():
        raise InputError(
            f"{out} holds the template of the report, which it would replace; name another folder."
        )
    for name in ARTEFACTS:
        if (out / name).exists() and (out / name).is_dir() != (name == "edited-clip"):
            raise InputError(
                f"{out / name} is in the way: a report would replace it, but it is of another kind."
            )
    return home


def absolute(parameters: Mapping[str, object]) -> dict:
    """Parameters for a run in another folder: tuples as lists, and every path that exists made absolute."""
    found = {k: list(v) if isinstance(v, tuple) else v for k, v in parameters.items()}
    found["model"] = _absolute(found["model"])
    for name in (
        "pretrained",
        "class_names",
        "prompts",
    ):  # files, or names that a folder may happen to have too
        if found[name] not in NAMED and Path(found[name]).is_file():
            found[name] = str(Path(found[name]).absolute())
    images = found["images"]
    found["images"] = (
        _absolute(images) if isinstance(images, str) else [_absolute(part) for part in images]
    )
    return found


def _absolute(text: str) -> str:
    """A path that exists made absolute, also behind "local-dir:" or in "domain=folder"; another text as it is."""
    path = text.removeprefix("local-dir:")
    if path and path != "bundled" and Path(path).exists():
        return str(Path(path).absolute())
    name, equals, folder = text.partition("=")
    return (
        f"{name}={Path(folder).expanduser().absolute()}"
        if equals and Path(folder).expanduser().exists()
        else text
    )


def _run_notebook(config: ReportConfig, stage: Path) -> None:
    """Execute notebooks/report.ipynb in `stage` with papermill and render its HTML."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("traitlets").setLevel(logging.ERROR)
    # It warns of parameters that the notebook's first cell does not list; ReportConfig refuses the
    # wrong ones itself.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Sockets of this machine rather than open TCP ports; Windows has none.
    transport = (
        Config() if os.name == "nt" else Config({"AsyncKernelManager": {"transport": "ipc"}})
    )
    try:
        papermill.execute_notebook(
            bundled("notebooks") / "report.ipynb",
            stage / "report.ipynb",
            absolute(asdict(config)) | {"save_to": "."},
            kernel_name="python3",
            cwd=stage,
            progress_bar=False,
            execution_timeout=3600,
            config=transport,
        )
    except PapermillExecutionError as error:
        raise RuntimeError(f"the report notebook failed: {error.ename}: {error.evalue}") from error
    (stage / "report.html").write_text(render_html(stage / "report.ipynb"), encoding="utf-8")


def render_html(notebook: Path) -> str:
    """The notebook without its code, as one HTML page that loads nothing from elsewhere."""
    from nbconvert import HTMLExporter

    # The template would fetch these from elsewhere when a page is opened; a report uses none of
    # them.
    remote = (
        "mathjax_url",
        "mermaid_js_url",
        "mermaid_layout_elk_js_url",
        "require_js_url",
        "jquery_url",
    )
    exporter = HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
        **{
            name: ""
            for name in (*remote, "widget_renderer_url")
            if name in HTMLExporter.class_trait_names()
        },
    )
    html = exporter.from_filename(str(notebook))[0]
    return re.sub(
        r'<script type="module">(?:(?!</script>).)*mermaid.*?</script>', "", html, flags=re.DOTALL
    )
