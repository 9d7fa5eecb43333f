"""From the parameters of a report to everything it shows: validated first, then computed once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pandas as pd
import torch
from torch import Tensor

from ..core import InputError
from ..core.applied import ProjectionEdit, check_strength
from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import check_fit, fit_edit
from ..core.prototypes import Prototypes
from ..images.classnames import names_in
from ..measure.evaluate import (
    STRENGTHS,
    Search,
    Task,
    accuracy_grid,
    edited_weights,
    evaluate,
    group_masks,
    points,
    predict,
    search,
)
from ..measure.predicted import predicted_change, simulated
from ..measure.readings import Readings, readings
from ..measure.setting import Setting, SurveyConfig, check_measurable, prepare
from ..models.clip import Clip

# The groups of images that a report shows examples of, in this order, and how it calls them.
_EXAMPLES = {
    "forget": "to forget",
    "same_class": "same class, other domains: should stay",
    "same_domain": "same domain, other classes: should stay",
    "retained": "retained: should stay",
}


@dataclass(frozen=True)
class ReportConfig(SurveyConfig):
    """The parameters of a report, as papermill passes them: plain values and lists of str."""

    classes: tuple[str, ...] = ()  # what to forget; () is every class
    domains: tuple[str, ...] = ()  # where to forget it; () is everywhere
    complete: bool = False  # whether a search inside the domains should not find it either
    strength: float = 1.0  # from 0 (unchanged) to 1 (full edit)
    towers: str = "visual"  # which projections change: visual, text or both
    save_to: str = ""  # folder for metrics.json and edited-clip; "" writes neither
    save_clip: bool = True  # whether edited-clip is written there too

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "classes", _names("classes", self.classes))
        object.__setattr__(self, "domains", _names("domains", self.domains))
        object.__setattr__(self, "strength", check_strength(self.strength))
        if not isinstance(self.complete, bool):
            raise InputError(f"complete is {self.complete!r}; it must be True or False.")
        check_fit(self.request, self.chosen_method, self.towers)

    @property
    def request(self) -> ForgetRequest:
        """The request; raises InputError if nothing is named."""
        return ForgetRequest(self.classes or None, self.domains or None, self.complete)

    @classmethod
    def from_cell(cls, namespace: Mapping[str, object]) -> ReportConfig:
        """The parameters among a notebook's variables.

        To be called in the first cell after the parameters, before any other variable is made:
        a variable that is no parameter is an InputError, where papermill only warns.
        """
        known = {field.name for field in fields(cls)}
        unknown = [
            name
            for name, value in namespace.items()
            if name not in known and _could_be_a_parameter(name, value)
        ]
        if unknown:
            raise InputError(f'unknown parameter "{unknown[0]}": {", ".join(sorted(known))}.')
        return cls(**{name: value for name, value in namespace.items() if name in known})


def _names(parameter: str, value: object) -> tuple[str, ...]:
    """A list of names, or one text such as "dog,cat", as a tuple; InputError for anything else."""
    names = names_in(value) if isinstance(value, str) else value
    are_names = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if not are_names or (isinstance(value, str) and not names):
        raise InputError(f"{parameter} is {value!r}; it must be a list of names.")
    return tuple(names)


def _could_be_a_parameter(name: str, value: object) -> bool:
    """Whether a variable of a notebook looks like a parameter, and is not one of IPython's own."""
    if name.startswith("_") or name == "In":
        return False
    return value is None or isinstance(value, (str, int, float, list))


