"""Run notebooks as a reader of the manual would: `papermill` in its own process, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

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


def execute(
    notebook: Path, folder: Path, ipython: Path, parameters: Mapping[str, object] | None = None
) -> subprocess.CompletedProcess:
    """Run papermill on a notebook in `folder`, with `folder` as working directory.

    The executed copy is <name>.executed.ipynb beside it.
    """
    (folder / "parameters.yaml").write_text(json.dumps(dict(parameters or {})))
    command = [sys.executable, "-m", "papermill", str(notebook), f"{notebook.stem}.executed.ipynb"]
    command += ["-k", "python3", "--cwd", str(folder), "-f", "parameters.yaml"]
    command += ["--execution-timeout", "300", "--no-progress-bar"]
    # Two at a time on two cores: a second thread in each would only wait for the first.
    environment = os.environ | {
        "IPYTHONDIR": str(ipython),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


@contextmanager
def two_at_a_time(
    names: Iterable[str], run: Callable[[str], object]
) -> Iterator[dict[str, Future]]:
    """Start `run(name)` for every name, two at a time: much of it is waiting for one core."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(run, name) for name in names}
        pool.shutdown(cancel_futures=True)


def selected(request: pytest.FixtureRequest, parameter: str, fixture: str) -> list[str]:
    """The values of a parameter in the tests of this session that use a fixture, each once."""
    items = [
        i
        for i in request.session.items
        if fixture in getattr(i, "fixturenames", ()) and i.path == request.path
    ]
    return list(dict.fromkeys(i.callspec.params[parameter] for i in items))
