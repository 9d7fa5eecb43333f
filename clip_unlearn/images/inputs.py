"""From what a user names, a folder and a prompts file, to images and their concept grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core import InputError
from ..core.concepts import ConceptGrid
from .bundled import BUNDLED_SYNONYMS
from .datasets import ImageSet, bundled_images, open_images, subset
from .layouts import read_layout
from .prompts import Prompts, read_grid, read_prompts


def open_inputs(
    source: str | Sequence[str],
    images_per_cell: int = 0,
    limit_seed: int | None = None,
    layout: str = "",
    split: str = "",
    class_names: str = "",
    prompts: str = "",
) -> tuple[ImageSet, ConceptGrid]:
    """The images of a folder (or "bundled", or several "domain=folder") and their concept grid.

    At most `images_per_cell` images of each cell if given: the first, or a choice by `limit_seed`.
    `prompts` is a prompts file or the name of open_clip's templates; see `datasets.open_images` for
    the rest.
    """
    if source == "bundled":
        _refuse_folder_options(layout=layout, split=split, class_names=class_names)
        images = bundled_images()
    else:
        images = open_images(source, layout, split, class_names)
    if images_per_cell:
        images = subset(images, images_per_cell, limit_seed)

    own_prompts = _prompts(prompts)
    if source == "bundled" and not own_prompts.synonyms:
        own_prompts = replace(own_prompts, synonyms=BUNDLED_SYNONYMS)
    return images, own_prompts.grid(images.classes, images.domains)


def request_grid(
    source: str | Sequence[str],
    layout: str = "",
    class_names: str = "",
    prompts: str = "",
    file: str = "",
) -> ConceptGrid:
    """The grid of a grid file, or of the folder names of an image folder; no image is opened."""
    if file:
        return read_grid(file)
    if source == "bundled":
        _, grid = open_inputs(source, prompts=prompts)
        return grid
    folders = read_layout(source, layout, "", class_names)
    classes = {name for folder in folders for name in folder.classes.values()}
    domains = [folder.name for folder in folders]
    return _prompts(prompts).grid(sorted(classes), domains)


def _prompts(source: str) -> Prompts:
    """The user's own prompts, or none."""
    return read_prompts(source) if source else Prompts()


def _refuse_folder_options(**options: str) -> None:
    """What says how to read a folder does not go with the bundled images."""
    for name, value in options.items():
        if value:
            raise InputError(
                f'{name} "{value}" goes with a folder of your own, not with the bundled images.'
            )
