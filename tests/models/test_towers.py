"""open_clip's own configurations, at reduced size.

The head is found, it is the last thing that happens, and an edit of it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from open_clip.hf_model import HFTextEncoder
from reduced import EMBED, SUPPORTED, build, small_timm, write
from tiny import tiny_model

from clip_unlearn import Clip, ForgetRequest, ProjectionEdit, load_clip, save_edited
from clip_unlearn.core import ModelError
from clip_unlearn.models.towers import Head, add_projections, check_head, image_head, text_head

PROMPTS = ["a dog", "a sketch of a house", "this is a cat"]
# Where W lives in the state dict, its D and whether it has a bias.
PLACES = {
    "ViT-B-32": ("visual.proj", 32, False),
    "ViT-B-32-quickgelu": ("visual.proj", 32, False),
    "ViT-H-14-CLIPA": ("visual.proj", 32, False),
    "ViT-H-14-worldwide": ("visual.proj", 32, False),
    "RN50": ("visual.attnpool.c_proj", 256, True),
    "coca_ViT-B-32": ("visual.proj", EMBED, False),
    "coca_base": ("visual.proj", 32, False),
    "EVA01-g-14": ("visual.trunk.head", 32, True),
    "EVA02-B-16": ("visual.trunk.head", 32, True),
    "PE-Core-T-16-384": ("visual.trunk.head", 32, True),
    "MobileCLIP-B": ("visual.trunk.head", 768, True),
    "MobileCLIP-S1": ("visual.trunk.head.fc", 128, True),
    "MobileCLIP2-S3": ("visual.trunk.head.fc", 128, True),
    "ViT-B-16-SigLIP": ("visual.head.proj", 32, False),
    "ViT-SO400M-16-SigLIP-i18n-256": ("visual.head.proj", 32, False),
    "ViTamin-S": ("visual.head.proj", 384, False),
    "convnext_base": ("visual.head.proj", 32, False),
    "convnext_large_d": ("visual.head.mlp.fc2", 32, False),
    "swin_base_patch4_window7_224": ("visual.head.proj", 128, False),
    "vit_medium_patch16_gap_256": ("visual.head.proj", 32, False),
    "vit_relpos_medium_patch16_cls_224": ("visual.head.proj", 32, False),
}


@pytest.fixture(scope="module", params=SUPPORTED)
def named(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Clip]]:
    """The name of a configuration, and its reduced model, loaded."""
    folder = write(tmp_path_factory.mktemp("towers") / request.param, request.param)
    with small_timm(request.param):
        yield request.param, load_clip(folder, device="cpu")


def pixels(clip: Clip) -> torch.Tensor:
    s = clip.image_size
    return torch.randn(3, 3, s, s, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def embeddings(model: torch.nn.Module, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """By the model's own methods."""
    images = model.encode_image(pixels(clip), normalize=False)
    texts = model.encode_text(clip.tokenizer(PROMPTS), normalize=False)
    return images, texts


def assert_close(found: torch.Tensor, expected: torch.Tensor, relative: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=relative * float(expected.abs().max()))


def random_edit(clip: Clip, rank: int = 2) -> ProjectionEdit:
    """Noise of a size that matters on both sides."""
    rng = torch.Generator().manual_seed(1)
    factors = {}
    for tower, head in clip.heads.items():
        W = head.weight
        D, d = W.shape
        A = torch.randn(D, rank, generator=rng)
        B = torch.randn(rank, d, generator=rng)
        factors[tower] = (A * W.norm() / (A @ B).norm(), B)
    return ProjectionEdit(ForgetRequest(["dog"]), "noise", factors)


def test_features_times_w_are_what_the_model_itself_puts_out(named: tuple[str, Clip]) -> None:
    _, clip = named
    features = (clip.image_features(pixels(clip)), clip.text_features(PROMPTS))
    expected = embeddings(clip.model, clip)
    for f, head, h in zip(features, clip.heads.values(), expected, strict=True):
        assert_close(f @ head.weight, h)
        assert h.std(0).max() > 1e-3 * h.abs().max()  # the inputs do differ


