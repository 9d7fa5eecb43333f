"""Draw the pictures of README.md into data/figures.

python data/make_figures.py
"""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
from render import HERE, contact_sheet

from clip_unlearn.measure import plots
from clip_unlearn.report.analysis import ReportConfig, analyse


def main() -> None:
    """The contact sheet, and the accuracy grids of "forget dog in sketches"."""
    folder = HERE / "figures"
    folder.mkdir(exist_ok=True)
    contact_sheet(folder / "contact_sheet.jpg", columns=2)
    a = analyse(ReportConfig(classes=("dog",), domains=("sketch",)))
    title = 'Forget "dog" in sketches'
    plots.accuracy_grids(*a.grids(), a.mask, title).savefig(folder / "grids.png", dpi=110)


if __name__ == "__main__":
    main()
