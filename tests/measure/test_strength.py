"""Rules that choose a strength: they read what `evaluate` measures, and each keeps its word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize

from clip_unlearn import ForgetRequest, evaluate, fit_edit
from clip_unlearn.measure.evaluate import classifier, halves, one_thread
from clip_unlearn.measure.setting import Setting
from clip_unlearn.measure.strength import (
    RULES,
    STEPS,
    budget_rule,
    chance_rule,
    choose,
    every_choice,
    image_curve,
    measure_at,
    prototype_curve,
    residual_rule,
)


def frame(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index([0.0, 0.5, 1.0], name="strength"))


# ---- curves


@pytest.mark.parametrize("towers", ["visual", "both"])
def test_the_curve_is_what_evaluate_measures(
    setting: Setting, request_of: ForgetRequest, towers: str
) -> None:
    if towers == "both" and request_of.paradigm != "global":
        pytest.skip("the text side is edited for global requests only")
    edit = fit_edit(setting.prototypes, request_of, towers=towers)
    curve = image_curve(setting.prototypes, edit, setting.task)
    expected = evaluate(setting.prototypes, edit, setting.task, STEPS)
    for group, rows in expected.groupby("group"):
        assert curve[group].tolist() == pytest.approx(rows["accuracy"].tolist())
    assert curve["H"].tolist() == pytest.approx(expected.drop_duplicates("strength")["H"].tolist())


@pytest.mark.parametrize("strength", [0.0, 0.35, 1.0])
def test_similarities_are_cosines_counted_one_by_one(setting: Setting, strength: float) -> None:
    p, task = setting.prototypes, setting.task
    edit = fit_edit(p, ForgetRequest(["dog"], ["sketch"]))
    curve, own, other = measure_at(p, edit, task, [0.5, strength])
    text = classifier(task.prompts, p.W_text)
    dog, sketch = p.grid.class_index("dog"), p.grid.domain_index("sketch")
    gone = [
        i
        for i in range(len(task.images))
        if (task.images.class_of[i], task.images.domain_of[i]) == (dog, sketch)
    ]
    cosine = normalize(task.images.f[gone] @ edit.weight(p.W, strength), dim=-1) @ text.T
    rest = [c for c in range(len(text)) if c != dog]
    assert torch.allclose(own[1], cosine[:, dog], atol=1e-6) and torch.allclose(
        other[1], cosine[:, rest], atol=1e-6
    )
    last = [int(row.argmin()) == dog for row in cosine]
    assert curve["farthest"].iloc[1] == pytest.approx(np.mean(last))


def test_prototypes_are_judged_by_their_cosines_with_the_class_prompts(setting: Setting) -> None:
    p, request = setting.prototypes, ForgetRequest(["dog"], ["sketch"])
    edit = fit_edit(p, request)
    dog = p.grid.class_index("dog")
    features = p.visual[dog, p.grid.domain_index("sketch")]
    for strength, row in prototype_curve(p, edit, (0.0, 0.7)).iterrows():
        cosine = normalize(features @ edit.weight(p.W, strength), dim=-1) @ p.class_text.T
        assert row["own"] == pytest.approx(cosine[:, dog].mean().item(), abs=1e-6)
        assert row["other"] == pytest.approx(
            (cosine.sum(1) - cosine[:, dog]).mean().item() / (len(p.grid.classes) - 1)
        )


def test_the_prototypes_rule_sees_no_image(setting: Setting) -> None:
    """Other images, another choice by images; the prototypes' choice stays."""
    p, edit = setting.prototypes, fit_edit(setting.prototypes, ForgetRequest(["dog"]))
    as_synthesised = p.visual[1, 2].mean(0).expand_as(setting.task.images.f)
    found = [
        choose(
            p,
            edit,
            image_curve(p, edit, replace(setting.task, images=replace(setting.task.images, f=f))),
        )
        for f in (setting.task.images.f, as_synthesised)
    ]
    assert found[0]["prototype rule"] == pytest.approx(found[1]["prototype rule"], nan_ok=True)
    assert found[0]["residual rule"] != found[1]["residual rule"]


# ---- rules


def test_the_chance_rule_takes_the_first_strength_at_chance() -> None:
    assert chance_rule(frame(forget=[0.9, 0.25, 0.0], chance=[0.25] * 3)) == 0.5
    assert np.isnan(chance_rule(frame(forget=[0.9, 0.5, 0.4], chance=[0.25] * 3)))


def test_the_residual_rule_stops_where_the_own_text_is_one_among_others() -> None:
    assert residual_rule(frame(own=[0.6, 0.1, -0.4], other=[0.1, 0.1, 0.0])) == 0.5
    assert np.isnan(residual_rule(frame(own=[0.6, 0.5, 0.4], other=[0.1, 0.1, 0.1])))


def test_the_budget_is_kept_on_the_whole_way() -> None:
    curve = frame(retained=[0.9, 0.87, 0.9], same_class=[0.9, 0.8, 0.9])
    assert [budget_rule(curve, points) for points in (0, 2.9, 3)] == [0.0, 0.0, 1.0]
    assert budget_rule(curve, 5, "same_class") == 0.0, "what is regained at 1 was lost at 0.5"


def test_every_request_gets_every_rule_and_its_own_row(setting: Setting) -> None:
    """The image folder has no cat in art_painting: that cell cannot be measured."""
    p, task = setting.prototypes, setting.task
    table = every_choice(p, task, "domain-specific")
    assert len(table) == 4 * 8 and set(table["rule"]) == {"full", *RULES}
    edit = fit_edit(p, ForgetRequest(["dog"], ["sketch"]))
    curve = image_curve(p, edit, task)
    rows = table[table["request"] == "dog in sketch"].set_index("rule")
    for rule, strength in choose(p, edit, curve).items():
        assert rows.loc[rule, "reached"] == (not np.isnan(strength))
        at = 1.0 if np.isnan(strength) else strength
        assert rows.loc[rule, "strength"] == at and rows.loc[rule, "own"] == pytest.approx(
            curve.loc[at, "own"]
        )


def test_what_chose_and_what_measures_share_no_image(setting: Setting) -> None:
    first, second = halves(setting.task)
    paths = set(first.images.paths), set(second.images.paths)
    assert not paths[0] & paths[1] and paths[0] | paths[1] == set(setting.task.images.paths)
    cells = [
        set(zip(t.images.class_of.tolist(), t.images.domain_of.tolist(), strict=True))
        for t in (first, second)
    ]
    assert cells[0] == cells[1], "both halves know every cell"
    p = setting.prototypes
    table = every_choice(p, first, "global", measured=second)
    full = table[(table["rule"] == "full") & (table["request"] == "dog in all domains")].iloc[0]
    with one_thread():  # as in `every_choice`: sums of two threads differ in the last bits
        edit = fit_edit(p, ForgetRequest(["dog"]))
        curve = image_curve(p, edit, second)
    assert full["own"] == pytest.approx(curve.loc[1.0, "own"])
