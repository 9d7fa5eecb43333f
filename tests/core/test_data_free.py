"""An edit never sees an image of a data set: by what functions take and import, and by running."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest
import torch
from data_free import FORBIDDEN_NAMES, FORBIDDEN_TYPES, types_in
from tiny import PAIRS, REQUESTS

import clip_unlearn
from clip_unlearn import Clip, ConceptGrid, Prototypes, fit_edit, synthesize_prototypes
from clip_unlearn.core import calibrated, edit, nullspace, synthesis, variants
from clip_unlearn.core import prototypes as prototypes_module
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.images import datasets, layouts

PACKAGE = Path(clip_unlearn.__file__).parent
MODULES = (
    nullspace,
    calibrated,
    prototypes_module,
    synthesis,
    edit,
    *(
        importlib.import_module(m.name)
        for m in pkgutil.iter_modules(variants.__path__, f"{variants.__name__}.")
    ),
)


def public(module: object) -> list[Callable]:
    functions = inspect.getmembers(module, inspect.isfunction)
    return [
        f for name, f in functions if f.__module__ == module.__name__ and not name.startswith("_")
    ]


PATH = [f for module in MODULES for f in public(module)]


def test_the_path_holds_what_it_should() -> None:
    edits = {
        nullspace.null_space,
        calibrated.calibrated,
        variants.calibrated_prompts,
        calibrated.redirect,
    }
    assert {fit_edit, synthesize_prototypes} | edits <= set(PATH)


@pytest.mark.parametrize(
    "function", PATH, ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}"
)
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
    """The package's own modules, as "room.module", that a module or folder imports anywhere."""
    path = PACKAGE / module.replace(".", "/")
    if path.is_dir():
        return {f"{module}.{file.stem}" for file in path.glob("*.py") if file.stem != "__init__"}
    file = path.with_suffix(".py")
    if not file.is_file():  # a name that is defined in the room's own __init__
        return set()
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = module.split(".")[: -node.level]
            base = ".".join([*home, *(node.module or "").split(".")]).strip(".")
            whole_room = (PACKAGE / base.replace(".", "/")).is_dir()
            found |= {f"{base}.{a.name}" for a in node.names} if whole_room else {base}
            found |= {base} if "." in base else set()  # a folder of a room, with all that it holds
    return found


def test_nothing_on_the_path_can_reach_the_module_that_opens_images() -> None:
    reached, new = set(), {"core.edit"}
    while new:
        reached |= new
        new = {m for name in new for m in imports_of(name)} - reached
    parts = {"nullspace", "prototypes", "synthesis", "concepts", "variants.words"}
    assert {f"core.{name}" for name in parts} <= reached
    assert not {m for m in reached if m.startswith(("images.", "measure.", "report."))}


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
        (layouts, "image_files"),
        (PIL.Image, "open"),
    ):
        monkeypatch.setattr(owner, name, forbid)
    how = Synthesis(steps=1)
    p = synthesize_prototypes(
        clip, grid, per_cell=1, kind=kind, how=how, progress=False, cache=False
    )
    edit = fit_edit(p, REQUESTS[paradigm], method)
    assert edit.weight(p.W, 1.0).isfinite().all() and not torch.equal(edit.weight(p.W, 1.0), p.W)
