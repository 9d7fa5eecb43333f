"""Every method on every request, held out: what it forgets, keeps, needs and takes.

    python tests/benchmarks/comparison.py
    python tests/benchmarks/comparison.py --name pacs --model DIR --images DIR    another CLIP

Writes the mean and the worst of `baselines.comparison.compare`, at strength 1 with seed 0, to
tests/benchmarks/results/comparison.csv. The rows of other data sets stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from clip_unlearn.baselines.comparison import compare, comparison_table
from clip_unlearn.core.concepts import PARADIGMS, all_requests
from clip_unlearn.measure.setting import SurveyConfig, prepare

PATH = Path(__file__).parent / "results" / "comparison.csv"


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
def main(name: str, model: str, images: str) -> None:
    s = prepare(SurveyConfig(model=model, images=images), progress=True)
    grid = s.prototypes.grid
    frames = [compare(s, all_requests(grid, kind)) for kind in PARADIGMS]
    rows = pd.concat(frames, ignore_index=True)
    table = comparison_table(rows).reset_index()
    table.insert(0, "data", name)

    old = pd.read_csv(PATH) if PATH.is_file() else table[:0]
    others = old[old["data"] != name]
    pd.concat([others, table]).round(4).to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
