"""What no function between a request and its edit may take: images, labels and the like."""

from __future__ import annotations

import typing

import PIL.Image
import torch
from torch.utils.data import DataLoader

from clip_unlearn.images import datasets

FORBIDDEN_NAMES = {"images", "image", "labels", "label", "pixels", "paths", "path"}
FORBIDDEN_NAMES |= {"dataset", "task", "root", "loader"}
FORBIDDEN_TYPES = (
    datasets.ImageSet,
    datasets.Features,
    PIL.Image.Image,
    torch.utils.data.Dataset,
    DataLoader,
)


def types_in(hint: object) -> list[object]:
    """A type hint and every type inside it."""
    return [hint, *(t for part in typing.get_args(hint) for t in types_in(part))]