def test_the_head_is_where_the_table_says(named: tuple[str, Clip]) -> None:
    name, clip = named
    place, D, bias = PLACES[name]
    module, _, last = place.rpartition(".")
    head = clip.heads["visual"]
    assert head.owner is clip.model.get_submodule(module)
    assert head.name == last
    assert head.weight.shape == (D + bias, clip.config["model_cfg"]["embed_dim"])
    assert head.has_bias == bias


def test_an_edit_is_exact_restored_saved_and_loaded_by_plain_open_clip(
    named: tuple[str, Clip], tmp_path: Path
) -> None:
    _, clip = named
    edit = random_edit(clip)
    before = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}

    # Exact.
    with edit.applied(clip, 0.7):
        edited = embeddings(clip.model, clip)
    features = (clip.image_features(pixels(clip)), clip.text_features(PROMPTS))
    for f, (tower, head), h in zip(features, clip.heads.items(), edited, strict=True):
        assert_close(f @ edit.weight(head.weight, 0.7, tower), h)
    for h, unedited in zip(edited, embeddings(clip.model, clip), strict=True):
        assert (h - unedited).abs().max() > 0.01 * unedited.abs().max()

    # Restored.
    for name, tensor in clip.model.state_dict().items():
        assert torch.equal(tensor, before[name])

    # Saved and loaded.
    folder = save_edited(clip, edit, 0.7, tmp_path / "edited")
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    for found, expected in zip(embeddings(model.eval(), clip), edited, strict=True):
        assert_close(found, expected, 1e-6)


def test_coca_normalises_unasked_and_its_features_are_taken_before(tmp_path: Path) -> None:
    clip = load_clip(write(tmp_path / "coca", "coca_ViT-B-32"), device="cpu")
    x = pixels(clip)
    with torch.no_grad():
        own = clip.model.encode_image(x)
    h = clip.image_features(x) @ clip.heads["visual"].weight
    torch.testing.assert_close(own, torch.nn.functional.normalize(h, dim=-1), atol=1e-5, rtol=0)
    assert not torch.allclose(own, h, atol=1e-2)


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "ViT-SO400M-16-SigLIP-i18n-256"])
def test_a_tower_without_a_projection_gets_the_identity_and_puts_out_the_very_same(
    name: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / name, name)
    model, config = build(name)
    with small_timm(name):
        clip = load_clip(folder, device="cpu")
    assert torch.equal(clip.heads["visual"].weight, torch.eye(32))
    if config["text_cfg"].get("proj_type") == "none":
        assert torch.equal(clip.heads["text"].weight, torch.eye(32))
    for found, expected in zip(embeddings(clip.model, clip), embeddings(model, clip), strict=True):
        assert torch.equal(found, expected)


def test_the_identity_is_of_the_towers_precision(tmp_path: Path) -> None:
    name = "ViT-SO400M-16-SigLIP-i18n-256"
    folder = write(tmp_path / name, name)
    with small_timm(name):
        clip = load_clip(folder, device="cpu", precision="bf16")
    assert all(head.tensors()[0].dtype is torch.bfloat16 for head in clip.heads.values())


def test_no_identity_where_the_width_is_not_the_embeddings() -> None:
    model, config = build("ViT-SO400M-16-SigLIP-i18n-256")
    before = set(model.state_dict())
    add_projections(model, {**config, "embed_dim": 24})
    assert set(model.state_dict()) == before and config["vision_cfg"]["timm_proj"] == "none"


# ---- what is not supported says so by name


def test_attention_pooling_without_a_projection_is_refused_by_name() -> None:
    model, _ = build("ViT-B-16-SigLIP")
    kind = open_clip.get_model_config("ViT-B-16-SigLIP")["vision_cfg"]["timm_model_name"]
    with pytest.raises(
        ModelError, match=rf"image tower TimmModel \(\w+ {kind}\) ends in attention pooling"
    ):
        image_head(model)


def test_a_text_tower_without_a_projection_is_refused_by_name() -> None:
    model, _ = build("ViT-SO400M-16-SigLIP-i18n-256")
    with pytest.raises(
        ModelError,
        match=r"text tower TextTransformer ends in no linear projection \(text_projection",
    ):
        text_head(model)


