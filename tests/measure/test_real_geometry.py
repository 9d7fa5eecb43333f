"""What the edits assume of a CLIP holds for a real one, where its embeddings are at hand.

The numbers are in tests/benchmarks/README.md, "The geometry of a real CLIP".
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import ROOT

GEOMETRY = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "real_geometry.py"))


@pytest.fixture(scope="module")
def folder() -> Path:
    """The embeddings of development; without them there is nothing to test."""
    if not GEOMETRY["FOLDER"].is_dir():
        pytest.skip("no ../shared/real_clip")
    return GEOMETRY["FOLDER"]


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    """One row for each number of captions, 10 to 500."""
    images, captions = GEOMETRY["embeddings"](folder)
    return GEOMETRY["table"](images, captions).set_index("captions")


def test_images_share_a_constant_that_no_difference_of_texts_has(table: pd.DataFrame) -> None:
    assert (table["level"] > 0.5).all()
    assert (table["level sd"] < 0.11 * table["level"]).all()  # steady to a tenth
    # It is a part of the modality gap: captions hardly have it.
    assert (table["level of captions"] < 0.3 * table["level"]).all()


def test_every_clip_has_a_long_mean_image(folder: Path) -> None:
    lengths = GEOMETRY["mean_norms"](folder)
    assert len(lengths) == 4 and min(lengths.values()) > 0.5


def test_the_constant_stays_where_an_edit_sees_texts_alone(table: pd.DataFrame) -> None:
    assert (table["seen level"] > 0.3).all()
    assert (table["seen level sd"] < 0.17 * table["seen level"]).all()
    # There the gap is gone: captions read about what images do.
    ratio = table["seen level of captions"] / table["seen level"]
    assert ratio.between(0.7, 1.3).all()


def test_a_difference_of_texts_shows_in_images_at_a_third_of_its_length(
    table: pd.DataFrame,
) -> None:
    assert table["scale"].between(0.27, 0.34).all()
    assert (table["scale sd"] < 0.3 * table["scale"]).all()


def test_through_few_texts_a_difference_shows_at_nearly_its_length(table: pd.DataFrame) -> None:
    seen = table["seen scale"]
    assert seen[10] > 0.8 and seen.is_monotonic_decreasing
    assert (seen > table["scale"]).all()


def test_texts_see_half_of_an_image_at_most(folder: Path, table: pd.DataFrame) -> None:
    """Many captions hold no more of the squared norm than a random space of the same size."""
    images, _ = GEOMETRY["embeddings"](folder)
    by_chance = table["span"] / images.shape[1]
    assert table["share"].is_monotonic_increasing
    assert table["share"][10] < 0.1 and 0.4 < table["share"][500] < 0.6
    assert table["share"][10] > 3 * by_chance[10]
    assert (table["share"][[200, 500]] < by_chance[[200, 500]]).all()


def test_the_quantities_are_right_where_they_are_known() -> None:
    """Images 3 along an axis of their own, and half of the differences of their texts."""
    generator = torch.Generator().manual_seed(0)
    texts = torch.cat([torch.randn(40, 6, generator=generator), torch.zeros(40, 1)], 1)
    images = 0.5 * texts + torch.tensor([0.0] * 6 + [3.0])
    scale, spread = GEOMETRY["pair_scale"](images, texts)
    assert scale == pytest.approx(0.5) and spread == pytest.approx(0, abs=1e-5)
    found = GEOMETRY["constant_level"](images, texts)
    assert found["level"] == pytest.approx(3, abs=0.01)
    assert found["level of captions"] == pytest.approx(0, abs=0.01)
