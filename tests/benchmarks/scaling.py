"""Time and memory of `fit_edit` by the number of forgotten classes.

    python tests/benchmarks/scaling.py

The size of a ViT-B/32 head: 1,001 classes x 4 domains x 4 prototypes, D = 768, d = 512, random
numbers. Beside each time the bare linear algebra that the formula cannot do without, in the same
run: for the null space one SVD of the stacked prototypes, for the others one solve with as many
right-hand sides, and the product that embeds the prototypes. Writes results/scaling.csv. Medians of
alternating runs, on one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from test_speed import random_prototypes
from torch.profiler import ProfilerActivity, profile

from clip_unlearn import ForgetRequest, Prototypes, fit_edit
from clip_unlearn.measure.evaluate import one_thread

PATH = Path(__file__).parent / "results" / "scaling.csv"
CLASSES, DOMAINS, PER_CELL, D, WIDTH = 1001, 4, 4, 768, 512
ROUNDS = 3
COUNTS = (1, 10, 100, 300, 1000)
METHODS = ("null-space", "retain-aware", "calibrated")


def fit(p: Prototypes, request: ForgetRequest, method: str) -> None:
    """What is measured. A fresh request each time, as a person would make it."""
    fit_edit(p, ForgetRequest(request.classes, request.domains), method)


def bare(p: Prototypes, mask: torch.Tensor, method: str) -> None:
    """The linear algebra of a method and nothing else."""
    if method == "null-space":
        pictures = p.visual[mask].flatten(0, 1) @ p.W
        rows = torch.cat([p.text[mask], pictures])
        torch.linalg.svd(rows, full_matrices=False)
    elif method == "retain-aware":
        X = p.visual.flatten(0, 2)
        forgotten = int(mask.any(1).sum())
        right_hand = torch.randn(D, min(forgotten, WIDTH))
        torch.linalg.solve(X.T @ X + torch.eye(D), right_hand)
    else:
        text, _ = p.text, p.visual @ p.W
        S = text.mean(1).double()
        right_hand = torch.randn(WIDTH, len(text), dtype=torch.float64)
        torch.linalg.solve(S.T @ S + torch.eye(WIDTH), right_hand)


def seconds(work: Callable[..., None], *args: object) -> float:
    """Of processor time, so that other processes do not count."""
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def peak_of(work: Callable[..., None], *args: object) -> float:
    """MB that tensors take at their highest, by torch's profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        work(*args)
    live = peak = 0
    for event in sorted(run.events(), key=lambda e: e.time_range.start):
        live += event.self_cpu_memory_usage
        peak = max(peak, live)
    return peak / 1e6


def row_of(p: Prototypes, request: ForgetRequest, method: str) -> dict[str, float]:
    """Seconds of ours and of the bare algebra, measured in turn, and the peak of ours."""
    mask = request.mask(p.grid)
    ours, least = [], []
    for _ in range(ROUNDS):
        ours.append(seconds(fit, p, request, method))
        least.append(seconds(bare, p, mask, method))
    middle, middle_bare = statistics.median(ours), statistics.median(least)
    return {
        "seconds": round(middle, 3),
        "bare seconds": round(middle_bare, 3),
        "ratio": round(middle / middle_bare, 2),
        "peak MB": round(peak_of(fit, p, request, method)),
    }


@one_thread()
def main() -> None:
    p = random_prototypes(CLASSES, DOMAINS, PER_CELL, D, WIDTH)
    kinds = {"everywhere": None, "in one domain": p.grid.domains[:1]}
    rows = []
    for method in METHODS:
        for kind, domains in kinds.items():
            for n in COUNTS:
                request = ForgetRequest(p.grid.classes[:n], domains)
                row = {"method": method, "forget": kind, "classes": n}
                rows.append(row | row_of(p, request, method))
                print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
