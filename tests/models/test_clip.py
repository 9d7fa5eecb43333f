"""Whatever the tower, features times W are the embedding; and what cannot be loaded is named."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import CONFIGS, Bomb, tiny_model

from clip_unlearn import Clip, load_clip
from clip_unlearn.core import ModelError
from clip_unlearn.models.clip import CONFIG, _device, _only_weights_are_unpickled
from clip_unlearn.models.sources import WEIGHTS
from clip_unlearn.models.towers import Head, image_head, text_head

PROMPTS = ["a dog", "a sketch of a house", "this is a cat"]


def pixels(clip: Clip, n: int = 3) -> torch.Tensor:
    s = clip.image_size
    return torch.randn(n, 3, s, s, generator=torch.Generator().manual_seed(0))


# ---- features and heads


@pytest.mark.parametrize("kind", CONFIGS)
def test_image_features_times_w_are_the_image_embedding(
    clips: Callable[[str], Clip], kind: str
) -> None:
    clip = clips(kind)
    x = pixels(clip)
    with torch.no_grad():
        expected = clip.model.encode_image(x)
        f = clip.image_features(x)
    W = clip.heads["visual"].weight
    assert W.shape == (f.shape[1], expected.shape[1])
    torch.testing.assert_close(f @ W, expected, atol=1e-5, rtol=1e-5)
    assert expected.std(0).max() > 1e-4  # the pictures do differ


@pytest.mark.parametrize("kind", CONFIGS)
def test_text_features_times_w_are_the_text_embedding(
    clips: Callable[[str], Clip], kind: str
) -> None:
    clip = clips(kind)
    with torch.no_grad():
        expected = clip.model.encode_text(clip.tokenizer(PROMPTS))
    torch.testing.assert_close(
        clip.text_features(PROMPTS) @ clip.heads["text"].weight, expected, atol=1e-5, rtol=1e-5
    )
    assert expected.std(0).max() > 1e-3


@pytest.mark.parametrize("kind", ["timm-linear-bias", "modified-resnet"])
def test_a_bias_is_one_more_row_met_by_a_constant_one(
    clips: Callable[[str], Clip], kind: str
) -> None:
    clip = clips(kind)
    f = clip.image_features(pixels(clip))
    head = clip.heads["visual"]
    assert torch.equal(f[:, -1], torch.ones(len(f)))
    assert torch.equal(head.weight[-1], head.held.bias)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("tower", ["visual", "text"])
def test_a_written_weight_is_read_back_and_used(kind: str, tower: str) -> None:
    model, config = tiny_model(kind)
    model.requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("RN50", context_length=16)
    clip = Clip(model, None, tokenizer, kind, config)

    def embed() -> torch.Tensor:
        if tower == "visual":
            return model.encode_image(pixels(clip))
        return model.encode_text(tokenizer(PROMPTS))

    before = embed()
    head = clip.heads[tower]
    head.write(2 * head.weight)
    # The bias is a row of W: it doubles too.
    torch.testing.assert_close(embed(), 2 * before, atol=1e-5, rtol=1e-5)


def test_weight_is_a_copy(clip: Clip) -> None:
    W = clip.heads["visual"].weight
    W.zero_()
    assert clip.heads["visual"].weight.norm() > 0


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("find", [image_head, text_head], ids=["visual", "text"])
def test_bypassed_restores_the_very_module_after_an_exception(
    kind: str, find: Callable[..., Head]
) -> None:
    model, _ = tiny_model(kind)
    names = set(model.state_dict())
    head = find(model)
    held = head.held
    with pytest.raises(RuntimeError, match="boom"), head.bypassed():
        assert head.held is not held
        raise RuntimeError("boom")
    assert head.held is held
    assert set(model.state_dict()) == names


def test_image_features_are_differentiable(clip: Clip) -> None:
    x = pixels(clip).requires_grad_(True)
    clip.image_features(x).sum().backward()
    assert x.grad.abs().max() > 0


def test_half_precision_features_come_out_in_single() -> None:
    model, config = tiny_model("vit")
    clip = Clip(model.to(torch.bfloat16), None, None, "vit", config)
    f = clip.image_features(pixels(clip).to(torch.bfloat16))
    assert f.dtype is torch.float32
    assert clip.heads["visual"].weight.dtype is torch.float32


def test_image_size_is_a_number_whether_the_model_has_one_or_two(
    clips: Callable[[str], Clip],
) -> None:
    sizes = {kind: clips(kind).model.visual.image_size for kind in ("vit", "modified-resnet")}
    assert sizes == {"vit": (32, 32), "modified-resnet": 64}
    assert clips("vit").image_size == 32
    assert clips("modified-resnet").image_size == 64


def test_normalized_is_what_the_preprocessing_does(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.transforms.functional import normalize

    mean = (0.1, 0.2, 0.3)
    std = (0.4, 0.5, 0.6)
    monkeypatch.setattr(clip.model.visual, "image_mean", mean)
    monkeypatch.setattr(clip.model.visual, "image_std", std)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(clip.normalized(x), normalize(x, mean, std))

    x.requires_grad_(True)
    clip.normalized(x).sum().backward()
    assert torch.allclose(x.grad[0, :, 0, 0], 1 / torch.tensor(std))


@pytest.mark.parametrize(("side", "find"), [("image", image_head), ("text", text_head)])
def test_an_unsupported_tower_is_named(side: str, find: Callable) -> None:
    class OddTower(torch.nn.Module):
        pass

    model = torch.nn.Module()
    model.visual = model.text = OddTower()
    with pytest.raises(ModelError, match=f"{side} tower OddTower"):
        find(model)


def test_load_clip_refuses_a_tower_without_projection(make_folder: Callable[..., Path]) -> None:
    folder = make_folder("timm-linear")
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["vision_cfg"]["timm_proj"] = "none"
    (folder / CONFIG).write_text(json.dumps(config))
    tensors = load_file(folder / WEIGHTS)
    del tensors["visual.head.proj.weight"]
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelError, match="image tower TimmModel"):
        load_clip(folder, device="cpu")


# ---- the fingerprint


def test_fingerprint_follows_the_architecture(clip: Clip, make_folder: Callable[..., Path]) -> None:
    """The same weights with another activation make another model, with caches of its own."""
    folder = make_folder()
    assert load_clip(folder, device="cpu").fingerprint() == clip.fingerprint()
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["quick_gelu"] = True
    (folder / CONFIG).write_text(json.dumps(config))
    assert load_clip(folder, device="cpu").fingerprint() != clip.fingerprint()


def test_fingerprint_follows_the_weights() -> None:
    clips = [tiny_clip(seed) for seed in (0, 0, 1)]
    first, again, other = (clip.fingerprint() for clip in clips)
    assert first == again != other
    with torch.no_grad():
        clips[0].model.visual.conv1.weight.view(-1)[0] += 1e-3
    assert clips[0].fingerprint() != first


def tiny_clip(seed: int = 0) -> Clip:
    """One that a test may change."""
    model, config = tiny_model("vit", seed)
    return Clip(model.requires_grad_(False), None, None, "tiny", {"model_cfg": config})


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What has been hashed since the start of the test, one entry a hash."""
    started: list[bytes] = []
    sha256 = hashlib.sha256

    def counting(data: bytes = b"", **options: bool) -> object:
        started.append(data)
        return sha256(data, **options)

    monkeypatch.setattr(hashlib, "sha256", counting)
    return started


