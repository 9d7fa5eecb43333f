"""How fast the parts are that a person waits for: `make benchmarks`.

Nothing here passes or fails on time.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from clip_unlearn import (
    BUNDLED_SYNONYMS,
    ConceptGrid,
    ForgetRequest,
    Prototypes,
    bundled_images,
    encode,
    evaluate,
    fit_edit,
    grid_of,
    load_clip,
    make_task,
    synthesize_prototypes,
)


def random_prototypes(classes: int, domains: int, m: int, D: int, d: int) -> Prototypes:
    """Prototypes of the given size with random numbers in them."""
    rng = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    class_names = tuple(f"class {i}" for i in range(classes))
    domain_names = tuple(f"domain {i}" for i in range(domains))
    return Prototypes(
        ConceptGrid(class_names, domain_names),
        visual=random(classes, domains, m, D),
        reached=normalize(random(classes, domains, d), dim=-1),
        text_features=random(classes, domains, d),
        class_features=random(classes, d),
        W=random(D, d) / D**0.5,
        W_text=random(d, d) / d**0.5,
        span=torch.eye(d),
    )


@pytest.mark.parametrize(
    ("request_", "method"),
    [
        (ForgetRequest(("class 0",), ("domain 0",)), None),
        (ForgetRequest(("class 0",)), None),
        (ForgetRequest(None, ("domain 0",)), None),
        (ForgetRequest(("class 0",), ("domain 0",)), "retain-aware"),
        (ForgetRequest(("class 0",), ("domain 0",)), "null-space"),
    ],
    ids=lambda v: str(v),
)
def test_fit_edit_of_vit_b_32_size(benchmark, request_: ForgetRequest, method: str | None) -> None:
    """D = 768, d = 512, 7 x 4 cells, 8 prototypes each."""
    prototypes = random_prototypes(7, 4, 8, 768, 512)
    benchmark(fit_edit, prototypes, request_, method)


def test_one_strength_change_with_all_metrics(benchmark) -> None:
    """1,280 cached images and the unrelated ones: every group, test prompts and paraphrases."""
    clip = load_clip("bundled")
    images = bundled_images()
    others = bundled_images(unrelated=True)
    grid = grid_of(images, BUNDLED_SYNONYMS)
    prototypes = synthesize_prototypes(clip, grid)
    edit = fit_edit(prototypes, ForgetRequest(("dog",), ("sketch",)))
    task = make_task(clip, grid, encode(clip, images))
    unrelated = make_task(clip, grid_of(others), encode(clip, others))
    benchmark(evaluate, prototypes, edit, task, (0.8,), unrelated)


def test_synthesis_of_one_cell(benchmark) -> None:
    """8 pixel prototypes of one cell of the bundled model, without the cache."""
    clip = load_clip("bundled")
    grid = ConceptGrid(("dog",), ("sketch",))
    benchmark.pedantic(
        synthesize_prototypes, (clip, grid), {"progress": False, "cache": False}, rounds=2
    )
