"""Choose the settings of the default edit by leaving one CLIP out. `python tests/benchmarks/zoo.py`

    python tests/benchmarks/zoo.py measure bundled                              the bundled CLIP
    python tests/benchmarks/zoo.py measure NAME --model DIR --images DIR        another one
    python tests/benchmarks/zoo.py measure NAME ... --everything                see below
    python tests/benchmarks/zoo.py oracle NAME ...                              see below
    python tests/benchmarks/zoo.py choose                                       the table

`measure` fits every candidate setting on one CLIP, and measures every request: one row for each
candidate and kind of request in zoo_candidates.csv. It does the same for a stretched copy, whose
image projection is multiplied by .5 inside the span of all texts of the task and by 2 outside: it
answers every prompt as before, but only texts see it so. `choose` takes, for each CLIP, the
candidate that costs least on all others, stretched copies included, and writes to zoo.csv what it
does on the CLIP that was left out. The cost is in points: what is left of cells, domains and
classes, and twice what all that stays, the same class and unrelated classes lose: what breaks
elsewhere is the harm that nobody asked for.
`data/train_zoo.py` trains CLIPs for it.

With `--everything`, edits are fitted through the whole image projection, instead of through what
texts see of it: the default setting alone, to zoo_everything.csv. `oracle` takes the same removed
directions and amounts, but fits the detectors to real images, by ridge regression on half of them,
and measures on the other half: what this kind of edit could do (zoo_oracle.csv).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from unittest.mock import patch

import click
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    ProjectionEdit,
    Prototypes,
    all_requests,
    fit_edit,
    predict,
    prepare,
    synthesize_prototypes,
)
from clip_unlearn.core import calibrated as cal
from clip_unlearn.core import prototypes
from clip_unlearn.core.nullspace import orthonormal_basis
from clip_unlearn.core.variants import ridge_solution, words
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import (
    Task,
    classifier,
    group_accuracy,
    group_masks,
    halves,
    one_thread,
    points,
)
from clip_unlearn.measure.setting import Setting, SurveyConfig

RESULTS = Path(__file__).parent / "results"
CANDIDATES = RESULTS / "zoo_candidates.csv"
CHOSEN = RESULTS / "zoo.csv"
EVERYTHING = RESULTS / "zoo_everything.csv"
PER_CELL = 4
KINDS = ("global", "domain-specific", "whole-domain")
GRID = {
    "beta": (1.0, 1.1, 1.2, 1.3, 1.4),
    "neighbours": (0.1, 0.3, 1.0, 1000.0),
    "share": (0.0, 0.25, 0.5),
}
DEFAULT = {"beta": cal.BETA, "neighbours": cal.NEIGHBOURS, "share": cal.SHARE_OF_PICTURES}
SETTINGS = list(GRID)
STAYS = ["retained", "same_class", "unrelated"]
A_POINT_LOST = 2  # as bad as so many points left
INSIDE, OUTSIDE = 0.5, 2.0
ORACLE_RIDGE = 0.01  # relative to the mean variance; .1 and 1 forget less


# ---- a stretched copy


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


# ---- one CLIP


def outcome(
    setting: Setting,
    p: Prototypes,
    W: Tensor,
    kind: str,
    fit: Callable[..., ProjectionEdit] = fit_edit,
    **settings: float,
) -> dict[str, float]:
    """Mean and worst over every request of a kind; edits are fitted on p, and change W (D, d)."""
    task, unrelated = setting.task, setting.unrelated
    scores = _scores(task, p, W)
    own = task.images.class_of
    before = scores.argmax(1).eq(own).float()
    rows = []
    for request in all_requests(p.grid, kind):
        A, B = fit(p, request, **settings).factors["visual"]
        after = (scores + _change(task, p, A, B)).argmax(1).eq(own).float()
        groups = group_masks(request.mask(p.grid), task.images)
        was, now = group_accuracy(before, groups), group_accuracy(after, groups)
        row = {"before": was["forget"].item(), "forget": now["forget"].item()}
        for name in ("retained", "same_class"):
            if name in now:
                row[name] = points(was[name].item(), now[name].item())
        if unrelated is not None and kind != "whole-domain":
            row["unrelated"] = _unrelated(unrelated, p, W, A, B)
        rows.append(row)
    return _summary(pd.DataFrame(rows))


def _scores(task: Task, p: Prototypes, W: Tensor) -> Tensor:
    return task.images.f @ W @ classifier(task.prompts, p.W_text).T


def _change(task: Task, p: Prototypes, A: Tensor, B: Tensor) -> Tensor:
    """What an edit adds to the scores: r columns are cheaper than the d of a projection."""
    return (task.images.f @ A) @ (B @ classifier(task.prompts, p.W_text).T)


def _unrelated(task: Task, p: Prototypes, W: Tensor, A: Tensor, B: Tensor) -> float:
    scores, own = _scores(task, p, W), task.images.class_of
    before = scores.argmax(1).eq(own).float().mean().item()
    after = (scores + _change(task, p, A, B)).argmax(1).eq(own).float().mean().item()
    return points(before, after)


def _summary(frame: pd.DataFrame) -> dict[str, float]:
    row = {"before": frame["before"].mean(), "forget": frame["forget"].mean()}
    row["forget worst"] = frame["forget"].max()
    for name in ("retained", "same_class", "unrelated"):
        if name in frame:
            row |= {name: frame[name].mean(), f"{name} worst": frame[name].min()}
    return row


def geometry_of(setting: Setting, p: Prototypes, W: Tensor) -> dict[str, float]:
    """How long a difference of domains is in images as a share of texts: real, and estimated."""
    C, K = p.grid.shape
    images = setting.task.images
    h = normalize(images.f @ (W @ p.span @ p.span.T), dim=-1)
    cell = images.cells(K)
    sums = torch.zeros(C * K, h.shape[1]).index_add(0, cell, h)
    real = (sums / torch.bincount(cell, minlength=C * K)[:, None]).unflatten(0, (C, K))
    p_seen = p.of_tower("visual")
    prototypes = cal.mean_embeddings(p_seen.W, p_seen.features)
    estimated = cal.calibrate(p.text, prototypes, p.reached).scale
    return {
        "logit scale": setting.clip.model.logit_scale.exp().item(),
        "cosine to own text": _cosine(setting, p, W),
        "scale": cal.calibrate(p.text, real, real).scale.item(),
        "estimated scale": estimated.item(),
    }


def _cosine(setting: Setting, p: Prototypes, W: Tensor) -> float:
    images = setting.task.images
    own = p.text[images.class_of, images.domain_of]
    return torch.cosine_similarity(images.f @ W, own, dim=-1).mean().item()


@click.group(help=__doc__)
def main() -> None:
    """Measure CLIPs, then choose."""


@main.command()
@click.argument("name")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
@click.option("--everything", is_flag=True)
@one_thread()
def measure(name: str, model: str, images: str, everything: bool) -> None:
    """Every candidate on one CLIP, as it is and stretched."""
    candidates = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    path = CANDIDATES
    if everything:
        # So many prompts span every direction: in fits, and in what pictures are made through.
        prototypes.SPAN_RTOL = words.SPAN_RTOL = 0.0
        candidates = [DEFAULT]
        path = EVERYTHING
    config = SurveyConfig(model=model, images=images, per_cell=PER_CELL)
    setting = prepare(config, progress=True)
    clip, p, grid = setting.clip, setting.prototypes, setting.prototypes.grid
    if everything:
        p = synthesize_prototypes(clip, grid, per_cell=PER_CELL, progress=True, cache=False)
    built, tested = prompts_of(grid)
    P = span(clip, [*built, *tested], rtol=0.001)
    M = INSIDE * P + OUTSIDE * (torch.eye(len(P)) - P)
    stretched = replace(
        synthesize_prototypes(Seen(clip, M), grid, per_cell=PER_CELL, progress=True, cache=False),
        base=p.base,
    )
    same = predict(setting.task, p.W @ M, p.W_text).eq(predict(setting.task, p.W, p.W_text))
    rows = []
    for geometry, q in (("as it is", p), ("stretched", stretched)):
        case = {"data": name, "geometry": geometry, **geometry_of(setting, q, q.W)}
        case["same answers"] = same.float().mean().item()
        for settings in tqdm(candidates, desc=geometry):
            for kind in KINDS:
                # The pull for other words leaves the named ones as they are, and takes its time.
                more = {"every_word": False} if kind == "whole-domain" else {}
                result = outcome(setting, q, q.W, kind, **settings, **more)
                rows.append({**case, "requests": kind, **settings, **result})
    _replace_rows(path, pd.DataFrame(rows), name)


def _replace_rows(path: Path, rows: pd.DataFrame, name: str) -> None:
    old = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["data"])
    table = pd.concat([old[old["data"] != name], rows]) if len(old) else rows
    table.round(4).to_csv(path, index=False)


# ---- what an oracle can do


@main.command()
@click.argument("name")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
@one_thread()
def oracle(name: str, model: str, images: str) -> None:
    """The default edit and one whose detectors are fitted to real images, on the same half."""
    config = SurveyConfig(model=model, images=images, per_cell=PER_CELL)
    setting = prepare(config, progress=True)
    p = setting.prototypes
    fitted_on, measured_on = halves(setting.task)
    held = replace(setting, task=measured_on)
    fits = {"default": fit_edit, "oracle": partial(_oracle_edit, images=fitted_on.images)}
    rows = []
    for who, fit in fits.items():
        for kind in KINDS[1:]:
            rows.append({"data": name, "detector": who, "requests": kind})
            rows[-1] |= outcome(held, p, p.W, kind, fit)
    _replace_rows(RESULTS / "zoo_oracle.csv", pd.DataFrame(rows), name)


def _oracle_edit(p: Prototypes, request: ForgetRequest, images: Features) -> ProjectionEdit:
    """The default edit, its detector a ridge regression of "is in a forgotten domain"."""
    gone = request.mask(p.grid).any(0)[images.domain_of].float()
    h = normalize(images.f @ p.seen_projection, dim=-1)
    ridge = ORACLE_RIDGE * h.square().sum() / h.shape[1]
    detector = ridge_solution(h, gone[:, None], ridge).T  # (1, d)
    with patch.object(cal, "cell_detectors", lambda *_: detector):
        return fit_edit(p, request)


# ---- leaving one out


def cost_of(rows: pd.DataFrame) -> float:
    """Points left of what is forgotten, and lost of what stays, over all kinds of request."""
    left = 100 * rows["forget"].sum()
    lost = (-rows[STAYS]).clip(lower=0).sum().sum()
    return left + A_POINT_LOST * lost


def best_without(table: pd.DataFrame, name: str) -> Mapping[str, float]:
    """The candidate with the least mean cost on all CLIPs but one."""
    others = table[table["data"] != name]
    costs = others.groupby(["data", "geometry", *SETTINGS]).apply(cost_of, include_groups=False)
    return dict(zip(SETTINGS, costs.groupby(SETTINGS).mean().idxmin(), strict=True))


def _rows_of(table: pd.DataFrame, settings: Mapping[str, float]) -> pd.DataFrame:
    same = (table[SETTINGS] == pd.Series(settings)).all(axis=1)
    return table[same]


@main.command()
def choose() -> None:
    """The candidate of all others, measured on each CLIP; and the default on all of them."""
    table = pd.read_csv(CANDIDATES)
    parts = []
    for name in table["data"].unique():
        own = table[table["data"] == name]
        chosen = _rows_of(own, best_without(table, name))
        parts.append(chosen.assign(setting="left out"))
        parts.append(_rows_of(own, DEFAULT).assign(setting="default"))
    pd.concat(parts).to_csv(CHOSEN, index=False)
    print("all together:", best_without(table, ""), "default:", DEFAULT)


if __name__ == "__main__":
    main()
