"""Does an edit depend on what no text can see? `python tests/benchmarks/text_span.py`

    python tests/benchmarks/text_span.py                                       the bundled CLIP
    python tests/benchmarks/text_span.py --name pacs --model DIR --images DIR     another one

A CLIP whose image projection is multiplied by .5 inside the span of all texts of the task and by 2
outside answers every prompt as before: only what texts cannot see has grown, as in large CLIPs. The
default edit is fitted on both, once as it is and once seen through texts alone: the projection is
replaced by its part in the span of the grid's prompts, for the synthesis of pictures and for the
fit. Writes text_span.csv to tests/benchmarks/results; rows of other data sets stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from clip_unlearn import (
    Clip,
    ConceptGrid,
    Prototypes,
    all_requests,
    evaluate,
    fit_edit,
    predict,
    prepare,
    synthesize_prototypes,
)
from clip_unlearn.core.nullspace import orthonormal_basis
from clip_unlearn.measure.evaluate import GROUPS, one_thread, points
from clip_unlearn.measure.setting import Setting, SurveyConfig

PATH = Path(__file__).parent / "results" / "text_span.csv"
PER_CELL = 4
INSIDE, OUTSIDE = 0.5, 2.0
KINDS = ("global", "domain-specific", "whole-domain")


class Seen:
    """A CLIP whose image projection is followed by M (d, d); all else is its own."""

    def __init__(self, clip: Clip, M: Tensor) -> None:
        self.clip = clip
        self.M = M

    def __getattr__(self, name: str) -> object:
        return getattr(self.clip, name)

    @property
    def heads(self) -> dict[str, object]:
        heads = dict(self.clip.heads)
        weight = heads["visual"].weight @ self.M
        heads["visual"] = _Head(weight, heads["visual"].has_bias)
        return heads


class _Head:
    """A projection that is only read."""

    def __init__(self, weight: Tensor, has_bias: bool) -> None:
        self.weight = weight
        self.has_bias = has_bias


def span(clip: Clip, prompts: Sequence[str], rtol: float) -> Tensor:
    """(d, d) the projection on the span of the embeddings of prompts."""
    embeddings = clip.text_features(prompts) @ clip.heads["text"].weight
    U = orthonormal_basis(normalize(embeddings, dim=-1), rtol)
    return U @ U.T


def prompts_of(grid: ConceptGrid) -> tuple[list[str], list[str]]:
    """The prompts that build prototypes, and those that only classify."""
    of_cells = [p for c in grid.classes for d in grid.domains for p in grid.cell_prompts(c, d)]
    of_classes = [p for c in grid.classes for p in grid.class_prompts(c)]
    tested = [p for row in (*grid.test_prompts(), *grid.paraphrase_prompts()) for p in row]
    return [*of_cells, *of_classes], tested


def outcome(setting: Setting, p: Prototypes, W: Tensor, kind: str) -> pd.DataFrame:
    """One row a request: the edit is fitted on p, and changes W (D, d)."""
    rows = []
    measured_on = replace(p, W=W)
    for request in tqdm(all_requests(p.grid, kind), desc=kind):
        edit = fit_edit(p, request)
        frame = evaluate(measured_on, edit, setting.task, [0.0, 1.0], setting.unrelated)
        table = frame.pivot(index="group", columns="strength", values="accuracy")
        row = {"before": table.loc["forget", 0.0], "forget": table.loc["forget", 1.0]}
        for group in table.index.difference(["forget"]):
            row[group] = points(table.loc[group, 0.0], table.loc[group, 1.0])
        rows.append(row)
    return pd.DataFrame(rows)


def summary_of(frame: pd.DataFrame) -> dict[str, float]:
    """Mean and worst of each column."""
    row = {"before": frame["before"].mean()}
    row |= {"forget": frame["forget"].mean(), "forget worst": frame["forget"].max()}
    for group in GROUPS[1:]:
        if group in frame:
            row |= {group: frame[group].mean(), f"{group} worst": frame[group].min()}
    return row


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
@one_thread()
def main(name: str, model: str, images: str) -> None:
    """Measure the four cases on one CLIP."""
    setting = prepare(SurveyConfig(model=model, images=images), progress=True)
    clip, grid = setting.clip, setting.prototypes.grid
    built, tested = prompts_of(grid)
    by_texts = span(clip, built, rtol=0.01)
    by_all = span(clip, [*built, *tested], rtol=0.001)
    identity = torch.eye(len(by_all))
    W, W_text = setting.prototypes.W, setting.prototypes.W_text

    rows = []
    stretched = INSIDE * by_all + OUTSIDE * (identity - by_all)
    for geometry, M in (("as it is", identity), ("stretched", stretched)):
        same = predict(setting.task, W @ M, W_text).eq(predict(setting.task, W, W_text))
        for seen, P in (("all of it", identity), ("what texts span", by_texts)):
            how = {"per_cell": PER_CELL, "progress": True, "cache": False}
            p = synthesize_prototypes(Seen(clip, M @ P), grid, **how)
            for kind in KINDS:
                result = summary_of(outcome(setting, p, W @ M, kind))
                case = {"data": name, "requests": kind, "geometry": geometry, "seen": seen}
                rows.append({**case, "same answers": same.float().mean().item(), **result})
    old = pd.read_csv(PATH) if PATH.is_file() else pd.DataFrame(columns=["data"])
    table = pd.concat([old[old["data"] != name], pd.DataFrame(rows)])
    table.round(3).to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
