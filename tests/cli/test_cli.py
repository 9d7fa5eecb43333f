"""Bad input gives exit code 2, a message that names what is wrong, and nothing written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import click
import open_clip
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file
from tiny import picture, write_images
from torch.nn.functional import normalize

from clip_unlearn import (
    ConceptGrid,
    ForgetRequest,
    fit_edit,
    load_clip,
    open_images,
    synthesize_prototypes,
)
from clip_unlearn.cli import main
from clip_unlearn.cli.options import Names, Points

ABSENT = "cuda" if torch.backends.mps.is_available() else "mps"  # no machine has both


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
        (["--classes", "dog", "--method", "redirect"], ["redirect", "whole-domain requests"]),
        (["--classes", "dog", "--towers", "left"], ["left", "visual"]),
        (["--classes", "dog", "--domains", "sketch", "--towers", "both"], ["global", "visual"]),
        (["--domains", "sketch", "--complete"], ["complete is for classes"]),
        (
            ["--classes", "dog", "--domains", "sketch", "--complete", "--method", "oblique"],
            ["oblique", '"complete"', "search"],
        ),
        (["--classes", "dog", "--per-cell", "0"], ["per_cell", "at least 1"]),
        (["--domains", "photo,painting,cartoon,sketch"], ["whole grid"]),
        (["--classes", "dog", "--images", "no/such/folder"], ["no/such/folder"]),
        (["--classes", "dog", "--model", "no-such-model"], ["no-such-model", "list_models"]),
        (["--classes", "dog", "--model", "ViT-B-32"], ["--pretrained", "openai"]),
        (
            ["--classes", "dog", "--model", "ViT-B-32", "--pretrained", "nobody"],
            ["nobody", "openai"],
        ),
    ],
)
def test_a_bad_request_is_named_and_leaves_nothing(
    arguments: list[str], words: list[str], out: Path
) -> None:
    refused(run("report", *arguments, "--out", out), out, *words)


def test_an_empty_image_folder_is_named(tmp_path: Path, out: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(
        run("report", "--classes", "dog", "--images", tmp_path / "empty", "--out", out),
        out,
        "empty",
        "<domain>",
    )


def test_a_class_folder_without_images_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "fox").mkdir()
    refused(
        run("report", "--classes", "dog", "--images", images, "--out", out), out, "fox", "no images"
    )


def test_an_unreadable_image_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "dog" / "broken.png").write_bytes(b"not an image")
    refused(
        run("report", "--classes", "dog", "--images", images, "--out", out),
        out,
        "broken.png",
        "--skip-unreadable",
    )


def test_a_model_folder_without_a_config_is_named(tmp_path: Path, out: Path) -> None:
    (tmp_path / "model").mkdir()
    refused(
        run("report", "--classes", "dog", "--model", tmp_path / "model", "--out", out),
        out,
        "open_clip_config.json",
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
        run("report", "--classes", "dog", "--domains", "photo", "--images", images, "--out", out),
        out,
        "at least two",
    )


def test_a_cell_with_no_readable_image_is_named(images: Path, out: Path) -> None:
    (images / "photo" / "dog" / "0.png").write_bytes(b"not an image")
    request = (
        "report",
        "--classes",
        "dog",
        "--domains",
        "photo",
        "--images",
        images,
        "--per-cell",
        "1",
        "--out",
        out,
    )
    refused(run(*request, "--skip-unreadable"), out, "no readable image", "dog in photo")


COMMANDS = ("forget", "apply", "evaluate", "report", "survey", "audit", "sweep")


def test_help_lists_every_command_and_each_explains_itself() -> None:
    listed = run("--help").output
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S.*\.$", listed, re.MULTILINE), listed
        result = run(name, "--help")
        assert result.exit_code == 0 and f"clip-unlearn {name} " in result.output, "an example"
        command = main.commands[name]
        explained = [o for o in command.params if isinstance(o, click.Option) and not o.hidden]
        assert all(o.help for o in explained) and all(
            o.opts[-1] in result.output for o in explained
        )


# ---- names


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("dog", ["dog"]),
        ("dog, cat ,", ["dog", "cat"]),
        (r"cup\, saucer,dog", ["cup, saucer", "dog"]),
        ("palm tree", ["palm tree"]),
        ("犬,café", ["犬", "café"]),
    ],
)
def test_names_are_separated_by_commas_that_no_backslash_keeps(
    typed: str, names: list[str]
) -> None:
    assert Names().convert(typed, None, None) == names


def test_points_of_a_sweep_join_names_by_plus() -> None:
    typed = r"dog, cat+cup\, saucer ,*,c\+d"
    assert Points().convert(typed, None, None) == [("dog",), ("cat", "cup, saucer"), (), ("c+d",)]


def test_a_class_with_a_comma_is_forgotten_by_its_name(clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(
        'classes: ["cup, saucer", cup, 犬]\ndomains: [photo, sketch]\n', encoding="utf-8"
    )
    shared = (
        "--model",
        clip_folder,
        "--grid",
        tmp_path / "g.yaml",
        "--per-cell",
        "1",
        "--out",
        tmp_path / "out",
    )
    result = run("forget", "--classes", r"cup\, saucer,犬", *shared)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "edit.json").read_text())["classes"] == [
        "cup, saucer",
        "犬",
    ]


# ---- forget, apply, evaluate


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Folders of two domains x three classes, without a single image."""
    for cell in (f"{d}/{c}" for d in ("photo", "sketch") for c in ("cat", "dog", "house")):
        (tmp_path / "skeleton" / cell).mkdir(parents=True)
    return tmp_path / "skeleton"


