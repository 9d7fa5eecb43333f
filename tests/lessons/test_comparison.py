"""The pictures of notebooks 08 and 09 show the numbers of the frames they are given."""

from __future__ import annotations

import pandas as pd
import pytest

from clip_unlearn import ForgetRequest, all_requests, fit_edit
from clip_unlearn.audit.figure import found
from clip_unlearn.audit.verdict import audit
from clip_unlearn.baselines.comparison import BASELINES, SEES, compare
from clip_unlearn.lessons.attacks import attack_panel, row
from clip_unlearn.lessons.comparison import (
    comparison_panel,
    good_enough,
    order,
    overview,
    places,
    scorecard,
)
from clip_unlearn.lessons.comparison import row as requests_row
from clip_unlearn.measure.setting import Setting

METHODS = ["oblique", "random-subspace", "null-space"]


@pytest.fixture(scope="module")
def frame(setting: Setting):
    requests = [ForgetRequest([c], [d]) for c in ("dog", "house") for d in ("photo", "sketch")]
    return compare(setting, requests, METHODS, progress=False)


def test_methods_come_in_the_order_of_the_registry() -> None:
    assert order(METHODS) == [name for name in BASELINES if name in METHODS]
    assert set(order(METHODS)) == set(METHODS)


def test_each_method_stands_below_the_heading_of_what_it_sees() -> None:
    at = places(list(BASELINES))
    taken = [*at.lines.values(), *at.headings.values()]
    assert sorted(taken) == list(range(at.height))
    for name, line in at.lines.items():
        above = [heading for heading, y in at.headings.items() if y < line]
        nearest = max(above, key=at.headings.get)
        assert nearest == f"sees {BASELINES[name].sees}"


def test_the_overview_shows_mean_and_worst(frame) -> None:
    left = overview(frame, "all").axes[0]
    for name, line in places(METHODS).lines.items():
        values = 100 * frame[frame["method"] == name]["forget"]
        span, dot = (drawn for drawn in left.lines if drawn.get_ydata()[0] == line)
        assert list(span.get_xdata()) == pytest.approx([values.mean(), values.max()])
        assert list(dot.get_xdata()) == pytest.approx([values.mean()])


def test_the_row_shows_each_request(frame) -> None:
    requests = ["dog in sketch", "house in photo"]
    for ax, request in zip(requests_row(frame, requests, "two").axes, requests, strict=True):
        rows = frame[frame["request"] == request].set_index("method").loc[order(METHODS)]
        (line,) = (drawn for drawn in ax.lines if drawn.get_label() == "to forget")
        assert ax.get_title() == request
        assert list(line.get_xdata()) == pytest.approx(list(100 * rows["forget"]))


def test_the_scorecard_holds_means_worst_cases_and_seconds(frame) -> None:
    part = frame[frame["method"] != "null-space"]
    *tables, clock = scorecard({"all": frame, "some": part}).axes
    for ax, shown in zip(tables, (frame, part), strict=True):
        words = [text.get_text() for text in ax.texts]
        for _, rows in shown.groupby("method"):
            forget = 100 * rows["forget"]
            change = rows["same_class"]
            assert f"{round(forget.mean())} ({round(forget.max())})" in words
            assert f"{round(change.mean())} ({round(change.min())})" in words
        assert ("not run" in words) == (shown is part)
    shown = {x for line in clock.lines for x in line.get_xdata()}
    seconds = pd.concat([frame, part]).groupby("method")["seconds"].median()
    assert set(seconds) <= shown


def test_good_enough_names_who_keeps_within_both_limits() -> None:
    rows = [
        ("oblique", 0.0, -1.0),
        ("oblique", 0.1, -9.0),
        ("ccup-ridge", 0.0, -30.0),
        ("relabel", 0.0, 0.0),
    ]
    frame = pd.DataFrame(rows, columns=["method", "forget", "same_class"])
    frame = frame.assign(
        paradigm="domain-specific", sees=[BASELINES[name].sees for name in frame["method"]]
    )
    frame = frame.assign(synthesis=0.0, paraphrase=0.0, retained=0.0, H=1.0, seconds=1.0)
    mean = good_enough({"cells": frame}, 0.06, 6.0)["cells"]
    worst = good_enough({"cells": frame}, 0.06, 6.0, worst=True)["cells"]
    assert list(mean.index) == list(worst.index) == list(SEES)
    assert mean.to_list() == ["none", "none", "oblique", "relabel"]
    assert worst.to_list() == ["none", "none", "none", "relabel"]


def test_the_panel_shows_the_request_that_was_picked(frame) -> None:
    panel = comparison_panel(frame, "dog", "sketch")
    rows = frame.set_index(["request", "method"])["forget"]
    before = panel.image.value
    for class_, domain in (("dog", "sketch"), ("house", "photo")):
        panel.set(**{"class": class_, "domain": domain})
        assert panel.numbers == pytest.approx(
            {m: rows[f"{class_} in {domain}", m] for m in METHODS}
        )
        assert f"{class_} in {domain}" in panel.line.value
    panel.set(**{"class": "dog", "domain": "sketch"})
    assert panel.image.value == before


def test_a_global_request_is_picked_as_all_domains(setting: Setting) -> None:
    everywhere = compare(
        setting, all_requests(setting.prototypes.grid, "global"), ["oblique"], progress=False
    )
    assert comparison_panel(everywhere, "dog").values == {"class": "dog", "domain": "all domains"}


@pytest.fixture(scope="module")
def audits(setting: Setting):
    edit = fit_edit(setting.prototypes, ForgetRequest(["dog"]))
    return {x: audit(setting, edit, x) for x in (0.0, 1.0)}


def test_what_an_audit_found_has_one_row_a_check_and_no_controls(audits) -> None:
    rows = found(audits[1.0].frame)
    assert rows.index.is_unique and "prompts" in rows.index and "similarity" not in rows.index
    frame = audits[1.0].frame
    assert rows.loc["prompts", "after"] == frame[frame["check"] == "prompts"]["after"].iloc[0]


def test_the_pictures_of_an_audit_name_every_attack(audits) -> None:
    axes = row(audits, "title").axes
    assert len(axes) == 2
    assert [t.get_text() for t in axes[0].get_yticklabels()] == list(found(audits[1.0].frame).index)


def test_the_attack_panel_follows_strength_and_shots(audits) -> None:
    shots = [n for n in found(audits[1.0].frame).index if n.startswith("relearning")]
    if not shots:
        pytest.skip("the tiny image folder has too few images a cell for a shot")
    panel = attack_panel(audits, "dog")
    for strength in audits:
        panel.controls["strength"].value = strength
        assert panel.numbers["prompts"] == found(audits[strength].frame).loc["prompts", "after"]
        assert audits[strength].verdict in panel.line.value
