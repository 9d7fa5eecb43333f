"""A sweep: every combination once, finished ones kept, one that fails named and the others made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from tiny import write_images

from clip_unlearn import Clip, ConceptGrid
from clip_unlearn.cli import main
from clip_unlearn.core import InputError
from clip_unlearn.measure.setting import SurveyConfig
from clip_unlearn.report import sweep
from clip_unlearn.report.report import absolute

METRICS = {
    "groups": {
        "forget": {"n": 2, "before": 0.9, "after": 0.1},
        "retained": {"n": 9, "before": 0.8, "after": 0.75},
        "same_class": None,
        "same_domain": None,
        "unrelated": None,
    },
    "paraphrase": {"before": 0.9, "after": 0.2},
    "method": "oblique",
    "H": 0.8,
    "seconds": {"total": 1.5},
}


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[sweep.ReportConfig]:
    """The configurations that a report was made of; one takes no time here. Strength 0.5 fails."""
    made = []

    def pretend(config: sweep.ReportConfig, out: Path, progress: bool) -> dict:
        config.request.on(config.inputs()[1])
        if config.strength == 0.5:
            raise RuntimeError("the kernel died\nat length")
        made.append(config)
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.json").write_text(json.dumps(METRICS))
        return METRICS

    monkeypatch.setattr(sweep, "write_report", pretend)
    monkeypatch.setattr(sweep, "prototypes_for", lambda *_: None)
    return made


@pytest.fixture
def run(clip_folder: Path, tmp_path: Path):
    """`run(options)` sweeps the tiny CLIP over the small image folder: (result, table, folder)."""
    images = write_images(tmp_path / "images")
    out = tmp_path / "sweep"

    def go(*options: str, model: str | Path = clip_folder):
        arguments = ["sweep", "--model", model, "--images", images, "--out", out, *options]
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        summary = out / "summary.csv"
        table = pd.read_csv(summary, keep_default_na=False) if summary.is_file() else None
        return result, table, out

    return go


def requests(made: list[sweep.ReportConfig]) -> set[tuple]:
    return {(c.classes, c.domains, c.strength, c.method) for c in made}


def test_every_combination_is_made_once(run, reports) -> None:
    result, table, out = run(
        "--classes", "dog,cat+house", "--domains", "sketch,*", "--strengths", "0.8,1,0.80"
    )
    assert result.exit_code == 0, result.output
    expected = {
        (c, d, s, "default")
        for c in (("dog",), ("cat", "house"))
        for d in (("sketch",), ())
        for s in (0.8, 1)
    }
    assert requests(reports) == expected and len(reports) == len(table) == 8
    assert {p.name for p in out.iterdir()} == {*table["name"], "summary.csv", "index.html"}
    assert all(c.images_per_cell == 0 and not c.save_clip for c in reports)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--every-class",), 3),
        (("--every-domain",), 3),
        (("--every-class", "--every-domain", "--methods", "oblique,null-space"), 18),
        (("--classes", "dog,*", "--domains", "*"), 1),
    ],
)
def test_axes_of_every_name(run, reports, options: tuple[str, ...], count: int) -> None:
    result, table, _ = run(*options)
    assert result.exit_code == 0 and len(table) == len(reports) == count, result.output


def test_pictures_of_every_method_are_made_for_one_clip(
    run, reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def pictures(config: SurveyConfig, clip: Clip, grid: ConceptGrid, requests: list) -> None:
        asked.append((config.method, id(clip), [str(request) for request in requests]))

    monkeypatch.setattr(sweep, "prototypes_for", pictures)
    run("--classes", "dog,cat", "--domains", "sketch", "--methods", "oblique,null-space")
    assert [method for method, _, _ in asked] == ["oblique", "null-space"]
    assert len({clip for _, clip, _ in asked}) == 1
    assert all(requests == ["dog in sketch", "cat in sketch"] for _, _, requests in asked)


@pytest.mark.parametrize("name", [sweep.FINISHED, "metrics.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"groups": {"forget"', b"[]", b"null", b"{}", b"\xff\xfe noise \x00"],
    ids=repr,
)
def test_a_report_with_a_damaged_file_is_made_anew(run, reports, name: str, content: bytes) -> None:
    _, table, out = run("--classes", "dog")
    (out / table["name"][0] / name).write_bytes(content)
    result, table, _ = run("--classes", "dog")
    assert result.exit_code == 0 and list(table["status"]) == ["made"], result.output
    result, table, _ = run("--classes", "dog")
    assert list(table["status"]) == ["kept"] and len(reports) == 2


def test_finished_reports_are_kept_and_others_are_made(run, reports) -> None:
    run("--classes", "dog")
    result, table, out = run("--classes", "dog,cat")
    assert result.exit_code == 0 and list(table["status"]) == ["kept", "made"] and len(reports) == 2
    run("--classes", "dog", "--seed", "1")  # another parameter is another report
    assert len(reports) == 3
    run("--classes", "dog", "--workers", "2")  # this one changes no number
    assert len(reports) == 3
    run("--classes", "dog", "--again")
    assert len(reports) == 4
    (out / table["name"][0] / "metrics.json").unlink()
    run("--classes", "dog")
    assert len(reports) == 5


def test_a_report_of_other_images_is_not_kept(run, reports, tmp_path: Path) -> None:
    """Its parameters are the same; what they name is not."""
    for _ in range(2):
        run("--classes", "dog")
    assert len(reports) == 1
    old = next((tmp_path / "images" / "photo" / "dog").iterdir())
    old.with_name("more.jpg").write_bytes(old.read_bytes())
    run("--classes", "dog")
    assert len(reports) == 2


def test_one_that_fails_is_named_and_does_not_stop_the_others(run, reports) -> None:
    result, table, out = run("--classes", "dog,dgo", "--strengths", "0.5,1")
    assert result.exit_code == 1
    assert list(table["status"]) == ["failed", "made", "failed", "failed"] and len(reports) == 1
    assert table["error"][0] == "the kernel died" and 'unknown class "dgo"' in table["error"][3]
    assert all(
        name in result.output.split("failed   ")[-1]
        for name in table["name"][table["status"] == "failed"]
    )
    page = (out / "index.html").read_text()
    assert page.count("<a href=") == 2 and "the kernel died" in page
    assert "Traceback" not in result.output
    run("--classes", "dog", "--strengths", "1")  # what was made is not made again
    assert len(reports) == 1


def test_the_page_links_each_report_and_shows_its_numbers(run, reports) -> None:
    _, table, out = run("--classes", "dog,cat")
    page = (out / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]+)">', page)
    assert links == ["summary.csv", *table["report"]] and not re.findall(r"https?://", page)
    assert "<td>0.900</td><td>0.100</td><td>0.200</td><td></td><td>-5.0</td>" in page
    row = table.iloc[0]
    numbers = row[["forget", "paraphrased", "retained"]].astype(float)
    assert list(numbers) == [0.1, 0.2, -5.0]
    assert row["same_class"] == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["nothing to forget", "--every-class"]),
        (("--classes", "*"), ["nothing to forget"]),
        (("--classes", "dog,,cat"), ["an empty name"]),
        (("--classes", "dog", "--every-class"), ["--every-class already takes each"]),
        (("--classes", "dog", "--strengths", "half"), ["half", "0.5,1"]),
        (("--classes", "dog", "--prompts", "none.yaml"), ["no prompts file none.yaml"]),
        (("--classes", "dog", "--per-cell", "0"), ["per_cell"]),
    ],
)
def test_what_would_stop_every_report_stops_the_sweep_before_it_writes(
    run, reports, options: tuple[str, ...], words: list[str]
) -> None:
    result, _, out = run(*options)
    assert result.exit_code == 2 and all(w in result.output for w in words), result.output
    assert not out.exists() and not reports


def test_a_model_that_does_not_load_stops_the_sweep(run, tmp_path: Path) -> None:
    result, _, out = run("--classes", "dog", model=tmp_path / "none")
    assert result.exit_code == 2 and "none" in result.output and not out.exists()


@pytest.mark.parametrize("name", ["a, b", "c+d", "犬", "../up", "x" * 300, 'a "b" <i>'])
def test_any_name_makes_a_folder_of_its_own(name: str) -> None:
    shared = {
        "model": "bundled",
        "pretrained": "",
        "class_names": "",
        "prompts": "",
        "images": "bundled",
    }
    axes = sweep.Axes(classes=[(name,), (f"{name}!",)], domains=[()])
    folders = [c.name for c in sweep.combinations(shared, axes)]
    assert len(set(folders)) == 2
    assert all(len(f) < 100 for f in folders)
    assert not any(re.search(r'[/\\<>"*?:|]', f) for f in folders)
    assert all(not f.startswith(".") or f.strip(".") for f in folders)


def test_one_real_report_of_a_sweep(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompts file has a relative path, and the kernel must find it from another folder."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text('test_templates: ["my {class}"]\nsynonyms: {dog: [puppy]}\n')
    request = ("--classes", "dog", "--domains", "sketch", "--prompts", "own.yaml")
    options = (*request, "--per-cell", "1", "--limit", "1")
    result, table, out = run(*options)
    assert result.exit_code == 0, result.output
    (name,) = table["name"]
    assert {p.name for p in (out / name).iterdir()} == {
        "report.html",
        "report.ipynb",
        "metrics.json",
        "finished.json",
    }
    found = json.loads((out / name / "metrics.json").read_text())
    forget = found["groups"]["forget"]
    assert forget["n"] == 1 and forget["after"] == float(table["forget"][0])
    made_of = json.loads((out / name / "finished.json").read_text())
    assert made_of["prompts"] == str(tmp_path / "own.yaml")

    def broken(*_, **__) -> None:
        raise InputError("made again")

    monkeypatch.setattr(sweep, "write_report", broken)
    result, table, _ = run(*options)
    assert result.exit_code == 0 and list(table["status"]) == ["kept"]


def test_paths_are_made_absolute_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m", "a", "b=c"):
        Path(name).mkdir()
    given = {"pretrained": "", "class_names": "none.txt", "prompts": "imagenet", "classes": ("x",)}
    found = absolute({**given, "model": "local-dir:m", "images": ("photo=a", "sketch=b=c")})
    assert found["model"] == str(tmp_path / "m")
    assert found["images"] == [f"photo={tmp_path / 'a'}", f"sketch={tmp_path / 'b=c'}"]
    assert (found["class_names"], found["prompts"], found["classes"]) == (
        "none.txt",
        "imagenet",
        ["x"],
    )
    assert absolute({**given, "model": "bundled", "images": "b=c"})["images"] == str(
        tmp_path / "b=c"
    )
