"""The main job end to end: a report on a small subset, in one go, all or nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import nbformat
import open_clip
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from clip_unlearn.cli import main
from clip_unlearn.core import InputError
from clip_unlearn.measure.evaluate import edited_weights, search
from clip_unlearn.measure.readings import Readings
from clip_unlearn.models.clip import load_clip
from clip_unlearn.report import notebook
from clip_unlearn.report import report as report_module
from clip_unlearn.report.analysis import ReportConfig, analyse
from clip_unlearn.report.report import ARTEFACTS, write_report

REQUEST = ["report", "--classes", "dog", "--domains", "sketch", "--images-per-cell", "3"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """A report of a small subset, and what the command printed."""
    out = tmp_path_factory.mktemp("report") / "out"
    result = CliRunner().invoke(main, [*REQUEST, "--strength", "0.9", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_everything_is_written_and_nothing_else(made) -> None:
    out, printed = made
    assert {p.name for p in out.iterdir()} == set(ARTEFACTS)
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert "report.html" in printed and "forget dog in sketch" in printed


def test_metrics_have_the_promised_shape_and_agree_with_a_run_in_python(made) -> None:
    found = json.loads((made[0] / "metrics.json").read_text())
    said = {
        "paradigm": "domain-specific",
        "classes": ["dog"],
        "domains": ["sketch"],
        "strength": 0.9,
        "seed": 0,
        "model": "bundled",
        "towers": "visual",
    }
    assert {name: found[name] for name in said} == said
    groups = {"forget", "retained", "same_class", "same_domain", "unrelated", "never_named"}
    assert set(found["groups"]) == groups
    assert set(found["seconds"]) == {"encode", "synthesis", "fit", "total"}
    assert [row["strength"] for row in found["curve"]] == [0, 0.25, 0.5, 0.75, 0.9, 1]
    groups = analyse(
        ReportConfig(classes=("dog",), domains=("sketch",), strength=0.9, images_per_cell=3)
    ).groups()
    for name, row in groups.iterrows():
        assert found["groups"][name] == pytest.approx(
            {"n": row["n"], "before": row["before"], "after": row["after"]}
        )
    assert found["groups"]["forget"]["after"] < found["groups"]["forget"]["before"]


def test_a_complete_request_says_what_a_search_finds() -> None:
    cell = {"classes": ("dog",), "domains": ("sketch",), "images_per_cell": 3}
    plain, full = analyse(ReportConfig(**cell)), analyse(ReportConfig(**cell, complete=True))
    assert report_module.metrics(plain)["search"] is None
    assert "search" not in report_module.headline(plain)

    found = report_module.metrics(full)
    assert found["complete"] is True and found["method"] == "complete"
    after = found["search"]["after"]
    weights = edited_weights(full.prototypes, full.edit, 1.0)
    assert after == search(full.task, full.edit.request, *weights)._asdict()
    assert after["chance"] == 1 / 16 and found["search"]["before"] != after
    assert f"**{after['inside']:.2f}** after" in report_module.headline(full)


def test_groups_that_a_paradigm_lacks_are_null() -> None:
    a = analyse(ReportConfig(classes=("dog",), images_per_cell=1))
    groups = report_module.metrics(a)["groups"]
    assert groups["same_class"] is None and groups["same_domain"] is None
    assert groups["unrelated"]["n"] > 0


def test_the_html_loads_nothing_from_elsewhere(made) -> None:
    html = (made[0] / "report.html").read_text()
    assert not re.findall(r"<(?:script|img|iframe)[^>]+src=[\"']https?:", html)
    assert not re.findall(r"<link[^>]+href=[\"']https?:", html)
    assert "import(" not in html or "cdnjs" not in html
    assert html.count("data:image/png;base64,") >= 4
    assert "What this edit does not do" in html and "no erasure of training data" in html


def test_the_notebook_ran_to_the_end_without_errors(made) -> None:
    notebook = nbformat.read(made[0] / "report.ipynb", 4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert all(c.execution_count for c in code)
    assert not [o for c in code for o in c.outputs if o.output_type == "error"]


def test_the_edited_clip_loads_in_plain_open_clip_and_differs_in_the_projection_alone(made) -> None:
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{made[0] / 'edited-clip'}")
    base = load_clip("bundled", device="cpu").model.state_dict()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, base[k])]
    assert changed == ["visual.proj"]


def test_a_failed_run_leaves_the_older_report_alone(made, monkeypatch) -> None:
    out, _ = made
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    def broken(*_) -> None:
        raise RuntimeError("disk full")

    monkeypatch.setattr(notebook, "render_html", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        write_report(ReportConfig(classes=("cat",), images_per_cell=1), out, progress=False)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_a_second_report_replaces_the_first_and_keeps_the_neighbours(made) -> None:
    out, _ = made
    (out / "notes.txt").write_text("mine")
    write_report(
        ReportConfig(domains=("sketch",), strength=0.5, images_per_cell=2), out, progress=False
    )
    assert json.loads((out / "metrics.json").read_text())["paradigm"] == "whole-domain"
    assert json.loads((out / "edited-clip" / "edit.json").read_text())["strength"] == 0.5
    assert (out / "notes.txt").read_text() == "mine"


def test_an_unknown_parameter_of_the_notebook_is_an_error_with_its_name() -> None:
    with pytest.raises(InputError, match="strenght"):
        ReportConfig.from_cell({"classes": ["dog"], "strenght": 0.5, "_i1": "", "In": []})


@pytest.mark.parametrize(
    ("text", "names"),
    [("dog", ("dog",)), ("dog,cat", ("dog", "cat")), (r"dog\, wet, cat", ("dog, wet", "cat"))],
)
def test_names_may_come_as_one_text_as_papermill_passes_them(
    text: str, names: tuple[str, ...]
) -> None:
    """`papermill -p classes dog` hands over a text, not a list."""
    assert ReportConfig(classes=text).classes == names
    assert ReportConfig.from_cell({"classes": text, "domains": "sketch"}).domains == ("sketch",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ""},
        {"classes": " , "},
        {"classes": 5},
        {"classes": ["dog", 5]},
        {"strength": "1"},
        {"per_cell": 2.5},
        {"seed": -1},
        {"towers": "x"},
        {"complete": "yes"},
        {"method": "x"},
    ],
)
def test_a_parameter_of_the_wrong_type_or_value_is_an_error(wrong: dict) -> None:
    with pytest.raises(InputError):
        ReportConfig(**{"classes": ("dog",), **wrong})


def test_images_that_were_skipped_are_listed_in_the_report(tmp_path: Path) -> None:
    for domain in ("photo", "sketch"):
        for name in ("cat", "dog"):
            (tmp_path / domain / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), "gray").save(tmp_path / domain / name / "0.png")
    (tmp_path / "photo" / "dog" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        analyse(ReportConfig(classes=("dog",), images=str(tmp_path), per_cell=1))
    a = analyse(
        ReportConfig(classes=("dog",), images=str(tmp_path), per_cell=1, skip_unreadable=True)
    )
    headline = report_module.headline(a)
    assert "1 unreadable image" in headline and "broken.jpg" in headline
    assert len(report_module.metrics(a)["skipped"]) == 1


def test_what_an_earlier_run_made_is_called_cached(
    clip_folder: Path, folder: Path, tmp_path: Path, fresh_cache: Path
) -> None:
    config = ReportConfig(
        classes=("dog",), model=str(clip_folder), images=str(folder), per_cell=1, save_clip=False
    )
    printed = []
    for name in ("first", "second"):
        numbers = write_report(config, tmp_path / name, progress=False)
        assert json.loads((tmp_path / name / "metrics.json").read_text()) == numbers
        printed.append(report_module.result_table(numbers).splitlines()[-1])

    # The first run spent the time itself; the second took no part of it.
    first, second = printed
    assert "cached" not in first and re.search(r"synthesis \d+\.\d s, fit", first)
    assert re.search(r"encode cached \(made in \d+\.\d s\)", second)
    assert re.search(r"synthesis cached \(made in \d+\.\d s\)", second)
    assert not re.search(r"(fit|total) cached", second)

    # The notebook reads what the job has just made.
    page = (tmp_path / "first" / "report.html").read_text()
    assert "synthesise prototypes (cached)" in page and "fit the edit (cached)" not in page


@pytest.fixture
def tiny_config(clip_folder: Path, folder: Path) -> ReportConfig:
    """A request on a tiny CLIP and a few images."""
    return ReportConfig(
        classes=("dog",),
        domains=("sketch",),
        model=str(clip_folder),
        images=str(folder),
        per_cell=2,
    )


def test_what_is_foreseen_and_read_is_in_the_metrics_and_on_the_page(
    tiny_config: ReportConfig,
) -> None:
    a = analyse(tiny_config)
    found = report_module.metrics(a)
    assert json.loads(json.dumps(found)) == found
    assert set(found["readings"]["retained"]) == set(a.grid.domains)
    foreseen = found["predicted"]["retained"]
    assert f"without any image: {foreseen:+.1f} points" in report_module.headline(a)

    far = replace(a, readings=Readings(2.0, {"photo": -0.5}))
    said = report_module.headline(far)
    assert "strength 0.50 takes just that" in said and "Where photo should stay" in said
    near = replace(a, readings=Readings(1.0, {"photo": 0.0}))
    assert "should stay as it is" not in report_module.headline(near)


def test_what_cannot_be_foreseen_or_read_is_null(tiny_config: ReportConfig) -> None:
    a = analyse(replace(tiny_config, method="null-space", per_cell=1))
    found = report_module.metrics(a)
    assert found["readings"] is None and found["predicted"] == {"retained": None}
    assert "Predicted" not in report_module.headline(a)
