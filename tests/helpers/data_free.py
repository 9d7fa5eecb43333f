"""What no function on the way from a request to an edit may take: images and labels, by name and by type."""

from __future__ import annotations

import typing

import PIL.Image
import torch
from torch.utils.data import DataLoader

from clip_unlearn.images import datasets

FORBIDDEN_NAMES = {
    "images",
    "image",
    "labels",
    "label",
    "pixels",
    "paths",
    "path",
    "dataset",
    "task",
    "root",
    "loader",
}
FORBIDDEN_TYPES = (
    datasets.ImageSet,
    datasets.Features,
    PIL.Image.Image,
    torch.utils.data.Dataset,
    DataLoader,
)


def types_in(hint: object) -> list[object]:
    return [hint, *(t for part in typing.get_args(hint) for t in types_in(part))]
