"""Pictures of a few cells: which they are, and what they say of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clip_unlearn import Clip, ConceptGrid, ForgetRequest, Prototypes, fit_edit
from clip_unlearn.core.edit import METHODS, default_method
from clip_unlearn.core.ondemand.sampling import (
    MOST,
    OF_ITS_OWN,
    SAMPLE,
    estimated,
    pictures_needed,
    sampled,
    usual_sample,
)
from clip_unlearn.core.prototypes import synthesize_prototypes
from clip_unlearn.core.synthesis import Synthesis

LARGE = ConceptGrid([f"class {i}" for i in range(1000)], ["photo", "sketch", "art", "clipart"])
CELL = ForgetRequest(["class 7"], ["sketch"])
REQUESTS = [
    CELL,
    ForgetRequest(["class 7"]),
    ForgetRequest(["class 1", "class 2"], ["photo", "art"]),
    ForgetRequest(None, ["sketch"]),
]


# ---- which pictures


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
@pytest.mark.parametrize("domains", [1, 4, 30])
def test_a_request_takes_at_most_5000_picture_steps_on_any_grid(
    request_: ForgetRequest, domains: int
) -> None:
    names = [*LARGE.domains, *(f"domain {i}" for i in range(40))][:domains]
    grid = ConceptGrid(LARGE.classes, names)
    if domains == 1 and request_.domains:
        request_ = ForgetRequest(request_.classes or ["class 3"])
    counts = pictures_needed(grid, request_.on(grid), SAMPLE, usual_sample(grid))
    assert int(counts.sum()) * Synthesis().steps <= 5000
    assert int(counts.sum()) == usual_sample(grid) <= MOST


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_domain_has_its_share_and_each_picture_another_class(
    request_: ForgetRequest,
) -> None:
    counts = sampled(LARGE, request_, 24)
    stays = counts * ~request_.mask(LARGE)
    in_domains = stays.sum(0)[~request_.mask(LARGE).all(0)]
    assert in_domains.max() - in_domains.min() <= 1 and stays.max() == 1
    assert (stays.sum(1) > 0).sum() == stays.sum()


def test_what_goes_comes_first() -> None:
    counts = sampled(LARGE, CELL, 24)
    assert counts[CELL.mask(LARGE)].tolist() == [OF_ITS_OWN]
    assert sampled(LARGE, ForgetRequest(None, ["art"]), 24)[:, 2].sum() == 12


def test_a_small_grid_has_no_more_pictures_than_it_needs(grid: ConceptGrid) -> None:
    counts = sampled(grid, ForgetRequest(["dog"]), 24)
    assert counts[1].tolist() == [OF_ITS_OWN] * 3 and counts[0].tolist() == [1] * 3


def test_one_class_more_changes_few_pictures() -> None:
    before = sampled(LARGE, CELL, 24)
    larger = ConceptGrid([*LARGE.classes, "newcomer"], LARGE.domains)
    after = sampled(larger, CELL, 24)
    assert (before - after[:-1]).clamp_min(0).sum() <= len(LARGE.domains)
    assert not torch.equal(before, sampled(LARGE, CELL, 24, seed=1))


def test_methods_that_look_at_every_cell_get_every_cell(grid: ConceptGrid) -> None:
    request = ForgetRequest(["dog"], ["sketch"])

    def needed(method: str | None, request: ForgetRequest = request) -> Tensor:
        needs = METHODS[method or default_method(request)].needs
        return pictures_needed(grid, request, needs, 6, per_cell=4)

    assert needed(None).sum() == 6
    assert needed("oblique").tolist() == [[4] * 3] * 3
    assert needed("null-space").tolist() == [[0, 0, 0], [0, 0, 4], [0, 0, 0]]
    complete = ForgetRequest(["dog"], ["sketch"], complete=True)
    assert needed(None, complete).tolist() == [[4] * 3] * 3


# ---- what they say of the others


def of_two_slopes(C: int, K: int) -> tuple[Tensor, Tensor]:
    """A predictor, and values that lie along it: half as far between domains as between classes."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randn(C, 1, 8, generator=generator)
    domains = torch.randn(1, K, 8, generator=generator)
    return classes + domains, 3 + 0.8 * classes + 0.4 * domains


def test_what_is_known_stays_and_the_rest_follows_both_slopes() -> None:
    predictor, values = of_two_slopes(40, 6)
    known = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)) < 0.5
    given = values.masked_fill(~known[..., None], float("nan"))
    found = estimated(given, known, predictor)
    assert torch.equal(found[known], values[known])
    assert (found - values)[~known].abs().mean() < 0.1 < (predictor - values).abs().mean()


def test_a_domain_without_pictures_is_estimated_from_its_texts() -> None:
    predictor, values = of_two_slopes(10, 20)
    known = torch.ones(10, 20, dtype=torch.bool)
    known[:, 3] = False
    found = estimated(values, known, predictor)
    in_others = values.mean((0, 1))
    assert (found - values)[:, 3].norm() < 0.3 * (values[:, 3] - in_others).norm()


def test_a_single_picture_is_not_an_error() -> None:
    predictor, values = of_two_slopes(4, 3)
    known = torch.zeros(4, 3, dtype=torch.bool)
    known[2, 1] = True
    found = estimated(values, known, predictor)
    assert found.isfinite().all() and torch.equal(found[2, 1], values[2, 1])


# ---- edits


@pytest.fixture(scope="module")
def whole(clip: Clip, grid: ConceptGrid) -> Prototypes:
    how = Synthesis(steps=3)
    return synthesize_prototypes(clip, grid, per_cell=4, how=how, progress=False, cache=False)


def test_fewer_pictures_made_or_used_are_the_same(
    clip: Clip, grid: ConceptGrid, whole: Prototypes
) -> None:
    counts = sampled(grid, ForgetRequest(["dog"], ["sketch"]), 6)
    how = Synthesis(steps=3)
    made = synthesize_prototypes(clip, grid, counts, how=how, progress=False, cache=False)
    used = whole.only(counts)
    assert made.made == used.made == 6 and whole.made == 36
    torch.testing.assert_close(made.reached, used.reached, atol=1e-3, rtol=1e-3)
    assert made.visual.isfinite().all() and made.per_cell == 2


@pytest.mark.parametrize("method", [None, *METHODS])
def test_an_edit_is_the_same_whatever_other_pictures_there_are(
    whole: Prototypes, method: str | None
) -> None:
    request = ForgetRequest(["dog"], ["sketch"])
    if method and request.paradigm not in METHODS[method].paradigms:
        request = ForgetRequest(None, ["sketch"])
    p = replace(whole, sample=6)
    needs = METHODS[method or default_method(request)].needs
    counts = pictures_needed(p.grid, request, needs, 6)
    (one, _), (other, _) = (
        fit_edit(q, request, method).factors["visual"] for q in (p, p.only(counts))
    )
    torch.testing.assert_close(one, other)
