"""Bad input gives exit code 2, a message that names what is wrong, and nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from clip_unlearn.cli import main


def run(*arguments: str | Path):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two domains x two classes x one image."""
    root = tmp_path / "images"
    for domain in ("art_painting", "photo"):
        for name in ("cat", "dog"):
            folder = root / domain / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), "red").save(folder / "0.png")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(result, out: Path, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert all(word in result.output for word in words), result.output
    assert "Traceback" not in result.output
    assert not out.exists()
    assert not [p for p in out.parent.iterdir() if "partial" in p.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--classes", "dgo"], ["dgo", 'mean "dog"']),
        (["--classes", "dog", "--domains", "sketh"], ["sketh", 'mean "sketch"']),
        ([], ["nothing to forget", "classes", "domains"]),
        (["--classes", "", "--domains", "sketch"], ["no name given"]),
        (["--classes", "dog", "--pretrained", "laion"], ["laion", "bundled"]),
        (["--classes", "dog", "--strength", "1.5"], ["1.5", "0", "1"]),
        (["--classes", "dog", "--strength", "-0.1"], ["-0.1"]),
        (["--classes", "dog", "--strength", "nan"], ["nan"]),
        (["--classes", "dog", "--strength", "much"], ["much", "not a valid float"]),
        (["--classes", "dog", "--method", "magic"], ["magic", "oblique"]),
        (["--classes", "dog", "--method", "redirect"], ["redirect", "whole domains"]),
        (["--classes", "dog", "--towers", "left"], ["left", "visual"]),
        (["--classes", "dog", "--domains", "sketch", "--towers", "both"], ["global", "visual"]),
        (["--classes", "dog", "--per-cell", "0"], ["per_cell", "at least 1"]),
        (["--domains", "photo,painting,cartoon,sketch"], ["whole grid"]),
        (["--classes", "dog", "--images", "no/such/folder"], ["no/such/folder"]),
        (["--classes", "dog", "--model", "no-such-model"], ["no-such-model", "list_models"]),
        (["--classes", "dog", "--model", "ViT-B-32"], ["--pretrained", "openai"]),
        (["--classes", "dog", "--model", "ViT-B-32", "--pretrained", "nobody"], ["nobody", "openai"]),
    ],
)
def test_a_bad_request_is_named_and_leaves_nothing(arguments: list[str], words: list[str], out: Path) -> None:
    refused(run("report", *arguments, "--out", out), out, *words)


def test_an_empty_image_folder_is_named(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(run("report", "--classes", "dog", "--images", tmp_path / "empty", "--out", out), out, "empty", "<domain>")


def test_a_class_folder_without_images_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "fox").mkdir()
    refused(run("report", "--classes", "dog", "--images", images, "--out", out), out, "fox", "no images")


def test_an_unreadable_image_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "dog" / "broken.png").write_bytes(b"not an image")
    refused(run("report", "--classes", "dog", "--images", images, "--out", out), out, "broken.png", "--skip-unreadable")


def test_a_model_folder_without_a_config_is_named(tmp_path: Path, out: Path) -> None:
    (tmp_path / "model").mkdir()
    refused(
        run("report", "--classes", "dog", "--model", tmp_path / "model", "--out", out), out, "open_clip_config.json"
    )


def test_a_pickle_checkpoint_is_refused_unopened(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    torch.save({}, folder / "open_clip_pytorch_model.bin")
    result = run("report", "--classes", "dog", "--model", folder, "--out", out)
    refused(result, out, "open_clip_pytorch_model.bin", "pickle", "safetensors")


def test_an_output_path_that_is_a_file_is_left_alone(out: Path) -> None:
    out.write_text("mine")
    result = run("report", "--classes", "dog", "--out", out)
    assert result.exit_code == 2 and "is a file" in result.output
    assert out.read_text() == "mine"


def test_an_output_under_a_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("mine")
    result = run("report", "--classes", "dog", "--out", tmp_path / "a.log" / "sub")
    assert result.exit_code == 2 and "a.log" in result.output


def test_something_else_in_the_place_of_a_result_is_refused(out: Path) -> None:
    out.mkdir()
    (out / "edited-clip").write_text("mine")
    result = run("report", "--classes", "dog", "--out", out)
    assert result.exit_code == 2 and "in the way" in result.output
    assert [p.name for p in out.iterdir()] == ["edited-clip"]


def test_a_single_class_cannot_be_forgotten(images: Path, out: Path) -> None:
    shutil.rmtree(images / "photo" / "cat")
    shutil.rmtree(images / "art_painting" / "cat")
    refused(
        run("report", "--classes", "dog", "--domains", "photo", "--images", images, "--out", out), out, "at least two"
    )


def test_a_cell_with_no_readable_image_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "dog" / "0.png").write_bytes(b"not an image")
    request = ("report", "--classes", "dog", "--domains", "photo", "--images", images, "--per-cell", "1", "--out", out)
    refused(run(*request, "--skip-unreadable"), out, "no readable image", "dog in photo")


@pytest.mark.parametrize("command", [[], ["report"], ["survey"]])
def test_help_explains_every_option(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    for option in (
        ("--classes", "--domains", "--strength", "--model", "--images", "--out") if "report" in command else ()
    ):
        assert option in result.output
