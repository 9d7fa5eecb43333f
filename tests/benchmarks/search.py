"""What does a search find after an edit? `python tests/benchmarks/search.py [MODEL IMAGES NAME]`

Every class in every domain is forgotten there, by the default edit and by `complete` with more and
with less of the interaction of class and domain, from little doubt in the prototypes to much. The
oracle is `complete` with the interaction of real images: half of them fit it. All are measured on
the other half, by average precision: the rank of the class in a search among the images of the
domain (inside) and of the other domains (elsewhere). Writes search_NAME.csv (mean and worst over
the requests; accuracies, and changes in points) to tests/benchmarks/results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from clip_unlearn.core.applied import ProjectionEdit
from clip_unlearn.core.calibrated import calibrated
from clip_unlearn.core.concepts import ForgetRequest, all_requests
from clip_unlearn.core.nullspace import Factors, TowerPrototypes
from clip_unlearn.core.variants import complete
from clip_unlearn.measure.evaluate import (
    Task,
    edited_weights,
    evaluate,
    halves,
    one_thread,
    points,
    search,
)
from clip_unlearn.measure.setting import Setting, SurveyConfig, prepare

RESULTS = Path(__file__).parent / "results"
GAINS = (0.25, 0.5, 0.75, 1.0, 1.5)
DOUBTS = (0.02, 0.05, 0.1, 0.2, 0.5)
Fit = Callable[[Tensor], Factors]


def cell_means(task: Task) -> Tensor:
    """(C, K, 1, D) mean feature of the images of each cell; the mean of all where there is none."""
    C, K = task.grid.shape
    f, cell = task.images.f, task.images.cells(K)
    means = [f[cell == i].mean(0) if (cell == i).any() else f.mean(0) for i in range(C * K)]
    return torch.stack(means).unflatten(0, (C, K))[:, :, None]


def edits(p: TowerPrototypes, real: Tensor) -> Iterator[tuple[str, Fit]]:
    """The name of each edit, and how it is fitted to a mask; real (C, K, 1, D) for the oracle."""

    def oracle(mask: Tensor, gain: float) -> Factors:
        A, r = calibrated(p, mask)
        A_real, _ = complete(p._replace(features=real), mask, gain, 0.005)
        scale_of_real, _ = calibrated(p._replace(features=real), mask)
        return A + A_real - scale_of_real, r

    yield "calibrated", lambda mask: calibrated(p, mask)
    for gain in GAINS:
        yield f"complete, gain {gain:g}", lambda mask, g=gain: complete(p, mask, g)
    for doubt in DOUBTS:
        yield f"complete, doubt {doubt:g}", lambda mask, d=doubt: complete(p, mask, doubt=d)
    for gain in GAINS:
        yield f"oracle, gain {gain:g}", lambda mask, g=gain: oracle(mask, g)


def row_of(s: Setting, task: Task, request: ForgetRequest, factors: Factors) -> dict[str, float]:
    """What prompts and a search find of one request after an edit, and what it cost."""
    edit = ProjectionEdit(request, "complete", {"visual": factors})
    frame = evaluate(s.prototypes, edit, task, (0.0, 1.0))
    accuracy = frame.pivot(index="group", columns="strength", values="accuracy")
    found = search(task, request, *edited_weights(s.prototypes, edit, 1.0))
    row = {
        "inside": found.inside,
        "elsewhere": found.elsewhere,
        "forget": accuracy.loc["forget", 1.0],
    }
    for group in ("retained", "same_class", "same_domain"):
        row[group] = points(accuracy.loc[group, 0.0], accuracy.loc[group, 1.0])
    return row


def table(s: Setting) -> pd.DataFrame:
    """Mean and worst over all requests, a row an edit."""
    p = s.prototypes.of_tower("visual")
    fitted, measured = halves(s.task)
    nothing = (p.W[:, :1] * 0, p.W[:1] * 0)
    rows = []
    for name, fit in [("before", lambda mask: nothing), *edits(p, cell_means(fitted))]:
        for request in all_requests(s.prototypes.grid, "domain-specific"):
            mask = request.mask(s.prototypes.grid)
            rows.append({"edit": name, **row_of(s, measured, request, fit(mask))})
    by_edit = pd.DataFrame(rows).groupby("edit", sort=False)
    highest = by_edit[["inside", "forget"]].max()
    lowest = by_edit[["elsewhere", "retained", "same_class", "same_domain"]].min()
    worst = highest.join(lowest).add_suffix(" worst")
    return by_edit.mean().join(worst).round(3)


@one_thread()
def main() -> None:
    model, images, name = sys.argv[1:] or ("bundled", "bundled", "bundled")
    found = table(prepare(SurveyConfig(model=model, images=images)))
    found.to_csv(RESULTS / f"search_{name}.csv")
    print(found.to_string())


if __name__ == "__main__":
    main()
