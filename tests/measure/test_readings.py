"""Readings: exact on images where an edit expects them, and said where they are out of range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import REQUESTS

from clip_unlearn import ForgetRequest, Prototypes, fit_edit
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.readings import Readings, expected_images, readings, warnings_of


def expected_features(p: Prototypes, request: ForgetRequest) -> Features:
    """One image a cell, with the embedding at which an edit of the request expects it."""
    mask = request.mask(p.grid)
    h = expected_images(p.of_tower("visual"), mask).flatten(0, 1)  # (C * K, d)
    f = h @ torch.linalg.pinv(p.seen_projection, rtol=1e-4)
    C, K = p.grid.shape
    cell = torch.arange(C * K)
    paths = tuple(Path(f"{i}.png") for i in range(C * K))
    return Features(f, cell // K, cell % K, paths)


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_images_where_the_edit_expects_them_read_one_and_nothing(
    prototypes: Prototypes, kind: str
) -> None:
    """On the mean over what goes, and over what the detector holds against it.

    Up to its ridges: they leave the detector a little of the constant on which its zero hangs.
    """
    request = REQUESTS[kind]
    images = expected_features(prototypes, request)
    edit = fit_edit(prototypes, request)
    mask = request.mask(prototypes.grid)
    if kind == "domain-specific":  # the detector of a cell tells the domains of its class apart
        images = images.only((images.class_of == 1).nonzero().flatten())
    forget = mask[images.class_of, images.domain_of]

    # A reading is that of a unit embedding, so each one is brought back to the length it had.
    length = (images.f @ prototypes.seen_projection).norm(dim=-1)
    on, off = [], []
    for i in range(len(images)):
        both = images.only(torch.tensor([i, int(forget.nonzero()[0])]))
        found = readings(prototypes, edit, both)
        if forget[i]:
            alone = readings(prototypes, edit, images.only(torch.tensor([i])))
            on.append(alone.forgotten * length[i].item())
        else:
            (value,) = found.retained.values()
            off.append(value * length[i].item())
    assert sum(on) / len(on) == pytest.approx(1, abs=0.01)
    assert sum(off) / len(off) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("kind", list(REQUESTS))
def test_readings_do_not_depend_on_beta(prototypes: Prototypes, kind: str) -> None:
    """They say how well the detector is placed, not how much is taken for a reading of 1."""
    request = REQUESTS[kind]
    images = expected_features(prototypes, request)
    mild, strong = (
        readings(prototypes, fit_edit(prototypes, request, beta=beta), images)
        for beta in (0.5, 2.0)
    )
    assert mild.forgotten == pytest.approx(strong.forgotten, rel=1e-4)
    assert mild.retained == pytest.approx(strong.retained, rel=1e-3, abs=1e-4)


def test_a_longer_embedding_reads_the_same(prototypes: Prototypes) -> None:
    request = REQUESTS["domain-specific"]
    images = expected_features(prototypes, request)
    edit = fit_edit(prototypes, request)
    long = readings(prototypes, edit, replace(images, f=3 * images.f))
    assert long.forgotten == pytest.approx(readings(prototypes, edit, images).forgotten, rel=1e-4)


def test_each_class_is_read_by_its_own_detector(prototypes: Prototypes) -> None:
    names = ("cat", "dog")
    both = ForgetRequest(names, ["sketch"])
    images = expected_features(prototypes, both)
    found = readings(prototypes, fit_edit(prototypes, both), images)
    single = [
        readings(prototypes, fit_edit(prototypes, ForgetRequest([name], ["sketch"])), images)
        for name in names
    ]
    assert found.forgotten == pytest.approx(sum(s.forgotten for s in single) / 2, rel=1e-3)


def test_a_class_that_the_clip_does_not_know_is_taken_from_nobody(prototypes: Prototypes) -> None:
    """Where pictures of a class never lead, the edit does nothing, and nothing is read."""
    request = REQUESTS["domain-specific"]
    nowhere = replace(prototypes, reached=torch.zeros_like(prototypes.reached))
    edit = fit_edit(nowhere, request)
    assert not edit.factors["visual"][0].any()
    found = readings(nowhere, edit, expected_features(nowhere, request))
    assert found.forgotten == 0 and set(found.retained.values()) == {0}


@pytest.mark.parametrize(("method", "towers"), [("null-space", "visual"), ("calibrated", "text")])
def test_an_edit_without_such_detectors_has_no_readings(
    prototypes: Prototypes, method: str, towers: str
) -> None:
    request = REQUESTS["global"]
    edit = fit_edit(prototypes, request, method, towers)
    assert readings(prototypes, edit, expected_features(prototypes, request)) is None
    assert warnings_of(None, 1.0) == []


def test_readings_in_range_are_not_mentioned() -> None:
    found = Readings(1.2, {"photo": -0.05, "sketch": 0.4})
    assert warnings_of(found, 1.0) == [] == warnings_of(Readings(9.0, {"photo": -9.0}), 0.0)


def test_a_reading_out_of_range_names_the_strength_that_brings_it_back() -> None:
    found = Readings(2.0, {"photo": -0.4, "sketch": -0.2})
    taken, pushed = warnings_of(found, 1.0)
    assert "lose 2.0 times" in taken and "strength 0.50 takes just that" in taken
    assert "Where photo" in pushed and "reads -0.40" in pushed and "strength 0.25" in pushed
    # At half the strength the first is as it was meant, and at a quarter the second.
    assert len(warnings_of(found, 0.5)) == 1
    assert warnings_of(found, 0.25) == []
