"""What a sample of pictures costs in quality. `python tests/benchmarks/on_demand.py NAME ...`

    python tests/benchmarks/on_demand.py bundled
    python tests/benchmarks/on_demand.py pacs --model CLIP --images PACS

Every request of every paradigm, fitted on samples of several sizes and on pictures of every cell:
one row for each in on_demand.csv. `steps` is how many picture-steps one request takes at most.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
from tqdm import tqdm

from clip_unlearn.core.concepts import PARADIGMS, ForgetRequest, all_requests
from clip_unlearn.core.edit import METHODS, default_method
from clip_unlearn.core.ondemand.sampling import EVERY, pictures_needed, usual_sample
from clip_unlearn.core.prototypes import Prototypes
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.measure.evaluate import Task
from clip_unlearn.measure.setting import ALL, SurveyConfig, prepare
from clip_unlearn.measure.survey import every_request, summary

PATH = Path(__file__).parent / "results" / "on_demand.csv"
SIZES = (8, 16, 32, 48, 80)


def rows_of(p: Prototypes, task: Task, name: str, size: int) -> list[dict]:
    """A row for each paradigm; size 0 takes every picture there is."""
    sampled = replace(p, sample=size)
    rows = []
    for paradigm in PARADIGMS:
        frame = every_request(sampled, task, paradigm, progress=False)
        pictures = max(
            _pictures(p, request.on(p.grid), size) for request in all_requests(p.grid, paradigm)
        )
        made = {"data": name, "paradigm": paradigm, "sample": size, "pictures": pictures}
        made["usual"] = size == usual_sample(p.grid)
        rows.append({**made, "steps": pictures * Synthesis().steps, **summary(frame)})
    return rows


def _pictures(p: Prototypes, request: ForgetRequest, size: int) -> int:
    """How many pictures the default edit of a request is fitted on."""
    needs = METHODS[default_method(request)].needs if size else EVERY
    return int(pictures_needed(p.grid, request, needs, size).sum())


@click.command(help=__doc__)
@click.argument("name")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
def main(name: str, model: str, images: str) -> None:
    """Measure one CLIP, and put its rows in the place of its old ones."""
    s = prepare(SurveyConfig(model=model, images=images, prototypes=ALL), progress=True)
    rows = []
    for size in tqdm((*SIZES, 0), desc="sizes"):
        rows += rows_of(s.prototypes, s.task, name, size)
    frame = pd.DataFrame(rows)
    if PATH.exists():
        before = pd.read_csv(PATH)
        frame = pd.concat([before[before["data"] != name], frame])
    frame.to_csv(PATH, index=False, float_format="%.4f")
    print(frame[frame["data"] == name].to_string(index=False))


if __name__ == "__main__":
    main()
