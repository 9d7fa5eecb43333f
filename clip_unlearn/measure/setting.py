"""What every request of a run shares: which CLIP, which images, which prototypes; checked first, then computed once."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import METHODS
from ..core.errors import InputError
from ..core.prototypes import Prototypes, synthesize_prototypes
from ..images.datasets import Features, ImageSet, bundled_images, encode, grid_of, subset
from ..images.inputs import open_inputs
from ..images.layouts import DataError
from ..images.prompts import check_prompts
from ..models.clip import Clip, load_clip
from .evaluate import Task, make_task


@dataclass(frozen=True)
class SurveyConfig:
    """Which CLIP, which images, which prototypes: what is the same for every request."""

    method: str = "default"
    per_cell: int = 8
    seed: int = 0
    model: str = "bundled"
    pretrained: str = ""
    precision: str = "fp32"
    images: str | tuple[str, ...] = "bundled"
    images_per_cell: int = 0
    limit_seed: int | None = None
    layout: str = ""
    split: str = ""
    class_names: str = ""
    prompts: str = ""
    skip_unreadable: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("per_cell", 1),
            ("seed", 0),
            ("images_per_cell", 0),
            ("limit_seed", 0),
            ("workers", 0),
        ):
            value = getattr(self, name)
            if value is None and name in ("limit_seed", "workers"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(
                    f"{name} is {value!r}; it must be a whole number, at least {least}."
                )
        if not isinstance(self.images, str):
            if not self.images or not all(isinstance(part, str) for part in self.images):
                raise InputError(
                    f"images is {self.images!r}; it must be a folder, or a list of domain=folder."
                )
            object.__setattr__(self, "images", tuple(self.images))
        if self.method not in ("default", *METHODS):
            raise InputError(f'unknown method "{self.method}": default, {", ".join(METHODS)}.')

    def inputs(self) -> tuple[ImageSet, ConceptGrid]:
        """The images, listed, and their concept grid."""
        sources = (self.layout, self.split, self.class_names, self.prompts)
        return open_inputs(self.images, self.images_per_cell, self.limit_seed, *sources)

    def load(self) -> Clip:
        """The CLIP."""
        return load_clip(self.model, self.pretrained or None, precision=self.precision)


@dataclass(frozen=True)
class Setting:
    """A CLIP with its prototypes and the encoded images to measure on: what every request of a run shares."""

    clip: Clip
    prototypes: Prototypes
    task: Task
    unrelated: Task | None
    encode_seconds: float


def prepare(config: SurveyConfig = SurveyConfig(), progress: bool = False) -> Setting:
    """Load the CLIP, encode the images, synthesise the prototypes; the slow steps are cached by content."""
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)
    encoded = encode(clip, images, config.skip_unreadable, progress, workers=config.workers)
    task, unrelated = make_task(clip, grid, encoded), None
    if config.images == "bundled":
        others = bundled_images(unrelated=True)
        others = (
            subset(others, config.images_per_cell, config.limit_seed)
            if config.images_per_cell
            else others
        )
        unrelated = make_task(clip, grid_of(others), encode(clip, others, progress=progress))
    prototypes = synthesize_prototypes(clip, grid, config.per_cell, config.seed, progress=progress)
    seconds = task.images.seconds + (unrelated.images.seconds if unrelated else 0.0)
    return Setting(clip, prototypes, task, unrelated, seconds)


def check_measurable(
    request: ForgetRequest, grid: ConceptGrid, images: ImageSet | Features
) -> None:
    """Raise DataError unless there is an image to forget."""
    if not request.mask(grid)[images.class_of, images.domain_of].any():
        raise DataError(f"no readable image of {request}: nothing to measure forgetting on.")
