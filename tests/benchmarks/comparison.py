"""Every method on every request, held out, with what each needs and takes: `python tests/benchmarks/comparison.py`.

Writes comparison.csv (mean and worst of `baselines.compare`, at strength 1, seed 0) to
tests/benchmarks/results. The bundled CLIP; with --name, --model and --images another one.
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
    frames = [compare(s, all_requests(s.prototypes.grid, kind)) for kind in PARADIGMS]
    table = comparison_table(pd.concat(frames, ignore_index=True)).reset_index()
    table.insert(0, "data", name)
    old = pd.read_csv(PATH) if PATH.is_file() else table[:0]
    pd.concat([old[old["data"] != name], table]).round(4).to_csv(PATH, index=False)


if __name__ == "__main__":
    main()