def test_a_norm_after_the_projection_is_refused() -> None:
    class Normed(open_clip.transformer.VisionTransformer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.layer_norm(super().forward(x), (16,))

    model, _ = tiny_model("vit")
    x = torch.randn(2, 3, 32, 32)
    check_head(image_head(model), lambda: model.encode_image(x), "image")
    model.visual.__class__ = Normed
    with pytest.raises(
        ModelError, match=r"image tower: its output is not its features times Normed\.proj"
    ):
        check_head(image_head(model), lambda: model.encode_image(x), "image")


def test_tokens_instead_of_one_embedding_are_refused() -> None:
    head = Head(torch.nn.Sequential(torch.nn.Linear(8, 4)), "0")
    with pytest.raises(ModelError, match="something follows"):
        check_head(head, lambda: head.owner(torch.ones(2, 3, 8)), "image")


# ---- Hugging Face text towers


class StandIn(torch.nn.Module):
    """A transformer by another name: HFTextEncoder asks no more of one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(50, width)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=torch.tanh(self.embedding(input_ids)))


def hugging_face_tower(proj: torch.nn.Module, width: int = 12) -> torch.nn.Module:
    """open_clip's own adapter around the stand-in."""
    tower = HFTextEncoder.__new__(HFTextEncoder)
    torch.nn.Module.__init__(tower)
    tower.transformer, tower.proj = StandIn(width), proj
    tower.pooler, tower.output_tokens = open_clip.hf_model.MeanPooler(), False
    tower.pooler.cls_token_position = 0
    tower.config = SimpleNamespace(pad_token_id=0)
    return tower


PROJECTIONS: dict[str, Callable[[], torch.nn.Module]] = {
    "linear": lambda: torch.nn.Linear(12, EMBED, bias=False),
    "mlp": lambda: torch.nn.Sequential(
        torch.nn.Linear(12, 14, bias=False), torch.nn.GELU(), torch.nn.Linear(14, EMBED, bias=False)
    ),
}


@pytest.mark.parametrize(("kind", "D"), [("linear", 12), ("mlp", 14)])
def test_the_last_layer_of_a_hugging_face_projection_is_the_head(kind: str, D: int) -> None:
    tower = hugging_face_tower(PROJECTIONS[kind]())
    head = text_head(SimpleNamespace(text=tower))
    tokens = torch.tensor([[1, 2, 3, 0], [7, 8, 9, 10]])
    with torch.no_grad():
        with head.bypassed() as finish:
            f = finish(tower(tokens))
        assert f.shape == (2, D)
        assert_close(f @ head.weight, tower(tokens))
        head.write(2 * head.weight)
        assert_close(2 * f @ head.weight / 2, tower(tokens))


def test_a_hugging_face_tower_without_projection_is_refused_by_name() -> None:
    model = SimpleNamespace(text=hugging_face_tower(torch.nn.Identity()))
    with pytest.raises(ModelError, match="text tower HFTextEncoder ends in no linear projection"):
        text_head(model)


@pytest.mark.parametrize("name", ["roberta-ViT-B-32", "xlm-roberta-base-ViT-B-32"])
def test_a_real_hugging_face_text_tower(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.RobertaConfig(
        vocab_size=49408,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    config.save_pretrained(tmp_path / "text")
    folder = write(tmp_path / name, name, hf_model=tmp_path / "text")
    clip = load_clip(folder, device="cpu")
    assert isinstance(clip.model.text, HFTextEncoder)
    edit = random_edit(clip)
    with edit.applied(clip):
        edited = embeddings(clip.model, clip)
    W = edit.weight(clip.heads["text"].weight, 1.0, "text")
    assert_close(clip.text_features(PROMPTS) @ W, edited[1])
    out = save_edited(clip, edit, 1.0, tmp_path / "out")
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{out}")
    for found, expected in zip(embeddings(model.eval(), clip), edited, strict=True):
        assert_close(found, expected, 1e-6)
