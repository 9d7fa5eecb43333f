"""How well a CLIP, edited or not, names the images of a folder: `clip-unlearn evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from ..core import InputError, first_line
from ..core.concepts import ForgetRequest
from ..images.prompts import check_prompts
from ..models.clip import Clip
from .evaluate import Task, accuracy_grid, group_accuracy, group_masks, predict
from .setting import SurveyConfig, encoded_task


@dataclass(frozen=True)
class Measurement:
    """Predictions of one CLIP, and what its edit.json says was forgotten."""

    model: str
    task: Task
    predicted: Tensor  # (n,) class of each image by the test prompts
    paraphrased: Tensor  # (n,) and by the paraphrases
    requests: tuple[ForgetRequest, ...]  # what was forgotten, in the spelling of these images
    note: str  # why there are none

    @property
    def mask(self) -> Tensor:
        """(C, K) bool, the cells that were to be forgotten."""
        mask = torch.zeros(self.task.grid.shape, dtype=torch.bool)
        for request in self.requests:
            mask |= request.mask(self.task.grid)
        return mask

    def grid(self) -> pd.DataFrame:
        """Accuracy of each cell, classes x domains; NaN for a cell without images."""
        return accuracy_grid(self.task, self.predicted)

    def cells(self) -> pd.DataFrame:
        """The same, one row a cell: class, domain, n, accuracy, and whether it was forgotten."""
        C, K = self.task.grid.shape
        cells = self.task.images.cells(K)
        counts = torch.bincount(cells, minlength=C * K)
        stacked = self.grid().stack(future_stack=True)
        frame = stacked.rename_axis(["class", "domain"]).rename("accuracy").reset_index()
        frame.insert(2, "n", counts.tolist())
        if self.requests:
            frame["forget"] = self.mask.flatten().tolist()
        return frame

    def groups(self) -> pd.DataFrame:
        """n, accuracy and paraphrased accuracy of all images, and of each group of the edit."""
        images = self.task.images
        groups = {"all": torch.ones(len(images), dtype=torch.bool)}
        if self.requests:
            groups |= group_masks(self.mask, images)
        groups = {name: g for name, g in groups.items() if g is not None and g.any()}

        truth = images.class_of
        accuracy = group_accuracy(self.predicted.eq(truth).float(), groups)
        paraphrased = group_accuracy(self.paraphrased.eq(truth).float(), groups)
        rows = [
            (name, int(g.sum()), accuracy[name].item(), paraphrased[name].item())
            for name, g in groups.items()
        ]
        columns = ["images", "n", "accuracy", "paraphrased"]
        return pd.DataFrame(rows, columns=columns).set_index("images")


def measure(config: SurveyConfig, progress: bool = True) -> Measurement:
    """Load the CLIP, encode the images, classify them; raises InputError if either is wrong."""
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)
    task = encoded_task(config, clip, images, grid, progress)

    W = clip.heads["visual"].weight
    W_text = clip.heads["text"].weight
    predicted = predict(task, W, W_text)
    paraphrased = predict(task, W, W_text, paraphrase=True)

    requests = _forgotten(clip)
    note = "the model has no edit.json, so nothing is known to be forgotten"
    try:
        requests = tuple(request.on(grid) for request in requests)
    except InputError as error:
        named = "; ".join(map(str, requests))
        reason = first_line(error)
        note = f"edit.json says {named}, which these images do not have: {reason}"
        requests = ()
    return Measurement(clip.name, task, predicted, paraphrased, requests, note)


def _forgotten(clip: Clip) -> tuple[ForgetRequest, ...]:
    """The requests in the edit.json of the model's folder; () if there is none."""
    try:
        return tuple(
            ForgetRequest(edit["classes"] or None, edit["domains"] or None) for edit in clip.edits
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = first_line(error)
        raise InputError(
            f"the edit.json of {clip.name} does not say what was forgotten: {reason}"
        ) from error


def numbers(m: Measurement) -> dict:
    """The measurement as plain JSON; a cell without images is null."""
    cells = m.cells()
    measured = cells["n"] > 0
    cells["accuracy"] = cells["accuracy"].astype(object).where(measured, None)
    return {
        "model": m.model,
        "forgotten": [{"classes": r.classes, "domains": r.domains} for r in m.requests],
        "groups": m.groups().to_dict("index"),
        "cells": cells.to_dict("records"),
        "skipped": list(m.task.images.skipped),
    }


def table(m: Measurement) -> str:
    """The measurement as lines for a terminal: the grid in percent, then the groups."""
    images = m.task.images
    columns = [_percent] * len(m.task.grid.domains)
    groups = m.groups()
    groups.index = [name.replace("_", " ") for name in groups.index]
    formats = {"accuracy": _percent, "paraphrased": _percent}
    lines = [
        f"{m.model} on {len(images)} images: accuracy",
        "",
        m.grid().to_string(formatters=columns),
        "",
        groups.to_string(formatters=formats),
        "",
    ]
    if m.requests:
        lines.append(f"forgotten: {'; '.join(map(str, m.requests))}")
    else:
        lines.append(f"groups: none; {m.note}")
    lines += [f"left out, unreadable: {line}" for line in images.skipped]
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if pd.isna(value) else f"{100 * value:.1f}%"
