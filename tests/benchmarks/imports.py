"""What a notebook's kernel holds, and from where: `python tests/benchmarks/imports.py`

Resident memory and seconds after each import that a page of the course needs, and after `prepare`.
Writes imports.csv.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path

import pandas as pd
import psutil

PATH = Path(__file__).parent / "results" / "imports.csv"
MODULES = ("torch", "torchvision", "open_clip", "clip_unlearn", "clip_unlearn.lessons.scenes")


def main() -> None:
    """Import one after the other in this process."""
    process = psutil.Process()
    start = time.perf_counter()
    rows = []

    def look(after: str) -> None:
        megabytes = process.memory_info().rss / 1e6
        seconds = time.perf_counter() - start
        rows.append({"after": after, "MB": round(megabytes), "seconds": round(seconds, 1)})

    look("pandas, psutil")
    for name in MODULES:
        importlib.import_module(name)
        look(name)
    importlib.import_module("clip_unlearn").prepare()
    look("prepare()")
    frame = pd.DataFrame(rows)
    frame.to_csv(PATH, index=False)
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
