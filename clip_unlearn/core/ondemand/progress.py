"""One bar for the whole of a long job, with the time that is left.

What takes long says how far it is by `advance`. Inside `one_bar` that moves one bar, on which every
kind of work counts by the seconds that it takes; elsewhere it moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm.auto import tqdm

PROMPTS, PICTURE_STEPS = "prompts", "picture-steps"


class _Job:
    """A bar, and how many seconds one of each kind of work is."""

    def __init__(self, bar: tqdm, seconds_each: Mapping[str, float]) -> None:
        self.bar = bar
        self.seconds_each = seconds_each


_job: ContextVar[_Job | None] = ContextVar("job", default=None)


@contextmanager
def one_bar(amounts: Mapping[str, int], seconds_each: Mapping[str, float]) -> Iterator[tqdm]:
    """Inside, all work moves this one bar: so many of each kind, at so many seconds each."""
    total = sum(amount * seconds_each[kind] for kind, amount in amounts.items())
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, about {remaining} left"
    with tqdm(total=total, desc="prototypes", bar_format=form) as bar:
        before = _job.set(_Job(bar, seconds_each))
        try:
            yield bar
        finally:
            _job.reset(before)


def advance(kind: str, amount: int) -> None:
    """So much of one kind of work is done."""
    job = _job.get()
    if job:
        job.bar.update(amount * job.seconds_each.get(kind, 0.0))


def has_bar() -> bool:
    """Whether a bar for the whole job is there, so that no other one is needed."""
    return _job.get() is not None
