"""The edit: strength 0 is the model itself, every exit restores it, and saved it is open_clip."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from tiny import PAIRS, REQUESTS

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    ProjectionEdit,
    Prototypes,
    fit_edit,
    load_clip,
    save_edited,
    synthesize_prototypes,
)
from clip_unlearn.core import InputError, UnknownNameError
from clip_unlearn.core.edit import METHODS, TOWERS
from clip_unlearn.core.synthesis import Synthesis

PROMPTS = ["a dog", "a sketch of a house", "this is a cat"]
BAD_STRENGTHS = [-0.1, 1.0001, math.nan, math.inf, True, "0.5", None]


@pytest.fixture(params=TOWERS)
def edit(request: pytest.FixtureRequest, prototypes: Prototypes) -> ProjectionEdit:
    """A global edit of one tower, of the other, or of both."""
    return fit_edit(prototypes, REQUESTS["global"], "null-space", request.param)


def state(clip: Clip) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in clip.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def embeddings(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Image and text embeddings by open_clip's own methods."""
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = open_clip.get_tokenizer("RN50", context_length=16)(PROMPTS)
    with torch.no_grad():
        return model.encode_image(x), model.encode_text(tokens)


# ---- strength


@pytest.mark.parametrize("strength", [0, 0.0, -0.0])
def test_strength_zero_returns_the_weight_itself(
    edit: ProjectionEdit, prototypes: Prototypes, strength: float
) -> None:
    assert edit.weight(prototypes.W, strength) is prototypes.W
    assert edit.weight(prototypes.W_text, strength, "text") is prototypes.W_text


def test_a_tower_that_is_not_edited_keeps_its_weight_at_every_strength(
    prototypes: Prototypes,
) -> None:
    edit = fit_edit(prototypes, REQUESTS["global"], towers="visual")
    assert edit.weight(prototypes.W_text, 1.0, "text") is prototypes.W_text
    assert edit.rank("text") == 0 < edit.rank("visual")


@pytest.mark.parametrize(("paradigm", "method"), PAIRS)
def test_weight_is_linear_in_the_strength(
    prototypes: Prototypes, paradigm: str, method: str | None
) -> None:
    edit, W = fit_edit(prototypes, REQUESTS[paradigm], method), prototypes.W
    delta = edit.weight(W, 1.0) - W
    assert delta.norm() > 1e-4
    for strength in (0.25, 0.5, 0.9):
        torch.testing.assert_close(
            edit.weight(W, strength), W + strength * delta, atol=1e-6, rtol=0
        )


def test_weight_is_pure(edit: ProjectionEdit, prototypes: Prototypes) -> None:
    W = prototypes.W.clone()
    assert torch.equal(edit.weight(W, 0.7), edit.weight(W, 0.7))
    assert torch.equal(W, prototypes.W)


