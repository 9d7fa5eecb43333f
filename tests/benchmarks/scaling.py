"""Time and memory of `fit_edit` by the number of forgotten classes: `python tests/benchmarks/scaling.py`.

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

from clip_unlearn import ForgetRequest, Prototypes, fit_edit
from clip_unlearn.measure.evaluate import one_thread

CLASSES, DOMAINS, PER_CELL, D, WIDTH, ROUNDS = 1001, 4, 4, 768, 512, 3
COUNTS = (1, 10, 100, 300, 1000)


def fit(p: Prototypes, request: ForgetRequest, method: str) -> None:
    """What is measured. A fresh request each time, as a person would make it."""
    fit_edit(p, ForgetRequest(request.classes, request.domains), method)


def bare(p: Prototypes, mask: torch.Tensor, method: str) -> None:
    """The linear algebra of a method and nothing else."""
    if method == "null-space":
        rows = torch.cat([p.text[mask], (p.visual[mask].flatten(0, 1) @ p.W)])
        torch.linalg.svd(rows, full_matrices=False)
        return
    if method == "retain-aware":
        X = p.visual.flatten(0, 2)
        torch.linalg.solve(
            X.T @ X + torch.eye(D), torch.randn(D, min(int(mask.any(1).sum()), WIDTH))
        )
        return
    text, _ = p.text, p.visual @ p.W
    S = text.mean(1).double()
    torch.linalg.solve(
        S.T @ S + torch.eye(WIDTH), torch.randn(WIDTH, len(text), dtype=torch.float64)
    )


def seconds(work: Callable[..., None], *args: object) -> float:
    """Of processor time, so that other processes do not count."""
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def peak_of(work: Callable[..., None], *args: object) -> float:
    """MB that tensors take at their highest, by torch's profiler."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as run:
        work(*args)
    live = peak = 0
    for event in sorted(run.events(), key=lambda e: e.time_range.start):
        live += event.self_cpu_memory_usage
        peak = max(peak, live)
    return peak / 1e6


@one_thread()
def main() -> None:
    p, rows = random_prototypes(CLASSES, DOMAINS, PER_CELL, D, WIDTH), []
    everything = {n: p.grid.classes[:n] for n in COUNTS}
    kinds = {"everywhere": None, "in one domain": p.grid.domains[:1]}
    for method in ("null-space", "retain-aware", "calibrated"):
        for kind, domains in kinds.items():
            for n, classes in everything.items():
                request = ForgetRequest(classes, domains)
                mask = request.mask(p.grid)
                times = [
                    (seconds(fit, p, request, method), seconds(bare, p, mask, method))
                    for _ in range(ROUNDS)
                ]
                ours, least = (statistics.median(t) for t in zip(*times, strict=True))
                rows.append({
                    "method": method, "forget": kind, "classes": n, "seconds": round(ours, 3),
                    "bare seconds": round(least, 3), "ratio": round(ours / least, 2),
                    "peak MB": round(peak_of(fit, p, request, method)),
                })  # fmt: skip
                print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(Path(__file__).parent / "results" / "scaling.csv", index=False)


if __name__ == "__main__":
    main()