def test_forget_needs_names_alone_and_changes_the_projection_alone(
    clip_folder: Path, skeleton: Path, out: Path
) -> None:
    request = ("--classes", "dog", "--domains", "sketch", "--strength", "0.7", "--per-cell", "2")
    request = (*request, "--prototypes", "all")
    result = run("forget", "--model", clip_folder, "--images", skeleton, *request, "--out", out)
    assert result.exit_code == 0 and "forgot dog in sketch" in result.output, result.output
    base, edited = (load_clip(f, device="cpu").model.state_dict() for f in (clip_folder, out))
    assert [k for k, v in edited.items() if not torch.equal(v, base[k])] == ["visual.proj"]
    clip = load_clip(clip_folder, device="cpu")
    edit = fit_edit(
        synthesize_prototypes(
            clip, ConceptGrid(["cat", "dog", "house"], ["photo", "sketch"]), 2, progress=False
        ),
        ForgetRequest(["dog"], ["sketch"]),
    )
    torch.testing.assert_close(edited["visual.proj"], edit.weight(clip.heads["visual"].weight, 0.7))


def test_an_edit_alone_is_applied_later_and_gives_the_same_clip(
    clip_folder: Path, skeleton: Path, tmp_path: Path
) -> None:
    edit, one, two = (tmp_path / name for name in ("dogless.safetensors", "one", "two"))
    base = ("--model", clip_folder)
    result = run(
        "forget", *base, "--images", skeleton, "--classes", "dog", "--edit", edit, "--out", one
    )
    assert result.exit_code == 0 and edit.stat().st_size < 1e6, result.output
    result = run("apply", edit, *base, "--out", two)
    assert result.exit_code == 0 and f"applied  {edit}: dog in all domains" in result.output, (
        result.output
    )
    assert load_clip(one, device="cpu").fingerprint() == load_clip(two, device="cpu").fingerprint()
    refused(
        run("apply", edit, "--model", two, "--out", tmp_path / "x" / "y"),
        tmp_path / "x",
        "fitted on a CLIP",
    )


def test_forget_makes_no_more_pictures_than_it_needs_and_none_twice(
    clip_folder: Path, skeleton: Path, out: Path, fresh_cache: Path
) -> None:
    request = ("--classes", "dog", "--domains", "sketch", "--prototypes", "4")
    names = ("forget", "--model", clip_folder, "--images", skeleton)
    for where in ("first", "second"):
        result = run(*names, *request, "--edit", out.parent / f"{where}.safetensors")
        assert result.exit_code == 0, result.output
        kept = (fresh_cache / "prototypes" / "pictures").rglob("*.safetensors")
        assert [len(load_file(file)["rows"]) for file in kept] == [4]
    first, second = (load_file(out.parent / f"{name}.safetensors") for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ["nothing to forget"]),
        (("--classes", "dgo"), ["dgo", 'mean "dog"']),
        (("--classes", "dog", "--images", "none"), ["no image folder none"]),
        (("--classes", "dog", "--grid", "none.yaml"), ["no prompts file none.yaml"]),
        (
            ("--classes", "dog", "--grid", "g.yaml", "--prompts", "imagenet"),
            ["--grid g.yaml", "leave out"],
        ),
        (
            ("--classes", "dog", "--model", "m"),
            ["which classes and domains does m know", "--images", "--grid"],
        ),
        (("--classes", "dog", "--method", "redirect"), ["redirect", "whole-domain requests"]),
        (("--classes", "dog", "--method", "magic"), ["magic", "oblique"]),
        (("--classes", "dog", "--strength", "2"), ["strength is 2.0"]),
        (("--classes", "dog", "--precision", "int8"), ["int8", "bf16"]),
        (("--classes", "dog", "--device", "tpu"), ["tpu", "auto, cuda, mps, cpu"]),
        (
            ("--classes", "dog", "--device", ABSENT),
            [f'no device "{ABSENT}" on this machine', "cpu"],
        ),
        (("--classes", "dog", "--prototypes", "3"), ["prototypes is 3", "at least 4"]),
        (("--classes", "dog", "--prototypes", "many"), ["'many'", '"auto" or "all"']),
        (
            ("--classes", "dog", "--edit", "no/such/folder/e.safetensors"),
            ["no folder", "e.safetensors"],
        ),
    ],
)
def test_a_bad_forget_is_named_and_leaves_nothing(
    options: tuple[str, ...], words: list[str], out: Path
) -> None:
    refused(run("forget", *options, "--out", out), out, *words)


