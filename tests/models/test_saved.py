"""Edits as files: small, for their own base alone, all or nothing; and several edits as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import open_clip
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import REQUESTS

from clip_unlearn import (
    Clip,
    ConceptGrid,
    ForgetRequest,
    ProjectionEdit,
    Prototypes,
    compose,
    fit_edit,
    load_clip,
    load_edit,
    save_edit,
    save_edited,
    synthesize_prototypes,
)
from clip_unlearn.core import InputError
from clip_unlearn.core.applied import EditSequence
from clip_unlearn.models import clip as models_module
from clip_unlearn.models.files import put
from clip_unlearn.models.saved import check_folder, read_edit, versions


@pytest.fixture
def edit(prototypes: Prototypes) -> ProjectionEdit:
    return fit_edit(prototypes, REQUESTS["global"], towers="both")


def state(clip: Clip) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in clip.model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def facts_in(folder: Path) -> dict:
    """What the edit.json of an edited CLIP says."""
    return json.loads((folder / "edit.json").read_text())


# ---- an edit alone


@pytest.mark.parametrize("paradigm", REQUESTS)
def test_an_edit_read_back_is_the_same_edit(
    prototypes: Prototypes, clip: Clip, tmp_path: Path, paradigm: str
) -> None:
    edit = fit_edit(prototypes, REQUESTS[paradigm])
    again = load_edit(save_edit(edit, tmp_path / "new" / "edit.safetensors"), clip)
    assert torch.equal(again.weight(prototypes.W, 0.7), edit.weight(prototypes.W, 0.7))
    assert again.request == edit.request
    assert again.method == edit.method
    assert again.seed == prototypes.seed
    assert again.base == clip.fingerprint()
    assert again.towers == edit.towers


def test_a_complete_request_is_read_back_and_on_the_card(
    prototypes: Prototypes, clip: Clip, tmp_path: Path
) -> None:
    edit = fit_edit(prototypes, ForgetRequest(["dog"], ["sketch"], complete=True))
    assert load_edit(save_edit(edit, tmp_path / "edit.safetensors"), clip).request == edit.request
    folder = save_edited(clip, edit, 1.0, tmp_path / "out")
    assert json.loads((folder / "edit.json").read_text())["complete"] is True
    assert "from a search there too" in (folder / "README.md").read_text()


def test_an_edit_of_an_earlier_version_is_not_complete(
    edit: ProjectionEdit, clip: Clip, tmp_path: Path
) -> None:
    file = save_edit(edit, tmp_path / "edit.safetensors")
    with safe_open(file, "pt") as held:
        note = held.metadata()
    facts = json.loads(note["edit"])
    assert facts.pop("complete") is False
    save_file(load_file(file), file, {**note, "edit": json.dumps(facts)})
    assert load_edit(file, clip).request == edit.request


def test_an_edit_of_vit_b_32_size_is_small(tmp_path: Path) -> None:
    factors = {
        "visual": (torch.randn(768, 28), torch.randn(28, 512)),
        "text": (torch.randn(512, 28), torch.randn(28, 512)),
    }
    edit = ProjectionEdit(ForgetRequest(["dog"]), "oblique", factors, 0, "b" * 16)
    file = save_edit(edit, tmp_path / "edit")
    assert file.stat().st_size < 1e6


def test_the_file_says_what_it_is_without_a_clip(edit: ProjectionEdit, tmp_path: Path) -> None:
    facts = read_edit(save_edit(edit, tmp_path / "edit.safetensors"))
    assert facts["classes"] == ["dog"]
    assert facts["domains"] is None
    assert facts["method"] == edit.method
    assert facts["towers"] == "both"
    assert facts["base_fingerprint"] == edit.base
    assert facts["versions"] == versions()


def test_versions_are_those_of_what_makes_an_edit_and_of_what_is_asked_for() -> None:
    usual = ["python", "clip_unlearn", "torch", "open_clip_torch", "timm", "safetensors"]
    assert list(versions()) == usual
    assert list(versions(["papermill"])) == ["python", "papermill"]
    assert versions()["open_clip_torch"] == open_clip.__version__


def test_an_edit_is_refused_on_another_clip(
    edit: ProjectionEdit, clip: Clip, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    file = save_edit(edit, tmp_path / "edit.safetensors")
    other = load_clip(make_folder(seed=1), device="cpu")
    refusal = rf"fitted on a CLIP with the weights {clip.fingerprint()}, and vit-1 in fp32"
    with pytest.raises(InputError, match=refusal):
        load_edit(file, other)
    with pytest.raises(InputError, match=r"the edit was fitted on a CLIP with the weights"):
        save_edited(other, edit, 1.0, tmp_path / "edited")
    assert not (tmp_path / "edited").exists()


def test_an_edit_is_refused_on_its_own_base_in_another_precision(
    edit: ProjectionEdit, clip_folder: Path, tmp_path: Path
) -> None:
    file = save_edit(edit, tmp_path / "edit.safetensors")
    with pytest.raises(InputError, match="in fp16 has the weights"):
        load_edit(file, load_clip(clip_folder, device="cpu", precision="fp16"))


def test_an_edit_of_another_size_is_refused(edit: ProjectionEdit) -> None:
    with pytest.raises(
        InputError, match="the visual tower is for a projection of 32 x 16, and this one is 40 x 16"
    ):
        edit.weight(torch.zeros(40, 16), 1.0)


def test_an_edit_that_knows_no_base_is_not_saved(edit: ProjectionEdit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which CLIP it was fitted on"):
        save_edit(replace(edit, base=""), tmp_path / "edit.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: None, "no edit file"),
        (lambda file: file.write_text("not tensors"), "is no edit of clip_unlearn"),
        (lambda file: save_file({"a": torch.ones(1)}, file), 'its format is ""'),
        (
            lambda file: save_file({"a": torch.ones(1)}, file, {"format": "clip_unlearn edit 9"}),
            "edit 9",
        ),
    ],
    ids=["absent", "text", "other tensors", "later format"],
)
def test_a_file_that_holds_no_edit_is_named(
    clip: Clip, tmp_path: Path, write: Callable, message: str
) -> None:
    write(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=rf"(?s)x\.safetensors|{message}") as caught:
        load_edit(tmp_path / "x.safetensors", clip)
    assert message in str(caught.value)


def test_a_folder_in_the_place_of_an_edit_file_stays(edit: ProjectionEdit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        save_edit(edit, tmp_path)


# ---- several edits


def test_composed_edits_are_the_sum_of_their_changes(clip: Clip, prototypes: Prototypes) -> None:
    one = fit_edit(prototypes, ForgetRequest(["dog"]))
    two = fit_edit(prototypes, ForgetRequest(["cat"]))
    both = compose([one, two], [1.0, 0.5])
    swapped = compose([two, one], [0.5, 1.0])

    W = prototypes.W
    first_change = one.weight(W, 1.0) - W
    second_change = two.weight(W, 1.0) - W
    expected = W + 0.8 * (first_change + 0.5 * second_change)
    torch.testing.assert_close(both.weight(W, 0.8), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(swapped.weight(W, 0.8), expected, atol=1e-6, rtol=1e-5)
    assert both.weight(W, 0.0) is W
    assert both.towers == "visual"

    before = state(clip)
    with one.applied(clip), two.applied(clip, 0.5):
        nested = clip.heads["visual"].weight
    with both.applied(clip):
        torch.testing.assert_close(clip.heads["visual"].weight, nested, atol=1e-6, rtol=1e-5)
        assert not same(before, state(clip))
    assert same(before, state(clip))


def test_a_sequence_edits_every_tower_that_one_of_its_edits_does(
    clip: Clip, prototypes: Prototypes
) -> None:
    one = fit_edit(prototypes, REQUESTS["global"])
    two = fit_edit(prototypes, REQUESTS["global"], towers="text")
    both = compose([one, two])
    assert both.towers == "both"
    before = clip.heads["text"].weight
    with both.applied(clip):
        assert torch.equal(clip.heads["text"].weight, two.weight(before, 1.0, "text"))


def test_a_composition_that_makes_no_sense_is_refused(edit: ProjectionEdit) -> None:
    with pytest.raises(InputError, match="0 edits with 0 strengths"):
        compose([])
    with pytest.raises(InputError, match="1 edits with 2 strengths"):
        compose([edit], [1.0, 1.0])
    with pytest.raises(InputError, match=r"strength is 1\.5"):
        compose([edit], [1.5])
    with pytest.raises(InputError, match="fitted on different CLIPs"):
        compose([edit, replace(edit, base="another")])


def test_a_sequence_is_saved_with_every_edit_named(
    clip: Clip, prototypes: Prototypes, tmp_path: Path
) -> None:
    steps = [fit_edit(prototypes, request) for request in REQUESTS.values()]
    both = compose(steps, [1.0, 0.5, 0.25])
    folder = save_edited(clip, both, 0.8, tmp_path / "edited")
    edits = facts_in(folder)["edits"]
    assert [e["paradigm"] for e in edits] == list(REQUESTS)
    assert [e["strength"] for e in edits] == pytest.approx([0.8, 0.4, 0.2])
    assert (folder / "README.md").read_text().count("\n- **") == len(steps)
    again = load_clip(folder, device="cpu")
    assert torch.equal(again.heads["visual"].weight, both.weight(prototypes.W, 0.8))


def test_a_saved_edit_is_a_base_of_its_own(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path
) -> None:
    edited = load_clip(save_edited(clip, edit, 1.0, tmp_path / "edited"), device="cpu")
    with pytest.raises(InputError, match="was fitted on a CLIP with the weights"):
        load_edit(save_edit(edit, tmp_path / "edit"), edited)


# ---- the folder


def test_edit_json_says_everything_that_makes_it_again(
    clip: Clip, prototypes: Prototypes, edit: ProjectionEdit, tmp_path: Path
) -> None:
    facts = facts_in(save_edited(clip, edit, 0.5, tmp_path / "edited"))
    assert facts["seed"] == prototypes.seed
    assert facts["base_fingerprint"] == clip.fingerprint()
    assert facts["precision"] == "fp32"
    assert facts["towers"] == "both"
    assert facts["strength"] == 0.5
    assert facts["versions"]["open_clip_torch"] == open_clip.__version__


def test_the_preprocessing_is_in_the_configuration(
    edit: ProjectionEdit, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    base = make_folder()
    config = json.loads((base / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "interpolation": "bilinear",
    }
    (base / "open_clip_config.json").write_text(json.dumps(config))
    loaded = load_clip(base, device="cpu")
    folder = save_edited(loaded, edit, 1.0, tmp_path / "edited")
    _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert str(preprocess) == str(loaded.preprocess) and "0.3" in str(preprocess)


def test_the_card_is_one_that_the_hub_reads(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path
) -> None:
    tagged = replace(clip, name="ViT-B-32", origin="ViT-B-32:laion2b_s34b_b79k")
    measured = {"forget": {"n": 40, "before": 0.95, "after": 0.0125}, "same_class": None}
    folder = save_edited(tagged, edit, 0.5, tmp_path / "edited", measured, "PACS", license="mit")
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "open_clip"
    assert card.data.license == "mit"
    assert card.data.base_model == "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
    assert "clip" in card.data.tags
    assert "**dog** in every domain (global): the calibrated edit at strength 0.5" in card.text
    table = """On PACS:

