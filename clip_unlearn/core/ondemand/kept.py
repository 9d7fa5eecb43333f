"""What takes long to make, looked up if it is kept and made if it is not.

A picture is kept under what decides it: the CLIP, the prompts of its cell, its number and seed, and
how it is optimised. No other cell of the grid plays a part.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .. import ClipLike
from ..concepts import ConceptGrid
from ..nullspace import seen
from ..synthesis import Synthesis, Tick, batch_size, climb
from ..variants import features_of_nothing, latent_prototypes, seen_by_texts
from ..variants.latent import POOL
from .progress import PICTURE_STEPS, advance, has_bar
from .store import Rows, name_of, on_demand
from .threads import go_on, pieces, side_by_side

RECIPE = 4  # increase it when synthesis changes: what is kept then no longer matches
# The folders of what is kept, in the cache and in the package.
PICTURES, NOTHING = "prototypes/pictures", "prototypes/nothing"
_FULL = torch.eye(1)  # the span of prompts of a CLIP that tells which words it knows: no matter
FEW_PICTURES = 2  # the least that are worth a thread of their own
Cell = tuple[int, int, int]  # class, domain, number of the picture


@dataclass(frozen=True)
class OnDemand:
    """Makes the features of one CLIP and grid, and keeps them."""

    clip: ClipLike
    grid: ConceptGrid
    seed: int = 0
    how: Synthesis = Synthesis()
    progress: bool = True
    cache: bool = True

    def pictures(self, text: Tensor, span: Tensor, counts: Tensor) -> tuple[Tensor, float, bool]:
        """Features (C, K, m, D) of `counts` (C, K) pictures of each cell, NaN where it has fewer.

        Also the seconds that making them took, and whether all had been kept. text (C, K, d) are
        the unit texts that they agree with, span (d, r) is a basis of what the prompts span.
        """
        wanted = _each(counts)
        names, seeds = picture_names(self.clip, self.grid, wanted, span, self.seed, self.how)
        classes, domains, numbers = torch.tensor(wanted).T
        goals = text[classes, domains]  # (n, d)
        through = None

        def make(places: list[int]) -> Tensor:
            nonlocal through
            if through is None:  # not sooner: it takes two thousand prompts
                through = _what_texts_see(self.clip, span)
            own_seeds = [seeds[i] for i in places]
            return climbed(self.clip, through, goals[places], own_seeds, self.how, tick)

        def tick(picture_steps: int) -> None:
            bar.update(picture_steps)
            advance(PICTURE_STEPS, picture_steps)

        hidden = not self.progress or has_bar()
        shown = tqdm(desc="synthesis", disable=hidden, delay=0.1)
        with shown as bar:
            rows, seconds, cached = on_demand(
                self._store(PICTURES),
                names,
                make,
                at_once=batch_size(self.clip),
                announce=lambda missing: bar.reset(missing * self.how.steps),
            )
        shape = (*self.grid.shape, int(counts.max()), rows.shape[1])
        pictures = rows.new_full(shape, float("nan"))
        pictures[classes, domains, numbers] = rows
        return pictures, seconds, cached

    def latent(self, text: Tensor, W: Tensor, per_cell: int) -> Tensor:
        """Features (C, K, m, D) in closed form, for unit texts (C, K, d) and projection W (D, d).

        What is kept for them is how the CLIP sees pictures of nothing.
        """
        settings = (RECIPE, self.clip.normalization, POOL, self.seed)
        features, _, _ = on_demand(
            self._store(NOTHING),
            [name_of(*settings, i) for i in range(POOL)],
            lambda places: features_of_nothing(self.clip, POOL, self.seed, places),
            at_once=POOL,
        )
        targets = text.flatten(0, 1)
        latent = latent_prototypes(self.clip, targets, per_cell, self.seed, W=W, features=features)
        return latent.unflatten(0, text.shape[:2])

    def missing(self, counts: Tensor) -> int:
        """How many of `counts` (C, K) pictures of each cell are not kept yet."""
        kept = self._store(PICTURES)
        return len(self._names(counts) - (kept.names() if kept else set()))

    def ship(self, per_cell: int) -> bool:
        """Whether so many pictures of every cell come with the package."""
        shipped = Rows(PICTURES, self.clip.fingerprint()).shipped()
        return bool(shipped) and self._names(torch.full(self.grid.shape, per_cell)) <= shipped

    def _names(self, counts: Tensor) -> set[str]:
        """The names of `counts` (C, K) pictures of each cell, if the CLIP tells what it knows."""
        names, _ = picture_names(self.clip, self.grid, _each(counts), _FULL, self.seed, self.how)
        return set(names)

    def _store(self, kind: str) -> Rows | None:
        return Rows(kind, self.clip.fingerprint()) if self.cache else None


def climbed(
    clip: ClipLike,
    W: Tensor,
    goals: Tensor,
    seeds: Sequence[int],
    how: Synthesis,
    tick: Tick | None = None,
) -> Tensor:
    """Features (n, D) of `climb`, in pieces side by side; `tick` is called by one at a time."""
    one_at_a_time = threading.Lock()

    def piece(places: Tensor) -> Tensor:
        own_seeds = [seeds[i] for i in places.tolist()]
        return climb(clip.twin(), W, goals[places], own_seeds, how, counted)[0]

    def counted(picture_steps: int) -> None:
        go_on()
        if tick:
            with one_at_a_time:
                tick(picture_steps)

    n = pieces(len(goals), FEW_PICTURES, clip.device)
    return torch.cat(side_by_side(piece, torch.arange(len(goals)).chunk(n)))


def _each(counts: Tensor) -> list[Cell]:
    """The pictures of which each cell has so many (C, K)."""
    return [(c, k, i) for c, k in counts.nonzero().tolist() for i in range(counts[c, k])]


def prompts_of(grid: ConceptGrid) -> list[list[str]]:
    """The prompts that build prototypes: those of every cell, then those of every class."""
    cells = [grid.cell_prompts(c, d) for c in grid.classes for d in grid.domains]
    return cells + [grid.class_prompts(c) for c in grid.classes]


def picture_names(
    clip: ClipLike, grid: ConceptGrid, wanted: list[Cell], span: Tensor, seed: int, how: Synthesis
) -> tuple[list[str], list[int]]:
    """The names of pictures, from all that decides them, and the seed of each."""
    settings = [RECIPE, clip.normalization, asdict(how)]
    if not clip.vocabulary(1) and span.shape[1] < len(span):
        settings.append(prompts_of(grid))  # what texts see is then what these see
    common = name_of(*settings)

    names, seeds = [], []
    for c, k, number in wanted:
        start = name_of(grid.cell_prompts(grid.classes[c], grid.domains[k]), number, seed)
        names.append(name_of(common, start))
        seeds.append(int(start, 16) >> 1)
    return names, seeds


def _what_texts_see(clip: ClipLike, span: Tensor) -> Tensor:
    """(D, d): the image projection, of which pictures see what texts of all kinds see."""
    of_all_texts = seen_by_texts(clip)
    return seen(clip.heads["visual"].weight, span if of_all_texts is None else of_all_texts)
