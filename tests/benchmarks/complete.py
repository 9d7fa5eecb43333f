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

COUNTS = (0, 1, 4, 8, 16, 24)


def ridge_probe(x: Tensor, y: Tensor) -> Tensor:
    """(d + 1,) weights of a linear probe of y (n,) bool on x (n, d), both sides of equal weight."""
    x = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    weight = torch.where(y, 1 / y.sum(), 1 / (~y).sum()).double()
    A = (x * weight[:, None]).T @ x + 0.01 * x.var(0).mean() * torch.eye(x.shape[1])
    return torch.linalg.solve(A, (x * weight[:, None]).T @ torch.where(y, 1.0, -1.0).double())


def balanced(w: Tensor, x: Tensor, y: Tensor) -> float:
    """Mean of the accuracies on both sides."""
    said = torch.cat([x, torch.ones(len(x), 1)], 1).double() @ w > 0
    return ((said[y].double().mean() + (~said[~y]).double().mean()) / 2).item()


def rows_of(s: Setting, fit: Tensor, held: Tensor, c: int, W: Tensor) -> list[dict[str, float]]:
    """One row for each number of directions; fit and held (n,) bool say which real images the last probe has."""
    p, images, rows = s.prototypes, s.task.images, []
    f, label = (
        p.visual.flatten(0, 2),
        torch.arange(len(p.grid.classes))[:, None, None].expand(p.visual.shape[:3]),
    )
    own, real = label.flatten() == c, images.class_of == c
    for n in range(max(COUNTS) + 1):
        h, x = normalize(f @ W, dim=-1), normalize(images.f @ W, dim=-1)
        probe = ridge_probe(h, own)
        if n in COUNTS:
            right = predict(s.task, W, p.W_text).eq(images.class_of).float()
            rows.append({
                "directions": n, "probe on prototypes": balanced(probe, h, own),
                "probe on real images": balanced(ridge_probe(x[fit], real[fit]), x[held], real[held]),
                "forget": right[real].mean().item(), "retained": right[~real].mean().item(),
            })  # fmt: skip
        u = normalize(probe[:-1].float(), dim=0)
        W = W - (W @ u)[:, None] * u
    return rows


@one_thread()
def main() -> None:
    s, rows = prepare(), []
    first = {str(path) for path in halves(s.task)[0].images.paths}
    fit = torch.tensor([str(path) in first for path in s.task.images.paths])
    for c, request in enumerate(tqdm(all_requests(s.prototypes.grid, "global"))):
        W = fit_edit(s.prototypes, request).weight(s.prototypes.W, 1.0)
        rows += rows_of(s, fit, ~fit, c, W)
    groups = pd.DataFrame(rows).groupby("directions")
    table = groups.mean().join(
        groups[["probe on real images", "retained"]].min(), suffixes=("", " lowest")
    )
    table.round(3).to_csv(Path(__file__).parent / "results" / "complete.csv")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
