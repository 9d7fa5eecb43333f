"""The paper and what is added to it: from texts, noise and weights to an edit of a CLIP.

Read it in this order:

    concepts     what can be forgotten: classes, domains, prompts, requests
    synthesis    pictures that are optimised until they agree with a text
    prototypes   texts and pictures of every cell: all that an edit is fitted on
    nullspace    the paper's edit projects them out
    calibrated   the default edits: a detector, and a direction that moves one class
    edit         the table of methods, and `fit_edit`

Look up what you need in applied (an edit is applied to a CLIP and taken back), variants (the
prototypes in closed form that are blended with pictures; other edits; the text side), ondemand
(which pictures are made, and how they are kept) and cache.
Nothing here opens an image file, and nothing here knows the rest of the package.

Letters, and what they mean everywhere:

    C, K, m    classes, domains, prototypes of a cell (one class in one domain)
    f, D       features of an image before the final projection, and their number
    W          (D, d) that projection, also called the head
    h, d       embedding h = f W, compared with texts by its cosine, and its size
    A, B       factors (D, r), (r, d) of the edit: W becomes W + strength * A B
    l, r       detector and removed direction of an edit: h becomes h + (l . h) r
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor


class HeadLike(Protocol):
    """The final projection of a tower, h = f W.

    A bias is an extra row of W, multiplied by an extra feature that is always 1.
    """

    weight: Tensor  # W (D, d), a copy
    has_bias: bool

    def write(self, weight: Tensor) -> None: ...
    def tensors(self) -> list[Tensor]: ...  # the parameters that `write` changes


class ClipLike(Protocol):
    """All that the core needs of a CLIP."""

    device: torch.device
    image_size: int  # side of its square images, in pixels
    normalization: tuple[list[float], list[float]]  # mean and deviation of each colour
    heads: Mapping[str, HeadLike]  # "visual" and "text"

    def normalized(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, s, s) in [0, 1] as the image tower takes them."""
        ...

    def image_features(self, pixels: Tensor) -> Tensor:
        """f (n, D) of normalised pixels, before the projection."""
        ...

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """(n, D_text) of prompts, before the projection of the text tower."""
        ...

    def new_texts(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that would have to be computed, each once."""
        ...

    def vocabulary(self, most: int) -> list[str]:
        """At most so many words that it knows; [] if nothing tells which."""
        ...

    def twin(self) -> ClipLike:
        """The same weights in modules of their own, for another thread."""
        ...

    def fingerprint(self) -> str:
        """A hash of the architecture and every weight."""
        ...


# ---- errors that a user's input can cause: the command line shows their message and exits with 2


class InputError(ValueError):
    """Bad input; the message names what is wrong and what would be right."""


class ModelError(InputError):
    """A model that cannot be loaded or edited; the message says which file or tower it is about."""


class UnknownNameError(InputError):
    """A class or domain that the grid does not have; the message names the nearest one."""


def unknown_name(kind: str, name: str, known: Sequence[str]) -> UnknownNameError:
    """The error for a name that is not among `known`; `kind` is "class" or "domain"."""
    spelled = {plain_name.casefold(): plain_name for plain_name in known}
    nearest = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=0.3)
    hint = ""
    if nearest:
        hint = f' Did you mean "{spelled[nearest[0]]}"?'
    listed = ", ".join(known)
    return UnknownNameError(f'unknown {kind} "{name}".{hint} The {kind} names are: {listed}.')


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
