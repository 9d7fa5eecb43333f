"""The figures of course and report show the numbers that they are given."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from clip_unlearn.measure import plots
from clip_unlearn.measure.setting import Setting


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_a_spread_is_even_and_repeats_what_is_too_few() -> None:
    index = torch.arange(10, 20)
    assert plots.spread(index, 4) == [10, 13, 16, 19]
    assert plots.spread(index, 1) == [10]
    assert plots.spread(index[:2], 4) == [10, 10, 11, 11]


def test_the_grids_hold_percent_and_points_and_frame_what_is_to_forget() -> None:
    before = pd.DataFrame([[1.0, 0.9], [0.8, 1.0]], ["dog", "cat"], ["photo", "sketch"])
    after = before.assign(sketch=[0.0, 1.0])
    mask = torch.tensor([[False, True], [False, False]])
    axes = plots.accuracy_grids(before, after, mask).axes[:3]
    numbers = [[text.get_text() for text in ax.texts] for ax in axes]
    assert numbers == [
        ["100", "90", "80", "100"],
        ["100", "0", "80", "100"],
        ["+0", "-90", "+0", "+0"],
    ]
    for ax in axes:
        (frame,) = ax.patches
        assert frame.get_xy() == (1, 0)


def test_destinations_sum_what_is_rare() -> None:
    predicted = torch.tensor([0] * 5 + [1] * 3 + [2, 3])
    figure = plots.destinations(predicted, ["cat", "dog", "horse", "car", "bus"], ["dog"], top=2)
    (ax,) = figure.axes
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["cat", "dog", "2 others"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([50, 30, 20])
    assert [text.get_text() for text in ax.texts] == ["5", "3", "2"]
    assert ax.patches[1].get_facecolor()[:3] == plots.COLORS["forget"]


def test_examples_are_blue_if_right_and_red_if_wrong(setting: Setting) -> None:
    images = setting.task.images
    classes = setting.prototypes.grid.classes
    before = images.class_of
    after = (before + 1) % len(classes)
    figure = plots.examples(images, [("two", [0, 3]), ("one", [1])], before, after, classes)
    first = figure.axes[0]
    said = [(text.get_text(), text.get_color()) for text in first.texts]
    assert first.get_title(loc="left") == "two"
    assert said == [
        (f"before: {classes[before[0]]}", plots.RIGHT),
        (f"after: {classes[after[0]]}", plots.WRONG),
    ]
    blank = figure.axes[3]
    assert not blank.images and not blank.texts