@dataclass(frozen=True)
class Analysis:
    """Everything a report shows about one request."""

    config: ReportConfig
    clip: Clip
    prototypes: Prototypes
    edit: ProjectionEdit
    task: Task
    frame: pd.DataFrame
    """Accuracy of each group at each strength, as `evaluate` returns it."""
    readings: Readings | None
    """What the edit's detectors read on the images; None if it has none."""
    foreseen: float | None
    """The change of what is retained, in points, as predicted without images; None if not."""
    predicted: tuple[Tensor, Tensor]
    """(n,) predicted class of each image before the edit, and after it at the report's strength."""
    searches: tuple[Search, Search] | None
    """What a search finds before and after, if the request is complete."""
    seconds: dict[str, float]
    """How long each step took: encode, synthesis, fit, total."""
    cached: tuple[str, ...]
    """The steps that an earlier run made: their seconds were spent there, and are in no total."""

    @property
    def grid(self) -> ConceptGrid:
        return self.prototypes.grid

    @property
    def mask(self) -> Tensor:
        """(C, K) bool, the cells to forget."""
        return self.edit.request.mask(self.grid)

    def grids(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Accuracy of each cell, before and after."""
        before, after = self.predicted
        return accuracy_grid(self.task, before), accuracy_grid(self.task, after)

    def groups(self) -> pd.DataFrame:
        """By group: n, accuracy before and after, and its change in points."""
        counts = self.frame.drop_duplicates("group").set_index("group")["n"]
        accuracy = self.frame.pivot(index="group", columns="strength", values="accuracy")
        table = pd.DataFrame(
            {
                "n": counts,
                "before": accuracy[0.0],
                "after": accuracy[self.config.strength],
            }
        )
        table["change"] = points(table["before"], table["after"])
        return table.reindex(counts.index)

    def example_rows(self, width: int = 7) -> list[tuple[str, list[int]]]:
        """Image indices to show: some to forget, and some of the nearest that should stay."""
        masks = group_masks(self.mask, self.task.images)
        rows = []
        for name, title in _EXAMPLES.items():
            if name == "retained" and len(rows) > 2:
                continue  # same class and same domain are retained too, and nearer
            members = masks[name]
            if members is None or not members.any():
                continue
            index = members.nonzero().flatten()
            count = min(width, len(index))
            spread = torch.linspace(0, len(index) - 1, count).round().long()
            rows.append((title, index[spread].tolist()))
        return rows


def analyse(config: ReportConfig, progress: bool = False) -> Analysis:
    """Encode, synthesise, fit, measure.

    Raises InputError for anything wrong with the request, the model or the images.
    """
    start = time.perf_counter()
    request = config.request

    # Encode and synthesise, unless there is nothing to measure: checked before and after, since
    # images that cannot be read may be left out.
    images, grid = config.inputs()
    check_measurable(request, grid, images)
    setting = prepare(config, progress, [request])
    check_measurable(request, grid, setting.task.images)
    prototypes = setting.prototypes

    # Fit.
    fit_start = time.perf_counter()
    edit = fit_edit(prototypes, request, config.chosen_method, config.towers)
    fit_seconds = time.perf_counter() - fit_start

    # Measure.
    strengths = sorted({*STRENGTHS, config.strength})
    frame = evaluate(prototypes, edit, setting.task, strengths, setting.unrelated)
    before = predict(setting.task, *edited_weights(prototypes, edit, 0.0))
    after = predict(setting.task, *edited_weights(prototypes, edit, config.strength))
    searches = None
    if edit.request.complete and edit.request.domains:
        searches = (
            search(setting.task, edit.request, *edited_weights(prototypes, edit, 0.0)),
            search(setting.task, edit.request, *edited_weights(prototypes, edit, config.strength)),
        )

    seconds = {
        "encode": setting.encode_seconds,
        "synthesis": prototypes.seconds,
        "fit": fit_seconds,
        "total": time.perf_counter() - start,
    }
    return Analysis(
        config=config,
        clip=setting.clip,
        prototypes=prototypes,
        edit=edit,
        task=setting.task,
        frame=frame,
        foreseen=predicted_change(
            prototypes, edit, simulated(prototypes, setting.task), config.strength
        ),
        readings=readings(prototypes, edit, setting.task.images),
        predicted=(before, after),
        searches=searches,
        seconds=seconds,
        cached=_cached(setting),
    )


def _cached(setting: Setting) -> tuple[str, ...]:
    """The steps that the cache saved, by their names in `Analysis.seconds`."""
    tasks = [setting.task, setting.unrelated]
    encoded = all(task.images.cached for task in tasks if task is not None)
    saved = {"encode": encoded, "synthesis": setting.prototypes.cached}
    return tuple(step for step, was_saved in saved.items() if was_saved)
