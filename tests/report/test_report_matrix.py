"""report.ipynb through papermill, over paradigms, methods, towers, strengths and models: its numbers, not only its end.

The oracle is plain open_clip: it loads the edited CLIP that the report saved and classifies the
same images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from subprocess import CompletedProcess

import open_clip
import pytest
import torch
from execute import execute, offline_profile, selected, two_at_a_time
from PIL import Image
from tiny import ROOT, write_folder, write_images
from torch.nn.functional import normalize

from clip_unlearn import load_clip
from clip_unlearn.images.inputs import open_inputs

REPORT = ROOT / "notebooks" / "report.ipynb"
# Parameters; the most that may be left of what is forgotten; the most points that the retained
# images may lose.
CASES: dict[str, tuple[dict, float, float]] = {
    "global": ({"classes": ["bus"], "domains": []}, 0.1, 1),
    "two-classes": ({"classes": ["cat", "teapot"], "domains": [], "method": "null-space"}, 0.1, 1),
    "text-tower": ({"domains": [], "towers": "text"}, 0.1, 1),
    "both-towers": (
        {"classes": ["sailboat"], "domains": [], "towers": "both", "strength": 0.9},
        0.1,
        1,
    ),
    "cell": ({"classes": ["car"], "domains": ["photo"], "strength": 0.95}, 0.1, 1),
    "cell-retain-aware": (
        {"classes": ["tree"], "domains": ["cartoon"], "method": "retain-aware"},
        0.5,
        3,
    ),
    "cell-refined": ({"classes": ["cactus"], "method": "refined", "strength": 0.75}, 0.7, 2),
    "strength-0": ({"method": "null-space-visual", "strength": 0.0}, 1.0, 0),
    "domain": ({"classes": [], "domains": ["painting"]}, 0.15, 4),
    "domain-refined": ({"classes": [], "domains": ["cartoon"], "method": "refined"}, 0.4, 12),
    # These have random weights and know no class: the default edits would find nothing to take.
    "own-vit": (
        {"model": "vit", "domains": [], "strength": 0.7, "seed": 3, "method": "null-space"},
        1.0,
        100,
    ),
    "own-resnet": (
        {
            "model": "timm-linear-bias",
            "domains": ["art_painting"],
            "per_cell": 2,
            "method": "oblique",
        },
        1.0,
        100,
    ),
}
WRONG = {
    "unknown-name": ({"strenght": 0.5}, "strenght"),
    "value": ({"strength": 1.5}, "strength is 1.5"),
    "class": ({"classes": ["dgo"]}, 'mean "dog"'),
    "combination": ({"towers": "both"}, "global"),
}


def parameters_of(name: str, folder: Path) -> dict:
    """All parameters of a case; a case with a model of its own also has images of its own."""
    chosen = {"classes": ["dog"], "domains": ["sketch"], "images_per_cell": 3, "save_to": "."}
    chosen |= {**CASES, **WRONG}[name][0]
    if "model" in chosen:
        kind = chosen["model"]
        chosen["model"], chosen["images"] = (
            str(write_folder(folder / kind, kind)),
            str(write_images(folder / "images")),
        )
    return chosen


@pytest.fixture(scope="module")
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future]]:
    """The reports that this session asks for, each in a folder of its own: (folder, parameters, finished process)."""
    ipython = offline_profile(tmp_path_factory.mktemp("ipython"))

    def run(name: str) -> tuple[Path, dict, CompletedProcess]:
        folder = tmp_path_factory.mktemp(name)
        parameters = parameters_of(name, tmp_path_factory.mktemp(f"{name}-inputs"))
        return folder, parameters, execute(REPORT, folder, ipython, parameters)

    with two_at_a_time(selected(request, "name", "reports"), run) as futures:
        yield futures


@pytest.fixture
def report(name: str, reports: dict[str, Future]) -> tuple[Path, dict]:
    """One finished report: its folder and its parameters."""
    folder, parameters, done = reports[name].result()
    assert done.returncode == 0, done.stderr
    return folder, parameters


@torch.no_grad()
def classified(folder: Path, parameters: dict) -> dict[str, tuple[int, float]]:
    """Number and accuracy of the images to forget and of the others, by plain open_clip on the saved CLIP."""
    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{folder / 'edited-clip'}"
    )
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder / 'edited-clip'}")
    images, grid = open_inputs(parameters.get("images", "bundled"), parameters["images_per_cell"])
    rows = [
        normalize(model.eval().encode_text(tokenizer(p)), dim=-1).mean(0)
        for p in grid.test_prompts()
    ]
    pixels = torch.stack([preprocess(Image.open(p).convert("RGB")) for p in images.paths])
    right = (
        (model.encode_image(pixels) @ normalize(torch.stack(rows), dim=-1).T)
        .argmax(1)
        .eq(images.class_of)
    )
    named = [[w.replace("_", " ") for w in parameters[k]] for k in ("classes", "domains")]
    forget = torch.tensor(
        [
            (not named[0] or grid.classes[c] in named[0])
            and (not named[1] or grid.domains[k] in named[1])
            for c, k in zip(images.class_of.tolist(), images.domain_of.tolist(), strict=True)
        ]
    )
    parts = {"forget": right[forget], "retained": right[~forget]}
    return {name: (len(part), part.float().mean().item()) for name, part in parts.items()}


@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_saved_clip(report: tuple[Path, dict]) -> None:
    folder, parameters = report
    found = json.loads((folder / "metrics.json").read_text())
    for part, (count, accuracy) in classified(folder, parameters).items():
        assert found["groups"][part]["n"] == count
        # One image of many may sit on a tie that another order of operations breaks the other way.
        assert found["groups"][part]["after"] == pytest.approx(
            accuracy, abs=1.01 / count if count > 50 else 1e-6
        ), part


@pytest.mark.parametrize("name", CASES)
def test_metrics_answer_to_the_parameters(name: str, report: tuple[Path, dict]) -> None:
    folder, p = report
    found, (_, left, lost) = json.loads((folder / "metrics.json").read_text()), CASES[name]
    kinds = {
        (True, False): "global",
        (True, True): "domain-specific",
        (False, True): "whole-domain",
    }
    assert found["paradigm"] == kinds[bool(p["classes"]), bool(p["domains"])]
    default = "redirect" if found["paradigm"] == "whole-domain" else "calibrated"
    assert found["method"] == p.get("method", default)
    assert (found["towers"], found["strength"], found["seed"]) == (
        p.get("towers", "visual"), p.get("strength", 1.0), p.get("seed", 0),
    )  # fmt: skip
    (at,) = [row for row in found["curve"] if row["strength"] == found["strength"]]
    groups = {g: v for g, v in found["groups"].items() if v}
    assert ("same_class" in groups) == (found["paradigm"] == "domain-specific")
    assert ("unrelated" in groups) == ("model" not in p)
    assert {g: v["after"] for g, v in groups.items()} == {g: at[g] for g in groups}
    assert groups["forget"]["after"] <= left
    assert groups["retained"]["before"] - groups["retained"]["after"] <= lost / 100
    if "model" not in p and found["strength"]:
        assert (
            groups["forget"]["after"] < groups["forget"]["before"]
            and groups["retained"]["after"] > 0.9
        )
    if not found["strength"]:
        assert all(v["before"] == v["after"] for v in groups.values())


@pytest.mark.parametrize("name", CASES)
def test_the_saved_clip_differs_in_the_edited_projections_alone(report: tuple[Path, dict]) -> None:
    folder, p = report
    base = load_clip(p.get("model", "bundled"), device="cpu").model.state_dict()
    saved = load_clip(folder / "edited-clip", device="cpu").model.state_dict()
    changed = {
        "text" if "text" in k else "visual" for k, v in saved.items() if not torch.equal(v, base[k])
    }
    towers = {"both": {"visual", "text"}}.get(
        p.get("towers", "visual"), {p.get("towers", "visual")}
    )
    assert changed == (towers if p.get("strength", 1.0) else set())


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_fails_by_name_and_writes_nothing(
    name: str, reports: dict[str, Future]
) -> None:
    """Papermill alone warns of an unknown name and goes on."""
    folder, _, done = reports[name].result()
    error = done.stderr.strip().splitlines()[-1]
    assert done.returncode and re.match(r"\w+Error: ", error) and WRONG[name][1] in error
    assert not (folder / "metrics.json").exists() and not (folder / "edited-clip").exists()
