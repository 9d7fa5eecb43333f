"""Pictures of a few cells, and what they say of all the others.

A picture is the one thing here that takes long to make, and a grid of a thousand classes has
thousands of cells. A request needs pictures of what it forgets; all others only say where images
lie on the average. So these are made for a sample of cells, and the rest is estimated by the
regression estimator of survey sampling: how a text lies among the texts of its domain tells how its
pictures lie among those of the domain.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

from ..concepts import ConceptGrid, ForgetRequest

# The cells of which an edit needs pictures: those that it forgets, a sample of all, or every one.
OWN, SAMPLE, EVERY = "own", "sample", "every"
PER_CELL = 8  # pictures of a cell where one is not enough
# A request needs no more pictures than these (tests/benchmarks/README.md, "Pictures on demand").
LEAST, OF_A_DOMAIN, MOST = 32, 4, 80
OF_ITS_OWN = 2  # of each cell to forget
FEWEST = 4  # with fewer, nothing can be said of what is not seen
# The mean of so many pictures of a domain is believed as much as what all domains make of its text.
HALF_BELIEVED = 1.0


def usual_sample(grid: ConceptGrid) -> int:
    """How many pictures a request is fitted on if nobody says: four of a domain, at least 32."""
    _, K = grid.shape
    return min(max(LEAST, OF_A_DOMAIN * K), MOST)


def pictures_needed(
    grid: ConceptGrid,
    request: ForgetRequest,
    needs: str,
    sample: int,
    seed: int = 0,
    per_cell: int = PER_CELL,
) -> Tensor:
    """(C, K) int: how many pictures each cell gets for an edit that needs own, sample or every.

    `sample` is how many there are in all if a sample will do.
    """
    if needs == SAMPLE:
        return sampled(grid, request, sample, seed)
    if needs == OWN:
        return per_cell * request.mask(grid)
    return torch.full(grid.shape, per_cell)


def sampled(
    grid: ConceptGrid,
    request: ForgetRequest,
    pictures: int,
    seed: int = 0,
) -> Tensor:
    """(C, K) int: of how many pictures each cell gets, at most `pictures` of them in all.

    Up to half of them are of the cells to forget, at most OF_ITS_OWN of each. The others are of one
    each of cells that stay, of as many as possible classes and of all domains in turn. Which ones
    is decided by a hash of their names: one class more in the grid changes few of them.
    """
    mask = request.mask(grid).tolist()
    counts = torch.zeros(grid.shape, dtype=torch.long)
    order = _in_order(grid.classes, grid.domains, seed)

    # Of what goes, in turn until each has enough.
    goes = [cell for cell in order if mask[cell[0]][cell[1]]]
    own = min(max(pictures // 2, 1), OF_ITS_OWN * len(goes))
    for i in range(own):
        counts[goes[i % len(goes)]] += 1

    # Of what stays; of the rest of what goes if that is not enough.
    stays = [cell for cell in order if not mask[cell[0]][cell[1]]]
    rest = [cell for cell in goes if not counts[cell]]
    for cell in (stays + rest)[: pictures - own]:
        counts[cell] = 1
    return counts


@lru_cache(maxsize=8)
def _in_order(
    classes: tuple[str, ...], domains: tuple[str, ...], seed: int
) -> list[tuple[int, int]]:
    """All cells: domains in turn, and each domain begins with other classes.

    Every name has a place on a circle, and every domain goes round it from a start of its own.
    """
    C, K = len(classes), len(domains)
    place = [_draw(name, seed) for name in classes]
    rounds = [sorted(range(C), key=lambda c: (place[c] - k / K) % 1) for k in range(K)]
    return [(rounds[k][turn], k) for turn in range(C) for k in range(K)]


def _draw(name: str, seed: int) -> float:
    """A random number in [0, 1) that belongs to a name."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def estimated(values: Tensor, known: Tensor, predictor: Tensor) -> Tensor:
    """values (C, K, n) where `known` (C, K), and elsewhere what a regression on them expects.

    predictor (C, K, n): what all cells have, in the same space. One slope is for what tells the
    cells of a domain apart, another for what tells domains apart; and each domain has an offset of
    its own, as far as enough of it is known.
    """
    weight = known.to(values.dtype)[..., None]  # (C, K, 1)
    values = torch.where(known[..., None], values, torch.zeros_like(values))
    n = weight.sum(0)  # (K, 1)

    # Domain by domain; of one that is not known at all, the predictor is that of all its cells.
    value_of_domain = (weight * values).sum(0) / n.clamp_min(1)  # (K, n)
    sampled_predictor = (weight * predictor).sum(0) / n.clamp_min(1)
    predictor_of_domain = torch.where(n > 0, sampled_predictor, predictor.mean(0))
    value_of_all = (n * value_of_domain).sum(0) / n.sum()  # (n,)
    predictor_of_all = (n * predictor_of_domain).sum(0) / n.sum()

    between = predictor_of_domain - predictor_of_all
    slope_between = _slope(n**0.5 * (value_of_domain - value_of_all), n**0.5 * between)
    within = predictor - predictor_of_domain  # (C, K, n)
    slope_within = _slope(weight * (values - value_of_domain), weight * within)

    by_slope = value_of_all + slope_between * between
    believed = n / (n + HALF_BELIEVED)
    level = believed * value_of_domain + (1 - believed) * by_slope
    return torch.where(known[..., None], values, level + slope_within * within)


def _slope(y: Tensor, x: Tensor) -> Tensor:
    """() of y = slope * x by least squares; 1 where x does not vary."""
    square = x.square().sum()
    return (y * x).sum() / square if square > 0 else torch.ones(())
