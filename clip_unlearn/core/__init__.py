"""The paper and what is added to it: from texts, noise and weights to an edit of a CLIP.

Read it in this order:

    concepts     what can be forgotten: classes, domains, prompts, requests
    synthesis    pictures that are optimised until they agree with a text
    prototypes   texts and pictures of every cell, all that an edit is fitted on
    nullspace    the paper's edit: project them out
    calibrated   the default edit: a detector, and a direction that moves one class
    edit         the table of methods, `fit_edit`, and an edit that is applied and taken back

Look up what you need in variants (other prototypes, other edits), cache and errors. Nothing here
opens an image file, and nothing here knows the rest of the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor


class HeadLike(Protocol):
    """The final projection of a tower, h = f W; a bias is one more row, met by a feature of 1."""

    weight: Tensor  # W (D, d), a copy
    constant: bool  # whether the last feature is that 1

    def write(self, weight: Tensor) -> None: ...
    def tensors(self) -> list[Tensor]: ...


class ClipLike(Protocol):
    """All that the core needs of a CLIP."""

    device: torch.device
    image_size: int  # side of its square images, in pixels
    normalization: tuple[list[float], list[float]]  # mean and deviation of each colour
    heads: Mapping[str, HeadLike]  # "visual" and "text"

    def normalized(self, pixels: Tensor) -> Tensor: ...
    def image_features(self, pixels: Tensor) -> Tensor: ...
    def text_features(self, prompts: Sequence[str]) -> Tensor: ...
    def fingerprint(self) -> str: ...
