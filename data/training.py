"""How the bundled CLIP is trained: its architecture, pictures, captions, loss and steps.

Every step writes fresh captions for every cell, class and domain (templates, domain words and
synonyms drawn at random) and asks, for each kind of caption, which one is true of the image.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import open_clip
import torch
from captions import captions_of_cells, captions_of_classes, captions_of_domains
from PIL import Image
from render import DOMAINS, FIGURES, draw_cell
from torch import Tensor
from torch.nn.functional import (
    affine_grid,
    cross_entropy,
    grid_sample,
    log_softmax,
    normalize,
    one_hot,
)
from tqdm import tqdm

Cells = Sequence[tuple[str, str]]
CELLS: Cells = [(d, c) for d in DOMAINS for c in FIGURES]
# Image towers by name: "vit8" is the bundled one, the others are its company in the zoo.
TOWERS: dict[str, dict] = {
    "vit8": {
        "image_size": 64,
        "patch_size": 8,
        "width": 192,
        "layers": 4,
        "head_width": 32,
        "mlp_ratio": 4.0,
    },
    "vit16": {
        "image_size": 64,
        "patch_size": 16,
        "width": 192,
        "layers": 4,
        "head_width": 32,
        "mlp_ratio": 4.0,
    },
    "resnet": {  # open_clip's ModifiedResNet: attention pooling, and a projection with a bias
        "image_size": 64,
        "layers": (1, 1, 1, 1),
        "width": 24,
        "head_width": 64,
    },
    "convnet": {
        "image_size": 64,
        "timm_model_name": "regnetx_002",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
}


def config_json(tower: str = "vit8") -> dict:
    """The open_clip configuration of a CLIP with an image tower of that name."""
    return {
        "model_cfg": {
            "embed_dim": 96,
            "vision_cfg": TOWERS[tower],
            "text_cfg": {
                "context_length": 16,
                "vocab_size": 49408,
                "width": 96,
                "heads": 3,
                "layers": 3,
            },
        },
        "preprocess_cfg": {
            "mean": list(open_clip.OPENAI_DATASET_MEAN),
            "std": list(open_clip.OPENAI_DATASET_STD),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


def training_images(per_cell: int, workers: int, cache: Path | None) -> Tensor:
    """(cells, per_cell, 3, 64, 64) uint8, drawn anew; `cache` keeps them between trial runs."""
    if cache and cache.is_file():
        return torch.from_numpy(np.load(cache))
    jobs = [("training", d, c, per_cell) for d, c in CELLS]
    with ProcessPoolExecutor(workers) as pool:
        drawn = [
            small(cell)
            for cell in tqdm(pool.map(draw_cell, jobs), total=len(jobs), desc="rendering")
        ]
    images = np.stack(drawn)
    if cache:
        np.save(cache, images)
    return torch.from_numpy(images)


def small(pictures: np.ndarray) -> np.ndarray:
    """The model's own preprocessing, up to the normalisation: 96 -> 64 px, channels first."""
    resized = [
        np.asarray(Image.fromarray(p).resize((64, 64), Image.Resampling.BICUBIC)) for p in pictures
    ]
    return np.stack(resized).transpose(0, 3, 1, 2)


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Shift, scale, turn, mirror and brighten each image of a batch (n, 3, s, s) in [0, 1]."""
    n = len(x)

    def spread(limit: float) -> Tensor:
        return (torch.rand(n, generator=rng) * 2 - 1) * limit

    angle, scale = spread(0.15), 1 + spread(0.15)
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    theta = torch.stack(
        [
            torch.stack([mirror * scale * angle.cos(), -scale * angle.sin(), spread(0.12)], 1),
            torch.stack([mirror * scale * angle.sin(), scale * angle.cos(), spread(0.12)], 1),
        ],
        1,
    )
    x = grid_sample(
        x,
        affine_grid(theta, list(x.shape), align_corners=False),
        padding_mode="reflection",
        align_corners=False,
    )
    return (x * (1 + spread(0.12))[:, None, None, None] + spread(0.06)[:, None, None, None]).clamp(
        0, 1
    )


def captions(rng: np.random.Generator, cells: Cells = CELLS) -> list[str]:
    """Fresh captions for one step: of each cell, each class and each domain in `cells`."""
    classes, domains = names_of(cells)
    every_cell = [(d, c) for d in domains for c in classes]
    of_cell = dict(zip(every_cell, captions_of_cells(rng, classes, domains), strict=True))
    return (
        [of_cell[cell] for cell in cells]
        + captions_of_classes(rng, classes)
        + captions_of_domains(rng, domains)
    )


def names_of(cells: Cells) -> tuple[list[str], list[str]]:
    """The classes and the domains in `cells`, each once."""
    return list({c: None for _, c in cells}), list({d: None for d, _ in cells})


def loss_of(h: Tensor, t: Tensor, scale: Tensor, cell: Tensor, cells: Cells = CELLS) -> Tensor:
    """Bring each image and its true captions together, among all captions of each kind.

    h (n, d) and t (m, d) unit embeddings, m captions; cell (n,) index into `cells`.
    """
    classes, domains = names_of(cells)
    class_of = torch.tensor([classes.index(c) for _, c in cells])[cell]
    domain_of = torch.tensor([domains.index(d) for d, _ in cells])[cell]
    logits = scale * h @ t.T
    parts = logits.split([len(cells), len(classes), len(domains)], 1)
    total = torch.zeros(())
    for part, target in zip(parts, (cell, class_of, domain_of), strict=True):
        true = one_hot(target, part.shape[1]).float()
        shown = true.sum(0) > 0
        per_caption = (
            -(log_softmax(part[:, shown], 0) * true[:, shown] / true[:, shown].sum(0)).sum(0).mean()
        )
        total = total + cross_entropy(part, target) + 0.5 * per_caption
    return total / 3


def used_tokens(tokenizer, cells: Cells) -> Tensor:
    """Ids of every token that a caption can hold, found by drawing many."""
    rng = np.random.default_rng(0)
    return torch.unique(
        tokenizer(sorted({text for _ in range(600) for text in captions(rng, cells)}))
    )


def new_model(tokenizer, cells: Cells, tower: str = "vit8") -> open_clip.CLIP:
    """Random weights; the rows of tokens that are in no caption are zero, so that they compress.

    The other rows start five times larger than open_clip's: at the usual size all short captions
    look alike for long.
    """
    torch.manual_seed(0)
    model = open_clip.CLIP(**copy.deepcopy(config_json(tower)["model_cfg"]))
    used = torch.zeros(49408, dtype=torch.bool)
    used[used_tokens(tokenizer, cells)] = True
    with torch.no_grad():
        model.token_embedding.weight.mul_(5)[~used] = 0
    return model


def optimizers(model: open_clip.CLIP) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the transformers, AdamW for everything else.

    Muon needs far fewer steps here.
    """
    inner = {n: p for n, p in model.named_parameters() if p.ndim == 2 and "resblocks" in n}
    outer = [p for n, p in model.named_parameters() if n not in inner and p.requires_grad]
    return [
        torch.optim.Muon(inner.values(), lr=0.02, weight_decay=0.05),
        torch.optim.AdamW(outer, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def step(
    adjust: list[torch.optim.Optimizer], loss: Tensor, model: open_clip.CLIP, bf16: bool = True
) -> None:
    """Update all weights once; keep the logit scale where softmax is neither flat nor a spike."""
    for optimizer in adjust:
        optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    # torch's Muon always iterates in bfloat16, which a CPU without it emulates, some twenty times
    # slower.
    with nullcontext() if bf16 else patch.object(Tensor, "bfloat16", Tensor.float):
        for optimizer in adjust:
            optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(30))


def warm_up_text(
    model: open_clip.CLIP,
    tokenizer,
    rng: np.random.Generator,
    cells: Cells,
    bf16: bool,
    steps: int = 60,
) -> None:
    """Train the text tower alone, for seconds: two captions of the same thing should agree.

    Images then have something to aim at.
    """
    adjust, same = optimizers(model), torch.arange(len(captions(rng, cells)))
    for _ in range(steps):
        a, b = normalize(
            model.encode_text(tokenizer(captions(rng, cells) + captions(rng, cells))), dim=-1
        ).chunk(2)
        logits = model.logit_scale.exp() * a @ b.T
        step(adjust, cross_entropy(logits, same) + cross_entropy(logits.T, same), model, bf16)


def train(
    images: Tensor,
    cell: Tensor,
    minutes: float,
    steps: int | None = None,
    cells: Cells = CELLS,
    bf16: bool = True,
    batch: int = 96,
    tower: str = "vit8",
) -> open_clip.CLIP:
    """Train for a time or a number of steps, which the learning rate follows: warm-up, then cosine.

    images (n, 3, 64, 64) uint8; cell (n,) says which of `cells` each shows. No image or caption of
    another cell is seen. `bf16` False for a CPU that has no bfloat16 of its own.
    """
    tokenizer = open_clip.tokenizer.SimpleTokenizer(context_length=16)
    model = new_model(tokenizer, cells, tower)
    rng = torch.Generator().manual_seed(0)
    numpy_rng = np.random.default_rng(1)
    warm_up_text(model, tokenizer, numpy_rng, cells, bf16)

    adjust = optimizers(model)
    rates = [group["lr"] for optimizer in adjust for group in optimizer.param_groups]
    preprocess = config_json(tower)["preprocess_cfg"]
    mean, std = (torch.tensor(preprocess[k])[:, None, None] for k in ("mean", "std"))

    start, bar = time.monotonic(), tqdm(desc=f"training {tower}", mininterval=10)
    while (done := bar.n / steps if steps else (time.monotonic() - start) / (60 * minutes)) < 1:
        for group, rate in zip((g for o in adjust for g in o.param_groups), rates, strict=True):
            group["lr"] = rate * min(1, done / 0.02) * 0.5 * (1 + math.cos(math.pi * done))
        index = torch.randint(len(images), (batch,), generator=rng)
        x = (augment(images[index].float() / 255, rng) - mean) / std
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            h, t = model.encode_image(x), model.encode_text(tokenizer(captions(numpy_rng, cells)))
        h, t = normalize(h.float(), dim=-1), normalize(t.float(), dim=-1)
        loss = loss_of(h, t, model.logit_scale.exp(), cell[index], cells)
        step(adjust, loss, model, bf16)
        bar.update()
        if bar.n % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}", done=f"{done:.0%}")
    return model.eval()


def flat(images: Tensor) -> tuple[Tensor, Tensor]:
    """images (cells, n, 3, s, s) as (cells * n, 3, s, s), and the cell of each."""
    cell = torch.arange(len(images)).repeat_interleave(images.shape[1])
    return images.flatten(0, 1), cell
