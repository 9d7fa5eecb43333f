"""What the package promises of its defaults, over every request of a kind: README's numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import ROOT

from clip_unlearn.core.concepts import TEST_TEMPLATES, ConceptGrid, fill
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS
from clip_unlearn.images.datasets import Features
from clip_unlearn.measure.evaluate import accuracy_grid, classifier, predict
from clip_unlearn.measure.setting import Setting, SurveyConfig, prepare
from clip_unlearn.measure.survey import every_request, summary


@pytest.fixture(scope="module")
def bundled() -> Setting:
    return prepare(SurveyConfig())


def survey(s: Setting, paradigm: str) -> dict:
    return summary(
        every_request(s.prototypes, s.task, paradigm, unrelated=s.unrelated, progress=False)
    )


def test_the_bundled_clip_knows_its_classes_in_each_domain_and_the_unrelated_ones(
    bundled: Setting,
) -> None:
    p = bundled.prototypes
    for task, least in ((bundled.task, 0.90), (bundled.unrelated, 0.85)):
        assert accuracy_grid(task, predict(task, p.W, p.W_text)).mean().min() >= least


def test_the_bundled_clip_knows_synonyms_that_build_no_prototype(bundled: Setting) -> None:
    p, images = bundled.prototypes, bundled.task.images
    for i in (0, 1):
        names = [
            [fill(t, "class", BUNDLED_SYNONYMS[c][i]) for t in TEST_TEMPLATES]
            for c in p.grid.classes
        ]
        weights = classifier([bundled.clip.text_features(n) for n in names], p.W_text)
        assert (images.f @ p.W @ weights.T).argmax(1).eq(images.class_of).float().mean() >= 0.80
        assert not {BUNDLED_SYNONYMS[c][i] for c in p.grid.classes} & set(p.grid.classes)


def test_the_bundled_clip_names_the_domain(bundled: Setting) -> None:
    p, images = bundled.prototypes, bundled.task.images
    weights = classifier(
        [bundled.clip.text_features([f"a {d}", f"this is a {d}"]) for d in p.grid.domains], p.W_text
    )
    assert (images.f @ p.W @ weights.T).argmax(1).eq(images.domain_of).float().mean() >= 0.95


def test_all_16_classes_are_forgotten_everywhere_at_no_cost(bundled: Setting) -> None:
    found = survey(bundled, "global")
    assert found["requests"] == 16 and found["before"] > 0.9
    assert found["forget"] <= 1 / 16 and found["paraphrase"] <= 2 / 16
    assert found["retained"] >= -0.5 and found["unrelated"] >= -1


def test_all_64_cells_are_forgotten_and_the_class_stays_elsewhere(bundled: Setting) -> None:
    found = survey(bundled, "domain-specific")
    assert found["requests"] == 64
    assert found["forget"] <= 1 / 16 and found["forget worst"] <= 0.25 + 1e-6
    assert found["same_class"] >= -1 and found["retained"] >= -0.5
    assert found["same_class worst"] >= -5 and found["unrelated"] >= -1


def test_all_4_domains_are_forgotten_and_the_others_stay(bundled: Setting) -> None:
    found = survey(bundled, "whole-domain")
    assert found["requests"] == 4 and found["forget"] <= 0.10 and found["retained"] >= -3


@pytest.mark.parametrize("towers", ["text", "both"])
def test_the_text_side_forgets_globally_too(bundled: Setting, towers: str) -> None:
    found = summary(
        every_request(bundled.prototypes, bundled.task, "global", towers=towers, progress=False)
    )
    assert found["forget"] <= 1 / 16 and found["retained"] >= -1


def test_visual_prototypes_forget_what_text_alone_leaves(bundled: Setting) -> None:
    s = bundled
    text = summary(every_request(s.prototypes, s.task, "global", "null-space-text", progress=False))
    both = summary(every_request(s.prototypes, s.task, "global", "null-space", progress=False))
    assert both["forget"] < text["forget"] - 0.10


def test_the_unedited_weights_are_those_of_the_model(bundled: Setting) -> None:
    assert torch.equal(bundled.prototypes.W, bundled.clip.heads["visual"].weight)


PACS = ROOT.parent / "shared" / "pacs"


@pytest.mark.skipif(not PACS.is_dir(), reason="the PACS images of development are not here")
def test_the_same_settings_hold_on_real_images() -> None:
    # The aim for cells is retained >= -0.5 and the worst same class >= -8; README reports -1.1 and
    # -24.6, and what was tried. These two bounds guard what is reached; all others are the aims.
    s = prepare(SurveyConfig(model=str(PACS / "clip"), images=str(PACS / "images")))
    classes, cells, domains = (survey(s, p) for p in ("global", "domain-specific", "whole-domain"))
    assert classes["forget"] <= 0.01 and classes["retained"] >= 1 and classes["paraphrase"] <= 0.03
    assert cells["forget"] <= 0.05 and cells["forget worst"] <= 0.25 and cells["same_class"] >= 0
    assert cells["retained"] >= -1.3 and cells["same_class worst"] >= -27
    assert domains["forget"] <= 0.15 and domains["retained"] >= -5


@pytest.mark.skipif(not PACS.is_dir(), reason="the PACS images of development are not here")
def test_complete_hides_a_class_from_a_search_in_its_domain_on_real_images() -> None:
    s = prepare(SurveyConfig(model=str(PACS / "clip"), images=str(PACS / "images")))
    frame = every_request(s.prototypes, s.task, "domain-specific", complete=True, progress=False)
    found = summary(frame)
    assert found["inside before"] >= 0.7 and found["inside"] <= 0.45
    assert found["elsewhere"] >= found["elsewhere before"] - 0.10
    assert found["forget"] <= 0.05 and found["same_class"] >= -5 and found["retained"] >= -4


@pytest.mark.parametrize("domains", [(0,), (1,), (2,), (3,), (0, 2), (0, 1, 3)], ids=str)
def test_a_class_is_forgotten_whatever_the_number_of_domains(
    bundled: Setting, domains: tuple[int, ...]
) -> None:
    p, images, keep = bundled.prototypes, bundled.task.images, list(domains)
    grid = ConceptGrid(p.grid.classes, [p.grid.domains[k] for k in keep])
    fewer = replace(p, grid=grid, visual=p.visual[:, keep], reached=p.reached[:, keep])
    fewer = replace(fewer, text_features=p.text_features[:, keep])
    seen = torch.isin(images.domain_of, torch.tensor(keep))
    domain_of = torch.tensor([keep.index(k) for k in images.domain_of[seen].tolist()])
    task = replace(
        bundled.task,
        grid=grid,
        images=Features(images.f[seen], images.class_of[seen], domain_of, images.paths),
    )
    found = summary(every_request(fewer, task, "global", progress=False))
    assert found["forget"] <= 1 / 16 and found["retained"] >= -1


def test_refined_starts_from_what_each_tower_needs(bundled: Setting) -> None:
    p = bundled.prototypes
    frame = every_request(p, bundled.task, "global", "refined", towers="both", progress=False)
    assert frame["forget"].mean() <= 1 / 16
