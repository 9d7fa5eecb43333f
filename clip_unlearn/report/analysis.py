"""From the parameters of a report to everything it shows: validated first, then computed once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pandas as pd
import torch
from torch import Tensor

from ..core.concepts import ConceptGrid, ForgetRequest
from ..core.edit import ProjectionEdit, check_method, check_strength, check_towers, fit_edit
from ..core.errors import InputError
from ..core.prototypes import Prototypes
from ..measure.evaluate import (
    STRENGTHS,
    Task,
    accuracy_grid,
    edited_weights,
    evaluate,
    group_masks,
    predict,
)
from ..measure.setting import SurveyConfig, check_measurable, prepare
from ..models.clip import Clip


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
            if not n.startswith("_")
            and n not in known | ipython
            and isinstance(v, (str, int, float, list, type(None)))
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
            if (
                masks[name] is None
                or not masks[name].any()
                or (name == "retained" and len(rows) > 2)
            ):
                continue
            index = masks[name].nonzero().flatten()
            spread = torch.linspace(0, len(index) - 1, min(width, len(index))).round().long()
            rows.append((title, index[spread].tolist()))
        return rows


def analyse(config: ReportConfig, progress: bool = False) -> Analysis:
    """Encode, synthesise, fit, measure. Raises InputError for anything wrong with the request, model or images."""
    start = time.perf_counter()
    images, grid = config.inputs()
    check_measurable(config.request, grid, images)
    s = prepare(config, progress)
    check_measurable(
        config.request, grid, s.task.images
    )  # unreadable images may have been left out
    clock = time.perf_counter()
    method = None if config.method == "default" else config.method
    edit = fit_edit(s.prototypes, config.request, method, config.towers)
    fit = time.perf_counter() - clock
    frame = evaluate(s.prototypes, edit, s.task, sorted({*STRENGTHS, config.strength}), s.unrelated)
    predicted = tuple(
        predict(s.task, *edited_weights(s.prototypes, edit, x)) for x in (0.0, config.strength)
    )
    total = time.perf_counter() - start
    seconds = {
        "encode": s.encode_seconds,
        "synthesis": s.prototypes.seconds,
        "fit": fit,
        "total": total,
    }
    return Analysis(config, s.clip, s.prototypes, edit, s.task, frame, predicted, seconds)
