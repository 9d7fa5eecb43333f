"""Seconds and peak memory of each stage, on a CLIP of a real size with random weights.

    OMP_NUM_THREADS=1 python tests/benchmarks/sizes.py NAME [POOL]

Run it in a process of its own, so that nothing else is in its memory. It prints one JSON line a
stage. What would take too long is measured on a part and scaled up; its line then says so under
"measured". POOL is how many of the 384 pictures of nothing are used.
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

from clip_unlearn import ConceptGrid, ForgetRequest, Prototypes, fit_edit, load_clip, save_edited
from clip_unlearn.core.synthesis import Synthesis, pixel_prototypes
from clip_unlearn.core.variants import latent_prototypes
from clip_unlearn.models.clip import Clip, save_model
from clip_unlearn.models.saved import save_edit

PER_CELL = 8
POOL = 384
STEPS = Synthesis().steps
MB = 1e6


class Peak:
    """The highest resident memory while it is open, sampled every 5 ms, and the seconds it took.

    `seconds` are those on the clock, `cpu` those of the processor.
    """

    def __enter__(self) -> Peak:
        self.process = psutil.Process()
        self.done = threading.Event()
        self.start = time.perf_counter()
        self.cpu_start = time.process_time()
        self.before = self.process.memory_info().rss
        self.peak = self.before
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.005):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.start
        self.cpu = time.process_time() - self.cpu_start
        self.done.set()
        self.thread.join()


def show(stage: str, peak: Peak, scale: float = 1.0, measured: str = "all of it") -> None:
    """One line: seconds (times `scale`, as `measured` says), memory before, and the peak.

    CPU seconds are what to go by on a machine that others use too; with one thread they are those
    of an idle core.
    """
    line = {
        "stage": stage,
        "seconds": round(scale * peak.seconds, 3),
        "cpu_seconds": round(scale * peak.cpu, 3),
    }
    line["before_MB"] = round(peak.before / MB)
    line["peak_MB"] = round(peak.peak / MB)
    line["measured"] = measured
    print(json.dumps(line), flush=True)


@contextlib.contextmanager
def random_folder(name: str) -> Iterator[Path]:
    """The architecture with random weights as an open_clip folder, written by another process."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / name
        code = f"import sizes, pathlib; sizes.write({name!r}, pathlib.Path({str(folder)!r}))"
        psutil.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent).wait()
        yield folder


def write(name: str, folder: Path) -> None:
    """What that other process does."""
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    config = {"model_cfg": open_clip.get_model_config(name)}
    save_model(Clip(model, None, None, name, config), folder)


def random_prototypes(clip: Clip, classes: int = 7, domains: int = 4) -> Prototypes:
    """28 cells x 8 prototypes of the CLIP's size, with random numbers in them."""
    W = clip.heads["visual"].weight  # (D, d)
    W_text = clip.heads["text"].weight
    class_names = [f"class {i}" for i in range(classes)]
    domain_names = [f"domain {i}" for i in range(domains)]
    text = torch.randn(classes, domains, len(W_text))
    return Prototypes(
        ConceptGrid(class_names, domain_names),
        visual=torch.randn(classes, domains, PER_CELL, len(W)),
        reached=normalize(torch.randn(classes, domains, W.shape[1]), dim=-1),
        text_features=text,
        class_features=text.mean(1),
        W=W,
        W_text=W_text,
        span=torch.eye(W.shape[1]),
        base=clip.fingerprint(),
    )


def synthesis(clip: Clip, pool: int) -> None:
    """One cell, latent and pixel."""
    width = clip.heads["visual"].weight.shape[1]
    target = normalize(torch.randn(1, width), dim=-1)

    with Peak() as peak:
        latent_prototypes(clip, target, PER_CELL, 0, pool)
    part = "all of it"
    if pool < POOL:
        part = f"{pool} of the {POOL} pictures of nothing, times {POOL / pool:g}"
    show("latent synthesis of one cell", peak, POOL / pool, part)

    with Peak() as peak:
        pixel_prototypes(clip, target, PER_CELL, 0, Synthesis(steps=1), progress=False)
    # The last look at the finished pictures is counted with every step: a little too much rather
    # than too little.
    show("pixel synthesis of one cell", peak, STEPS, f"1 of {STEPS} steps, times {STEPS}")


def main(name: str, pool: int) -> None:
    with random_folder(name) as folder:
        with Peak() as peak:
            clip = load_clip(folder, device="cpu")
        show("load", peak)

        with Peak() as peak:
            clip.fingerprint()
        show("fingerprint", peak)

        synthesis(clip, pool)

        prototypes = random_prototypes(clip)
        with Peak() as peak:
            edit = fit_edit(prototypes, ForgetRequest(["class 0"]))
        show("fit, 28 cells", peak)

        with Peak() as peak:
            save_edited(clip, edit, 1.0, folder.parent / "edited")
        show("save the edited CLIP", peak)

        with Peak() as peak:
            file = save_edit(edit, folder.parent / "edit.safetensors")
        show(f"save the edit alone, {file.stat().st_size} bytes", peak)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else POOL)