def test_forget_needs_a_place_to_save_and_spares_other_files(
    out: Path, clip_folder: Path, skeleton: Path
) -> None:
    result = run("forget", "--classes", "dog")
    assert result.exit_code == 2 and "nowhere to save" in result.output
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    result = run("forget", "--classes", "dog", "--out", out)
    assert result.exit_code == 2 and "holds other files" in result.output
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    edited = out.with_name("edited")
    forget = (
        "forget",
        "--classes",
        "dog",
        "--images",
        skeleton,
        "--per-cell",
        "1",
        "--out",
        edited,
    )
    assert run(*forget, "--model", clip_folder).exit_code == 0
    result = run(*forget, "--model", edited)
    assert result.exit_code == 2 and "is the model itself" in result.output


def test_evaluate_agrees_with_the_model_and_tells_what_was_forgotten(
    clip_folder: Path, folder: Path, tmp_path: Path
) -> None:
    """The oracle is plain open_clip on the same images, with the test templates."""
    out = tmp_path / "out"
    request = ("--classes", "dog", "--domains", "sketch", "--per-cell", "1")
    assert (
        run("forget", "--model", clip_folder, "--images", folder, *request, "--out", out).exit_code
        == 0
    )
    result = run(
        "evaluate",
        "--model",
        out,
        "--images",
        folder,
        "--csv",
        tmp_path / "c.csv",
        "--json",
        tmp_path / "n",
    )
    assert result.exit_code == 0 and "forgotten: dog in sketch" in result.output, result.output
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{out}")
    tokenizer, images = open_clip.get_tokenizer(f"local-dir:{out}"), open_images(folder)
    with torch.no_grad():
        texts = [
            model.eval().encode_text(tokenizer([f"a photo of a {c}", f"a {c}"]))
            for c in images.classes
        ]
        weights = normalize(torch.stack([normalize(t, dim=-1).mean(0) for t in texts]), dim=-1)
        pixels = torch.stack([preprocess(Image.open(p).convert("RGB")) for p in images.paths])
        right = (model.encode_image(pixels) @ weights.T).argmax(1).eq(images.class_of)
    numbers = json.loads((tmp_path / "n").read_text())
    assert numbers["groups"]["all"]["accuracy"] == pytest.approx(right.float().mean().item())
    assert numbers["groups"]["forget"]["n"] == 2 and numbers["groups"]["retained"]["n"] == 14
    rows = pd.read_csv(tmp_path / "c.csv")
    assert (
        len(rows) == 9
        and rows["n"].sum() == 16
        and rows.loc[rows["forget"], "class"].tolist() == ["dog"]
    )
    cell = rows[(rows["class"] == "house") & (rows["domain"] == "photo")].iloc[0]
    mine = (images.class_of == images.classes.index("house")) & (
        images.domain_of == images.domains.index("photo")
    )
    assert cell["accuracy"] == pytest.approx(right[mine].float().mean().item())
    (empty,) = [c for c in numbers["cells"] if c["n"] == 0]
    assert (empty["class"], empty["domain"], empty["accuracy"]) == ("cat", "art painting", None)


def test_a_complete_request_goes_from_the_command_to_the_edit(
    clip_folder: Path, folder: Path, tmp_path: Path
) -> None:
    out, request = tmp_path / "out", ("--classes", "dog", "--domains", "sketch", "--complete")
    shared = ("--model", clip_folder, "--images", folder, "--per-cell", "1")
    result = run("forget", *shared, *request, "--out", out)
    assert result.exit_code == 0 and "dog in sketch, complete: complete" in result.output
    facts = json.loads((out / "edit.json").read_text())
    assert facts["complete"] is True and facts["method"] == "complete"


def test_a_survey_of_complete_requests_has_a_row_and_columns_of_its_own(
    clip_folder: Path, folder: Path, tmp_path: Path
) -> None:
    shared = ("--model", clip_folder, "--images", folder, "--per-cell", "1")
    csv = tmp_path / "rows.csv"
    result = run("survey", *shared, "--paradigm", "global", "--complete", "--csv", csv)
    assert result.exit_code == 0, result.output
    assert "search in the domain" in result.output and "8 complete | complete" in result.output
    rows = pd.read_csv(csv)
    assert rows["paradigm"].tolist() == ["global"] * 3 + ["domain-specific"] * 8
    cells = rows["paradigm"] == "domain-specific"
    assert rows.loc[cells, ["inside", "inside before"]].notna().all(axis=None)
    assert rows.loc[~cells, "inside"].isna().all()
    result = run("survey", *shared, "--complete", "--method", "oblique")
    assert result.exit_code == 2 and "a search finds" in result.output


