"""Audits from names alone: of a request, of a saved edit, and of every request of a paradigm."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny import picture, write_folder, write_images

from clip_unlearn import ForgetRequest, fit_edit
from clip_unlearn.audit import probes
from clip_unlearn.audit.requests import audit_of, audit_summary, audit_table, every_audit
from clip_unlearn.audit.verdict import audit
from clip_unlearn.cli import main
from clip_unlearn.core import InputError
from clip_unlearn.measure.setting import Setting, SurveyConfig


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """One draw of labelled images is quicker, and no test here depends on which images it takes."""
    monkeypatch.setattr(probes, "DRAWS", 1)


def run(*arguments: str | Path) -> Result:
    """`clip-unlearn audit` with these arguments."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, ["audit", *words])


@pytest.fixture
def own(clip_folder: Path, folder: Path) -> tuple:
    """The tiny CLIP and its images, as options."""
    return ("--model", clip_folder, "--images", folder, "--per-cell", "1")


def others(root: Path, *names: str) -> Path:
    """A folder of two images of each class."""
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(2):
            picture(i).save(root / name / f"{i}.png")
    return root


# ---- one edit


def test_a_request_becomes_files_and_a_verdict(own: tuple, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    unrelated = others(tmp_path / "others", "fox", "cup")
    request = ("--classes", "dog", "--domains", "sketch", "--strength", "0.5")
    result = run(*request, *own, "--unrelated", unrelated, "--out", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"audit.csv", "neighbours.csv", "audit.png"}
    for words in ("Prompts", "dog in sketch", "complete", str(out / "audit.png")):
        assert words in result.output

    frame = pd.read_csv(out / "audit.csv")
    assert {"chance", "reading", "before", "after"} < set(frame)
    rows = frame[(frame["check"] == "prompts") & (frame["where"] == "unrelated")]
    assert rows["chance"].tolist() == [0.5]
    assert not rows["after"].isna().any()
    with Image.open(out / "audit.png") as image:
        assert min(image.size) > 700


def test_a_saved_edit_is_audited_as_the_request_it_was_fitted_for(
    own: tuple, tmp_path: Path
) -> None:
    file = saved_edit(own, tmp_path)
    assert run(*own, "--edit", file, "--out", tmp_path / "file").exit_code == 0
    assert run(*own, "--classes", "dog", "--out", tmp_path / "request").exit_code == 0
    of_file = pd.read_csv(tmp_path / "file" / "audit.csv")
    of_request = pd.read_csv(tmp_path / "request" / "audit.csv")
    pd.testing.assert_frame_equal(of_file, of_request)


def test_a_saved_edit_of_another_clip_is_refused(own: tuple, tmp_path: Path, folder: Path) -> None:
    file = saved_edit(own, tmp_path)
    other = write_folder(tmp_path / "other", seed=1)
    out = tmp_path / "x"
    result = run("--model", other, "--images", folder, "--edit", file, "--out", out)
    assert result.exit_code == 2
    assert "fitted on a CLIP" in result.output
    assert not out.exists()


def saved_edit(own: tuple, tmp_path: Path) -> Path:
    """The file of an edit that forgets dogs."""
    file = tmp_path / "e.safetensors"
    options = [str(option) for option in own]
    forget = ["forget", *options, "--classes", "dog", "--edit", str(file)]
    assert CliRunner().invoke(main, forget).exit_code == 0
    return file


def test_translations_of_a_prompts_file_are_a_row_of_the_audit(own: tuple, tmp_path: Path) -> None:
    prompts = tmp_path / "p.yaml"
    request = ("--classes", "dog", *own, "--prompts", prompts)
    prompts.write_text('translations: {dog: [Hund, perro, "ein Hund"]}')
    assert run(*request, "--out", tmp_path / "o").exit_code == 0
    row = pd.read_csv(tmp_path / "o" / "audit.csv").set_index("check").loc["translations"]
    assert row["chance"] == pytest.approx(1 / 3, abs=1e-3)
    assert 0 <= row["before"] <= 1

    prompts.write_text("translations: {dgo: [Hund]}")
    result = run(*request, "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert 'unknown class "dgo"' in result.output
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["in one way", "--edit FILE", "--every KIND"]),
        (("--classes", "dog", "--every", "global"), ["in one way"]),
        (("--domains", "sketch", "--edit", "e"), ["in one way"]),
        (("--edit", "none.safetensors"), ["no edit file none.safetensors"]),
        (("--edit", "e", "--method", "oblique"), ["fitted already", "--method"]),
        (("--every", "some"), ["some", "global"]),
        (("--every", "global", "--method", "redirect"), ["redirect", "whole-domain requests"]),
        (("--every", "domain-specific", "--towers", "text"), ["global", "visual"]),
        (("--classes", "dgo"), ["dgo", 'mean "dog"']),
        (
            ("--classes", "cat", "--domains", "art painting"),
            ["no readable image of cat in art painting"],
        ),
        (("--classes", "dog", "--strength", "2"), ["strength is 2.0"]),
        (("--classes", "dog", "--unrelated", "none"), ["no image folder none"]),
    ],
)
def test_a_bad_audit_is_named_and_leaves_nothing(
    own: tuple, tmp_path: Path, options: tuple[str, ...], words: list[str]
) -> None:
    out = tmp_path / "out"
    result = run(*own, *options, "--out", out)
    assert result.exit_code == 2, result.output
    for word in words:
        assert word in result.output
    assert not out.exists()


