"""How much of pixel synthesis is the CLIP's own forward and backward.

    python tests/benchmarks/synthesis_share.py [--bf16]

The same batches go through the bare tower in a loop beside it, alternating, in processor seconds.
For the bundled CLIP and for open_clip's ViT-B-32 with random weights. --bf16 also compares the
features of bfloat16 synthesis with those of float32.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import open_clip
import torch
from torch.nn.functional import cosine_similarity, normalize

from clip_unlearn import bundled_images, grid_of, load_clip
from clip_unlearn.core.prototypes import text_prototypes
from clip_unlearn.core.synthesis import Synthesis, batch_size, pixel_prototypes
from clip_unlearn.models.clip import Clip


def bare(clip: Clip, goals: torch.Tensor, n: int, steps: int) -> None:
    """Forward and backward of as many pictures, in the same batches, and the last forward."""
    size = clip.image_size
    W = clip.heads["visual"].weight
    for _ in range(steps):
        for part in torch.rand(n, 3, size, size).split(batch_size(clip)):
            part.requires_grad_(True)
            h = normalize(clip.image_features(part) @ W, dim=-1)
            (h @ goals[0]).sum().backward()
    with torch.no_grad():  # the features of the finished pictures
        for part in torch.rand(n, 3, size, size).split(batch_size(clip)):
            clip.image_features(part)


def seconds(work: Callable[..., object], *args: object) -> float:
    """Of processor time, so that other processes do not count."""
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def share(clip: Clip, goals: torch.Tensor, per_cell: int, steps: int, rounds: int) -> float:
    """Median of bare time / time of synthesis."""
    how = replace(Synthesis(), steps=steps)
    shares = []
    for _ in range(rounds):
        least = seconds(bare, clip, goals, len(goals) * per_cell, steps)
        ours = seconds(pixel_prototypes, clip, goals, per_cell, 0, how, False)
        shares.append(least / ours)
    return statistics.median(shares)


def compare_bf16(clip: Clip, goals: torch.Tensor) -> None:
    """Print how near bfloat16 comes to the text, and to the features of float32."""
    W = clip.heads["visual"].weight

    def synthesize(bf16: bool, seed: int = 0) -> torch.Tensor:
        return pixel_prototypes(clip, goals, 2, seed, Synthesis(bf16=bf16), False)[0]

    def to_text(f: torch.Tensor) -> float:
        return (normalize(f @ W, dim=-1) * goals[:, None]).sum(-1).mean().item()

    plain, short, other = synthesize(False), synthesize(True), synthesize(False, seed=1)
    near = cosine_similarity(plain.mean(1), short.mean(1)).mean().item()
    apart = cosine_similarity(plain.mean(1), other.mean(1)).mean().item()
    print(f"bfloat16: cosine to the text {to_text(short):.4f} (float32 {to_text(plain):.4f})")
    print(f"cosine of its cell means to those of float32: {near:.4f}")
    print(f"the same with another seed instead: {apart:.4f}")


def main() -> None:
    """Print the shares, and with --bf16 what bfloat16 costs."""
    clip = load_clip("bundled", device="cpu")
    grid = grid_of(bundled_images())
    texts = text_prototypes(clip, grid)[0].flatten(0, 1)[::2]
    goals = normalize(texts @ clip.heads["text"].weight, dim=-1)  # (32, d)
    small = share(clip, goals, per_cell=8, steps=4, rounds=3)
    print(f"bundled, 32 cells x 8: {small:.2f} of the time is the tower's", flush=True)

    model = open_clip.create_model("ViT-B-32").eval()
    large = Clip(model, None, None, "ViT-B-32", {})
    goals_large = normalize(torch.randn(4, 512), dim=-1)
    print(f"ViT-B-32, 4 pictures: {share(large, goals_large, per_cell=1, steps=1, rounds=3):.2f}")

    if "--bf16" in sys.argv:
        compare_bf16(clip, goals[::4])


if __name__ == "__main__":
    main()
