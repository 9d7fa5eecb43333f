"""What every request of a run shares: which CLIP, which images, which prototypes.

It is checked first, then computed once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..core import InputError
from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import METHODS, default_method
from ..core.ondemand.cost import cost_of
from ..core.ondemand.kept import OnDemand
from ..core.ondemand.progress import one_bar
from ..core.ondemand.sampling import FEWEST, PER_CELL, pictures_needed, usual_sample
from ..core.prototypes import Prototypes, synthesize_prototypes
from ..core.synthesis import Synthesis
from ..images.datasets import (
    DataError,
    Features,
    ImageSet,
    bundled_images,
    encode,
    grid_of,
    subset,
)
from ..images.inputs import open_inputs
from ..images.prompts import check_prompts
from ..models.clip import AUTO, DEVICES, Clip, load_clip
from .evaluate import Task, make_task

DEFAULT = "default"  # the word of a user for the best method of the paradigm
# The word of a user for pictures of every cell; "auto" is the usual sample.
ALL = "all"
LONG = 20.0  # seconds from which on a job is announced
# The least value of each whole number, and whether it may be left out (None).
_COUNTS = {
    "per_cell": (1, False),
    "seed": (0, False),
    "images_per_cell": (0, False),
    "limit_seed": (0, True),
    "workers": (0, True),
}


@dataclass(frozen=True)
class SurveyConfig:
    """Which CLIP, which images, which prototypes: what is the same for every request."""

    method: str = DEFAULT
    prototypes: int | str = AUTO  # how many pictures a request is fitted on, or "all"
    per_cell: int = PER_CELL  # of each cell, if all are made
    seed: int = 0
    model: str = "bundled"
    pretrained: str = ""
    precision: str = "fp32"
    device: str = AUTO  # where it runs: cpu, cuda, mps, or the best that is there
    images: str | tuple[str, ...] = "bundled"
    images_per_cell: int = 0  # at most so many; 0 takes all
    limit_seed: int | None = None  # of the choice of images; None takes the first
    layout: str = ""
    split: str = ""
    class_names: str = ""
    prompts: str = ""
    skip_unreadable: bool = False
    workers: int | None = None  # processes that open images; None: as many as suit

    def __post_init__(self) -> None:
        for name, (least, optional) in _COUNTS.items():
            _check_count(name, getattr(self, name), least, optional)
        if self.device.partition(":")[0] not in DEVICES:
            raise InputError(f'unknown device "{self.device}": {", ".join(DEVICES)}.')
        if self.prototypes not in (AUTO, ALL):
            object.__setattr__(self, "prototypes", _pictures(self.prototypes))
        if not isinstance(self.images, str):
            are_texts = all(isinstance(part, str) for part in self.images)
            if not self.images or not are_texts:
                raise InputError(
                    f"images is {self.images!r}; it must be a folder, or a list of domain=folder."
                )
            object.__setattr__(self, "images", tuple(self.images))
        if self.method not in (DEFAULT, *METHODS):
            raise InputError(f'unknown method "{self.method}": {DEFAULT}, {", ".join(METHODS)}.')

    @property
    def chosen_method(self) -> str | None:
        """The method as `fit_edit` takes it: None for the best of the paradigm."""
        return None if self.method == DEFAULT else self.method

    def inputs(self) -> tuple[ImageSet, ConceptGrid]:
        """The images, listed, and their concept grid."""
        return open_inputs(
            self.images,
            self.images_per_cell,
            self.limit_seed,
            self.layout,
            self.split,
            self.class_names,
            self.prompts,
        )

    def load(self) -> Clip:
        """The CLIP."""
        return load_clip(self.model, self.pretrained or None, self.device, self.precision)


def _pictures(prototypes: object) -> int:
    """A number of pictures; text of digits is one, as the command line and papermill pass it."""
    if isinstance(prototypes, str) and prototypes.isdecimal():
        prototypes = int(prototypes)
    whole = isinstance(prototypes, int) and not isinstance(prototypes, bool)
    if not whole or prototypes < FEWEST:
        raise InputError(
            f"prototypes is {prototypes!r}; it must be a number of pictures, at least {FEWEST}, or "
            f'"{AUTO}" or "{ALL}".'
        )
    return prototypes


def _check_count(name: str, value: object, least: int, optional: bool) -> None:
    """Raise InputError unless a value is a whole number, at least `least`, or None if it may be."""
    if value is None and optional:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least:
        raise InputError(f"{name} is {value!r}; it must be a whole number, at least {least}.")


@dataclass(frozen=True)
class Setting:
    """A CLIP with its prototypes and the encoded images to measure on."""

    clip: Clip
    prototypes: Prototypes
    task: Task
    unrelated: Task | None  # other classes, which should not suffer
    encode_seconds: float


def prepare(
    config: SurveyConfig = SurveyConfig(),
    progress: bool = False,
    requests: Sequence[ForgetRequest] | None = None,
) -> Setting:
    """Load the CLIP, encode the images, synthesise the prototypes; slow steps are cached.

    Only the pictures that `requests` need are made, if they are given and the config does not say
    that all are wanted.
    """
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)

    task = encoded_task(config, clip, images, grid, progress)
    seconds = task.images.seconds
    unrelated = None
    if config.images == "bundled":
        others = bundled_images(unrelated=True)
        if config.images_per_cell:
            others = subset(others, config.images_per_cell, config.limit_seed)
        unrelated = make_task(clip, grid_of(others), encode(clip, others, progress=progress))
        seconds += unrelated.images.seconds

    prototypes = prototypes_for(config, clip, grid, requests, progress)
    return Setting(clip, prototypes, task, unrelated, seconds)


def prototypes_for(
    config: SurveyConfig,
    clip: Clip,
    grid: ConceptGrid,
    requests: Sequence[ForgetRequest] | None = None,
    progress: bool = True,
) -> Prototypes:
    """The prototypes that requests need; those of every cell if there are none, or all ship.

    What takes long is announced, and has one bar for the whole of it.
    """
    how = Synthesis(bf16=clip.device.type == "cuda")  # other hardware is slower with 16 bits
    made = OnDemand(clip, grid, config.seed, how)
    counts = torch.full(grid.shape, config.per_cell)  # (C, K)
    sample = _sample_size(config, made, requests)
    if sample:
        counts = torch.zeros(grid.shape, dtype=torch.long)
        for request in requests:
            needs = METHODS[config.chosen_method or default_method(request)].needs
            needed = pictures_needed(
                grid, request.on(grid), needs, sample, config.seed, config.per_cell
            )
            counts = torch.maximum(counts, needed)

    with _long_job(made, counts) if progress else nullcontext():
        prototypes = synthesize_prototypes(
            clip, grid, counts, config.seed, how=how, progress=progress
        )
    return replace(prototypes, sample=sample)


def _sample_size(
    config: SurveyConfig, made: OnDemand, requests: Sequence[ForgetRequest] | None
) -> int:
    """On how many pictures each request is fitted; 0 is all."""
    if requests is None or config.prototypes == ALL:
        return 0
    if config.prototypes != AUTO:
        return config.prototypes
    return 0 if made.ship(config.per_cell) else usual_sample(made.grid)


def _long_job(made: OnDemand, counts: Tensor) -> AbstractContextManager:
    """One bar for all that is missing, and a line that says how much it is, if it takes long."""
    cost = cost_of(made, counts)
    if cost.seconds < LONG:
        return nullcontext()
    tqdm.write(f"{cost}; what is done is kept.", file=sys.stderr)
    return one_bar(cost.amounts, cost.seconds_each)


def encoded_task(
    config: SurveyConfig, clip: Clip, images: ImageSet, grid: ConceptGrid, progress: bool
) -> Task:
    """The images of a config, encoded, with the prompts that classify them."""
    encoded = encode(clip, images, config.skip_unreadable, progress, workers=config.workers)
    return make_task(clip, grid, encoded)


def check_measurable(
    request: ForgetRequest, grid: ConceptGrid, images: ImageSet | Features
) -> None:
    """Raise DataError unless there is an image to forget."""
    if not request.mask(grid)[images.class_of, images.domain_of].any():
        raise DataError(f"no readable image of {request}: nothing to measure forgetting on.")
