"""Train the bundled CLIP on freshly drawn images: about half an hour on two cores.

    python data/train_bundled_clip.py                 render, train, save, measure
    python data/train_bundled_clip.py --measure       only measure the shipped model

Writes data/bundled_clip. `training.py` says what is trained, and how.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import open_clip
import torch
from render import HERE, write_checksums
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize
from training import config_json, flat, train, training_images

from clip_unlearn.core.concepts import TEST_TEMPLATES, fill
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS
from clip_unlearn.images.datasets import Features, bundled_images, encode, grid_of
from clip_unlearn.models.clip import CONFIG, load_clip
from clip_unlearn.models.sources import WEIGHTS


def save(model: open_clip.CLIP, folder: Path, tower: str = "vit8") -> None:
    """Write an open_clip folder in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(config_json(tower), indent=2) + "\n")


def measure() -> None:
    """Print how well the model knows classes in each domain, synonyms, domains, other classes."""
    clip, images, others = (
        load_clip("bundled", device="cpu"),
        bundled_images(),
        bundled_images(unrelated=True),
    )
    f, u = encode(clip, images, cache=False), encode(clip, others, cache=False)
    W, grid = clip.heads["visual"].weight, grid_of(images, BUNDLED_SYNONYMS)

    def right(features: Features, prompts: list[list[str]], target: Tensor) -> Tensor:
        with torch.no_grad():
            rows = [
                clip.model.encode_text(clip.tokenizer(p), normalize=True).mean(0) for p in prompts
            ]
        return (
            (features.f @ W @ normalize(torch.stack(rows), dim=-1).T).argmax(1).eq(target).float()
        )

    def show(name: str, hits: Tensor) -> None:
        cells = "  ".join(
            f"{d} {hits[f.domain_of == k].mean():.3f}" for k, d in enumerate(grid.domains)
        )
        worst = min((hits[f.class_of == c].mean().item(), n) for c, n in enumerate(grid.classes))
        print(f"{name:34s} {hits.mean():.3f}   {cells}   worst class: {worst[1]} {worst[0]:.2f}")

    show("a photo of a {class} / a {class}", right(f, grid.test_prompts(), f.class_of))
    show("paraphrases", right(f, grid.paraphrase_prompts(), f.class_of))
    for i in (0, 1):
        prompts = [
            [fill(t, "class", BUNDLED_SYNONYMS[c][i]) for t in TEST_TEMPLATES] for c in grid.classes
        ]
        show(f"synonym {i + 1}", right(f, prompts, f.class_of))
    show(
        "naming the domain",
        right(f, [[f"a {d}", f"this is a {d}"] for d in grid.domains], f.domain_of),
    )
    unrelated = right(u, grid_of(others).test_prompts(), u.class_of)
    print(f"{'unrelated classes':34s} {unrelated.mean():.3f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--minutes", type=float, default=26, help="of training, after rendering")
    parser.add_argument("--steps", type=int, help="of training, instead of minutes")
    parser.add_argument(
        "--no-bf16", action="store_true", help="for a CPU that has no bfloat16 of its own"
    )
    parser.add_argument("--per-cell", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--cache", type=Path, help="keep the rendered training images in this .npy file"
    )
    options = parser.parse_args()
    if not options.measure:
        torch.set_num_threads(2)
        images = training_images(options.per_cell, options.workers, options.cache)
        model = train(*flat(images), options.minutes, options.steps, bf16=not options.no_bf16)
        save(model, HERE / "bundled_clip")
        write_checksums()
    measure()


if __name__ == "__main__":
    main()
