"""The commands that edit and measure nothing: `clip-unlearn forget` and `clip-unlearn apply`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import (
    ProjectionEdit,
    check_method,
    check_strength,
    check_towers,
    compose,
    fit_edit,
)
from ..core.prototypes import synthesize_prototypes
from ..images.inputs import request_grid
from ..images.prompts import check_prompts
from ..models.clip import Clip, load_clip
from ..models.saved import check_folder, load_edit, read_edit, save_edit, save_edited
from . import options as shared
from .options import BadInput, check_parent, flat, told


@click.command(short_help="Edit a CLIP and save it; needs names, no images.")
@shared.REQUEST
@shared.MODEL
@shared.LAYOUT
@click.option(
    "--grid",
    default="",
    metavar="FILE",
    help="YAML or JSON with the lists classes and domains; no folder.",
)
@shared.PROMPTS
@shared.PROTOTYPES
@click.option(
    "--edit",
    "edit_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the edit alone here; `apply` gives it a strength.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the edited CLIP.")
def forget(
    out: Path | None, edit_file: Path | None, classes: tuple, domains: tuple, images: tuple, layout: str,
    class_names: str, grid: str, prompts: str, model: str, pretrained: str, precision: str, method: str,
    strength: float, **fit,
) -> None:  # fmt: skip
    """Edit a CLIP and save it as an open_clip folder. It measures nothing and opens no image.

    What stays is as much a part of the edit as what goes, so the edit needs the whole grid of classes and domains:
    from the folder names of --images, or from --grid FILE.

    \b
    clip-unlearn forget --classes dog --domains sketch --model MODEL --images FOLDER --out dogless
    clip-unlearn forget --classes dog --model ViT-B-32 --pretrained openai --grid pets.yaml --out dogless
        pets.yaml:  classes: [dog, cat, horse]
                    domains: [photo, sketch]
    clip-unlearn forget --classes dog --model MODEL --images FOLDER --edit dogless.safetensors    under 1 MB
    """
    with told():
        if not out and not edit_file:
            raise BadInput(
                "nowhere to save: --out FOLDER for the edited CLIP, --edit FILE for the edit alone."
            )
        if grid and (images != ("bundled",) or prompts or layout or class_names):
            raise BadInput(
                f"--grid {grid} lists names and prompts; leave out --images, --prompts and their like."
            )
        if not grid and images == ("bundled",) and model != "bundled":
            raise BadInput(
                f"which classes and domains does {model} know? Name them: --images FOLDER, or --grid FILE."
            )
        check_parent(edit_file)
        if edit_file and edit_file.exists():
            read_edit(edit_file)  # only an edit is replaced
        if out:
            check_folder(out, model)
            _check_outside(out, [edit_file] if edit_file else [])
        check_strength(strength)
        request = ForgetRequest(flat(classes) or None, flat(domains) or None)
        names = request_grid(
            images[0] if len(images) == 1 else images, layout, class_names, prompts, grid
        )
        request = request.on(names)
        clip = load_clip(model, pretrained or None, precision=precision)
        edit = make_edit(clip, names, request, None if method == "default" else method, **fit)
        if edit_file:
            save_edit(edit, edit_file)
        if out:
            save_edited(clip, edit, strength, out)
    rank = ", ".join(f"{edit.rank(tower)} in the {tower} projection" for tower in edit.factors)
    click.echo(f"forgot {request}: {edit.method}, strength {strength:g}, rank {rank}")
    _tell_saved(out, edit_file)


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


def _check_outside(out: Path, files: Sequence[Path]) -> None:
    """Refuse an edit's file in the folder that is replaced as a whole."""
    for file in files:
        if file.resolve().is_relative_to(out.resolve()):
            raise BadInput(
                f"{file} lies in {out}, which is replaced as a whole; keep the edit elsewhere."
            )


def _tell_saved(out: Path | None, edit_file: Path | None = None) -> None:
    """Where the results of `forget` and `apply` are, and what to do with them."""
    if edit_file:
        click.echo(
            f"edit     {edit_file}   (clip-unlearn apply {edit_file} --model BASE --out FOLDER)"
        )
    if out:
        click.echo(f"CLIP     {out}   (clip-unlearn evaluate --model {out} --images FOLDER)")


@click.command(short_help="Apply saved edits to their CLIP and save it.")
@click.argument(
    "edits", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EDIT..."
)
@shared.MODEL
@click.option(
    "--strength",
    type=float,
    default=1.0,
    show_default=True,
    help="From 0 (unchanged) to 1 (full edit).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the edited CLIP."
)
def apply(
    edits: tuple[Path, ...], model: str, pretrained: str, precision: str, strength: float, out: Path
) -> None:
    """Apply edits that `forget --edit` saved, in this order, to the CLIP they were made for, and save it.

    An edit is refused on any other CLIP: there it would remove something else.

    \b
    clip-unlearn apply dogless.safetensors --model MODEL --out dogless
    clip-unlearn apply dogless.safetensors catless.safetensors --model MODEL --strength 0.8 --out petless
    """
    with told():
        check_strength(strength)
        check_folder(out, model)
        _check_outside(out, edits)
        clip = load_clip(model, pretrained or None, precision=precision)
        fitted = [load_edit(file, clip) for file in edits]
        save_edited(clip, fitted[0] if len(fitted) == 1 else compose(fitted), strength, out)
    click.echo(
        "\n".join(
            f"applied  {file}: {edit.request}" for file, edit in zip(edits, fitted, strict=True)
        )
    )
    _tell_saved(out)
