"""The main job: a papermill run of report.ipynb, its HTML, metrics.json and the edited CLIP, all or nothing."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import re
import shutil
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from traitlets.config import Config

from .analysis import Analysis, ReportConfig, analyse
from .errors import InputError
from .evaluate import GROUPS
from .paths import bundled, cache_dir
from .plots import LABELS
from .unlearn import save_edited

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
            g: {"n": int(rows[g]["n"]), "before": float(rows[g]["before"]), "after": float(rows[g]["after"])}
            if g in rows
            else None
            for g in GROUPS
        },
        "paraphrase": {"before": at.loc[0.0, "paraphrase"], "after": at.loc[a.config.strength, "paraphrase"]},
        "H": at.loc[a.config.strength, "H"] if not pd.isna(at.loc[a.config.strength, "H"]) else None,
        "curve": [
            {"strength": s} | {g: None if math.isnan(v) else v for g, v in row.items()} for s, row in curve.iterrows()
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
        lines += ["", f"**{len(skipped)} unreadable image{'s were' if len(skipped) > 1 else ' was'} left out:**", ""]
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


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("clip_unlearn", "torch", "torchvision", "open_clip_torch", "timm", "papermill")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def save_results(a: Analysis) -> None:
    """Write metrics.json and edited-clip into the folder the report was asked to save to; nothing if it was not."""
    if not a.config.save_to:
        return
    folder = Path(a.config.save_to)
    (folder / "metrics.json").write_text(json.dumps(metrics(a), indent=2) + "\n")
    save_edited(a.clip, a.edit, a.config.strength, folder / "edited-clip")


def write_report(config: ReportConfig, out: str | Path, progress: bool = True) -> dict:
    """Write the report into `out` and return its metrics. A failed run leaves `out` exactly as it was.

    The heavy work runs here first, with progress bars, and is cached; the notebook then finds it done.
    Raises InputError for bad input, before anything is written.
    """
    start, out = time.perf_counter(), Path(out)
    home = _check_output(out)
    os.environ["CLIP_UNLEARN_CACHE"] = str(cache_dir())  # absolute: the kernel runs in another folder
    analyse(config, progress)
    with tempfile.TemporaryDirectory(prefix=".clip-unlearn.partial-", dir=home) as stage:
        _run_notebook(config, Path(stage))
        found = json.loads((Path(stage) / "metrics.json").read_text())
        found["seconds"]["total"] = time.perf_counter() - start
        (Path(stage) / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")
        out.mkdir(parents=True, exist_ok=True)
        for name in ARTEFACTS:
            _replace(Path(stage) / name, out / name)
    return found


def _check_output(out: Path) -> Path:
    """The nearest existing folder, to work in on the same disk; InputError where `out` cannot become a report."""
    if out.exists() and not out.is_dir():
        raise InputError(f"the output path {out} is a file; it must be a folder, or not exist yet.")
    for name in ARTEFACTS:
        if (out / name).exists() and (out / name).is_dir() != (name == "edited-clip"):
            raise InputError(f"{out / name} is in the way: a report would replace it, but it is of another kind.")
    home = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(f"cannot write a report to {out}: {home} is not a folder that can be written to.")
    return home


def _replace(new: Path, old: Path) -> None:
    """Put a finished file or folder where an older one may be."""
    if old.is_dir():
        aside = Path(tempfile.mkdtemp(prefix=f".{old.name}.partial-", dir=old.parent))
        old.rename(aside / old.name)
        new.rename(old)
        shutil.rmtree(aside)
    else:
        new.replace(old)


def _for_kernel(config: ReportConfig) -> dict:
    """The parameters for a kernel that runs in another folder: every path made absolute."""
    parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()} | {"save_to": "."}
    for name in ("images", "model", "pretrained"):
        path = parameters[name].removeprefix("local-dir:")
        if path and path != "bundled" and Path(path).exists():
            parameters[name] = str(Path(path).absolute())
    return parameters


def _run_notebook(config: ReportConfig, stage: Path) -> None:
    """Execute notebooks/report.ipynb in `stage` with papermill and render its HTML."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("traitlets").setLevel(logging.ERROR)
    # Sockets of this machine rather than open TCP ports; Windows has none.
    transport = Config() if os.name == "nt" else Config({"AsyncKernelManager": {"transport": "ipc"}})
    try:
        papermill.execute_notebook(
            bundled("notebooks") / "report.ipynb",
            stage / "report.ipynb",
            _for_kernel(config),
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

    # The template would fetch these from elsewhere when a page is opened; a report uses none of them.
    remote = ("mathjax_url", "mermaid_js_url", "mermaid_layout_elk_js_url", "require_js_url", "jquery_url")
    exporter = HTMLExporter(
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
        **{name: "" for name in (*remote, "widget_renderer_url") if name in HTMLExporter.class_trait_names()},
    )
    html = exporter.from_filename(str(notebook))[0]
    return re.sub(r'<script type="module">(?:(?!</script>).)*mermaid.*?</script>', "", html, flags=re.DOTALL)
