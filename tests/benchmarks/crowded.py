"""Beside others on one machine: `python tests/benchmarks/crowded.py`

Synthesis of one bundled cell, and encoding of all 1,280 bundled images: alone, beside a process
that keeps every core busy, and in four processes at once. With as many threads as are free, which
is what the package does, and with torch's own number. Writes crowded.csv.

`ratio` is the time against that of one thread alone. `fair` is what it would be if every process
had an equal share of two cores and nothing were lost: beside one that keeps both busy a core of its
own, 1; in four processes half a core each, 2. `times fair` is the one over the other, and the aim
is at most 1.3. Times are medians of several rounds, in each of which every case has its turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd

PATH = Path(__file__).parent / "results" / "crowded.csv"
WORK = """
import json, sys, time
import torch
from clip_unlearn import ConceptGrid, bundled_images, encode, load_clip, synthesize_prototypes
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.core.ondemand import threads

job, free = sys.argv[1], sys.argv[2] == "free"
if not free:
    threads.users_choice = lambda: True
clip = load_clip("bundled", device="cpu")
grid = ConceptGrid(["dog", "cat"], ["photo", "sketch"])
images = bundled_images()
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
if job == "synthesis":
    how = Synthesis(steps=20)
    synthesize_prototypes(clip, grid, 8, how=how, progress=False, cache=False)
else:
    encode(clip, images, progress=False, cache=False, workers=0)
print(json.dumps(time.perf_counter() - start), flush=True)
"""
BUSY = """
import torch
x = torch.rand(1500, 1500)
print("ready", flush=True)
while True:
    x = (x @ x).softmax(0)
"""


def started(code: str, *arguments: str, **environment: str) -> subprocess.Popen:
    """A process that has got ready, and waits for a line."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=free | environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def seconds(job: str, threads: str, processes: int, beside: bool) -> float:
    """The mean time of so many processes at once, beside one that keeps every core busy or not."""
    one = {"OMP_NUM_THREADS": "1"} if threads == "one" else {}
    working = [started(WORK, job, threads, **one) for _ in range(processes)]
    other = started(BUSY) if beside else None
    for process in working:
        process.stdin.write("\n")
        process.stdin.flush()
    times = [json.loads(process.stdout.readline()) for process in working]
    for process in working:
        process.wait()
    if other:
        other.kill()
        other.wait()
    return statistics.fmean(times)


# Processes, whether a busy one is beside them, and the fair time in those of one thread alone.
CASES = {
    "alone": (1, False, 0.5),
    "beside a busy process": (1, True, 1.0),
    "four at once": (4, False, 2.0),
}
THREADS = ("free", "torch's", "one")


@click.command(help=__doc__)
@click.option("--rounds", default=3)
def main(rounds: int) -> None:
    """Measure every case in every round, and write the medians."""
    measured: dict[tuple, list[float]] = {}
    for _ in range(rounds):
        for job in ("synthesis", "encoding"):
            for threads in THREADS:
                for case, (processes, beside, _) in CASES.items():
                    key = (job, threads, case)
                    measured.setdefault(key, []).append(seconds(job, threads, processes, beside))
                    print(*key, f"{measured[key][-1]:.1f} s", flush=True)

    rows = []
    for (job, threads, case), times in measured.items():
        _, _, fair = CASES[case]
        alone = statistics.median(measured[job, "one", "alone"])
        ratio = statistics.median(times) / alone
        row = {"work": job, "threads": threads, "case": case, "ratio": ratio, "fair": fair}
        rows.append(row | {"times fair": ratio / fair})
    frame = pd.DataFrame(rows)
    frame.to_csv(PATH, index=False, float_format="%.2f")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
