"""As many threads as cores are free: beside other work, threads that wait for each other spin.

torch takes a thread for each core. Alone on the machine that is right; beside other work each step
waits for the thread that has to share its core, and all the others spin meanwhile.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

# A user who sets one of these, or calls torch.set_num_threads, has decided.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
FIRST_LOOK = 0.1  # seconds that the machine is watched before the work begins
BETWEEN_LOOKS = 2.0  # and at least between two looks later on


class _Times(NamedTuple):
    """Seconds: on the clock, of all work on our cores, and of our own."""

    clock: float
    all_work: float
    own_work: float


def cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def quota() -> float:
    """How many cores a container may use in all; infinity without a limit."""
    try:
        limit, period = QUOTA.read_text().split()
        return math.inf if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return math.inf


def _times() -> _Times:
    each = psutil.cpu_times(percpu=True)
    busy = 0.0
    for core in cores():
        if core < len(each):
            t = each[core]
            busy += sum(t) - t.idle - getattr(t, "iowait", 0) - getattr(t, "guest", 0)
    own = psutil.Process().cpu_times()
    return _Times(time.monotonic(), busy, own.user + own.system)


def free_cores(before: _Times, now: _Times) -> float:
    """How many cores were not kept busy by others between two looks."""
    others = (now.all_work - before.all_work) - (now.own_work - before.own_work)
    share = max(others, 0.0) / max(now.clock - before.clock, 1e-3)
    return min(len(cores()) - share, quota())


def users_choice() -> bool:
    """Whether somebody has decided how many threads torch uses."""
    usual = {len(cores()), psutil.cpu_count(logical=False), os.cpu_count()}
    return any(os.environ.get(name) for name in VARIABLES) or torch.get_num_threads() not in usual


@contextmanager
def free_threads() -> Iterator[Callable[[], None]]:
    """Inside, torch uses as many threads as cores are free, and before again after it.

    Yields a function that looks again, for a long job to call now and then.
    """
    before = torch.get_num_threads()
    if before == 1 or users_choice():
        yield lambda: None
        return
    last = _times()
    time.sleep(FIRST_LOOK)

    def look(between: float = BETWEEN_LOOKS) -> None:
        nonlocal last
        if time.monotonic() - last.clock < between:
            return
        now = _times()
        torch.set_num_threads(max(1, min(before, round(free_cores(last, now)))))
        last = now

    try:
        look(0.0)
        yield look
    finally:
        torch.set_num_threads(before)
