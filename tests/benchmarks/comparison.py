"""Every method on every request, held out: what it forgets, keeps, needs and takes.

    python tests/benchmarks/comparison.py
    python tests/benchmarks/comparison.py --name pacs --model DIR --images DIR    another CLIP
    python tests/benchmarks/comparison.py --as-published dog                      Lip in full

Writes the mean and the worst of `baselines.comparison.compare`, at strength 1 with seed 0, to
tests/benchmarks/results/comparison.csv. The rows of other data sets stay as they are.

With --as-published CLASS, and --domain DOMAIN if it goes from there alone, it writes one request to
as_published.csv instead: the default edit, tsa, the quick lip, and Lip with the numbers of its
authors, which changes layers all over the CLIP. If Lip's own pictures are recognised afterwards,
rows with larger rates follow. --pictures says how many Lip synthesises (64 in the paper).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
from torch import Tensor

from clip_unlearn import Clip, ForgetRequest
from clip_unlearn.baselines.comparison import (
    BASELINES,
    compare,
    compare_models,
    comparison_table,
)
from clip_unlearn.baselines.whole_model import Lip, lip_pictures, lip_unlearned, recognised
from clip_unlearn.core.concepts import PARADIGMS, all_requests
from clip_unlearn.core.edit import DEFAULT_METHOD
from clip_unlearn.images.datasets import bundled_images, encode
from clip_unlearn.measure.evaluate import make_task, one_thread
from clip_unlearn.measure.setting import Setting, SurveyConfig, prepare

RESULTS = Path(__file__).parent / "results"
# Lip's rate, as a multiple of its authors'. One that leaves its own pictures recognised has not
# done what they ask for, so that a larger one follows.
RATES = (1, 3, 10, 30, 100)


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
@click.option("--as-published", "class_name")
@click.option("--domain")
@click.option("--pictures", default=Lip().pictures)
def main(
    name: str, model: str, images: str, class_name: str | None, domain: str | None, pictures: int
) -> None:
    config = SurveyConfig(model=model, images=images)
    s = prepare(config, progress=True)
    if class_name is not None:
        request = ForgetRequest((class_name,), (domain,) if domain else None)
        rows = as_published(config, s, request, Lip(pictures=pictures))
        write("as_published", name, rows, str(request))
        return

    grid = s.prototypes.grid
    frames = [compare(s, all_requests(grid, kind)) for kind in PARADIGMS]
    rows = pd.concat(frames, ignore_index=True)
    write("comparison", name, comparison_table(rows).reset_index())


def write(file: str, name: str, table: pd.DataFrame, request: str | None = None) -> None:
    """Put the rows of one data set, and of one request if it is given, in place of its old ones."""
    path = RESULTS / f"{file}.csv"
    table = table.copy()
    table.insert(0, "data", name)

    old = pd.read_csv(path) if path.is_file() else table[:0]
    renewed = old["data"] == name
    if request is not None:
        renewed &= old["request"] == request
    pd.concat([old[~renewed], table]).round(4).to_csv(path, index=False)


# ---- one request, as published


@one_thread()
def as_published(
    config: SurveyConfig, s: Setting, request: ForgetRequest, how: Lip
) -> pd.DataFrame:
    """A row for the default edit, each quick baseline of the same authors, and Lip in full."""
    grid = s.prototypes.grid
    request = request.on(grid)
    methods = [DEFAULT_METHOD[request.paradigm], "tsa", "lip"]
    fitting = [m for m in methods if request.paradigm in BASELINES[m].fits]
    frame = compare(s, request, fitting, progress=False)
    columns = ["request", "method", "before", "forget", "paraphrase", "H", "retained"]
    columns += [c for c in ("same_class", "same_domain", "unrelated") if c in frame]
    frame = frame[[*columns, "synthesis", "seconds"]]

    start = time.perf_counter()
    pictures = lip_pictures(s.clip, *target_among(s, request), how)
    synthesis = time.perf_counter() - start
    c = grid.class_index(request.classes[0])
    first = recognised(s.clip, grid, pictures, c)

    rows = []
    for factor in RATES:
        numbers = replace(how, rate=factor * how.rate)
        start = time.perf_counter()
        changed = lip_unlearned(s.clip, grid, request, pictures, numbers)
        seconds = time.perf_counter() - start
        left = recognised(changed, grid, pictures, c)
        row = {
            "request": str(request),
            "method": "lip, as published",
            **compare_models(s, setting_of(config, s, changed), request),
            "synthesis": synthesis,
            "seconds": seconds,
            "pictures": len(pictures),
            "times the rate": factor,
            "pictures recognised before": first,
            "pictures recognised": left,
        }
        rows.append(row)
        if left <= how.stop:
            break
    return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)


def target_among(s: Setting, request: ForgetRequest) -> tuple[Tensor, int]:
    """Unit texts (n, d), of all classes or of all cells, and which of them is to be forgotten."""
    p = s.prototypes
    if request.domains is None:
        return p.class_text, p.grid.class_index(request.classes[0])
    (cell,) = request.mask(p.grid).flatten().nonzero()[0].tolist()
    return p.text.flatten(0, 1), cell


def setting_of(config: SurveyConfig, s: Setting, changed: Clip) -> Setting:
    """The setting of a changed CLIP: the same images and prompts, encoded by it."""
    if changed.fingerprint() == s.clip.fingerprint():
        return s
    images, grid = config.inputs()
    task = make_task(changed, grid, encode(changed, images, cache=False))
    unrelated = None
    if s.unrelated is not None:
        others = encode(changed, bundled_images(unrelated=True), cache=False)
        unrelated = make_task(changed, s.unrelated.grid, others)
    heads = changed.heads
    prototypes = replace(s.prototypes, W=heads["visual"].weight, W_text=heads["text"].weight)
    return Setting(changed, prototypes, task, unrelated, 0.0)


if __name__ == "__main__":
    main()