def test_unrelated_images_of_what_is_forgotten_and_of_one_class_are_refused(
    clip_folder: Path, folder: Path, tmp_path: Path
) -> None:
    config = SurveyConfig(model=str(clip_folder), images=str(folder), per_cell=1)
    same = str(others(tmp_path / "same", "Dog", "fox"))
    with pytest.raises(InputError, match='show "dog", which is forgotten'):
        audit_of(config, ForgetRequest(["dog"]), unrelated=same)
    one = str(others(tmp_path / "one", "cup"))
    with pytest.raises(InputError, match='show "cup" alone'):
        audit_of(config, ForgetRequest(["dog"]), unrelated=one)
    # If cats are forgotten, dogs stay, and so may be unrelated.
    result, _ = audit_of(config, ForgetRequest(["cat"]), unrelated=same)
    assert "unrelated" in set(result.frame["where"])


# ---- every request


def test_every_request_with_images_is_audited_as_it_is_alone(setting: Setting) -> None:
    frame = every_audit(setting, "domain-specific", progress=False)
    requests = set(frame["request"])
    assert len(requests) == 8
    assert "cat in art painting" not in requests, "no cat is painted"

    edit = fit_edit(setting.prototypes, ForgetRequest(["dog"], ["sketch"]))
    alone = audit(setting, edit)
    part = frame[frame["request"] == "dog in sketch"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.drop(columns=["request", "complete"]), alone.frame)
    assert set(part["complete"]) == {alone.complete}


def test_every_request_of_an_unknown_paradigm_is_refused(setting: Setting) -> None:
    with pytest.raises(InputError, match="unknown paradigm"):
        every_audit(setting, "some")


@pytest.fixture
def two_requests() -> pd.DataFrame:
    """The rows of two requests, "0" and "1", of which the first is complete."""
    nan = float("nan")
    rows = [
        ("0", "prompts", "forget", 1.0, 0.0, 0.2, "gone"),
        ("1", "prompts", "forget", 0.8, 0.5, 0.2, "still there"),
        ("0", "search", "retained", 1.0, 0.9, 0.2, "lost 10 points"),
        ("1", "search", "retained", 1.0, 1.0, 0.2, "kept"),
        ("0", "similarity", "forget", 0.5, -0.4, 0.1, "over-forgotten"),
        ("1", "similarity", "forget", 0.5, 0.3, 0.1, "still there"),
        ("0", "regained from 1", "forget", 0.0, 0.2, 0.0, "+20 points"),
        ("1", "regained from 1", "forget", 0.0, 0.6, 0.0, "+60 points"),
        ("0", "translations", "forget", nan, nan, 0.2, "not measured: none"),
        ("1", "translations", "forget", nan, nan, 0.2, "not measured: none"),
        ("0", "worst cell", "a in b", 1.0, 0.5, 0.2, "lost 50 points"),
        ("1", "worst cell", "c in d", 1.0, 0.9, 0.2, "kept"),
    ]
    columns = ["request", "check", "where", "before", "after", "chance", "reading"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(complete=frame["request"] == "0")


def test_mean_and_worst_of_rows_counted_by_hand(two_requests: pd.DataFrame) -> None:
    table = audit_summary(two_requests).set_index("check")
    numbers = table[["after", "worst"]]
    assert numbers.loc["prompts"].tolist() == [0.25, 0.5]
    assert numbers.loc["search"].tolist() == [0.95, 0.9]
    assert numbers.loc["worst cell"].tolist() == [0.7, 0.5]
    assert table.loc["worst cell", "where"] == "any that stays"
    assert table.loc["similarity", "worst"] == -0.4
    assert table.loc["translations", "requests"] == 0

    readings = table["readings"]
    assert readings["prompts"] == "1 gone, 1 still there"
    assert readings["regained from 1"] == ""
    assert readings["translations"] == "2 not measured"


def test_the_table_shows_mean_and_worst_and_counts_what_is_complete(
    two_requests: pd.DataFrame,
) -> None:
    text = audit_table(two_requests)
    assert "| prompts | forget | 0.900 | 0.250 (0.50) | 1 gone, 1 still there |" in text
    assert "| translations | forget |  |  | 2 not measured |" in text
    assert text.endswith("1 of 2 requests.")


def test_the_command_audits_every_request(clip_folder: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", per_cell=3)
    shared = ("--model", clip_folder, "--images", root, "--per-cell", "1")
    result = run("--every", "global", *shared, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert frame["request"].nunique() == 3
    assert "of 3 requests." in result.output
    assert "| prompts |" in result.output
