"""A real CLIP and a real class list: `python tests/benchmarks/real_size.py [ARCHITECTURE]`

`clip-unlearn forget` for one cell of 1,000 classes x 4 domains, at the size of ViT-B/32: the first
time, the same again, another class, and a cell of a grid that has one class more. Weights are
random, since time does not depend on what they know, but every word of the tokenizer counts as
learnt. Writes real_size.csv: seconds, the highest memory, and how much had to be computed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import open_clip
import pandas as pd
import psutil
import torch
from safetensors.torch import load_file, save_file
from sizes import MB, random_folder

PATH = Path(__file__).parent / "results" / "real_size.csv"
DOMAINS = ["photo", "sketch", "painting", "cartoon"]
RUNS = {  # class, domain, classes in the grid
    "first": ("tench", "sketch", 999),
    "again": ("tench", "sketch", 999),
    "another class": ("hammer", "photo", 999),
    "one class more": ("tench", "sketch", 1000),
}


def learnt(folder: Path) -> None:
    """Give the rows of the token table different lengths, as training would."""
    file = folder / "open_clip_model.safetensors"
    tensors = load_file(file)
    table = tensors["token_embedding.weight"]
    generator = torch.Generator().manual_seed(0)
    table *= 0.5 + torch.rand(len(table), 1, generator=generator)
    save_file(tensors, file)


def watched(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Seconds, peak memory in MB of a command and its children, and what it said."""
    start = time.perf_counter()
    process = psutil.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = 0
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in family))
        except psutil.NoSuchProcess:
            pass
        time.sleep(0.05)
    said = process.stdout.read()
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - start, peak / MB, said


def announced(said: str) -> str:
    """What the command said that it has to compute."""
    lines = [line for line in said.replace("\r", "\n").splitlines() if "to be computed" in line]
    return lines[0].split(";")[0] if lines else "less than 20 seconds"


@click.command(help=__doc__)
@click.argument("architecture", default="ViT-B-32")
def main(architecture: str) -> None:
    """All runs, one after the other, on an empty cache."""
    names = list(dict.fromkeys(open_clip.IMAGENET_CLASSNAMES))
    names += [f"{name} toy" for name in names[: 1000 - len(names)]]  # some names are there twice
    rows = []
    with random_folder(architecture) as folder, tempfile.TemporaryDirectory() as home:
        learnt(folder)
        environment = os.environ | {"CLIP_UNLEARN_CACHE": f"{home}/cache"}
        for run, (name, domain, classes) in RUNS.items():
            grid = Path(home) / "grid.json"
            grid.write_text(json.dumps({"classes": names[:classes], "domains": DOMAINS}))
            command = [sys.executable, "-m", "clip_unlearn", "forget", "--model", str(folder)]
            command += ["--grid", str(grid), "--classes", name, "--domains", domain]
            command += ["--edit", f"{home}/edit.safetensors"]
            seconds, peak, said = watched(command, environment)
            row = {"architecture": architecture, "run": run, "classes": classes}
            row |= {"seconds": round(seconds), "peak_MB": round(peak), "said": announced(said)}
            print(row, flush=True)
            rows.append(row)
    frame = pd.DataFrame(rows)
    if PATH.exists():
        before = pd.read_csv(PATH)
        frame = pd.concat([before[before["architecture"] != architecture], frame])
    frame.to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
