"""Does removing more directions make forgetting complete? `python tests/benchmarks/complete.py`

After the default edit of each class, take the direction of a linear probe on synthesised prototypes
out of W, and again, n times (iterative null-space projection, arXiv 2004.07667, from prototypes
instead of data). Then ask a probe on real images. Writes complete.csv (mean and worst over the
classes) to tests/benchmarks/results. Balanced accuracy.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from clip_unlearn.core.concepts import all_requests
from clip_unlearn.core.edit import fit_edit
from clip_unlearn.measure.evaluate import halves, one_thread, predict
from clip_unlearn.measure.setting import Setting, prepare

PATH = Path(__file__).parent / "results" / "complete.csv"
COUNTS = (0, 1, 4, 8, 16, 24)


def with_one(x: Tensor) -> Tensor:
    """x (n, d) with a column of ones for the bias, in double precision."""
    return torch.cat([x, torch.ones(len(x), 1)], 1).double()


def ridge_probe(x: Tensor, y: Tensor) -> Tensor:
    """(d + 1,) weights of a linear probe of y (n,) bool on x (n, d), both sides of equal weight."""
    x = with_one(x)
    weight = torch.where(y, 1 / y.sum(), 1 / (~y).sum()).double()
    sides = torch.where(y, 1.0, -1.0).double()
    weighted = x * weight[:, None]

    ridge = 0.01 * x.var(0).mean()
    scatter = weighted.T @ x + ridge * torch.eye(x.shape[1])
    return torch.linalg.solve(scatter, weighted.T @ sides)


def balanced(w: Tensor, x: Tensor, y: Tensor) -> float:
    """Mean of the accuracies on both sides."""
    answer = with_one(x) @ w > 0
    on_yes = answer[y].double().mean()
    on_no = (~answer[~y]).double().mean()
    return ((on_yes + on_no) / 2).item()


def rows_of(s: Setting, fit: Tensor, held: Tensor, c: int, W: Tensor) -> list[dict[str, float]]:
    """One row for each number of directions that are taken out of W for class c.

    fit and held (n,) bool say on which real images the last probe is fitted, and on which asked.
    """
    p, images = s.prototypes, s.task.images
    prototypes = p.visual.flatten(0, 2)  # (C K m, D)
    class_of = torch.arange(len(p.grid.classes))[:, None, None].expand(p.visual.shape[:3])
    own = class_of.flatten() == c  # (C K m,)
    real = images.class_of == c  # (n,)

    rows = []
    for n in range(max(COUNTS) + 1):
        h = normalize(prototypes @ W, dim=-1)
        probe = ridge_probe(h, own)
        if n in COUNTS:
            x = normalize(images.f @ W, dim=-1)
            on_real = ridge_probe(x[fit], real[fit])
            right = predict(s.task, W, p.W_text).eq(images.class_of).float()
            row = {"directions": n}
            row["probe on prototypes"] = balanced(probe, h, own)
            row["probe on real images"] = balanced(on_real, x[held], real[held])
            row["forget"] = right[real].mean().item()
            row["retained"] = right[~real].mean().item()
            rows.append(row)
        direction = normalize(probe[:-1].float(), dim=0)
        W = W - (W @ direction)[:, None] * direction
    return rows


@one_thread()
def main() -> None:
    s = prepare()
    first = {str(path) for path in halves(s.task)[0].images.paths}
    fit = torch.tensor([str(path) in first for path in s.task.images.paths])

    rows = []
    for c, request in enumerate(tqdm(all_requests(s.prototypes.grid, "global"))):
        W = fit_edit(s.prototypes, request).weight(s.prototypes.W, 1.0)
        rows += rows_of(s, fit, ~fit, c, W)

    by_count = pd.DataFrame(rows).groupby("directions")
    lowest = by_count[["probe on real images", "retained"]].min().add_suffix(" lowest")
    table = by_count.mean().join(lowest).round(3)
    table.to_csv(PATH)
    print(table.to_string())


if __name__ == "__main__":
    main()