def test_a_method_for_one_paradigm_is_surveyed_there_alone(clip_folder: Path, folder: Path) -> None:
    shared = ("--model", clip_folder, "--images", folder, "--per-cell", "1")
    result = run("survey", *shared, "--method", "complete")
    assert result.exit_code == 0 and "domain-specific" in result.output
    assert "global" not in result.output


def test_evaluate_says_why_there_are_no_groups(
    clip_folder: Path, folder: Path, tmp_path: Path, skeleton: Path
) -> None:
    result = run("evaluate", "--model", clip_folder, "--images", folder)
    assert result.exit_code == 0 and "no edit.json" in result.output
    shutil.copytree(clip_folder, tmp_path / "edited")
    (tmp_path / "edited" / "edit.json").write_text(
        json.dumps({"classes": ["zebra"], "domains": None})
    )
    result = run("evaluate", "--model", tmp_path / "edited", "--images", folder)
    assert result.exit_code == 0 and 'unknown class "zebra"' in result.output
    (tmp_path / "edited" / "edit.json").write_text("[]")
    result = run("evaluate", "--model", tmp_path / "edited", "--images", folder)
    assert result.exit_code == 2 and "does not say what was forgotten" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--images", "none"), ["no image folder none"]),
        (("--layout", "pacs"), ['layout "pacs" goes with a folder of your own']),
        (("--split", "test"), ['split "test" goes with']),
        (("--images", "a", "--images", "b"), ["domain=folder"]),
        (("--limit", "-1"), ["--limit", "-1"]),
        (("--limit", "2", "--images-per-cell", "2"), ["two ways to say the same"]),
        (("--limit", "2", "--limit-seed", "-1"), ["--limit-seed", "-1"]),
        (("--workers", "-1"), ["--workers", "-1"]),
        (("--csv", "no/such/c.csv"), ["no folder", "c.csv"]),
    ],
)
def test_a_bad_evaluate_is_named(options: tuple[str, ...], words: list[str], out: Path) -> None:
    refused(run("evaluate", *options), out, *words)


def test_a_limit_takes_so_many_of_each_cell_by_its_seed(clip_folder: Path, tmp_path: Path) -> None:
    root = write_images(tmp_path / "many", per_cell=5)

    def measured(*options: str) -> dict:
        file = tmp_path / "numbers.json"
        result = run("evaluate", "--model", clip_folder, "--images", root, *options, "--json", file)
        assert result.exit_code == 0, result.output
        return json.loads(file.read_text())

    assert {c["n"] for c in measured("--limit", "2")["cells"]} == {0, 2}
    assert measured("--limit", "2") == measured("--limit", "2", "--limit-seed", "0")
    assert measured()["groups"]["all"]["n"] == 40


def test_folder_pairs_and_names_of_ids_and_prompts_reach_the_measurement(
    clip_folder: Path, tmp_path: Path
) -> None:
    for place in ("in/n01440764", "in/n02012849", "sk/n01440764"):
        (tmp_path / place).mkdir(parents=True)
        picture(1).save(tmp_path / place / "0.JPEG")
    pairs = ("--images", f"photo={tmp_path / 'in'}", "--images", f"sketch={tmp_path / 'sk'}")
    shared = ("evaluate", "--model", clip_folder, *pairs, "--json", tmp_path / "n.json")
    result = run(*shared, "--prompts", "imagenet")
    assert result.exit_code == 0, result.output
    cells = json.loads((tmp_path / "n.json").read_text())["cells"]
    assert {(c["class"], c["domain"]): c["n"] for c in cells} == {
        ("crane bird", "photo"): 1,
        ("crane bird", "sketch"): 0,
        ("tench", "photo"): 1,
        ("tench", "sketch"): 1,
    }


def test_every_command_that_loads_a_clip_takes_its_device_and_precision() -> None:
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in main.commands.items()
    }
    loading = [name for name, own in options.items() if "--model" in own]
    assert len(loading) == 7
    assert all({"--device", "--precision"} <= options[name] for name in loading)


@pytest.mark.parametrize("command", ["report", "evaluate", "audit", "survey"])
def test_the_device_reaches_the_model(command: str, tmp_path: Path) -> None:
    request = [] if command in ("evaluate", "survey") else ["--classes", "dog"]
    place = {"report": "--out", "audit": "--out"}.get(command, "--csv")
    result = run(command, *request, "--device", ABSENT, place, tmp_path / "out")
    refused(result, tmp_path / "out", f'no device "{ABSENT}" on this machine')
