"""A folder of tens of thousands of images: `python tests/benchmarks/many_images.py [N]`

N JPEGs of 64 px (50,000 by default) are drawn into a temporary folder. Then `encode` is measured
on the bundled CLIP, beside a bare loop of open_clip and DataLoader (same batches and workers):

    paired      seconds of both in one process, part by part in turn, over 16,000 images
    bare        the bare loop over all images, in a process of its own: seconds and highest memory
    first       `encode`, likewise, with an empty cache that it fills
    again       `encode`, with all features in the cache
    killed      `encode` with an empty cache, killed as soon as half of the images are kept
    resumed     and started again

Memory is that of a process and its workers together (RSS). Writes many_images.csv, with how many
images went through the image tower.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pandas as pd
import psutil
import torch
from PIL import Image
from safetensors import safe_open
from sizes import MB
from torch.utils.data import DataLoader, Dataset

from clip_unlearn import Clip, encode, load_clip, open_images
from clip_unlearn.images.datasets import ImageSet

PATH = Path(__file__).parent / "results" / "many_images.csv"
DOMAINS = ("photo", "sketch", "painting", "cartoon")
CLASSES, SIDE, BATCH, WORKERS = 25, 64, 128, 2
PARTS, PAIRED = 8, 16_000


def draw(root: Path, n: int) -> None:
    """n small pictures, each of its own, in 4 domains x 25 classes."""
    rng = np.random.default_rng(0)
    cells = [root / domain / f"class {c}" for domain in DOMAINS for c in range(CLASSES)]
    for cell in cells:
        cell.mkdir(parents=True)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        picture = coarse.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        picture.save(cells[i % len(cells)] / f"{i:06d}.jpg")


class Opened(Dataset):
    """What one writes by hand."""

    def __init__(self, clip: Clip, images: ImageSet) -> None:
        self.paths, self.preprocess = images.paths, clip.preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.paths[i]).convert("RGB"))


@torch.no_grad()
def bare(clip: Clip, images: ImageSet) -> int:
    """The bare loop; how many images it encoded."""
    loader = DataLoader(Opened(clip, images), BATCH, num_workers=WORKERS)
    return len(torch.cat([clip.model.encode_image(pixels) for pixels in loader]))


def ours(clip: Clip, images: ImageSet) -> int:
    """`encode`; how many images went through the image tower."""
    through: list[int] = []
    hook = clip.model.visual.register_forward_pre_hook(lambda _, x: through.append(len(x[0])))
    features = encode(clip, images, progress=False, batch=BATCH, workers=WORKERS)
    hook.remove()
    assert len(features) == len(images) and features.f.isfinite().all()
    return sum(through)


def seconds(run: Callable[[Clip, ImageSet], int], clip: Clip, images: ImageSet) -> float:
    start = time.perf_counter()
    run(clip, images)
    return time.perf_counter() - start


def paired(clip: Clip, images: ImageSet) -> dict:
    """Both, part by part, and who begins takes turns."""
    n = min(PAIRED, len(images))
    totals = {ours: 0.0, bare: 0.0}
    for run in totals:  # warm up
        run(clip, images.only(torch.arange(0, n, 97)))
    for number, part in enumerate(torch.arange(n).chunk(PARTS)):
        for run in (ours, bare) if number % 2 else (bare, ours):
            totals[run] += seconds(run, clip, images.only(part))
    return {"seconds": totals[ours], "bare_seconds": totals[bare], "images": n}


def alone(run: Callable[[Clip, ImageSet], int], clip: Clip, images: ImageSet) -> dict:
    """One of them, over all images."""
    start = time.perf_counter()
    encoded = run(clip, images)
    return {"seconds": time.perf_counter() - start, "encoded": encoded}


def started(task: str, folder: Path, cache: Path) -> subprocess.Popen:
    """A process of its own that does one task."""
    command = [sys.executable, __file__, "--task", task, "--folder", str(folder)]
    environment = os.environ | {"CLIP_UNLEARN_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def memory(pid: int) -> int:
    """Bytes of a process and its children; 0 once it has ended."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


def watched(task: str, folder: Path, cache: Path) -> dict:
    """What a process says of its task, and its peak memory."""
    process = started(task, folder, cache)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{task} failed")
    return json.loads(process.stdout.read()) | {"peak_MB": peak / MB}


def kept(cache: Path) -> int:
    """How many images a cache holds."""
    held = 0
    for file in cache.rglob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            held += opened.get_slice("rows").get_shape()[0]
    return held


def killed(folder: Path, cache: Path, n: int) -> dict:
    """Kill a run as soon as half of the images are kept."""
    process = started("ours", folder, cache)
    while process.poll() is None and kept(cache) < n // 2:
        time.sleep(0.1)
    process.kill()
    process.wait()
    return {"encoded": kept(cache)}


def measure(n: int) -> None:
    """All of it; writes the table."""
    rows = []

    def note(run: str, found: dict) -> None:
        row = {"run": run, "images": n} | {key: round(value, 1) for key, value in found.items()}
        print(row, flush=True)
        rows.append(row)

    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        draw(folder, n)
        caches = [Path(home) / f"cache {i}" for i in range(3)]
        note("paired", watched("paired", folder, caches[0]))
        note("bare", watched("bare", folder, caches[1]))
        note("first", watched("ours", folder, caches[1]))
        note("again", watched("ours", folder, caches[1]))
        note("killed", killed(folder, caches[2], n))
        note("resumed", watched("ours", folder, caches[2]))
    pd.DataFrame(rows).to_csv(PATH, index=False)


@click.command(help=__doc__)
@click.argument("n", default=50_000)
@click.option("--task", hidden=True)
@click.option("--folder", type=Path, hidden=True)
def main(n: int, task: str | None, folder: Path | None) -> None:
    """Measure, or do one task in a process of its own."""
    if task is None:
        measure(n)
        return
    clip, images = load_clip("bundled", device="cpu"), open_images(folder)
    clip.fingerprint()  # the hash of the weights, which is no part of a loop
    tasks = {
        "paired": lambda: paired(clip, images),
        "bare": lambda: alone(bare, clip, images),
        "ours": lambda: alone(ours, clip, images),
    }
    print(json.dumps(tasks[task]()))


if __name__ == "__main__":
    main()
