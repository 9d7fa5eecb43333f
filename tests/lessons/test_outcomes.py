"""Where forgotten images go: what holds for any model, on a tiny random CLIP."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from clip_unlearn import Clip, ForgetRequest, Prototypes, fit_edit, make_task
from clip_unlearn.core import InputError, calibrated
from clip_unlearn.images.datasets import Features
from clip_unlearn.lessons.outcomes import (
    ceiling,
    detector_scores,
    every_domain,
    every_pair,
    neighbours,
    oracle,
    paradigms,
    reading_strips,
    score_histogram,
    shear,
    struck_off,
    variance_parts,
)
from clip_unlearn.lessons.scenes import measure
from clip_unlearn.measure.setting import Setting


@pytest.fixture(scope="module")
def setting(clip: Clip, prototypes: Prototypes) -> Setting:
    """Four random images a cell, so that every cell can be halved."""
    C, K = prototypes.grid.shape
    cell = torch.arange(C * K).repeat(4)
    means = prototypes.visual.mean(2).flatten(0, 1)[cell]
    noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(0))
    f = means + 0.3 * means.std() * noise
    paths = tuple(str(i) for i in range(len(cell)))
    images = Features(f, cell // K, cell % K, paths)
    task = make_task(clip, prototypes.grid, images)
    return Setting(clip, prototypes, task, None, 0.0)


def test_every_image_of_a_forgotten_class_goes_somewhere(setting: Setting) -> None:
    pairs = every_pair(setting, (0.0, 1.0))
    assert len(pairs) == 2 * 3 * 3
    assert pairs.groupby(["strength", "forgotten"])["share"].sum().tolist() == pytest.approx(
        [1.0] * 6
    )
    assert (pairs.loc[pairs["strength"] == 0, "change"] == 0).all()
    own = pairs[pairs["class"] == pairs["forgotten"]]
    assert own["similarity"].tolist() == pytest.approx([1.0] * 6)
    for row in own[own["strength"] == 1].itertuples():
        now = measure(setting, fit_edit(setting.prototypes, ForgetRequest([row.forgotten])), 1.0)
        assert row.share == pytest.approx(now.groups["forget"])


def test_additive_cells_have_no_interaction_and_the_parts_sum_to_one() -> None:
    g = torch.Generator().manual_seed(0)
    by_class = torch.randn(5, 1, 7, generator=g)
    by_domain = torch.randn(1, 3, 7, generator=g)
    noise = torch.randn(5, 3, 7, generator=g)
    additive = variance_parts(by_class + by_domain)
    assert additive["interaction"] == pytest.approx(0, abs=1e-6)
    parts = variance_parts(by_class + by_domain + noise)
    assert sum(parts.values()) == pytest.approx(1)
    assert parts["interaction"] > 0.05
    one = variance_parts(by_class.expand(5, 3, 7))
    assert one["class"] == pytest.approx(1)


def test_no_linear_map_closes_the_gap_between_two_classes_in_one_domain_alone() -> None:
    """The theorem of the notebook: if cells are additive, the gap is the same in every domain."""
    g = torch.Generator().manual_seed(1)
    cells = torch.randn(4, 1, 6, generator=g) + torch.randn(1, 3, 6, generator=g)
    mapped = cells @ torch.randn(6, 6, generator=g)
    gap = mapped[0] - mapped[1]
    assert torch.allclose(gap, gap[:1].expand_as(gap), atol=1e-5)


def test_the_halves_share_no_image_and_the_oracle_is_measured_on_what_it_did_not_see(
    setting: Setting,
) -> None:
    free, seeing = oracle(setting)
    C, K = setting.prototypes.grid.shape
    held = set(seeing.task.images.paths)
    assert free.task is seeing.task
    assert len(held) == C * K * 2
    assert torch.equal(free.prototypes.visual, setting.prototypes.visual)
    images = setting.task.images
    for c, k in ((0, 0), (2, 1)):
        own = (images.class_of == c) & (images.domain_of == k)
        seen = own & torch.tensor([path not in held for path in images.paths])
        assert seen.sum() == 2
        assert torch.equal(seeing.prototypes.visual[c, k], images.f[seen])
        unit = normalize(images.f[seen] @ setting.prototypes.seen_projection, dim=-1)
        assert torch.allclose(seeing.prototypes.reached[c, k], unit.mean(0), atol=1e-6)


def test_unequal_cells_are_refused(setting: Setting) -> None:
    images = setting.task.images
    one_less = images.only(torch.arange(1, len(images)))
    short = replace(setting, task=replace(setting.task, images=one_less))
    with pytest.raises(InputError, match="different numbers of images"):
        oracle(short)


def test_redirect_leaves_the_order_of_the_other_classes_as_it_was(setting: Setting) -> None:
    """It moves along a dual direction: without the answer it pulls to, nothing was forgotten."""
    p = setting.prototypes
    very_texts = tuple(p.class_features[:, None])
    task = replace(setting.task, prompts=very_texts)
    asked = replace(setting, task=task)
    edit = fit_edit(p, ForgetRequest(domains=p.grid.domains[2:]), beta=8.0)

    gone = task.images.domain_of == 2
    before = measure(asked, edit, 0.0).predicted[gone]
    after = measure(asked, edit, 1.0).predicted[gone]
    top = after.mode().values
    assert (after == top).all()
    assert not (before == top).all()

    truth = task.images.class_of[gone]
    scores = (task.images.f[gone] @ p.W @ p.class_text.T).index_fill(1, top, -torch.inf)
    expected = (scores.argmax(1) == truth)[truth != top].float().mean().item()
    assert struck_off(asked, edit) == pytest.approx(expected)


def test_the_detector_scores_are_those_of_the_calibrated_detector(setting: Setting) -> None:
    """l . h for h as texts see it, with l built anew: 1 on what goes, 0 on what stays."""
    p = setting.prototypes
    W = p.seen_projection
    calibration = calibrated.calibrate(p.text, calibrated.mean_embeddings(W, p.visual), p.reached)
    mean_of_classes = p.text.mean(0, keepdim=True)
    goes = torch.arange(3)[None] == 2
    detector = calibrated.cell_detectors(calibration, mean_of_classes, goes)[0]

    h = normalize(setting.task.images.f @ W, dim=-1)
    scores = detector_scores(setting, p.grid.domains[2:])
    assert torch.allclose(scores, h @ detector, atol=1e-4)


def test_every_domain_is_measured_as_the_panel_measures_it(setting: Setting) -> None:
    free, seeing = oracle(setting)
    frame = every_domain({"text": free, "oracle": seeing}, ["redirect", "null-space"])
    assert len(frame) == 2 * 2 * 3
    row = frame.iloc[0]
    edit = fit_edit(free.prototypes, ForgetRequest(domains=[row["domain"]]), row["method"])
    start = measure(free, edit, 0.0).groups
    end = measure(free, edit, 1.0).groups
    assert row["forget"] == pytest.approx(end["forget"])
    assert row["retained"] == pytest.approx(100 * (end["retained"] - start["retained"]))
    assert [ax.get_title() for ax in ceiling(frame).axes] == [
        "every answer allowed",
        "commonest answer struck off",
    ]


def test_figures_say_what_they_show(setting: Setting) -> None:
    grid = setting.prototypes.grid
    requests = [
        ForgetRequest(["dog"]),
        ForgetRequest(["dog"], ["sketch"]),
        ForgetRequest(domains=["sketch"]),
    ]
    figure = paradigms(grid, requests)
    dark = [ax.collections[0].get_array().sum() for ax in figure.axes]
    assert dark == [int(r.mask(grid).sum()) for r in requests]
    ax = neighbours(every_pair(setting), "dog").axes[0]
    assert len(ax.collections[1].get_offsets()) == len(grid.classes) - 1
    histogram = score_histogram(torch.randn(36), setting.task.images.domain_of, grid.domains)
    assert [t.get_text() for t in histogram.legends[0].get_texts()] == list(grid.domains)
    titles = [ax.get_title() for ax in shear().axes]
    assert "class removed\naccuracy: sketch 0.50, photo 0.50" in titles
    assert "domain removed\naccuracy: sketch 1.00, photo 1.00" in titles


def test_the_strips_sort_every_image_into_one_group_and_mark_its_mean(setting: Setting) -> None:
    images = setting.task.images
    mask = ForgetRequest(["dog"], ["sketch"]).mask(setting.prototypes.grid)
    reading = torch.arange(len(images), dtype=torch.float32)
    figure = reading_strips({"one": reading, "other": -reading}, mask, images)
    assert [ax.get_title() for ax in figure.axes] == ["one", "other"]
    ax = figure.axes[0]
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [
        "to forget",
        "same class, other domains",
        "same domain, other classes",
        "other classes, other domains",
    ]
    points = [c.get_offsets() for c in ax.collections]
    assert sorted(x for group in points for x in group[:, 0]) == reading.tolist()
    forget = mask[images.class_of, images.domain_of]
    assert points[0][:, 0].tolist() == reading[forget].tolist()
    assert ax.lines[0].get_xdata()[0] == reading[forget].mean().item()