| images | n | before | after |
|:--|--:|--:|--:|
| forget | 40 | 0.950 | 0.013 |

"""
    assert table in card.text
    assert "linear probe" in card.text and "no claim about privacy" in card.text


def test_a_card_without_numbers_says_so(clip: Clip, edit: ProjectionEdit, tmp_path: Path) -> None:
    card = huggingface_hub.ModelCard.load(
        save_edited(clip, edit, 1.0, tmp_path / "edited") / "README.md"
    )
    assert "It was not measured" in card.text and card.data.base_model is None


# ---- all or nothing


def test_a_failure_half_way_leaves_nothing(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(models_module, "save_tensors", full)
    before = state(clip)
    with pytest.raises(OSError, match="no space"):
        save_edited(clip, edit, 1.0, tmp_path / "edited")
    assert not list(tmp_path.iterdir()) and same(before, state(clip))


def test_a_failure_half_way_leaves_the_older_one(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_edited(clip, edit, 1.0, tmp_path / "edited")
    weights = load_file(folder / "open_clip_model.safetensors")
    monkeypatch.setattr("clip_unlearn.models.saved.model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_edited(clip, edit, 0.5, folder)
    assert same(load_file(folder / "open_clip_model.safetensors"), weights)
    assert [p.name for p in tmp_path.iterdir()] == ["edited"]


def test_an_older_edit_is_replaced(clip: Clip, edit: ProjectionEdit, tmp_path: Path) -> None:
    save_edited(clip, edit, 1.0, tmp_path / "edited")
    folder = save_edited(clip, edit, 0.25, tmp_path / "edited")
    assert facts_in(folder)["strength"] == 0.25
    assert [p.name for p in tmp_path.iterdir()] == ["edited"]


def test_a_folder_that_is_no_edited_clip_is_never_replaced(
    clip: Clip, edit: ProjectionEdit, clip_folder: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(clip_folder, tmp_path / "base")
    with pytest.raises(InputError, match=r"base holds other files; name a new folder"):
        save_edited(clip, edit, 1.0, base)
    assert load_clip(base, device="cpu").fingerprint() == clip.fingerprint()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        save_edited(clip, edit, 1.0, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert (save_edited(clip, edit, 1.0, tmp_path / "empty") / "edit.json").is_file()


def test_a_folder_that_cannot_be_used_is_refused_before_the_work(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_folder(tmp_path / "new" / "folder", "bundled")
    folder = save_edited(clip, edit, 1.0, tmp_path / "edited")
    check_folder(folder, "bundled")
    for name in (str(folder), f"local-dir:{folder}"):
        with pytest.raises(InputError, match="is the model itself"):
            check_folder(folder, name)
    with pytest.raises(InputError, match="holds other files"):
        check_folder(tmp_path, "bundled")
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="cannot be the one you are in"):
        check_folder(folder, "bundled")


def test_sequences_are_what_compose_returns(edit: ProjectionEdit) -> None:
    assert isinstance(compose([edit]), EditSequence) and compose([edit]).base == edit.base


def test_a_folder_with_something_of_the_users_in_it_is_left_alone(
    clip: Clip, edit: ProjectionEdit, tmp_path: Path
) -> None:
    folder = save_edited(clip, edit, 1.0, tmp_path / "edited")
    save_edited(clip, edit, 0.5, folder)  # an edited CLIP and nothing else may be replaced
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.txt beside an edited CLIP"):
        save_edited(clip, edit, 1.0, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_edit_alone_replaces_no_file_that_is_no_edit(
    prototypes: Prototypes, edit: ProjectionEdit, tmp_path: Path
) -> None:
    file = save_edit(edit, tmp_path / "edit.safetensors")
    save_edit(edit, file)
    save_file({"a": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="is no edit"):
        save_edit(edit, tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors")["a"] == 1


def test_an_edit_of_an_edited_clip_still_names_the_first(
    clip: Clip, edit: ProjectionEdit, grid: ConceptGrid, tmp_path: Path
) -> None:
    first = load_clip(save_edited(clip, edit, 1.0, tmp_path / "first"), device="cpu")
    made = synthesize_prototypes(
        first, grid, per_cell=1, kind="latent", progress=False, cache=False
    )
    folder = save_edited(first, fit_edit(made, ForgetRequest(["house"])), 0.5, tmp_path / "second")
    edits = facts_in(folder)["edits"]
    assert [e["classes"] for e in edits] == [["dog"], ["house"]]
    assert "**house**" in (folder / "README.md").read_text()


def test_what_cannot_be_put_in_place_brings_the_older_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "x").write_text("kept")
    (tmp_path / "new").mkdir()
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("disk trouble")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="disk trouble"):
        put(tmp_path / "new", old)
    assert (old / "x").read_text() == "kept"
    assert {p.name for p in tmp_path.iterdir()} == {"old", "new"}
