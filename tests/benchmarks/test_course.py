"""Seconds and memory of every notebook, one after the other: the table of INSTRUCTORS.md."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
from tiny import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Inside, the most memory that all processes below this one take, in bytes.

    It looks ten times a second.
    """
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            total = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_seconds_and_memory(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty cache: what a learner waits for on the first day."""
    monkeypatch.setenv("CLIP_UNLEARN_CACHE", str(tmp_path))
    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    start = time.perf_counter()
    with peak_memory() as peak:
        client.execute()
    seconds = time.perf_counter() - start
    print(f"\n| {path.stem} | {seconds:.0f} s | {peak[0] / 1e9:.1f} GB | {os.cpu_count()} cores |")
