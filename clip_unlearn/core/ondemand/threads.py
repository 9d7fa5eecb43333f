"""Work in pieces side by side: threads that wait for one another lose time beside other work.

torch splits each product over all cores, and each product waits for its slowest part. Alone on the
machine that is right; beside other work it waits for the thread that has to share its core, and the
others spin meanwhile. Pieces of the whole work, a thread each, wait for one another only at the
end: they are as fast alone, and beside other work they take their share of the cores.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TypeVar

import torch
from torch import Tensor

Part = TypeVar("Part")
Result = TypeVar("Result")

_stopped: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)


class StoppedError(Exception):
    """Another piece has failed, or was interrupted."""


def pieces(n: int, least: int, device: torch.device) -> int:
    """How many pieces to make of n things: one a thread of torch, of at least so many things each.

    torch has as many threads as the user says, or one a core. A GPU takes all at once.
    """
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), n // least))


def in_pieces(work: Callable[[Tensor], Tensor], rows: Tensor, least: int) -> Tensor:
    """work(rows), of pieces side by side: for work that does to each row the same."""
    parts = rows.chunk(pieces(len(rows), least, rows.device))
    return torch.cat(side_by_side(work, parts))


def side_by_side(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """work(part) of each part: the first in this thread, and each other one in its own.

    They share torch's threads, which has its number again afterwards. If one fails, or this thread
    is interrupted, the others end when they next call `go_on`.
    """
    if len(parts) == 1:
        return [work(parts[0])]
    before = torch.get_num_threads()
    each = max(1, before // len(parts))
    gradients = torch.is_grad_enabled()
    stopped = threading.Event()

    def in_its_own_thread(part: Part) -> Result:
        # Both are settings of a thread.
        torch.set_num_threads(each)
        torch.set_grad_enabled(gradients)
        _stopped.set(stopped)
        return work(part)

    try:
        torch.set_num_threads(each)
        with ThreadPoolExecutor(len(parts) - 1) as pool:
            try:
                others = [pool.submit(copy_context().run, in_its_own_thread, p) for p in parts[1:]]
                return [work(parts[0]), *(other.result() for other in others)]
            except BaseException:
                stopped.set()
                raise
    finally:
        torch.set_num_threads(before)


def go_on() -> None:
    """Raises StoppedError in a piece whose work is no longer wanted."""
    stopped = _stopped.get()
    if stopped and stopped.is_set():
        raise StoppedError
