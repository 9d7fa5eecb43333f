"""Tiny things to test with: random CLIPs of every kind, pictures, a request of each paradigm."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file

from clip_unlearn import ForgetRequest
from clip_unlearn.core.edit import METHODS

ROOT = Path(__file__).resolve().parents[2]
CLASSES, DOMAINS = ("cat", "dog", "house"), ("art_painting", "photo", "sketch")
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16}
RESNET18 = {
    "timm_model_name": "resnet18",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "image_size": 32,
}
# One small configuration for each place where open_clip keeps a final projection.
CONFIGS: dict[str, dict] = {
    "vit": {"vision_cfg": VIT},
    "timm-linear": {"vision_cfg": {**RESNET18, "timm_proj": "linear"}},
    "timm-linear-bias": {"vision_cfg": {**RESNET18, "timm_proj": "linear", "timm_proj_bias": True}},
    "timm-mlp": {"vision_cfg": {**RESNET18, "timm_proj": "mlp"}},
    "modified-resnet": {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}
    },
    "custom-text": {"vision_cfg": VIT, "custom_text": True},
    "custom-text-bias": {
        "vision_cfg": VIT,
        "custom_text": True,
        "text_cfg": {**TEXT, "proj_bias": True},
    },
    "text-bias": {"vision_cfg": VIT, "text_cfg": {**TEXT, "proj_bias": True}},
}
REQUESTS = {
    "global": ForgetRequest(["dog"]),
    "domain-specific": ForgetRequest(["dog"], ["sketch"]),
    "whole-domain": ForgetRequest(None, ["sketch"]),
}

# Every method with every paradigm that it is made for; None is the paradigm's default.
PAIRS = [
    (paradigm, method)
    for paradigm in REQUESTS
    for method in (None, *METHODS)
    if method is None or paradigm in METHODS[method].paradigms
]


def tiny_model(kind: str, seed: int = 0) -> tuple[torch.nn.Module, dict]:
    """A random open_clip model of one kind, with its model_cfg.

    Prompts differ clearly, and biases are not zero.
    """
    cfg = {"embed_dim": 16, "text_cfg": dict(TEXT), **copy.deepcopy(CONFIGS[kind])}
    arguments = copy.deepcopy(cfg)
    build = open_clip.CustomTextCLIP if arguments.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(**arguments)
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if "token_embedding" in name or "attn.out_proj.weight" in name:
                    tensor.mul_(20)
                if name.endswith("bias"):
                    tensor.normal_(0, 0.1)
    return model.eval(), cfg


def write_folder(folder: Path, kind: str = "vit", seed: int = 0) -> Path:
    """A tiny model as an open_clip `local-dir:` folder."""
    model, cfg = tiny_model(kind, seed)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": cfg, "preprocess_cfg": {}})
    )
    tensors = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


def picture(number: int, size: int = 24) -> Image.Image:
    """A small picture of its own for each number."""
    noise = torch.rand(size, size, 3, generator=torch.Generator().manual_seed(number))
    return Image.fromarray((noise * 255).to(torch.uint8).numpy())


def write_images(
    root: Path, per_cell: int = 2, suffixes: tuple[str, ...] = ("jpg", "png", "webp")
) -> Path:
    """<domain>/<class>/N.<suffix>, the suffixes in turn; no cat is painted."""
    number = 0
    for domain in DOMAINS:
        for name in CLASSES:
            if (domain, name) == ("art_painting", "cat"):
                continue
            (root / domain / name).mkdir(parents=True)
            for i in range(per_cell):
                number += 1
                picture(number).save(
                    root / domain / name / f"{i}.{suffixes[number % len(suffixes)]}"
                )
    return root


class Bomb:
    """A pickle that would leave a trace if it were opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)
