"""An edit and nothing else: from the names of a grid, without a report and without any image."""

from __future__ import annotations

from pathlib import Path

from ..core.cache import writable_home
from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import ProjectionEdit, check_method, check_towers, fit_edit
from ..core.errors import InputError
from ..core.prototypes import synthesize_prototypes
from ..images.prompts import check_prompts
from ..models.clip import Clip
from ..models.saved import check_replaceable


def make_edit(
    clip: Clip,
    grid: ConceptGrid,
    request: ForgetRequest,
    method: str | None = None,
    towers: str = "visual",
    per_cell: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> ProjectionEdit:
    """The edit of a request, fitted on prototypes that are synthesised here or read from the cache.

    Raises InputError for a request, method or towers that do not fit, before any prototype is made.
    """
    request = request.on(grid)
    check_towers(towers, request)
    if method:
        check_method(method, request)
    check_prompts(clip.tokenizer, grid)
    prototypes = synthesize_prototypes(clip, grid, per_cell, seed, progress=progress)
    return fit_edit(prototypes, request, method, towers)


def check_folder(out: Path, model: str) -> None:
    """InputError, before minutes of work, unless `out` is new, empty, or an earlier edit of another CLIP."""
    writable_home(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "edit.json").is_file():
        raise InputError(f"{out} holds other files; name a new folder for the edited CLIP, or one that holds an edit.")
    check_replaceable(out)
    if out.is_dir() and Path(model.removeprefix("local-dir:")).resolve() == out.resolve():
        raise InputError(f"{out} is the model itself; name another folder for the edited CLIP.")
    if out.resolve() == Path.cwd():
        raise InputError("the edited CLIP is put in place as a whole folder, which cannot be the one you are in.")