def test_the_weights_are_hashed_once(hashes: list[bytes]) -> None:
    clip = tiny_clip()
    first = clip.fingerprint()
    clip.image_features(pixels(clip))  # takes the head away for a while, and puts it back
    assert clip.fingerprint() == first
    assert len(hashes) == 1


def test_an_edit_and_its_exact_restore_are_both_hashed_anew(hashes: list[bytes]) -> None:
    clip = tiny_clip()
    before = clip.fingerprint()
    head = clip.heads["visual"]
    W = head.weight
    head.write(2 * W)
    assert clip.fingerprint() != before
    head.write(W)
    assert clip.fingerprint() == before
    assert len(hashes) == 3


def test_a_part_of_a_tensor_that_changes_in_place_is_noticed() -> None:
    clip = tiny_clip()
    for name, tensor in clip.model.state_dict().items():
        before = clip.fingerprint()
        tensor.view(-1)[0] += 1
        assert clip.fingerprint() != before, name


def put_another_parameter(clip: Clip, values: torch.Tensor) -> None:
    clip.model.visual.proj = None
    clip.model.visual.proj = torch.nn.Parameter(values, requires_grad=False)


def put_other_memory(clip: Clip, values: torch.Tensor) -> None:
    """As a conversion to another precision does: neither the object nor its counter changes."""
    clip.model.visual.proj.data = values


@pytest.mark.parametrize("put", [put_another_parameter, put_other_memory])
def test_other_values_in_the_place_of_the_old_are_noticed(
    put: Callable[[Clip, torch.Tensor], None],
) -> None:
    """Without holding on to the old tensors, new ones could get their identity or their memory."""
    clip = tiny_clip()
    seen = {clip.fingerprint()}
    for number in range(20):
        for _ in range(1 + number % 3):  # some get the place of the one before
            put(clip, torch.full((32, 16), float(number)))
        seen.add(clip.fingerprint())
    assert len(seen) == 21


