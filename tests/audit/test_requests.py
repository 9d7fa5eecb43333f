"""Audits from names alone: of a request, of a saved edit, of every request; files, messages, mean and worst."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from tiny import picture, write_folder, write_images

from clip_unlearn import ForgetRequest, Setting, SurveyConfig, fit_edit
from clip_unlearn.audit import probes
from clip_unlearn.audit.requests import audit_of, audit_summary, audit_table, every_audit
from clip_unlearn.audit.verdict import audit
from clip_unlearn.cli import main
from clip_unlearn.core.errors import InputError


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quicker; which draws there are is no matter here."""
    monkeypatch.setattr(probes, "DRAWS", 1)


def run(*arguments: str | Path):
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


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
    more = ("--unrelated", others(tmp_path / "others", "fox", "cup"))
    result = run(
        "--classes", "dog", "--domains", "sketch", *own, *more, "--strength", "0.5", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {"audit.csv", "neighbours.csv", "audit.png"}
    frame = pd.read_csv(out / "audit.csv")
    assert (
        "Prompts" in result.output
        and "dog in sketch" in result.output
        and str(out / "audit.png") in result.output
    )
    assert {"chance", "reading", "before", "after"} < set(frame) and "complete" in result.output
    unrelated = frame[(frame["check"] == "prompts") & (frame["where"] == "unrelated")]
    assert unrelated["chance"].tolist() == [0.5] and not unrelated["after"].isna().any()
    with Image.open(out / "audit.png") as image:
        assert min(image.size) > 700


def test_a_saved_edit_is_audited_as_the_request_it_was_fitted_for(
    own: tuple, tmp_path: Path, clip_folder: Path, folder: Path
) -> None:
    edit = tmp_path / "e.safetensors"
    made = ["forget", *map(str, own), "--classes", "dog", "--edit", str(edit)]
    assert CliRunner().invoke(main, made).exit_code == 0
    for name, way in {"file": ("--edit", edit), "request": ("--classes", "dog")}.items():
        assert run(*own, *way, "--out", tmp_path / name).exit_code == 0
    one, two = (pd.read_csv(tmp_path / name / "audit.csv") for name in ("file", "request"))
    pd.testing.assert_frame_equal(one, two)
    other = write_folder(tmp_path / "other", seed=1)
    result = run("--model", other, "--images", folder, "--edit", edit, "--out", tmp_path / "x")
    assert (
        result.exit_code == 2
        and "fitted on a CLIP" in result.output
        and not (tmp_path / "x").exists()
    )


def test_translations_of_a_prompts_file_are_a_row_of_the_audit(own: tuple, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text('translations: {dog: [Hund, perro, "ein Hund"]}')
    request = ("--classes", "dog", *own, "--prompts", tmp_path / "p.yaml")
    assert run(*request, "--out", tmp_path / "o").exit_code == 0
    row = pd.read_csv(tmp_path / "o" / "audit.csv").set_index("check").loc["translations"]
    assert row["chance"] == pytest.approx(1 / 3, abs=1e-3) and 0 <= row["before"] <= 1
    (tmp_path / "p.yaml").write_text("translations: {dgo: [Hund]}")
    result = run(*request, "--out", tmp_path / "x")
    assert (
        result.exit_code == 2
        and 'unknown class "dgo"' in result.output
        and not (tmp_path / "x").exists()
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["in one way", "--edit FILE", "--every KIND"]),
        (("--classes", "dog", "--every", "global"), ["in one way"]),
        (("--domains", "sketch", "--edit", "e"), ["in one way"]),
        (("--edit", "none.safetensors"), ["no edit file none.safetensors"]),
        (("--edit", "e", "--method", "oblique"), ["fitted already", "--method"]),
        (("--every", "some"), ["some", "global"]),
        (("--every", "global", "--method", "redirect"), ["redirect", "whole domains"]),
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
    result = run(*own, *options, "--out", tmp_path / "out")
    assert result.exit_code == 2 and all(word in result.output for word in words), result.output
    assert not (tmp_path / "out").exists()


def test_unrelated_images_of_what_is_forgotten_and_of_one_class_are_refused(
    clip_folder: Path, folder: Path, tmp_path: Path
) -> None:
    config = SurveyConfig(model=str(clip_folder), images=str(folder), per_cell=1)
    same = str(others(tmp_path / "same", "Dog", "fox"))
    with pytest.raises(InputError, match='show "dog", which is forgotten'):
        audit_of(config, ForgetRequest(["dog"]), unrelated=same)
    with pytest.raises(InputError, match='show "cup" alone'):
        audit_of(config, ForgetRequest(["dog"]), unrelated=str(others(tmp_path / "one", "cup")))
    found, _ = audit_of(
        config, ForgetRequest(["cat"]), unrelated=same
    )  # dogs stay, so they may be unrelated
    assert "unrelated" in set(found.frame["where"])


# ---- every request


def test_every_request_with_images_is_audited_as_it_is_alone(setting: Setting) -> None:
    frame = every_audit(setting, "domain-specific", progress=False)
    requests = frame["request"].unique().tolist()
    assert len(requests) == 8 and "cat in art painting" not in requests  # no cat is painted
    alone = audit(setting, fit_edit(setting.prototypes, ForgetRequest(["dog"], ["sketch"])))
    part = frame[frame["request"] == "dog in sketch"].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.drop(columns=["request", "complete"]), alone.frame)
    assert set(part["complete"]) == {alone.complete}
    with pytest.raises(InputError, match="unknown paradigm"):
        every_audit(setting, "some")


def test_mean_and_worst_of_rows_counted_by_hand() -> None:
    rows = [
        ("prompts", "forget", (1.0, 0.0, 0.2, "gone"), (0.8, 0.5, 0.2, "still there")),
        ("search", "retained", (1.0, 0.9, 0.2, "lost 10 points"), (1.0, 1.0, 0.2, "kept")),
        (
            "similarity",
            "forget",
            (0.5, -0.4, 0.1, "over-forgotten"),
            (0.5, 0.3, 0.1, "still there"),
        ),
        ("regained from 1", "forget", (0.0, 0.2, 0.0, "+20 points"), (0.0, 0.6, 0.0, "+60 points")),
        ("translations", "forget", *[(float("nan"), float("nan"), 0.2, "not measured: none")] * 2),
        ("worst cell", "a in b", (1.0, 0.5, 0.2, "lost 50 points")),
        ("worst cell", "c in d", (1.0, 0.9, 0.2, "kept")),
    ]
    frame = pd.DataFrame(
        [(str(i), c, w, *found, i == 0) for c, w, *each in rows for i, found in enumerate(each)],
        columns=["request", "check", "where", "before", "after", "chance", "reading", "complete"],
    )
    table = audit_summary(frame).set_index("check")
    assert table[["after", "worst"]].loc["prompts"].tolist() == [0.25, 0.5]
    assert table[["after", "worst"]].loc["search"].tolist() == [0.95, 0.9]
    assert table[["after", "worst"]].loc["worst cell"].tolist() == [0.7, 0.5]
    assert (
        table.loc["similarity", "worst"] == -0.4
        and table.loc["worst cell", "where"] == "any that stays"
    )
    assert (
        table.loc["prompts", "readings"] == "1 gone, 1 still there"
        and not table.loc["regained from 1", "readings"]
    )
    assert (
        table.loc["translations", "requests"] == 0
        and table.loc["translations", "readings"] == "2 not measured"
    )
    text = audit_table(frame)
    assert "| prompts | forget | 0.900 | 0.250 (0.50) | 1 gone, 1 still there |" in text
    assert "| translations | forget | | | 2 not measured |" in text and text.endswith(
        "1 of 2 requests."
    )


def test_the_command_audits_every_request(clip_folder: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "images", per_cell=3)
    shared = ("--model", clip_folder, "--images", root, "--per-cell", "1")
    result = run("--every", "global", *shared, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert (
        frame["request"].nunique() == 3
        and "of 3 requests." in result.output
        and "| prompts |" in result.output
    )