@pytest.mark.parametrize("strength", BAD_STRENGTHS)
def test_a_strength_outside_zero_to_one_is_an_error_wherever_it_is_given(
    edit: ProjectionEdit, clip: Clip, tmp_path: Path, strength: object
) -> None:
    with pytest.raises(InputError, match="strength is"):
        edit.weight(torch.zeros(1), strength)
    with pytest.raises(InputError, match="strength is"), edit.applied(clip, strength):
        pass
    with pytest.raises(InputError, match="strength is"):
        save_edited(clip, edit, strength, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- applied


def test_applied_changes_the_edited_towers_alone(edit: ProjectionEdit, clip: Clip) -> None:
    before = embeddings(clip.model)
    with edit.applied(clip, 0.8) as inside:
        assert inside is clip
        after = embeddings(clip.model)
    changed = [not torch.equal(b, a) for b, a in zip(before, after, strict=True)]
    assert changed == [edit.towers != "text", edit.towers != "visual"]


def test_applied_is_the_edited_weight(clip: Clip, prototypes: Prototypes) -> None:
    edit = fit_edit(prototypes, REQUESTS["domain-specific"])
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), edit.applied(clip, 0.6):
        inside = clip.model.encode_image(x)
    torch.testing.assert_close(
        inside, clip.image_features(x) @ edit.weight(prototypes.W, 0.6), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("strength", [0.0, 0.37, 1.0])
def test_applied_restores_bit_for_bit(edit: ProjectionEdit, clip: Clip, strength: float) -> None:
    before = state(clip)
    with edit.applied(clip, strength):
        assert same(before, state(clip)) == (strength == 0)
    assert same(before, state(clip))


def test_applied_restores_after_an_exception(edit: ProjectionEdit, clip: Clip) -> None:
    before = state(clip)
    with pytest.raises(KeyboardInterrupt), edit.applied(clip):
        raise KeyboardInterrupt
    assert same(before, state(clip))


def test_applied_restores_half_precision_bit_for_bit(
    make_folder: Callable[..., Path], edit: ProjectionEdit
) -> None:
    clip = load_clip(make_folder(), device="cpu")
    clip.model.half()
    before = state(clip)
    with edit.applied(clip):
        assert not same(before, state(clip))
    assert same(before, state(clip))


def test_applied_edits_nest(clip: Clip, prototypes: Prototypes) -> None:
    outer, inner = (fit_edit(prototypes, ForgetRequest([c]), "null-space") for c in ("dog", "cat"))
    before = state(clip)
    with outer.applied(clip):
        between = state(clip)
        with inner.applied(clip):
            assert not same(between, state(clip))
        assert same(between, state(clip))
    assert same(before, state(clip))


@pytest.mark.parametrize(
    "kind", ["timm-linear", "timm-mlp", "timm-linear-bias", "modified-resnet", "text-bias"]
)
def test_every_kind_of_tower_is_edited_and_restored(
    clips: Callable[[str], Clip], grid: ConceptGrid, kind: str
) -> None:
    clip = clips(kind)
    how = Synthesis(steps=1)
    p = synthesize_prototypes(clip, grid, per_cell=1, how=how, progress=False, cache=False)
    size = clip.image_size
    x = torch.randn(2, 3, size, size)
    f, g, before = clip.image_features(x), clip.text_features(PROMPTS), state(clip)
    edit = fit_edit(p, REQUESTS["global"], towers="both")
    with torch.no_grad(), edit.applied(clip, 0.5):
        h, t = clip.model.encode_image(x), clip.model.encode_text(clip.tokenizer(PROMPTS))
        assert not same(before, state(clip))
    torch.testing.assert_close(h, f @ edit.weight(p.W, 0.5), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(t, g @ edit.weight(p.W_text, 0.5, "text"), atol=1e-4, rtol=1e-4)
    assert same(before, state(clip))


# ---- fitting


@pytest.mark.parametrize(("paradigm", "method"), PAIRS)
def test_every_method_fits_every_paradigm_and_repeats(
    prototypes: Prototypes, paradigm: str, method: str | None
) -> None:
    edit, again = (fit_edit(prototypes, REQUESTS[paradigm], method) for _ in range(2))
    assert edit.method in METHODS and edit.towers == "visual"
    assert torch.equal(edit.weight(prototypes.W, 1.0), again.weight(prototypes.W, 1.0))
    assert edit.rank() <= min(prototypes.W.shape)


def test_the_request_is_kept_in_the_grids_spelling(prototypes: Prototypes) -> None:
    assert fit_edit(prototypes, ForgetRequest(["Dog"], ["art_painting"])).request == ForgetRequest(
        ["dog"], ["art painting"]
    )


def test_a_domain_whose_classes_are_all_named_is_a_whole_domain(prototypes: Prototypes) -> None:
    grid = prototypes.grid
    named = fit_edit(prototypes, ForgetRequest(grid.classes[::-1], grid.domains[:1]))
    whole = fit_edit(prototypes, ForgetRequest(None, grid.domains[:1]))
    assert named.request == whole.request and named.method == whole.method == "redirect"
    everywhere = fit_edit(prototypes, ForgetRequest(grid.classes[:1], grid.domains))
    assert everywhere.request == ForgetRequest(grid.classes[:1])


def test_settings_reach_the_method(prototypes: Prototypes) -> None:
    one, two = (
        fit_edit(prototypes, REQUESTS["global"], "retain-aware", beta=beta) for beta in (1.0, 2.0)
    )
    W = prototypes.W
    torch.testing.assert_close(
        two.weight(W, 1.0) - W, 2 * (one.weight(W, 1.0) - W), atol=1e-5, rtol=1e-4
    )


def test_of_pictures_the_text_side_knows_only_how_far_they_reach(prototypes: Prototypes) -> None:
    W, nearer = prototypes.W_text, 0.5 * prototypes.reached
    other = replace(prototypes, visual=torch.randn_like(prototypes.visual))
    one, two, half = (
        fit_edit(p, REQUESTS["global"], towers="text").weight(W, 1.0, "text")
        for p in (prototypes, other, replace(prototypes, reached=nearer))
    )
    assert torch.equal(one, two)
    torch.testing.assert_close(
        half, one
    )  # both the lead and what a step takes of it are half as long


def test_names_with_the_same_words_are_refused_and_not_fitted(prototypes: Prototypes) -> None:
    text = prototypes.text_features.clone()
    text[:, 1] = text[:, 0]
    p = replace(prototypes, text_features=text)
    request = ForgetRequest(p.grid.classes[:1], p.grid.domains[:1])
    only_two = replace(
        p,
        grid=ConceptGrid(p.grid.classes, p.grid.domains[:2]),
        text_features=text[:, :2],
        visual=p.visual[:, :2],
        reached=p.reached[:, :2],
    )
    with pytest.raises(
        InputError, match=r"not finite: two classes, or two domains, have the same words"
    ):
        fit_edit(only_two, request)


def test_a_class_that_pictures_never_reach_gains_nothing(prototypes: Prototypes) -> None:
    away = replace(prototypes, reached=prototypes.reached - 5 * prototypes.class_text[:, None])
    for towers in ("visual", "text"):
        edit = fit_edit(away, REQUESTS["global"], "calibrated", towers)
        A, B = edit.factors[towers]
        assert not (A @ B).any()


def test_unknown_method_lists_the_methods(prototypes: Prototypes) -> None:
    with pytest.raises(InputError, match=r'unknown method "magic": .*oblique'):
        fit_edit(prototypes, REQUESTS["global"], "magic")


@pytest.mark.parametrize("paradigm", ["global", "domain-specific"])
def test_redirect_is_refused_where_no_whole_domain_is_forgotten(
    prototypes: Prototypes, paradigm: str
) -> None:
    with pytest.raises(InputError, match=rf"redirect.*this request is {paradigm}"):
        fit_edit(prototypes, REQUESTS[paradigm], "redirect")


def test_a_complete_request_takes_the_method_made_for_it(prototypes: Prototypes) -> None:
    cell = ForgetRequest(["dog"], ["sketch"], complete=True)
    edit = fit_edit(prototypes, cell)
    assert edit.method == "complete" and edit.request.complete
    # A class that goes everywhere is lost to a search already.
    assert fit_edit(prototypes, ForgetRequest(["dog"], complete=True)).method == "calibrated"
    with pytest.raises(InputError, match='"oblique" leaves what a search finds'):
        fit_edit(prototypes, cell, "oblique")
    with pytest.raises(InputError, match="for domain-specific requests"):
        fit_edit(prototypes, REQUESTS["global"], "complete")


def test_unknown_towers_list_the_towers(prototypes: Prototypes) -> None:
    with pytest.raises(InputError, match=r'unknown towers "audio": visual, text, both'):
        fit_edit(prototypes, REQUESTS["global"], towers="audio")


@pytest.mark.parametrize("towers", ["text", "both"])
@pytest.mark.parametrize("paradigm", ["domain-specific", "whole-domain"])
def test_the_text_tower_is_refused_for_requests_on_domains(
    prototypes: Prototypes, paradigm: str, towers: str
) -> None:
    with pytest.raises(
        InputError, match=f'towers "{towers}" needs a global request: a {paradigm} request'
    ):
        fit_edit(prototypes, REQUESTS[paradigm], towers=towers)


def test_a_name_outside_the_grid_is_an_error_with_the_nearest(prototypes: Prototypes) -> None:
    with pytest.raises(UnknownNameError, match=r'unknown class "dgo".*"dog"'):
        fit_edit(prototypes, ForgetRequest(["dgo"]))


# ---- saving


@pytest.mark.parametrize("strength", [0.0, 0.6])
def test_a_saved_edit_loads_in_plain_open_clip_and_embeds_alike(
    edit: ProjectionEdit, clip: Clip, tmp_path: Path, strength: float
) -> None:
    folder = save_edited(clip, edit, strength, tmp_path / "edited")
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    with edit.applied(clip, strength):
        expected = embeddings(clip.model)
        assert same(model.state_dict(), state(clip))
    for found, wanted in zip(embeddings(model), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert str(preprocess) == str(clip.preprocess)


def test_saving_leaves_the_model_untouched(
    edit: ProjectionEdit, clip: Clip, tmp_path: Path
) -> None:
    before = state(clip)
    save_edited(clip, edit, 1.0, tmp_path / "edited")
    assert same(before, state(clip))


def test_a_saved_edit_can_be_loaded_and_edited_again(
    clip: Clip, prototypes: Prototypes, tmp_path: Path
) -> None:
    edit = fit_edit(prototypes, REQUESTS["domain-specific"])
    again = load_clip(save_edited(clip, edit, 1.0, tmp_path / "edited"), device="cpu")
    torch.testing.assert_close(
        again.heads["visual"].weight, edit.weight(prototypes.W, 1.0), atol=0, rtol=0
    )
    assert again.fingerprint() != clip.fingerprint()


def test_the_saved_card_says_what_was_done(
    clip: Clip, prototypes: Prototypes, tmp_path: Path
) -> None:
    edit = fit_edit(prototypes, REQUESTS["domain-specific"])
    folder = save_edited(clip, edit, 0.5, tmp_path / "edited")
    card = json.loads((folder / "edit.json").read_text())
    assert card["classes"] == ["dog"] and card["domains"] == ["sketch"] and card["strength"] == 0.5
    assert card["base_fingerprint"] == clip.fingerprint() and card["paradigm"] == "domain-specific"
    assert card["rank"] == {"visual": edit.rank()}


def test_a_saved_edit_writes_no_pickle(clip: Clip, prototypes: Prototypes, tmp_path: Path) -> None:
    folder = save_edited(clip, fit_edit(prototypes, REQUESTS["global"]), 1.0, tmp_path / "edited")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "edit.json",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
