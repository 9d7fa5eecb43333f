"""What ViT-B/32 and ViT-L/14 cost in seconds and memory, with random weights: `make benchmarks`.

Nothing here passes or fails on time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("name", "pool"), [("ViT-B-32", 96), ("ViT-L-14", 8)])
def test_every_stage(name: str, pool: int, capsys: pytest.CaptureFixture) -> None:
    script = Path(__file__).with_name("sizes.py")
    done = subprocess.run(
        [sys.executable, script, name, str(pool)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with capsys.disabled():
        print(f"\n{name}\n{done.stdout}")
