"""Seconds and peak memory of each stage on a CLIP of a real size with random weights: `python sizes.py NAME`.

A process of its own, so that nothing else is in its memory. Prints one JSON line a stage. What
would take too long is measured on a part and scaled up; its line then says so under "measured".
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import open_clip
import psutil
import torch
from torch.nn.functional import normalize

from clip_unlearn import (
    ConceptGrid,
    ForgetRequest,
    Prototypes,
    Synthesis,
    fit_edit,
    load_clip,
    save_edited,
)
from clip_unlearn.core.synthesis import pixel_prototypes
from clip_unlearn.core.variants import latent_prototypes
from clip_unlearn.models.clip import Clip, save_model
from clip_unlearn.models.saved import save_edit

PER_CELL, POOL, STEPS, MB = 8, 384, Synthesis().steps, 1e6


class Peak:
    """The highest resident memory while it is open, sampled every 5 ms, and the seconds: on the clock, and of CPU."""

    def __enter__(self) -> Peak:
        self.process, self.done = psutil.Process(), threading.Event()
        self.start, self.cpu_start = time.perf_counter(), time.process_time()
        self.before = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.005):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.seconds, self.cpu = (
            time.perf_counter() - self.start,
            time.process_time() - self.cpu_start,
        )
        self.done.set()
        self.thread.join()


def tell(stage: str, peak: Peak, scale: float = 1.0, measured: str = "all of it") -> None:
    """One line: seconds (times `scale`, as `measured` says), memory before, and the peak.

    CPU seconds are what to go by on a machine that others use too; with one thread they are those
    of an idle core.
    """
    line = {
        "stage": stage,
        "seconds": round(scale * peak.seconds, 3),
        "cpu_seconds": round(scale * peak.cpu, 3),
    }
    memory = {"before_MB": round(peak.before / MB), "peak_MB": round(peak.peak / MB)}
    print(json.dumps(line | memory | {"measured": measured}), flush=True)


@contextlib.contextmanager
def random_folder(name: str) -> Iterator[Path]:
    """The architecture with random weights as an open_clip folder, written by another process."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / name
        code = f"import sizes, pathlib; sizes.write({name!r}, pathlib.Path({str(folder)!r}))"
        psutil.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent).wait()
        yield folder


def write(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    save_model(
        Clip(model, None, None, name, {"model_cfg": open_clip.get_model_config(name)}), folder
    )


def random_prototypes(clip: Clip, classes: int = 7, domains: int = 4) -> Prototypes:
    """28 cells x 8 prototypes of the CLIP's size, with random numbers in them."""
    W, W_text = (clip.heads[tower].weight for tower in ("visual", "text"))
    grid = ConceptGrid(
        [f"class {i}" for i in range(classes)], [f"domain {i}" for i in range(domains)]
    )
    visual = torch.randn(classes, domains, PER_CELL, len(W))
    reached = normalize(torch.randn(classes, domains, W.shape[1]), dim=-1)
    text = torch.randn(classes, domains, len(W_text))
    return Prototypes(grid, visual, reached, text, text.mean(1), W, W_text, base=clip.fingerprint())


def synthesis(clip: Clip, pool: int) -> None:
    """One cell, latent and pixel."""
    target = normalize(torch.randn(1, clip.heads["visual"].weight.shape[1]), dim=-1)
    with Peak() as peak:
        latent_prototypes(clip, target, PER_CELL, 0, pool)
    part = (
        f"{pool} of the {POOL} pictures of nothing, times {POOL / pool:g}"
        if pool < POOL
        else "all of it"
    )
    tell("latent synthesis of one cell", peak, POOL / pool, part)
    with Peak() as peak:
        pixel_prototypes(clip, target, PER_CELL, 0, Synthesis(steps=1), progress=False)
    # The last look at the finished pictures is counted with every step: a little too much rather
    # than too little.
    tell("pixel synthesis of one cell", peak, STEPS, f"1 of {STEPS} steps, times {STEPS}")


def main(name: str, pool: int) -> None:
    with random_folder(name) as folder:
        with Peak() as peak:
            clip = load_clip(folder, device="cpu")
        tell("load", peak)
        with Peak() as peak:
            clip.fingerprint()
        tell("fingerprint", peak)
        synthesis(clip, pool)
        prototypes = random_prototypes(clip)
        with Peak() as peak:
            edit = fit_edit(prototypes, ForgetRequest(["class 0"]))
        tell("fit, 28 cells", peak)
        with Peak() as peak:
            save_edited(clip, edit, 1.0, folder.parent / "edited")
        tell("save the edited CLIP", peak)
        with Peak() as peak:
            file = save_edit(edit, folder.parent / "edit.safetensors")
        tell(f"save the edit alone, {file.stat().st_size} bytes", peak)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else POOL)
