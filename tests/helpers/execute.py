"""Run notebooks as a reader of the manual would, by papermill or nbval in its own process, offline.

How long they may take depends on how fast the machine proves to be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from tiny import ROOT
from torch.nn.functional import normalize

SANITIZE = ROOT / "tests" / "nbval.cfg"
REFERENCE = 0.1  # seconds, see `patience`
CELL, NOTEBOOK = 300, 900  # seconds that a cell and a notebook may take where patience is 1

# What every kernel runs before its first cell. zmq does not use Python's sockets, so the kernel
# itself goes on.
OFFLINE = """
import socket as _socket
def _refused(self, address, _connect=_socket.socket.connect):
    internet = self.family in (_socket.AF_INET, _socket.AF_INET6)
    if internet and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise AssertionError(f"a notebook connects to {address}")
    return _connect(self, address)
_socket.socket.connect = _refused
del _socket, _refused
"""


def offline_profile(home: Path) -> Path:
    """An IPython folder whose kernels refuse to talk to other machines."""
    startup = home / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-offline.py").write_text(OFFLINE)
    return home


@cache
def patience() -> float:
    """How many times longer than usual to wait on this machine as it is now; at least 1.

    By a small piece of work that takes REFERENCE seconds on an idle core of a laptop: the same on
    a busy machine takes longer, and so does everything else.
    """
    start = time.perf_counter()
    x = torch.rand(256, 256)
    for _ in range(200):
        x = normalize(x @ x, dim=-1)
    return max(1.0, (time.perf_counter() - start) / REFERENCE)


def _environment(ipython: Path) -> dict[str, str]:
    """Offline, and one thread each: a second one would only wait for the first."""
    return os.environ | {
        "IPYTHONDIR": str(ipython),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def compare(notebook: Path, ipython: Path) -> subprocess.CompletedProcess:
    """Run nbval on a notebook: it executes every cell and compares what it shows."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    command += ["-p", "no:xdist", "--nbval", "--nbval-current-env", str(notebook)]
    command += ["--nbval-cell-timeout", f"{CELL * patience():.0f}"]
    command += ["--nbval-sanitize-with", str(SANITIZE)]
    return subprocess.run(
        command,
        cwd=notebook.parent,
        env=_environment(ipython),
        capture_output=True,
        text=True,
        timeout=NOTEBOOK * patience(),
    )


def execute(
    notebook: Path, folder: Path, ipython: Path, parameters: Mapping[str, object] | None = None
) -> subprocess.CompletedProcess:
    """Run papermill on a notebook in `folder`, with `folder` as working directory.

    The executed copy is <name>.executed.ipynb beside it.
    """
    (folder / "parameters.yaml").write_text(json.dumps(dict(parameters or {})))
    command = [sys.executable, "-m", "papermill", str(notebook), f"{notebook.stem}.executed.ipynb"]
    command += ["-k", "python3", "--cwd", str(folder), "-f", "parameters.yaml"]
    command += ["--execution-timeout", f"{CELL * patience():.0f}", "--no-progress-bar"]
    return subprocess.run(
        command,
        cwd=folder,
        env=_environment(ipython),
        capture_output=True,
        text=True,
        timeout=NOTEBOOK * patience(),
    )
