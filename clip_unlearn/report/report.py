"""The main job: a papermill run of report.ipynb, its HTML, metrics.json and the edited CLIP.

All of them appear, or none does. What the notebook says in numbers and Markdown is made here too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ..core import InputError
from ..core.cache import bundled
from ..images.prompts import NAMED
from ..measure.evaluate import GROUPS
from ..measure.plots import LABELS
from ..measure.readings import warnings_of
from ..models.files import put, writable_home
from ..models.markdown import markdown_table
from ..models.saved import check_folder, save_edited, versions
from .analysis import Analysis, ReportConfig, analyse

# The distributions whose version can change the numbers.
SOFTWARE = ("clip_unlearn", "torch", "torchvision", "open_clip_torch", "timm", "papermill")
ARTEFACTS = ("report.ipynb", "report.html", "metrics.json", "edited-clip")


def metrics(a: Analysis) -> dict:
    """The numbers of a report as plain JSON; a group that the paradigm does not have is null."""
    request = a.edit.request
    measured = a.groups()[["n", "before", "after"]].to_dict("index")
    forget = a.frame[a.frame["group"] == "forget"].set_index("strength")
    before = forget.loc[0.0]
    after = forget.loc[a.config.strength]
    curve = a.frame.pivot(index="strength", columns="group", values="accuracy").reset_index()
    searches = None
    if a.searches:
        before_search, after_search = a.searches
        searches = {"before": before_search._asdict(), "after": after_search._asdict()}
    return {
        "paradigm": request.paradigm,
        "classes": list(request.classes or a.grid.classes),
        "domains": list(request.domains or a.grid.domains),
        "complete": request.complete,
        "method": a.edit.method,
        "towers": a.edit.towers,
        "strength": a.config.strength,
        "seed": a.config.seed,
        "model": a.clip.name,
        "groups": {name: measured.get(name) for name in GROUPS},
        "paraphrase": {"before": before["paraphrase"], "after": after["paraphrase"]},
        "search": searches,
        "H": None if pd.isna(after["H"]) else float(after["H"]),
        "curve": curve.to_dict("records"),
        "predicted": {"retained": a.foreseen},
        "readings": asdict(a.readings) if a.readings else None,
        "seconds": a.seconds,
        "cached": list(a.cached),
        "skipped": list(a.task.images.skipped),
        "versions": versions(SOFTWARE),
    }


def headline(a: Analysis) -> str:
    """The request, the answer in one sentence, and the accuracy of each group, in Markdown."""
    groups = a.groups()
    forget = groups.loc["forget"]
    projections = "projections" if a.edit.towers == "both" else "projection"
    edit = f"the {a.edit.method} edit of the {a.edit.towers} {projections}"
    what = (
        f"**Forget {a.edit.request}** ({a.edit.request.paradigm}) in `{a.clip.name}`, "
        f"by {edit} at strength {a.config.strength:g}."
    )
    chance = 1 / len(a.grid.classes)
    answer = (
        f"Of {forget['n']:.0f} images to forget, the model named {_percent(forget['before'])} "
        f"before and **{_percent(forget['after'])}** after (chance is {_percent(chance)})."
    )
    rows = [
        (
            LABELS[name],
            f"{row['n']:.0f}",
            _percent(row["before"]),
            _percent(row["after"]),
            f"{row['change']:+.1f}",
        )
        for name, row in groups.iterrows()
    ]
    table = markdown_table(["images", "n", "before", "after", "change, points"], rows)
    foreseen = []
    if a.foreseen is not None:
        foreseen.append(
            f"Predicted for what is retained, without any image: {a.foreseen:+.1f} points."
        )
    out_of_range = warnings_of(a.readings, a.config.strength)
    return "\n\n".join([what, answer, *_searches(a), table, *foreseen, *out_of_range, *_skipped(a)])


def _searches(a: Analysis) -> list[str]:
    """A sentence on what a search finds, if the request is complete."""
    if not a.searches:
        return []
    before, after = a.searches
    return [
        f"A search by the prompts ranks the images of the same domain with an average precision "
        f"of {before.inside:.2f} before and **{after.inside:.2f}** after; in the other domains, "
        f"where the classes stay, {before.elsewhere:.2f} and {after.elsewhere:.2f} (1 is all of "
        f"them first; a random order gives {before.chance:.2f})."
    ]


def _skipped(a: Analysis) -> list[str]:
    """A paragraph and a list of the images that were left out, if there are any."""
    skipped = a.task.images.skipped
    if not skipped:
        return []
    images = "images were" if len(skipped) > 1 else "image was"
    return [
        f"**{len(skipped)} unreadable {images} left out:**",
        "\n".join(f"- `{line}`" for line in skipped),
    ]


def paraphrases(a: Analysis) -> str:
    """Accuracy by the test prompts and by the paraphrases, before and after, in Markdown."""
    rows = []
    for group, measured in a.frame.groupby("group", sort=False):
        images = LABELS[group]
        at = measured.set_index("strength")
        for column, prompts in (("accuracy", "as tested"), ("paraphrase", "paraphrased")):
            before = _percent(at.loc[0.0, column])
            after = _percent(at.loc[a.config.strength, column])
            rows.append((images, prompts, before, after))
    return markdown_table(["images", "prompts", "before", "after"], rows, texts=2)


def provenance(a: Analysis) -> str:
    """Model, seed, timings and versions, in Markdown."""
    ranks = ", ".join(f"{a.edit.rank(tower)} in the {tower} projection" for tower in a.edit.factors)
    made = (
        f"Model `{a.clip.name}` (weights {a.clip.fingerprint()}), seed {a.config.seed}, "
        f"{a.prototypes.made} synthesised pictures, {len(a.task.images)} images. "
        f"Rank of the edit: {ranks}."
    )
    seconds = [
        f"{a.seconds['encode']:.1f} s",
        f"{a.seconds['synthesis']:.1f} s",
        f"{a.seconds['fit']:.3f} s",
        f"{a.seconds['total']:.1f} s",
    ]
    steps = {
        "encode": "encode images",
        "synthesis": "synthesise prototypes",
        "fit": "fit the edit",
        "total": "the analysis",
    }
    header = [f"{title} (cached)" if step in a.cached else title for step, title in steps.items()]
    timings = markdown_table(header, [seconds], texts=0)
    kept = (
        "Encoding and synthesis are kept and reused: where it says *cached*, the time is that of "
        "the run that made them, and the analysis did not spend it."
    )
    software = ", ".join(f"{name} {number}" for name, number in versions(SOFTWARE).items())
    return "\n\n".join([made, timings, kept, software])


def result_table(numbers: Mapping) -> str:
    """The metrics of a report as a few lines for a terminal."""
    # What was asked.
    paradigm = numbers["paradigm"]
    classes = "everything" if paradigm == "whole-domain" else ", ".join(numbers["classes"])
    domains = "all domains" if paradigm == "global" else ", ".join(numbers["domains"])
    edit = f"{numbers['method']}, strength {numbers['strength']:g}"
    request = f"forget {classes} in {domains}: {edit}"

    # A line for each group, and one for the paraphrases of what is forgotten.
    lines = [f"{'images':30s}{'n':>6s}{'before':>9s}{'after':>9s}"]
    for name, group in numbers["groups"].items():
        if group is None:
            continue
        count = group["n"]
        lines.append(_group_line(name.replace("_", " "), count, group))
        if name == "forget":
            paraphrase = numbers["paraphrase"]
            lines.append(_group_line("forget, paraphrased", count, paraphrase))

    # What it comes to.
    end = ", ".join(_time(step, numbers) for step in numbers["seconds"])
    if numbers["H"] is not None:
        end = f"H {numbers['H']:.3f}   {end}"
    return "\n".join([request, "", *lines, "", end])


def _time(step: str, numbers: Mapping) -> str:
    """How long a step took; of a cached one, how long it took when it was made."""
    seconds = numbers["seconds"][step]
    if step in numbers["cached"]:
        return f"{step} cached (made in {seconds:.1f} s)"
    return f"{step} {seconds:.1f} s"


def _group_line(name: str, count: int, accuracy: Mapping[str, float]) -> str:
    before = _percent(accuracy["before"])
    after = _percent(accuracy["after"])
    return f"{name:30s}{count:6d}{before:>9s}{after:>9s}"


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.1f}%"


def save_results(a: Analysis) -> None:
    """Write metrics.json, and edited-clip if wanted, into the folder `save_to`, if one is named."""
    if not a.config.save_to:
        return
    folder = Path(a.config.save_to)
    numbers = metrics(a)
    _write_json(folder / "metrics.json", numbers)
    if not a.config.save_clip:
        return
    sources = [a.config.images] if isinstance(a.config.images, str) else a.config.images
    names = ", ".join(Path(source).name for source in sources)
    measured_on = f"{len(a.task.images)} images of {names}"
    out = folder / "edited-clip"
    save_edited(a.clip, a.edit, a.config.strength, out, numbers["groups"], measured_on)


def write_report(config: ReportConfig, out: str | Path, progress: bool = True) -> dict:
    """Write the report into `out` and return its metrics. A failed run leaves `out` as it was.

    Raises InputError for bad input, before anything is written.
    """
    from . import notebook

    start = time.perf_counter()
    out = Path(out)
    home = _check_output(out)
    if config.save_clip:
        check_folder(out / "edited-clip", config.model)

    # The slow steps, here because of their progress bars: the notebook then reads them from the
    # cache.
    first = analyse(config, progress)

    with tempfile.TemporaryDirectory(prefix=".clip-unlearn.partial-", dir=home) as folder:
        stage = Path(folder)

        # The notebook, which writes metrics.json and edited-clip beside itself, and its page.
        parameters = absolute(asdict(config)) | {"save_to": "."}
        notebook.run_notebook(parameters, stage / "report.ipynb")
        page = notebook.render_html(stage / "report.ipynb")
        (stage / "report.html").write_text(page, encoding="utf-8")

        # Only this function knows the total of the whole job, and what it found in the cache: the
        # notebook finds everything there.
        numbers = json.loads((stage / "metrics.json").read_text())
        numbers["seconds"]["total"] = time.perf_counter() - start
        numbers["cached"] = list(first.cached)
        _write_json(stage / "metrics.json", numbers)

        # Everything is there: put it in place.
        out.mkdir(parents=True, exist_ok=True)
        for name in ARTEFACTS:
            if (stage / name).exists():
                put(stage / name, out / name)
    return numbers


def _write_json(file: Path, numbers: Mapping) -> None:
    file.write_text(json.dumps(numbers, indent=2) + "\n")


def _check_output(out: Path) -> Path:
    """The nearest existing folder, to work in on the same disk.

    Raises InputError if `out` cannot become a report.
    """
    home = writable_home(out)
    if out.resolve() == bundled("notebooks").resolve():
        raise InputError(
            f"{out} holds the template of the report, which it would replace; name another folder."
        )
    for name in ARTEFACTS:
        path = out / name
        should_be_folder = name == "edited-clip"
        if path.exists() and path.is_dir() != should_be_folder:
            raise InputError(
                f"{path} is in the way: a report would replace it, but it is of another kind."
            )
    return home


def absolute(parameters: Mapping[str, object]) -> dict:
    """Parameters for a run in another folder: existing paths made absolute, tuples made lists."""
    result = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in parameters.items()
    }
    result["model"] = _absolute(result["model"])
    # These are files, or names that a folder may happen to have too.
    for name in ("pretrained", "class_names", "prompts"):
        value = result[name]
        if value not in NAMED and Path(value).is_file():
            result[name] = str(Path(value).absolute())
    images = result["images"]
    if isinstance(images, str):
        result["images"] = _absolute(images)
    else:
        result["images"] = [_absolute(part) for part in images]
    return result


def _absolute(text: str) -> str:
    """A path that exists made absolute, also behind "local-dir:" or in "domain=folder".

    Any other text is returned as it is.
    """
    path = text.removeprefix("local-dir:")
    if path and path != "bundled" and Path(path).exists():
        return str(Path(path).absolute())
    domain, equals, name = text.partition("=")
    folder = Path(name).expanduser()
    if equals and folder.exists():
        return f"{domain}={folder.absolute()}"
    return text
