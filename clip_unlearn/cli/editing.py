"""The commands that edit and measure nothing: `clip-unlearn forget` and `clip-unlearn apply`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ..core.applied import check_strength, compose
from ..core.concepts import ForgetRequest
from ..core.edit import check_fit, fit_edit
from ..images.inputs import request_grid
from ..images.prompts import check_prompts
from ..measure.setting import SurveyConfig, prototypes_for
from ..models.clip import load_clip
from ..models.saved import check_folder, load_edit, read_edit, save_edit, save_edited
from . import options as shared
from .options import BadInput, check_parent, flat, of_config, plain_messages


@click.command(short_help="Edit a CLIP and save it; needs names, no images.")
@shared.REQUEST
@shared.MODEL
@shared.LAYOUT
@click.option(
    "--grid",
    "grid_file",
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
    classes: tuple,
    domains: tuple,
    complete: bool,
    strength: float,
    towers: str,
    grid_file: str,
    edit_file: Path | None,
    out: Path | None,
    **options,
) -> None:
    """Edit a CLIP and save it as an open_clip folder. It measures nothing and opens no image.

    What stays is as much a part of the edit as what goes, so the edit needs the whole grid of
    classes and domains: from the folder names of --images, or from --grid FILE.

    \b
    clip-unlearn forget --classes dog --domains sketch --model MODEL --images FOLDER --out dogless
    clip-unlearn forget --classes dog --model ViT-B-32 --pretrained openai --grid pets.yaml --out dogless
        pets.yaml:  classes: [dog, cat, horse]
                    domains: [photo, sketch]
    clip-unlearn forget --classes dog --model MODEL --images FOLDER --edit dogless.safetensors    under 1 MB
    """  # noqa: E501
    with plain_messages():
        # Everything that can be wrong, before the CLIP is loaded.
        if not out and not edit_file:
            raise BadInput(
                "nowhere to save: --out FOLDER for the edited CLIP, --edit FILE for the edit alone."
            )
        config = SurveyConfig(**of_config(options))
        _check_grid(config, grid_file)
        _check_places(config, out, edit_file)
        check_strength(strength)
        grid = request_grid(
            config.images, config.layout, config.class_names, config.prompts, grid_file
        )
        named = ForgetRequest(flat(classes) or None, flat(domains) or None, complete)
        request = named.on(grid)
        check_fit(request, config.chosen_method, towers)

        # The edit.
        clip = config.load()
        check_prompts(clip.tokenizer, grid)
        prototypes = prototypes_for(config, clip, grid, [request])
        edit = fit_edit(prototypes, request, config.chosen_method, towers)

        if edit_file:
            save_edit(edit, edit_file)
        if out:
            save_edited(clip, edit, strength, out)

    ranks = ", ".join(f"{edit.rank(tower)} in the {tower} projection" for tower in edit.factors)
    click.echo(f"forgot {request}: {edit.method}, strength {strength:g}, rank {ranks}")
    _say_where(out, edit_file)


def _check_grid(config: SurveyConfig, grid_file: str) -> None:
    """Refuse two sources of names, or names of the bundled images for a CLIP of the user's."""
    folder = config.layout or config.class_names or config.images != "bundled"
    if grid_file and (folder or config.prompts):
        raise BadInput(
            f"--grid {grid_file} lists names and prompts; leave out --images, --prompts and their "
            "like."
        )
    if not grid_file and config.images == "bundled" and config.model != "bundled":
        raise BadInput(
            f"which classes and domains does {config.model} know? Name them: --images FOLDER, or "
            "--grid FILE."
        )


def _check_places(config: SurveyConfig, out: Path | None, edit_file: Path | None) -> None:
    """Refuse a place where something else lies, or where nothing can be written."""
    check_parent(edit_file)
    if edit_file and edit_file.exists():
        read_edit(edit_file)  # only an edit is replaced
    if out:
        check_folder(out, config.model)
        _check_outside(out, [edit_file] if edit_file else [])


def _check_outside(out: Path, files: Sequence[Path]) -> None:
    """Refuse an edit's file in the folder that is replaced as a whole."""
    for file in files:
        if file.resolve().is_relative_to(out.resolve()):
            raise BadInput(
                f"{file} lies in {out}, which is replaced as a whole; keep the edit elsewhere."
            )


def _say_where(out: Path | None, edit_file: Path | None = None) -> None:
    """Print where the results of `forget` and `apply` are, and what to do with them."""
    if edit_file:
        apply_it = f"clip-unlearn apply {edit_file} --model BASE --out FOLDER"
        click.echo(f"edit     {edit_file}   ({apply_it})")
    if out:
        click.echo(f"CLIP     {out}   (clip-unlearn evaluate --model {out} --images FOLDER)")


@click.command(short_help="Apply saved edits to their CLIP and save it.")
@click.argument(
    "edits", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EDIT..."
)
@shared.MODEL
@shared.STRENGTH
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the edited CLIP."
)
def apply(
    edits: tuple[Path, ...],
    model: str,
    pretrained: str,
    precision: str,
    device: str,
    strength: float,
    out: Path,
) -> None:
    """Apply edits that `forget --edit` saved, in this order, to the CLIP they were made for, and
    save it.

    An edit is refused on any other CLIP: there it would remove something else.

    \b
    clip-unlearn apply dogless.safetensors --model MODEL --out dogless
    clip-unlearn apply dogless.safetensors catless.safetensors --model MODEL --strength 0.8 --out petless
    """  # noqa: E501
    with plain_messages():
        check_strength(strength)
        check_folder(out, model)
        _check_outside(out, edits)
        clip = load_clip(model, pretrained or None, device, precision)
        fitted = [load_edit(file, clip) for file in edits]
        edit = fitted[0] if len(fitted) == 1 else compose(fitted)
        save_edited(clip, edit, strength, out)
    for file, edit in zip(edits, fitted, strict=True):
        click.echo(f"applied  {file}: {edit.request}")
    _say_where(out)
