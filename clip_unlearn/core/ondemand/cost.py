"""What a request costs, said before it begins: what is missing, and how long that takes here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .. import ClipLike
from ..synthesis import Synthesis, batch_size
from ..variants import seeing_prompts, word_prompts
from .kept import OnDemand, climbed, prompts_of
from .progress import PICTURE_STEPS, PROMPTS

_PROBE = 64  # prompts whose time is taken


@dataclass(frozen=True)
class Cost:
    """Work that is missing, and seconds for one of each kind."""

    amounts: dict[str, int]
    seconds_each: dict[str, float]

    @property
    def seconds(self) -> float:
        """How long all of it takes, about."""
        return sum(amount * self.seconds_each[kind] for kind, amount in self.amounts.items())

    def __str__(self) -> str:
        parts = [f"{amount:,} {kind}" for kind, amount in self.amounts.items() if amount]
        return f"{' and '.join(parts)} are to be computed, {spoken(self.seconds)} on this machine"


def spoken(seconds: float) -> str:
    """A rough time: "about 20 seconds", "about 9 minutes"."""
    if seconds < 90:
        return f"about {max(round(seconds, -1), 10):.0f} seconds"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.1f} hours"


def cost_of(made: OnDemand, counts: Tensor) -> Cost:
    """The prompts of a grid and `counts` (C, K) pictures of each cell, as far as none is kept."""
    clip, grid = made.clip, made.grid
    pictures = made.missing(counts)
    prompts = [prompt for group in prompts_of(grid) for prompt in group]
    prompts += word_prompts(clip, grid)
    if pictures:
        prompts += seeing_prompts(clip)
    texts = clip.new_texts(prompts)

    amounts = {PROMPTS: len(texts), PICTURE_STEPS: pictures * made.how.steps}
    seconds_each = {PROMPTS: 0.0, PICTURE_STEPS: 0.0}
    if texts:
        some = texts[:: -(-len(texts) // _PROBE)]
        clip.text_features(some[:1])  # the first time is longer
        seconds_each[PROMPTS] = _seconds(lambda: clip.text_features(some)) / len(some)
    if pictures:
        n = min(batch_size(clip), pictures)
        # Forward, back, which takes as long as two, and a last look at the pictures.
        seconds_each[PICTURE_STEPS] = 0.75 * _seconds(lambda: _one_step(clip, n)) / n
    return Cost(amounts, seconds_each)


def _one_step(clip: ClipLike, n: int) -> None:
    """One step of n pictures, towards nothing in particular."""
    W = clip.heads["visual"].weight
    climbed(clip, W, W.new_ones(n, W.shape[1]), range(n), Synthesis(steps=1))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
