"""open_clip's own configurations at reduced size: the same kinds of tower, one layer deep."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import open_clip
import timm
import torch
from safetensors.torch import save_file

EMBED, WIDTH = 16, 32
# What is passed to timm.create_model beside the configuration, to shrink a family; the model's name
# stays.
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": 1, "num_heads": 2}
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}
FASTVIT = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}
TIMM: dict[str, dict] = {
    "EVA01-g-14": VIT,
    "EVA02-B-16": VIT,
    "PE-Core-T-16-384": VIT,
    "MobileCLIP-B": {"img_size": 64, "depth": 1},
    "MobileCLIP-S1": FASTVIT,
    "MobileCLIP2-S3": {"layers": (1, 1, 1, 1, 1), "embed_dims": (8, 16, 32, 64, 64)},
    "ViT-B-16-SigLIP": VIT,
    "ViT-SO400M-16-SigLIP-i18n-256": VIT,
    "ViTamin-S": {"img_size": 32, "depth": 1},
    "convnext_base": CONVNEXT,
    "convnext_large_d": CONVNEXT,
    "swin_base_patch4_window7_224": {
        "img_size": 32,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 2, 2, 2),
    },
    "vit_medium_patch16_gap_256": VIT,
    "vit_relpos_medium_patch16_cls_224": VIT,
}
SUPPORTED = (
    "ViT-B-32",
    "ViT-B-32-quickgelu",
    "ViT-H-14-CLIPA",
    "ViT-H-14-worldwide",
    "RN50",
    "coca_ViT-B-32",
    "coca_base",
    "EVA01-g-14",
    "EVA02-B-16",
    "PE-Core-T-16-384",
    "MobileCLIP-B",
    "MobileCLIP-S1",
    "MobileCLIP2-S3",
    "ViT-B-16-SigLIP",
    "ViT-SO400M-16-SigLIP-i18n-256",
    "ViTamin-S",
    "convnext_base",
    "convnext_large_d",
    "swin_base_patch4_window7_224",
    "vit_medium_patch16_gap_256",
    "vit_relpos_medium_patch16_cls_224",
)


def reduced_config(name: str) -> dict:
    """The model_cfg of an open_clip configuration, shrunk; the kind of its towers stays."""
    config = copy.deepcopy(open_clip.get_model_config(name))
    config["embed_dim"] = WIDTH if config["vision_cfg"].get("timm_proj") == "none" else EMBED
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision:
        vision["image_size"] = TIMM[name].get("img_size", 64)
        vision["timm_model_pretrained"] = False
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}
    else:
        vision |= {"layers": 1, "width": 32, "head_width": 16, "image_size": 32, "patch_size": 8}
        if vision.get("attentional_pool"):
            vision |= {"attn_pooler_queries": 4, "attn_pooler_heads": 2}
    # open_clip's own tokenizer stands in for those of transformers: 49407 ends its sentences.
    for key in ("hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"):
        text.pop(key, None)
    text |= {
        "width": 32,
        "heads": 2,
        "layers": 1,
        "context_length": 16,
        "vocab_size": 49408,
        "eos_id": 49407,
    }
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {
            "width": 32,
            "heads": 2,
            "layers": 1,
            "context_length": 16,
            "attn_pooler_heads": 2,
        }
    return config


@contextlib.contextmanager
def small_timm(name: str) -> Iterator[None]:
    """Inside, open_clip builds the configuration's timm tower at reduced size."""

    def create_model(model: str, **arguments: object) -> torch.nn.Module:
        return timm.create_model(model, **arguments, **TIMM.get(name, {}))

    small = SimpleNamespace(create_model=create_model)
    with mock.patch.object(open_clip.timm_model, "timm", small):
        yield


def _randomise(key: str, tensor: torch.Tensor) -> None:
    """Give weights a size that carries a signal: with the usual one all inputs come out alike."""
    if key.endswith((".gamma", ".ls1", ".ls2")):
        tensor.fill_(1.0)
    elif tensor.ndim == 1:
        tensor.add_(0.1 * torch.randn_like(tensor))
    elif tensor.ndim > 1:
        tensor.normal_(0, tensor[0].numel() ** -0.5)


def build(name: str, seed: int = 0, hf_model: Path | None = None) -> tuple[torch.nn.Module, dict]:
    """A random model of a reduced configuration, with its model_cfg.

    Norms and biases are not trivial. `hf_model` is a folder with the configuration of a Hugging
    Face text tower, in place of one from the hub.
    """
    config = reduced_config(name)
    if hf_model:
        config["text_cfg"] |= {"hf_model_name": str(hf_model), "hf_model_pretrained": False}
    arguments = copy.deepcopy(config)
    custom = arguments.pop("custom_text", False) or hf_model
    if not custom:
        kind = open_clip.CLIP
    elif "multimodal_cfg" in config:
        kind = open_clip.CoCa
    else:
        kind = open_clip.CustomTextCLIP
    with torch.random.fork_rng(), small_timm(name):
        torch.manual_seed(seed)
        model = kind(**arguments).eval()
        with torch.no_grad():
            for key, tensor in model.named_parameters():
                _randomise(key, tensor)
    return model, config


def write(folder: Path, name: str, seed: int = 0, hf_model: Path | None = None) -> Path:
    """The same as an open_clip `local-dir:` folder; load it inside `small_timm(name)`."""
    model, config = build(name, seed, hf_model)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    tensors = {key: tensor.contiguous().clone() for key, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
