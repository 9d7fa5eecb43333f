"""Beside others on one machine: `python tests/benchmarks/crowded.py [JOB ...]`

Synthesis of four bundled cells, encoding of all 1,280 bundled images, and notebooks 04 and 09 from
top to bottom: alone, beside a process that keeps every core busy, and in four processes at once.
With pieces side by side, a thread each, which is what the package does; with torch's own threads,
which wait for one another; and on one thread. Writes crowded.csv.

`ratio` is the time against that of one thread alone. `fair` is what it would be if every process
had an equal share of two cores, used it, and nothing were lost: alone 0.5; beside one that keeps
both cores busy 1; in four processes 2. `times fair` is the one over the other, and the aim is at
most 1.3. Times are medians of several rounds, in each of which every case has its turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd

PATH = Path(__file__).parent / "results" / "crowded.csv"
TORCHS = """
from clip_unlearn.core.ondemand import kept, threads
threads.pieces = kept.pieces = lambda n, least, device: 1
"""
# Each job gets ready, waits for a line, and says how many seconds it took.
TIMED = """
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
work()
print(json.dumps(time.perf_counter() - start), flush=True)
"""
MODEL = """
import json, sys, time
import torch
from clip_unlearn import ConceptGrid, bundled_images, encode, load_clip, synthesize_prototypes
from clip_unlearn.core.synthesis import Synthesis
clip = load_clip("bundled", device="cpu")
images = bundled_images()
def synthesis(steps):
    grid = ConceptGrid(["dog", "cat"], ["photo", "sketch"])
    synthesize_prototypes(clip, grid, 8, how=Synthesis(steps), progress=False, cache=False)
def encoding(images):
    encode(clip, images, progress=False, cache=False, workers=0)
"""
NOTEBOOK = """
import json, os, sys, time
import nbformat
from nbclient import NotebookClient
def work():
    notebook = nbformat.read(f"notebooks/{NAME}.ipynb", 4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    where = {"metadata": {"path": "notebooks"}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
"""
JOBS = {
    "synthesis": MODEL + "synthesis(1)\nwork = lambda: synthesis(20)\n",
    "encoding": MODEL + "encoding(images.only(torch.arange(8)))\nwork = lambda: encoding(images)\n",
    "notebook 04": "NAME = '04_forget_everywhere'\n" + NOTEBOOK,
    "notebook 09": "NAME = '09_compare_methods'\n" + NOTEBOOK,
}
BUSY = """
import torch
x = torch.rand(1500, 1500)
print("ready", flush=True)
while True:
    x = (x @ x).softmax(0)
"""


# Processes, whether a busy one is beside them, and the fair time in those of one thread alone.
CASES = {
    "alone": (1, False, 0.5),
    "beside a busy process": (1, True, 1.0),
    "four at once": (4, False, 2.0),
}
THREADS = ("one", "side by side", "torch's")


def code_of(job: str, threads: str) -> str:
    """What a process runs for a job."""
    first = TORCHS if threads == "torch's" else ""
    if job.startswith("notebook"):
        return f"FIRST = {first!r}\n" + JOBS[job] + TIMED
    return first + JOBS[job] + TIMED


def started(code: str, **environment: str) -> subprocess.Popen:
    """A process that has got ready, and waits for a line."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=free | environment,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def seconds(job: str, threads: str, processes: int, beside: bool) -> float:
    """The mean time of so many processes at once, beside one that keeps every core busy or not."""
    one = {"OMP_NUM_THREADS": "1"} if threads == "one" else {}
    code = code_of(job, threads)
    with tempfile.TemporaryDirectory() as home:
        working = [started(code, CLIP_UNLEARN_CACHE=f"{home}/{i}", **one) for i in range(processes)]
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


def rows_of(job: str, rounds: int) -> list[dict[str, object]]:
    """A row for each kind of threads and case of one job."""
    measured: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for threads in THREADS:
            # One thread beside others is not what anybody would choose: it is only measured alone.
            for case in ("alone",) if threads == "one" else CASES:
                processes, beside, _ = CASES[case]
                took = seconds(job, threads, processes, beside)
                measured.setdefault((threads, case), []).append(took)
                print(job, threads, case, f"{took:.1f} s", flush=True)

    rows = []
    alone = statistics.median(measured["one", "alone"])
    for (threads, case), times in measured.items():
        fair = CASES[case][-1]
        ratio = statistics.median(times) / alone
        row = {"work": job, "threads": threads, "case": case, "ratio": ratio, "fair": fair}
        rows.append(row | {"times fair": ratio / fair})
    return rows


@click.command(help=__doc__)
@click.argument("jobs", nargs=-1, type=click.Choice(list(JOBS)))
@click.option("--rounds", default=3)
def main(jobs: tuple[str, ...], rounds: int) -> None:
    """Measure every case of these jobs, all without a name, and write the medians."""
    jobs = jobs or tuple(JOBS)
    frame = pd.DataFrame([row for job in jobs for row in rows_of(job, rounds)])
    if PATH.exists():
        before = pd.read_csv(PATH)
        frame = pd.concat([before[~before["work"].isin(jobs)], frame])
    frame.to_csv(PATH, index=False, float_format="%.2f")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