def test_another_precision_and_back_is_noticed() -> None:
    clip = tiny_clip()
    before = clip.fingerprint()
    clip.model.half().float()
    assert clip.fingerprint() != before


def test_a_changed_architecture_is_noticed() -> None:
    clip = tiny_clip()
    before = clip.fingerprint()
    clip.config["model_cfg"]["quick_gelu"] = True
    assert clip.fingerprint() != before


def test_tensors_that_count_no_changes_are_always_hashed(hashes: list[bytes]) -> None:
    with torch.inference_mode():
        clip = tiny_clip()
    before = clip.fingerprint()
    assert clip.fingerprint() == before
    with torch.inference_mode():
        clip.model.visual.proj.mul_(2)
    assert clip.fingerprint() != before
    assert len(hashes) == 3


# ---- loading


def test_a_loaded_clip_is_frozen_in_eval_mode_and_needs_no_prefix(
    clip_folder: Path, clip: Clip
) -> None:
    assert not clip.model.training and not any(p.requires_grad for p in clip.model.parameters())
    assert load_clip(f"local-dir:{clip_folder}", device="cpu").fingerprint() == clip.fingerprint()
    assert load_clip(str(clip_folder), device="cpu").fingerprint() == clip.fingerprint()


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model folder .*nowhere"):
        load_clip(f"local-dir:{tmp_path / 'nowhere'}")


def test_folder_without_config_is_an_error(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    (folder / CONFIG).unlink()
    with pytest.raises(ModelError, match=f"has no {CONFIG}"):
        load_clip(folder)


def test_folder_without_weights_is_an_error_not_a_random_model(
    make_folder: Callable[..., Path],
) -> None:
    folder = make_folder()
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"has no {WEIGHTS}"):
        load_clip(folder)


@pytest.mark.parametrize("suffix", ["pt", "bin", "pth"])
def test_a_pickle_is_refused_and_never_opened(
    make_folder: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    folder, trace = make_folder(), tmp_path / "opened"
    (folder / WEIGHTS).unlink()
    torch.save(Bomb(trace), folder / f"open_clip_pytorch_model.{suffix}")
    with pytest.raises(ModelError, match="pickle"):
        load_clip(folder)
    assert not trace.exists()


def test_a_pickle_beside_safetensors_is_not_what_is_loaded(
    make_folder: Callable[..., Path],
) -> None:
    folder = make_folder(seed=0)
    expected = load_clip(folder, device="cpu").fingerprint()
    (folder / WEIGHTS).rename(folder / "weights.safetensors")
    torch.save(tiny_model("vit", seed=1)[0].state_dict(), folder / "open_clip_pytorch_model.bin")
    try:
        assert load_clip(folder, device="cpu").fingerprint() == expected
    except ModelError as error:
        assert "pickle" in str(error)  # refusing is as good


@pytest.mark.parametrize("text", ["not json", "{}", '{"model_cfg": {"embed_dim": 16}}'])
def test_a_broken_config_is_one_clear_line(make_folder: Callable[..., Path], text: str) -> None:
    folder = make_folder()
    (folder / CONFIG).write_text(text)
    with pytest.raises(ModelError, match=r"cannot load .*vit-0") as caught:
        load_clip(folder)
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_the_config_are_an_error(make_folder: Callable[..., Path]) -> None:
    folder = make_folder()
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["embed_dim"] = 8
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="cannot load"):
        load_clip(folder)


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(
        ModelError, match='"ViT-Z-99" is neither a folder nor an open_clip model name'
    ):
        load_clip("ViT-Z-99", "openai")


def test_missing_tag_lists_the_tags() -> None:
    with pytest.raises(
        ModelError, match=r"ViT-B-32 needs --pretrained: one of .*laion2b_s34b_b79k"
    ):
        load_clip("ViT-B-32")


def test_unknown_tag_lists_the_tags() -> None:
    with pytest.raises(
        ModelError, match=r'"openia": no such tag or file; ViT-B-32 has the tags .*openai'
    ):
        load_clip("ViT-B-32", "openia")


def test_weights_that_are_no_file_say_what_is_there(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "notes.txt").touch()
    folder = make_folder()
    for given, words in {
        tmp_path / "weights": r"it is a folder \(with notes.txt\)",
        folder: rf"it is an open_clip folder, which is loaded by --model {folder}",
        tmp_path / "missing.pt": "there is no such file",
        "missing.pth": "there is no such file",
    }.items():
        with pytest.raises(ModelError, match=words):
            load_clip("ViT-B-32", str(given))


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_cut_weights_are_named_with_the_reason(make_folder: Callable[..., Path], size: int) -> None:
    folder = make_folder()
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:size])
    with pytest.raises(ModelError, match=rf"{weights}\): .*header"):
        load_clip(folder)


