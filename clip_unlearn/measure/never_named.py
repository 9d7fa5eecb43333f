"""Does "forget sketches" hold for words that the request never saw? Any grid can tell.

Some classes of the grid are left out of the fit: the edit is fitted on the others, which it names,
and the images of those left out are classified among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from ..core import InputError
from ..core.concepts import ConceptGrid
from ..core.prototypes import text_prototypes
from ..core.variants import known_words
from .evaluate import Task
from .setting import Setting
from .survey import every_request

Split = tuple[tuple[int, ...], tuple[int, ...]]  # classes that are named, and those that are not


def splits(classes: int, named: int | None = None, many: int = 5, seed: int = 0) -> list[Split]:
    """Random splits of the classes (by index, ascending) into `named` ones and the others.

    `named` None is half of them, or one more. Raises InputError unless two are on either side.
    """
    named = (classes + 1) // 2 if named is None else named
    if not 2 <= named <= classes - 2:
        raise InputError(
            f"{named} of {classes} classes are named; a split needs two classes on either side."
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(many):
        order = torch.randperm(classes, generator=generator).tolist()
        drawn.append((tuple(sorted(order[:named])), tuple(sorted(order[named:]))))
    return drawn


def leave_out(setting: Setting, split: Split) -> Setting:
    """The setting of somebody who knows the named classes alone; the others are its unrelated task.

    What prompts span, and which words are others, is computed anew. Pictures are those of the whole
    grid, made one by one from the text of their own cell, and all of them are used.
    """
    named, others = split
    p = setting.prototypes
    rows = list(named)
    grid = _grid_of(p.grid, named)
    text_features, class_features, span = text_prototypes(setting.clip, grid)
    prototypes = replace(
        p,
        grid=grid,
        visual=p.visual[rows],
        reached=p.reached[rows],
        text_features=text_features,
        class_features=class_features,
        span=span,
        words=known_words(setting.clip, grid),
        pictures=None,
        latent=None,
        sample=0,
    )
    return replace(
        setting,
        prototypes=prototypes,
        task=task_of(setting.task, named),
        unrelated=task_of(setting.task, others),
    )


def task_of(task: Task, classes: Sequence[int]) -> Task:
    """The images of some classes (by index, ascending), classified among these alone."""
    rows = torch.tensor(classes)
    among = torch.isin(task.images.class_of, rows)
    images = task.images.only(among.nonzero().flatten())
    images = replace(images, class_of=torch.searchsorted(rows, images.class_of))
    return Task(
        _grid_of(task.grid, classes),
        images,
        tuple(task.prompts[c] for c in classes),
        tuple(task.paraphrases[c] for c in classes),
        tuple(task.translations[c] for c in classes if task.translations),
    )


def _grid_of(grid: ConceptGrid, classes: Sequence[int]) -> ConceptGrid:
    """The grid with some of its classes (by index)."""
    return replace(grid, classes=tuple(grid.classes[c] for c in classes))


def every_split(
    setting: Setting, drawn: Sequence[Split], method: str | None = None, **settings: float
) -> pd.DataFrame:
    """One row for every split and every domain that is forgotten whole.

    Columns are those of `every_request`, and `others`: the classes that nobody named. `never_named`
    is their accuracy in the domain, `never_named before` what it was, and `unrelated` the change of
    their accuracy in the domains that stay, in points.
    """
    frames = []
    for split in drawn:
        part = leave_out(setting, split)
        asked = (part.prototypes, part.task, "whole-domain", method, part.unrelated)
        frame = every_request(*asked, progress=False, **settings)
        others = ", ".join(part.unrelated.grid.classes)
        frames.append(frame.assign(others=others))
    return pd.concat(frames, ignore_index=True)
