"""An edit never sees an image of a data set: by what its functions take, by what they import, and by running them."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch
from tiny import PAIRS, REQUESTS
from torch.utils.data import DataLoader

import clip_unlearn
from clip_unlearn import (
    Clip,
    ConceptGrid,
    Prototypes,
    Synthesis,
    calibrated,
    datasets,
    fit_edit,
    forget,
    layouts,
    nullspace,
    synthesis,
    synthesize_prototypes,
    unlearn,
)
from clip_unlearn.core import prototypes as prototypes_module

PACKAGE = Path(clip_unlearn.__file__).parent


def public(module: object) -> list[Callable]:
    functions = inspect.getmembers(module, inspect.isfunction)
    return [f for name, f in functions if f.__module__ == module.__name__ and not name.startswith("_")]


PATH = [f for module in (nullspace, calibrated, prototypes_module, synthesis, unlearn, forget) for f in public(module)]
FORBIDDEN_NAMES = {"images", "image", "labels", "label", "pixels", "paths", "path", "dataset", "task", "root", "loader"}
FORBIDDEN_TYPES = (datasets.ImageSet, datasets.Features, PIL.Image.Image, torch.utils.data.Dataset, DataLoader)


def types_in(hint: object) -> list[object]:
    return [hint, *(t for part in typing.get_args(hint) for t in types_in(part))]


def test_the_path_holds_what_it_should() -> None:
    edits = {nullspace.null_space, calibrated.calibrated, calibrated.calibrated_prompts, calibrated.redirect}
    assert {fit_edit, synthesize_prototypes} | edits <= set(PATH)


@pytest.mark.parametrize("function", PATH, ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}")
def test_no_function_from_request_to_edit_takes_images_or_labels(function: Callable) -> None:
    parameters = inspect.signature(function).parameters
    assert not FORBIDDEN_NAMES & parameters.keys()
    hints = typing.get_type_hints(function)
    for name in parameters:
        assert name in hints, f"{name} has no type hint"
        for t in types_in(hints[name]):
            assert not (isinstance(t, type) and issubclass(t, FORBIDDEN_TYPES)), f"{name}: {t}"


def test_prototypes_hold_no_images_or_labels() -> None:
    assert not FORBIDDEN_NAMES & Prototypes.__dataclass_fields__.keys()


def imports_of(module: str) -> set[str]:
    """The package's own modules that a module imports, anywhere in it."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
    return {n.module for n in nodes if n.module} | {a.name for n in nodes if not n.module for a in n.names}


def test_nothing_on_the_path_can_reach_the_module_that_opens_images() -> None:
    reached, new = set(), {"unlearn", "forget"}
    while new:
        reached |= new
        new = {m for name in new for m in imports_of(name)} - reached
    assert {"nullspace", "prototypes", "synthesis", "models", "concepts"} <= reached
    assert not reached & {"datasets", "layouts", "encoding", "evaluate", "analysis", "survey", "report"}


@pytest.mark.parametrize("kind", ["blend", "pixel", "latent"])
@pytest.mark.parametrize(("paradigm", "method"), PAIRS)
def test_synthesis_and_fit_run_where_no_image_can_be_opened(
    clip: Clip,
    grid: ConceptGrid,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    paradigm: str,
    method: str | None,
) -> None:
    def forbid(*_: object, **__: object) -> None:
        raise AssertionError("an image was opened")

    for owner, name in (
        (datasets, "open_images"),
        (datasets, "encode"),
        (layouts, "ImageFolder"),
        (PIL.Image, "open"),
    ):
        monkeypatch.setattr(owner, name, forbid)
    how = Synthesis(steps=1)
    p = synthesize_prototypes(clip, grid, per_cell=1, kind=kind, how=how, progress=False, cache=False)
    edit = fit_edit(p, REQUESTS[paradigm], method)
    assert edit.weight(p.W, 1.0).isfinite().all() and not torch.equal(edit.weight(p.W, 1.0), p.W)
