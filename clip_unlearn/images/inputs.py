"""From what a user names, a folder and a prompts file, to images and their concept grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core.concepts import ConceptGrid
from ..core.errors import InputError
from ..images.bundled import BUNDLED_SYNONYMS
from .datasets import ImageSet, bundled_images, open_images, subset
from .layouts import read_layout
from .prompts import Prompts, read_grid, read_prompts


def open_inputs(
    source: str | Sequence[str],
    per_cell: int = 0,
    limit_seed: int | None = None,
    layout: str = "",
    split: str = "",
    class_names: str = "",
    prompts: str = "",
) -> tuple[ImageSet, ConceptGrid]:
    """The images of a folder (or "bundled", or several "domain=folder") and their concept grid.

    At most `per_cell` images of each cell if given: the first, or a choice by `limit_seed`.
    `prompts` is a prompts file or the name of open_clip's templates; see `datasets.open_images` for
    the rest.
    """
    if source == "bundled":
        given = {"layout": layout, "split": split, "class_names": class_names}
        for name in (name for name, value in given.items() if value):
            raise InputError(
                f'{name} "{given[name]}" goes with a folder of your own, not with the bundled images.'
            )
        images = bundled_images()
    else:
        images = open_images(source, layout, split, class_names)
    images = subset(images, per_cell, limit_seed) if per_cell else images
    own = read_prompts(prompts) if prompts else Prompts()
    if source == "bundled" and not own.synonyms:
        own = replace(own, synonyms=BUNDLED_SYNONYMS)
    return images, own.grid(images.classes, images.domains)


def request_grid(
    source: str | Sequence[str],
    layout: str = "",
    class_names: str = "",
    prompts: str = "",
    file: str = "",
) -> ConceptGrid:
    """The grid of a grid file, or of the names of an image folder's folders; no image is listed or opened."""
    if file:
        return read_grid(file)
    if source == "bundled":
        return open_inputs(source, 1, prompts=prompts)[1]
    folders = read_layout(source, layout, "", class_names)
    classes = sorted({name for folder in folders for name in folder.classes.values()})
    return (read_prompts(prompts) if prompts else Prompts()).grid(
        classes, [folder.name for folder in folders]
    )
