"""How well a CLIP, edited or not, names the images of a folder: accuracy by cell, and by what was forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from ..core.concepts import ForgetRequest
from ..core.errors import InputError, first_line
from ..images.datasets import encode
from ..images.prompts import check_prompts
from ..models.clip import Clip
from .evaluate import Task, accuracy_grid, group_masks, make_task, predict
from .setting import SurveyConfig


@dataclass(frozen=True)
class Measurement:
    """Predictions of one CLIP: its name, the task, predicted classes (n,) by the test prompts and by the paraphrases.

    `requests` are what its edit.json says was forgotten, in the spelling of these images; `note`
    says why if none.
    """

    model: str
    task: Task
    predicted: Tensor
    paraphrased: Tensor
    requests: tuple[ForgetRequest, ...]
    note: str

    @property
    def mask(self) -> Tensor:
        """(C, K) bool, the cells that were to be forgotten."""
        none = torch.zeros(self.task.grid.shape, dtype=torch.bool)
        return torch.stack(
            [none, *(request.mask(self.task.grid) for request in self.requests)]
        ).any(0)

    def grid(self) -> pd.DataFrame:
        """Accuracy of each cell, classes x domains; NaN where a cell has no images."""
        return accuracy_grid(self.task, self.predicted)

    def cells(self) -> pd.DataFrame:
        """The same, one row a cell: class, domain, n, accuracy, and whether it was to be forgotten."""
        images, (C, K) = self.task.images, self.task.grid.shape
        counts = torch.bincount(images.class_of * K + images.domain_of, minlength=C * K)
        frame = (
            self.grid()
            .stack(future_stack=True)
            .rename_axis(["class", "domain"])
            .rename("accuracy")
            .reset_index()
        )
        frame.insert(2, "n", counts.tolist())
        if self.requests:
            frame["forget"] = self.mask.flatten().tolist()
        return frame

    def groups(self) -> pd.DataFrame:
        """n, accuracy and paraphrased accuracy of all images, and of each group of what was forgotten."""
        everything = torch.ones(len(self.task.images), dtype=torch.bool)
        masks = group_masks(self.mask, self.task.images) if self.requests else {}
        parts = {
            "all": everything,
            **{name: m for name, m in masks.items() if m is not None and m.any()},
        }
        right = [
            p.eq(self.task.images.class_of).float() for p in (self.predicted, self.paraphrased)
        ]
        rows = [
            (name, int(m.sum()), *(r[m].mean().item() for r in right)) for name, m in parts.items()
        ]
        return pd.DataFrame(rows, columns=["images", "n", "accuracy", "paraphrased"]).set_index(
            "images"
        )


def measure(config: SurveyConfig, progress: bool = True) -> Measurement:
    """Load the CLIP, encode the images, classify them. Raises InputError for anything wrong with either."""
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)
    task = make_task(
        clip, grid, encode(clip, images, config.skip_unreadable, progress, workers=config.workers)
    )
    W, W_text = (clip.heads[tower].weight for tower in ("visual", "text"))
    requests, note = (
        _forgotten(clip),
        "the model has no edit.json, so nothing is known to be forgotten",
    )
    try:
        requests = tuple(request.on(grid) for request in requests)
    except InputError as error:
        told = "; ".join(map(str, requests))
        requests, note = (
            (),
            f"edit.json says {told}, which these images do not have: {first_line(error)}",
        )
    return Measurement(
        clip.name, task, predict(task, W, W_text), predict(task, W, W_text, True), requests, note
    )


def _forgotten(clip: Clip) -> tuple[ForgetRequest, ...]:
    """The requests in the edit.json of the model's folder; () where there is none."""
    try:
        return tuple(
            ForgetRequest(edit["classes"] or None, edit["domains"] or None) for edit in clip.edits
        )
    except (KeyError, TypeError, ValueError) as error:
        why = first_line(error)
        raise InputError(
            f"the edit.json of {clip.name} does not say what was forgotten: {why}"
        ) from error


def numbers(m: Measurement) -> dict:
    """The measurement as plain JSON; a cell without images is null."""
    cells = m.cells()
    cells["accuracy"] = cells["accuracy"].astype(object).where(cells["n"] > 0, None)
    return {
        "model": m.model,
        "forgotten": [
            {"classes": request.classes, "domains": request.domains} for request in m.requests
        ],
        "groups": m.groups().to_dict("index"),
        "cells": cells.to_dict("records"),
        "skipped": list(m.task.images.skipped),
    }


def table(m: Measurement) -> str:
    """The measurement as lines for a terminal: the grid in percent, then the groups."""

    def percent(value: float) -> str:
        return "-" if pd.isna(value) else f"{100 * value:.1f}%"

    lines = [f"{m.model} on {len(m.task.images)} images: accuracy", ""]
    lines += [m.grid().to_string(formatters=[percent] * m.task.grid.shape[1]), ""]
    groups = m.groups()
    groups.index = [name.replace("_", " ") for name in groups.index]
    lines += [groups.to_string(formatters={"accuracy": percent, "paraphrased": percent}), ""]
    lines.append(
        f"forgotten: {'; '.join(map(str, m.requests))}" if m.requests else f"groups: none; {m.note}"
    )
    if m.task.images.skipped:
        lines += [f"left out, unreadable: {line}" for line in m.task.images.skipped]
    return "\n".join(lines)