def test_weights_of_another_shape_are_named_with_what_does_not_fit(
    make_folder: Callable[..., Path],
) -> None:
    folder = make_folder()
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["embed_dim"] = 24
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"size mismatch for .*visual\.proj: "):
        load_clip(folder)


def test_a_pickle_file_as_tag_is_refused(tmp_path: Path) -> None:
    torch.save(Bomb(tmp_path / "opened"), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="a pickle is not loaded"):
        load_clip("ViT-B-32", str(tmp_path / "weights.pt"))
    assert not (tmp_path / "opened").exists()


@pytest.fixture
def named(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Teaches open_clip, for one test, a small model "tiny" with two tags.

    "right", and "mismatched", which was trained with QuickGELU.
    """
    folder = make_folder()
    cfg = json.loads((folder / CONFIG).read_text())["model_cfg"]
    tag = {"file": str(folder / WEIGHTS), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    tags = {"right": tag, "mismatched": {**tag, "quick_gelu": True}}
    for name in ("tiny", "tiny-16"):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, copy.deepcopy(cfg))
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, tags)
    return folder


def test_quickgelu_mismatch_is_an_error(named: Path) -> None:
    assert load_clip("tiny", "right", device="cpu").name == "tiny"
    with pytest.raises(ModelError, match=r"QuickGELU mismatch: mismatched .* load tiny-quickgelu"):
        load_clip("tiny", "mismatched", device="cpu")


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L/14", "RN50"])
def test_the_openai_weights_need_quickgelu_and_that_is_said_before_anything_is_fetched(
    name: str,
) -> None:
    with pytest.raises(
        ModelError, match=f"QuickGELU mismatch: openai .* load {name.replace('/', '-')}-quickgelu"
    ):
        load_clip(name, "openai")


def test_a_name_with_a_slash_is_open_clips_name_with_a_dash(named: Path) -> None:
    clip = load_clip("tiny/16", "right", device="cpu")
    assert clip.config["model_cfg"] == open_clip.get_model_config("tiny-16")


def test_a_safetensors_file_stands_for_a_tag(named: Path) -> None:
    clip = load_clip("tiny", str(named / WEIGHTS), device="cpu")
    assert clip.fingerprint() == load_clip(named, device="cpu").fingerprint()
    with pytest.raises(ModelError, match="cannot load tiny"):
        load_clip("tiny", str(named / "absent.safetensors"), device="cpu")


def test_a_file_takes_the_preprocessing_that_all_tags_of_its_architecture_share(
    named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = load_clip("tiny", str(named / WEIGHTS), device="cpu")
    assert clip.model.visual.image_std == (0.25,) * 3

    third = {"file": "", "mean": (0.4,) * 3, "std": (0.3,) * 3}
    tags = {**open_clip.pretrained._PRETRAINED["tiny"], "third": third}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    clip = load_clip("tiny", str(named / WEIGHTS), device="cpu")
    # They differ: open_clip's default.
    assert clip.model.visual.image_std == open_clip.OPENAI_DATASET_STD


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "training checkpoint"])
def test_a_state_dict_loads(named: Path, tmp_path: Path, suffix: str, wrapped: bool) -> None:
    tensors = load_file(named / WEIGHTS)
    if wrapped:
        renamed = {f"module.{key}": value for key, value in tensors.items()}
        tensors = {"epoch": 3, "state_dict": renamed}
    file = tmp_path / f"weights.{suffix}"
    torch.save(tensors, file)
    loaded = load_clip("tiny", file, device="cpu")
    assert loaded.fingerprint() == load_clip(named, device="cpu").fingerprint()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_torchscript_archive_is_refused(named: Path, tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "scripted.pt"))
    with pytest.raises(ModelError, match=r"scripted\.pt is a TorchScript archive"):
        load_clip("tiny", tmp_path / "scripted.pt")


def test_a_pickle_that_breaks_the_safe_reader_itself_is_named(named: Path, tmp_path: Path) -> None:
    # Its arguments are no tuple.
    (tmp_path / "odd.bin").write_bytes(b"\x80\x02ccollections\nOrderedDict\nK\x01R.")
    with pytest.raises(ModelError, match=r"odd\.bin is not a state dict"):
        load_clip("tiny", tmp_path / "odd.bin")


@pytest.mark.parametrize("before", [None, "0"])
@pytest.mark.parametrize("name", ["bundled", "broken"])
def test_loading_leaves_the_environment_as_it_was(
    name: str, before: str | None, make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    if before is not None:
        monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", before)
    environment = dict(os.environ)
    if name == "bundled":
        load_clip("bundled", device="cpu")
    else:
        folder = make_folder()
        save_file({"a": torch.ones(1)}, folder / WEIGHTS)
        with pytest.raises(ModelError, match="cannot load"):
            load_clip(folder, device="cpu")
    assert dict(os.environ) == environment


def test_a_pickle_is_refused_on_a_second_reading_without_weights_only(tmp_path: Path) -> None:
    """open_clip reads again without that argument after a TypeError; older torch then unpickles."""
    torch.save(Bomb(tmp_path / "opened"), tmp_path / "bomb.bin")
    with _only_weights_are_unpickled(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "bomb.bin", weights_only=False)
    assert not (tmp_path / "opened").exists()


def test_a_file_that_is_no_state_dict_is_named(named: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("not weights")
    with pytest.raises(ModelError, match=r"notes\.pt"):
        load_clip("tiny", tmp_path / "notes.pt")


def test_weights_without_an_architecture_ask_for_one(named: Path) -> None:
    with pytest.raises(ModelError, match=rf"{WEIGHTS} is a file: name its architecture"):
        load_clip(named / WEIGHTS)


# ---- precision and device


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("kind", ["vit", "timm-linear-bias", "custom-text", "modified-resnet"])
def test_half_precision_computes_the_edit_in_single(
    make_folder: Callable[..., Path], kind: str, precision: str, dtype: torch.dtype
) -> None:
    clip = load_clip(make_folder(kind), device="cpu", precision=precision)
    visual = clip.heads["visual"]
    text = clip.heads["text"]
    assert visual.tensors()[0].dtype is dtype and visual.weight.dtype is torch.float32

    x = pixels(clip)
    f = clip.image_features(x)
    g = clip.text_features(PROMPTS)
    assert f.dtype is g.dtype is torch.float32

    with torch.no_grad():
        image = clip.model.encode_image(x.to(dtype)).float()
        words = clip.model.encode_text(clip.tokenizer(PROMPTS)).float()
    for found, h in ((f @ visual.weight, image), (g @ text.weight, words)):
        torch.testing.assert_close(found, h, rtol=0, atol=0.02 * float(h.abs().max()))


def test_an_unknown_precision_lists_the_known(clip_folder: Path) -> None:
    with pytest.raises(ModelError, match='unknown precision "int8": fp32, fp16, bf16'):
        load_clip(clip_folder, precision="int8")


@pytest.fixture
def devices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As if the machine had these devices and no others."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in request.param)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in request.param)
    return request.param


@pytest.mark.parametrize(
    "devices", [["cuda", "mps", "cpu"], ["cuda", "cpu"], ["mps", "cpu"], ["cpu"]], indirect=True
)
def test_device_auto_is_the_best_that_is_there(devices: list[str]) -> None:
    assert _device("auto") == devices[0]
    assert [_device(kind) for kind in devices] == devices


@pytest.mark.parametrize("devices", [["mps", "cpu"]], indirect=True)
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(
    clip_folder: Path, devices: list[str], name: str
) -> None:
    with pytest.raises(ModelError, match=f'no device "{name}" on this machine: mps, cpu'):
        load_clip(clip_folder, device=name)


def test_an_unknown_device_lists_the_known(clip_folder: Path) -> None:
    with pytest.raises(ModelError, match='unknown device "abacus": auto, cuda, mps, cpu'):
        load_clip(clip_folder, device="abacus")


@pytest.mark.parametrize("device", [None, "auto"])
def test_a_clip_is_loaded_on_that_device(clip_folder: Path, device: str | None) -> None:
    assert load_clip(clip_folder, device=device).device.type == _device("auto")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_fingerprint_is_the_same_and_the_mathematics_stays_on_the_cpu(
    clip_folder: Path,
) -> None:
    here, there = (load_clip(clip_folder, device=device) for device in ("cpu", "cuda"))
    assert here.fingerprint() == there.fingerprint()
    assert torch.equal(here.heads["visual"].weight, there.heads["visual"].weight)
    x = pixels(here)
    torch.testing.assert_close(
        there.image_features(x).cpu(), here.image_features(x), atol=1e-3, rtol=1e-3
    )
    torch.testing.assert_close(
        there.text_features(PROMPTS), here.text_features(PROMPTS), atol=1e-3, rtol=1e-3
    )
