"""How much of pixel synthesis is the CLIP's own forward and backward: `python tests/benchmarks/synthesis_share.py`.

The same batches go through the bare tower in a loop beside it, alternating, in processor seconds.
For the bundled CLIP and for open_clip's ViT-B-32 with random weights. Also the features of bfloat16
synthesis against those of float32.
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

from clip_unlearn import Synthesis, bundled_images, grid_of, load_clip
from clip_unlearn.core.prototypes import text_prototypes
from clip_unlearn.core.synthesis import batch_size, pixel_prototypes
from clip_unlearn.models.clip import Clip


def bare(clip: Clip, goals: torch.Tensor, n: int, steps: int) -> None:
    """Forward and backward of as many pictures, in the same batches, and the last forward."""
    size, W = clip.model.visual.image_size, clip.heads["visual"].weight
    size = size[0] if isinstance(size, (tuple, list)) else size
    for _ in range(steps):
        for part in torch.rand(n, 3, size, size).split(batch_size(size)):
            part.requires_grad_(True)
            h = normalize(clip.image_features(part) @ W, dim=-1)
            (h @ goals[0]).sum().backward()
    with torch.no_grad():  # the features of the finished pictures
        for part in torch.rand(n, 3, size, size).split(batch_size(size)):
            clip.image_features(part)


def seconds(work: Callable[..., object], *args: object) -> float:
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def share(clip: Clip, goals: torch.Tensor, per_cell: int, steps: int, rounds: int) -> float:
    """Median of bare time / time of synthesis."""
    how, n, found = replace(Synthesis(), steps=steps), len(goals) * per_cell, []
    for _ in range(rounds):
        least = seconds(bare, clip, goals, n, steps)
        found.append(least / seconds(pixel_prototypes, clip, goals, per_cell, 0, how, False))
    return statistics.median(found)


def main() -> None:
    """Print the shares, and with --bf16 what bfloat16 costs."""
    clip, images = load_clip("bundled", device="cpu"), bundled_images()
    W, W_text = (clip.heads[t].weight for t in ("visual", "text"))
    goals = normalize(text_prototypes(clip, grid_of(images))[0].flatten(0, 1)[::2] @ W_text, dim=-1)
    print(
        f"bundled, 32 cells x 8: {share(clip, goals, 8, 4, 3):.2f} of the time is the tower's",
        flush=True,
    )
    model = open_clip.create_model("ViT-B-32").eval()
    large = Clip(model, None, None, "ViT-B-32", {})
    print(
        f"ViT-B-32, 4 pictures: {share(large, normalize(torch.randn(4, 512), dim=-1), 1, 1, 3):.2f}"
    )
    if "--bf16" in sys.argv:
        plain, short = (
            pixel_prototypes(clip, goals[::4], 2, 0, Synthesis(bf16=b), False)[0]
            for b in (False, True)
        )
        reach = [
            (normalize(f @ W, dim=-1) * goals[::4, None]).sum(-1).mean().item()
            for f in (plain, short)
        ]
        alike = cosine_similarity(plain.mean(1), short.mean(1)).mean().item()
        print(
            f"bfloat16: cosine to the text {reach[1]:.4f} (float32 {reach[0]:.4f}); cell means alike to {alike:.4f}"
        )
        other = pixel_prototypes(clip, goals[::4], 2, 1, Synthesis(), False)[0]
        print(
            f"another seed instead: alike to {cosine_similarity(plain.mean(1), other.mean(1)).mean().item():.4f}"
        )


if __name__ == "__main__":
    main()
