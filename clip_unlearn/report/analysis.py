"""From the parameters of a report to everything it shows: validated first, then computed once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pandas as pd
import torch
from torch import Tensor

from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import METHODS, ProjectionEdit, check_method, check_strength, check_towers, fit_edit
from ..core.errors import InputError
from ..core.prototypes import Prototypes, synthesize_prototypes
from ..images.datasets import DataError, Features, ImageSet, bundled_images, encode, grid_of, subset
from ..images.inputs import open_inputs
from ..images.prompts import check_prompts
from ..measure.evaluate import STRENGTHS, Task, accuracy_grid, edited_weights, evaluate, group_masks, make_task, predict
from ..models.clip import Clip, load_clip


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
        for name, least in (("per_cell", 1), ("seed", 0), ("images_per_cell", 0), ("limit_seed", 0), ("workers", 0)):
            value = getattr(self, name)
            if value is None and name in ("limit_seed", "workers"):
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}; it must be a whole number, at least {least}.")
        if not isinstance(self.images, str):
            if not self.images or not all(isinstance(part, str) for part in self.images):
                raise InputError(f"images is {self.images!r}; it must be a folder, or a list of domain=folder.")
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
class ReportConfig(SurveyConfig):
    """The parameters of a report, as papermill passes them: plain str, int, float, bool and list of str."""

    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    strength: float = 1.0
    towers: str = "visual"
    save_to: str = ""
    save_clip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("classes", "domains"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(v, str) for v in value):
                raise InputError(f"{name} is {value!r}; it must be a list of names.")
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "strength", check_strength(self.strength))
        check_towers(self.towers, self.request)
        if self.method != "default":
            check_method(self.method, self.request)

    @property
    def request(self) -> ForgetRequest:
        """The request; raises InputError if nothing is named."""
        return ForgetRequest(self.classes or None, self.domains or None)

    @classmethod
    def from_cell(cls, namespace: Mapping[str, object]) -> ReportConfig:
        """The parameters among a notebook's variables; an unknown name is an error, where papermill only warns.

        To be called in the first cell after the parameters, before any other variable is made.
        """
        known = {f.name for f in fields(cls)}
        ipython = {"In", "Out", "get_ipython", "exit", "quit", "open"}
        unknown = [
            n
            for n, v in namespace.items()
            if not n.startswith("_") and n not in known | ipython and isinstance(v, (str, int, float, list, type(None)))
        ]
        if unknown:
            raise InputError(f'unknown parameter "{unknown[0]}": {", ".join(sorted(known))}.')
        return cls(**{n: namespace[n] for n in known if n in namespace})


@dataclass(frozen=True)
class Analysis:
    """Everything a report shows about one request."""

    config: ReportConfig
    clip: Clip
    prototypes: Prototypes
    edit: ProjectionEdit
    task: Task
    frame: pd.DataFrame
    predicted: tuple[Tensor, Tensor]
    seconds: dict[str, float]

    @property
    def grid(self) -> ConceptGrid:
        return self.prototypes.grid

    @property
    def mask(self) -> Tensor:
        """(C, K) bool, the cells to forget."""
        return self.edit.request.mask(self.grid)

    def grids(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Accuracy of each cell before and after."""
        return tuple(accuracy_grid(self.task, p) for p in self.predicted)

    def groups(self) -> pd.DataFrame:
        """n, accuracy before and after, change in points, by group."""
        table = self.frame.pivot(index="group", columns="strength", values="accuracy")
        table = pd.DataFrame({"before": table[0.0], "after": table[self.config.strength]})
        table.insert(0, "n", self.frame.drop_duplicates("group").set_index("group")["n"])
        table["change"] = 100 * (table["after"] - table["before"])
        return table.reindex(dict.fromkeys(self.frame["group"]))

    def example_rows(self, width: int = 7) -> list[tuple[str, list[int]]]:
        """Image indices to show: some to forget, and some of the nearest that should stay."""
        masks = group_masks(self.mask, self.task.images)
        titles = (
            ("forget", "to forget"),
            ("same_class", "same class, other domains: should stay"),
            ("same_domain", "same domain, other classes: should stay"),
            ("retained", "retained: should stay"),
        )
        rows = []
        for name, title in titles:
            if masks[name] is None or not masks[name].any() or (name == "retained" and len(rows) > 2):
                continue
            index = masks[name].nonzero().flatten()
            spread = torch.linspace(0, len(index) - 1, min(width, len(index))).round().long()
            rows.append((title, index[spread].tolist()))
        return rows


@dataclass(frozen=True)
class Setting:
    """A CLIP with its prototypes and the encoded images to measure on: what every request of a run shares."""

    clip: Clip
    prototypes: Prototypes
    task: Task
    unrelated: Task | None
    encode_seconds: float


def prepare(config: ReportConfig | SurveyConfig = SurveyConfig(), progress: bool = False) -> Setting:
    """Load the CLIP, encode the images, synthesise the prototypes; the slow steps are cached by content."""
    images, grid = config.inputs()
    clip = config.load()
    check_prompts(clip.tokenizer, grid)
    encoded = encode(clip, images, config.skip_unreadable, progress, workers=config.workers)
    task, unrelated = make_task(clip, grid, encoded), None
    if config.images == "bundled":
        others = bundled_images(unrelated=True)
        others = subset(others, config.images_per_cell, config.limit_seed) if config.images_per_cell else others
        unrelated = make_task(clip, grid_of(others), encode(clip, others, progress=progress))
    prototypes = synthesize_prototypes(clip, grid, config.per_cell, config.seed, progress=progress)
    seconds = task.images.seconds + (unrelated.images.seconds if unrelated else 0.0)
    return Setting(clip, prototypes, task, unrelated, seconds)


def check_measurable(request: ForgetRequest, grid: ConceptGrid, images: ImageSet | Features) -> None:
    """Raise DataError unless there is an image to forget."""
    if not request.mask(grid)[images.class_of, images.domain_of].any():
        raise DataError(f"no readable image of {request}: nothing to measure forgetting on.")


def analyse(config: ReportConfig, progress: bool = False) -> Analysis:
    """Encode, synthesise, fit, measure. Raises InputError for anything wrong with the request, model or images."""
    start = time.perf_counter()
    images, grid = config.inputs()
    check_measurable(config.request, grid, images)
    s = prepare(config, progress)
    check_measurable(config.request, grid, s.task.images)  # unreadable images may have been left out
    clock = time.perf_counter()
    method = None if config.method == "default" else config.method
    edit = fit_edit(s.prototypes, config.request, method, config.towers)
    fit = time.perf_counter() - clock
    frame = evaluate(s.prototypes, edit, s.task, sorted({*STRENGTHS, config.strength}), s.unrelated)
    predicted = tuple(predict(s.task, *edited_weights(s.prototypes, edit, x)) for x in (0.0, config.strength))
    total = time.perf_counter() - start
    seconds = {"encode": s.encode_seconds, "synthesis": s.prototypes.seconds, "fit": fit, "total": total}
    return Analysis(config, s.clip, s.prototypes, edit, s.task, frame, predicted, seconds)
