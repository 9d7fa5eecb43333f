"""report.ipynb through papermill, over paradigms, methods, towers, strengths and models.

Its numbers are tested, not only that it ends. The oracle is plain open_clip: it loads the edited
CLIP that the report saved and classifies the same images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess

import open_clip
import pytest
import torch
from execute import execute, offline_profile
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
    "cell-refined": ({"classes": ["cactus"], "method": "refined", "strength": 0.85}, 0.7, 2),
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
    case = CASES[name] if name in CASES else WRONG[name]
    chosen |= case[0]
    if "model" in chosen:
        kind = chosen["model"]
        chosen["model"] = str(write_folder(folder / kind, kind))
        chosen["images"] = str(write_images(folder / "images"))
    return chosen


Finished = tuple[Path, dict, CompletedProcess]  # folder, parameters, process
# All tests of one report go to one worker, so that it is made once.
of_every_case = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"report {name}")) for name in CASES]
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Finished]:
    """Makes a report in a folder of its own, when it is asked for the first time."""
    ipython = offline_profile(tmp_path_factory.mktemp("ipython"))

    @cache
    def run(name: str) -> Finished:
        folder = tmp_path_factory.mktemp(name)
        parameters = parameters_of(name, tmp_path_factory.mktemp(f"{name}-inputs"))
        return folder, parameters, execute(REPORT, folder, ipython, parameters)

    return run


@pytest.fixture
def report(name: str, reports: Callable[[str], Finished]) -> tuple[Path, dict]:
    """One finished report: its folder and its parameters."""
    folder, parameters, done = reports(name)
    assert done.returncode == 0, done.stderr
    return folder, parameters


@torch.no_grad()
def classified(folder: Path, parameters: dict) -> dict[str, tuple[int, float]]:
    """Number and accuracy of the images to forget and of the others, by plain open_clip."""
    saved = f"local-dir:{folder / 'edited-clip'}"
    model, _, preprocess = open_clip.create_model_and_transforms(saved)
    model.eval()
    tokenizer = open_clip.get_tokenizer(saved)
    images, grid = open_inputs(parameters.get("images", "bundled"), parameters["images_per_cell"])

    # Classify.
    texts = [model.encode_text(tokenizer(prompts)) for prompts in grid.test_prompts()]
    means = [normalize(features, dim=-1).mean(0) for features in texts]
    weights = normalize(torch.stack(means), dim=-1)  # (C, d)
    pixels = torch.stack([preprocess(Image.open(path).convert("RGB")) for path in images.paths])
    predicted = (model.encode_image(pixels) @ weights.T).argmax(1)  # (n,)
    right = predicted.eq(images.class_of)

    # Group.
    classes = [name.replace("_", " ") for name in parameters["classes"]] or grid.classes
    domains = [name.replace("_", " ") for name in parameters["domains"]] or grid.domains
    forgotten_class = torch.tensor([name in classes for name in grid.classes])
    forgotten_domain = torch.tensor([name in domains for name in grid.domains])
    forget = forgotten_class[images.class_of] & forgotten_domain[images.domain_of]
    parts = {"forget": right[forget], "retained": right[~forget]}
    return {name: (len(part), part.float().mean().item()) for name, part in parts.items()}


@of_every_case
def test_numbers_are_those_of_the_saved_clip(report: tuple[Path, dict]) -> None:
    folder, parameters = report
    numbers = json.loads((folder / "metrics.json").read_text())
    for part, (count, accuracy) in classified(folder, parameters).items():
        assert numbers["groups"][part]["n"] == count
        # One image of many may sit on a tie that another order of operations breaks the other way.
        assert numbers["groups"][part]["after"] == pytest.approx(
            accuracy, abs=1.01 / count if count > 50 else 1e-6
        ), part


@of_every_case
def test_metrics_answer_to_the_parameters(name: str, report: tuple[Path, dict]) -> None:
    folder, p = report
    numbers = json.loads((folder / "metrics.json").read_text())
    _, left, lost = CASES[name]
    kinds = {
        (True, False): "global",
        (True, True): "domain-specific",
        (False, True): "whole-domain",
    }
    assert numbers["paradigm"] == kinds[bool(p["classes"]), bool(p["domains"])]
    default = "redirect" if numbers["paradigm"] == "whole-domain" else "calibrated"
    assert numbers["method"] == p.get("method", default)
    assert (numbers["towers"], numbers["strength"], numbers["seed"]) == (
        p.get("towers", "visual"), p.get("strength", 1.0), p.get("seed", 0),
    )  # fmt: skip
    (at,) = [row for row in numbers["curve"] if row["strength"] == numbers["strength"]]
    groups = {g: v for g, v in numbers["groups"].items() if v}
    assert ("same_class" in groups) == (numbers["paradigm"] == "domain-specific")
    assert ("unrelated" in groups) == ("model" not in p)
    assert {g: v["after"] for g, v in groups.items()} == {g: at[g] for g in groups}
    assert groups["forget"]["after"] <= left
    assert groups["retained"]["before"] - groups["retained"]["after"] <= lost / 100
    if "model" not in p and numbers["strength"]:
        assert (
            groups["forget"]["after"] < groups["forget"]["before"]
            and groups["retained"]["after"] > 0.9
        )
    if not numbers["strength"]:
        assert all(v["before"] == v["after"] for v in groups.values())


@of_every_case
def test_the_saved_clip_differs_in_the_edited_projections_alone(report: tuple[Path, dict]) -> None:
    folder, p = report
    base = load_clip(p.get("model", "bundled"), device="cpu").model.state_dict()
    saved = load_clip(folder / "edited-clip", device="cpu").model.state_dict()
    different = [name for name, tensor in saved.items() if not torch.equal(tensor, base[name])]
    changed = {"text" if "text" in name else "visual" for name in different}
    towers = p.get("towers", "visual")
    edited = {"visual", "text"} if towers == "both" else {towers}
    assert changed == (edited if p.get("strength", 1.0) else set())


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_fails_by_name_and_writes_nothing(
    name: str, reports: Callable[[str], Finished]
) -> None:
    """Papermill alone warns of an unknown name and goes on."""
    folder, _, done = reports(name)
    error = done.stderr.strip().splitlines()[-1]
    assert done.returncode and re.match(r"\w+Error: ", error) and WRONG[name][1] in error
    assert not (folder / "metrics.json").exists() and not (folder / "edited-clip").exists()
