"""Does the prediction follow what is measured? `python tests/benchmarks/predicted.py CSV...`

The CSVs are those of `clip-unlearn survey`. For each, and for all together, prints the mean of the
measured and of the predicted change of what is retained, and their correlation over all requests:
Pearson's, and that of the ranks (Spearman's).
"""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from clip_unlearn.models.markdown import markdown_table

LEAST_REQUESTS = 4


def correlations(frame: pd.DataFrame) -> tuple[float, float]:
    """Pearson's and Spearman's over the requests; NaN for too few, or without any difference."""
    both = frame[["retained", "predicted"]].dropna()
    if len(both) < LEAST_REQUESTS:
        return float("nan"), float("nan")
    return both.corr().iloc[0, 1], both.rank().corr().iloc[0, 1]


def row(name: str, kind: str, frame: pd.DataFrame) -> list[str]:
    """One line of the table."""
    pearson, spearman = correlations(frame)
    measured, predicted = frame["retained"].mean(), frame["predicted"].mean()
    numbers = [f"{measured:+.1f}", f"{predicted:+.1f}", f"{pearson:.2f}", f"{spearman:.2f}"]
    return [name, f"{len(frame)} {kind}", *numbers]


@click.command(help=__doc__)
@click.argument("surveys", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(surveys: tuple[Path, ...]) -> None:
    """Print the table."""
    frames = {path.stem: pd.read_csv(path) for path in surveys}
    rows = [
        row(name, kind, of_kind)
        for name, frame in frames.items()
        for kind, of_kind in frame.groupby("paradigm", sort=False)
    ]
    every = pd.concat(frames.values())
    rows += [row("all", kind, of_kind) for kind, of_kind in every.groupby("paradigm", sort=False)]
    rows.append(row("all", "requests", every))
    header = ["survey", "requests", "measured", "predicted", "Pearson", "Spearman"]
    print(markdown_table(header, rows, texts=2))


if __name__ == "__main__":
    main()
