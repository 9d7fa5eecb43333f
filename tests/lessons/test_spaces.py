"""The parts of cell means, prompts and emerging prototypes, on a tiny random CLIP."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from torch.nn.functional import cosine_similarity, normalize

from clip_unlearn import Clip, ConceptGrid, load_clip, synthesize_prototypes
from clip_unlearn.core import InputError, UnknownNameError
from clip_unlearn.core.concepts import ALL_DOMAINS
from clip_unlearn.core.synthesis import Synthesis
from clip_unlearn.images.datasets import Features
from clip_unlearn.lessons.spaces import (
    REAL,
    TEXT,
    cell_means,
    heatmaps,
    labelled,
    matches,
    pair_map,
    pixel_features,
    prompt_panel,
    step_panel,
    strip,
    trace,
    two_way,
    unseen,
)
from clip_unlearn.lessons.widgets import png
from clip_unlearn.measure.setting import Setting


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_the_parts_sum_to_the_means_and_share_nothing() -> None:
    x = torch.randn(5, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    parts = two_way(x)
    assert torch.allclose(x.mean((0, 1)) + sum(parts.values()), x)
    a, b, c = (part.flatten() for part in parts.values())
    assert max(abs(a @ b), abs(a @ c), abs(b @ c)) < 1e-10
    assert parts["interaction"].mean(0).abs().max() < 1e-12
    assert parts["interaction"].mean(1).abs().max() < 1e-12


def test_class_plus_domain_has_no_interaction_and_one_odd_cell_has() -> None:
    by_class = torch.randn(5, 1, 7, dtype=torch.double)
    by_domain = torch.randn(1, 3, 7, dtype=torch.double)
    x = by_class + by_domain
    assert two_way(x)["interaction"].abs().max() < 1e-12
    x[2, 1] += 1
    interaction = two_way(x)["interaction"].square().sum(-1)  # (5, 3)
    assert interaction.argmax() == 2 * 3 + 1


def test_cell_means_are_those_of_a_loop_and_nan_without_images(
    features: Features, grid: ConceptGrid
) -> None:
    means = cell_means(features.f, features, grid.shape)
    for c, k in np.ndindex(*grid.shape):
        here = (features.class_of == c) & (features.domain_of == k)
        expected = features.f[here].mean(0)
        assert torch.allclose(means[c, k], expected, atol=1e-5, equal_nan=True)
    empty = grid.class_index("cat"), grid.domain_index("art painting")
    assert means[empty].isnan().all()
    assert means.isnan().any(-1).sum() == 1


def test_cell_means_among_some_images_leave_the_others_out(
    features: Features, grid: ConceptGrid
) -> None:
    dog = grid.class_index("dog")
    sketch = grid.domain_index("sketch")
    cell = (features.class_of == dog) & (features.domain_of == sketch)
    first, *rest = cell.nonzero().flatten().tolist()
    assert rest
    among = torch.ones(len(features), dtype=torch.bool)
    among[rest] = False
    means = cell_means(features.f, features, grid.shape, among)
    assert torch.allclose(means[dog, sketch], features.f[first])
    others = torch.ones(grid.shape, dtype=torch.bool)
    others[dog, sketch] = False
    everything = cell_means(features.f, features, grid.shape)
    assert torch.allclose(means[others], everything[others], equal_nan=True)


def test_pixels_are_normalised_as_files_are(clip: Clip, pictures: torch.Tensor) -> None:
    size = clip.image_size
    array = (255 * pictures[0, :, :size, :size]).to(torch.uint8)
    file = Image.fromarray(array.permute(1, 2, 0).numpy())
    expected = clip.image_features(clip.preprocess(file)[None])
    assert torch.allclose(pixel_features(clip, array[None] / 255), expected, atol=1e-4)


def test_the_pixel_kind_is_the_mirror_image_of_the_latent_kind_in_the_blend(
    clip: Clip, grid: ConceptGrid
) -> None:
    """What 02_visual_prototypes relies on to have the pixel kind of all cells without waiting."""
    how = {"per_cell": 2, "how": Synthesis(steps=2), "progress": False, "cache": False}
    kinds = {
        kind: synthesize_prototypes(clip, grid, kind=kind, **how).visual
        for kind in ("blend", "pixel", "latent")
    }
    b, pixel, u = (normalize(x, dim=-1) for x in kinds.values())
    assert (pixel - u).norm(dim=-1).min() > 0.1
    assert torch.allclose(2 * (u * b).sum(-1, keepdim=True) * b - u, pixel, atol=1e-5)


def test_matches_are_the_cosines_of_that_domain_best_first(setting: Setting) -> None:
    images = setting.task.images
    p = setting.prototypes
    index, cosine = matches(setting, "a dog", "sketch")
    t = setting.clip.text_features(["a dog"]) @ p.W_text
    assert torch.allclose(cosine, cosine_similarity(images.f[index] @ p.W, t), atol=1e-6)
    assert (cosine.diff() <= 0).all()
    sketches = (images.domain_of == p.grid.domain_index("sketch")).nonzero().flatten()
    assert index.sort().values.equal(sketches)
    assert len(matches(setting, "a dog", ALL_DOMAINS)[0]) == len(images)


def test_a_blank_prompt_and_an_unknown_domain_are_named(setting: Setting) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        matches(setting, "  ")
    with pytest.raises(UnknownNameError, match='unknown domain "scetch"'):
        matches(setting, "a dog", "scetch")


def test_words_with_an_all_zero_row_are_unseen(make_folder) -> None:
    clip = load_clip(make_folder("vit"), device="cpu")
    assert unseen(clip, "a sketch of a zebra") == []
    clip.model.token_embedding.weight[clip.tokenizer(["zebra"])[0, 1]] = 0
    assert unseen(clip, "a sketch of a Zebra") == ["Zebra"]
    assert unseen(load_clip(make_folder("custom-text"), device="cpu"), "a dog") == []


def test_the_prompt_panel_shows_the_mean_of_each_class(setting: Setting) -> None:
    panel = prompt_panel(setting, "a dog", "photo")
    index, cosine = matches(setting, "a dog", "photo")
    assert panel.numbers["best"] == pytest.approx(cosine.max().item())
    for c, name in enumerate(setting.task.grid.classes):
        of = setting.task.images.class_of[index] == c
        assert panel.numbers[name] == pytest.approx(cosine[of].mean().item(), abs=1e-6)


def test_the_prompt_panel_redraws_leaves_no_trace_and_forgives_a_blank_prompt(
    setting: Setting,
) -> None:
    panel = prompt_panel(setting, "a dog", ALL_DOMAINS)
    first = panel.image.value
    # Fewer pictures than places, and a class without any.
    panel.controls["domain"].value = "art painting"
    second = panel.image.value
    panel.controls["prompt"].value = " "
    assert "the prompt is empty" in panel.line.value and panel.numbers == {}
    panel.set(prompt="a dog", domain=ALL_DOMAINS)
    assert panel.image.value == first != second


def test_what_is_typed_is_shown_as_text_not_as_markup(setting: Setting, make_folder) -> None:
    clip = load_clip(make_folder("vit"), device="cpu")
    clip.model.token_embedding.weight[clip.tokenizer(["<img>"])[0, 1:4]] = 0
    panel = prompt_panel(
        Setting(clip, setting.prototypes, setting.task, None, 0.0), "a <img>", ALL_DOMAINS
    )
    assert "&lt;img&gt;" in panel.line.value and "<img>" not in panel.line.value


def test_a_trace_is_one_where_the_pictures_are_the_targets(
    clip: Clip, pictures: torch.Tensor
) -> None:
    f = pixel_features(clip, pictures)
    targets = normalize(f @ clip.heads["visual"].weight, dim=-1)
    real = 3 * f + 1
    frame = trace(clip, {0: pictures, 5: pictures.flip(0)}, targets, real)
    assert frame.index.name == "step"
    assert frame.loc[0, TEXT] == pytest.approx(1, abs=1e-5)
    assert frame.loc[0, REAL] == pytest.approx(1, abs=1e-5)
    assert (frame.loc[5] < frame.loc[0]).all()


def test_the_step_panel_shows_the_step_and_the_recipe_it_names(
    clip: Clip, pictures: torch.Tensor
) -> None:
    f = pixel_features(clip, pictures)
    target = normalize(f @ clip.heads["visual"].weight, dim=-1)
    kept = {
        "a": {0: pictures, 5: 1 - pictures, 10: pictures**2},
        "b": {0: pictures, 5: pictures**3, 10: pictures**4},
    }
    traces = {name: trace(clip, x, target, f) for name, x in kept.items()}
    panel = step_panel({name: (kept[name], traces[name]) for name in kept}, list("wxyz"))
    seen = set()
    for recipe in kept:
        for step in (0, 5, 10):
            panel.set(step=step, recipe=recipe)
            assert panel.numbers == pytest.approx(dict(traces[recipe].loc[step]))
            assert f"step {step}" in panel.line.value
            seen.add(panel.image.value)
    assert len(seen) == 6
    stands = "step 10, recipe b"
    assert repr(panel) == f"Live panel ({stands}); open the notebook in JupyterLab to move it."


def test_a_strip_has_each_picture_under_its_row_with_its_caption(
    setting: Setting, pictures: torch.Tensor
) -> None:
    shown = labelled(setting, [0, 3])
    figure = strip({"files": shown, "pixels": [(x, f"no. {i}") for i, x in enumerate(pictures)]})
    assert len(figure.axes) == 2 * 4
    titles = [ax.get_title(loc="left") for ax in figure.axes[::4]]
    assert titles == ["files", "pixels"]
    captions = [ax.texts[0].get_text() for ax in figure.axes]
    own = [caption for _, caption in shown]
    assert captions == [*own, " ", " ", "no. 0", "no. 1", "no. 2", "no. 3"]
    assert captions[0].startswith(setting.task.grid.classes[setting.task.images.class_of[0]])
    assert np.allclose(figure.axes[5].images[0].get_array(), pictures[1].permute(1, 2, 0))


def test_a_map_is_centred_along_the_gap(setting: Setting) -> None:
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    figure = pair_map({"x": x, "y": x + 2}, {1: "one"})
    offsets = [[c.get_offsets().mean(0) for c in ax.collections] for ax in figure.axes]
    for apart, (a, b) in zip((True, True, False), offsets, strict=True):
        assert (np.linalg.norm(a - b) > 1) == apart
    across = offsets[1][1][0] - offsets[1][0][0]
    assert across == pytest.approx(6, abs=1e-4)  # |2, ..., 2| in 9 dimensions
    assert len(png(figure)) > 10_000


def test_names_on_a_map_stand_beside_the_axes_and_apart() -> None:
    x = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    figure = pair_map({"x": x, "y": x + 2}, {0: "none", 1: "one", 2: "two", 3: "three"})
    figure.canvas.draw()
    for ax in figure.axes:
        # Of the text alone, without the line that leads to the point.
        words = [Text.get_window_extent(text) for text in ax.texts]
        assert len(words) == 4
        assert min(word.x0 for word in words) > ax.bbox.x1
        words.sort(key=lambda word: word.y0)
        assert all(below.y1 <= above.y0 for below, above in pairwise(words))


def test_a_scale_even_about_zero_gets_a_diverging_map() -> None:
    frame = pd.DataFrame([[0.5, -0.001]], ["dog"], ["photo", "sketch"])
    for scale, expected in (((-1, 1), "PuOr_r"), ((0, 1), "mako")):
        figure = heatmaps({"a": frame, "b": frame}, "x", scale)
        assert figure.axes[1].collections[0].cmap.name == expected
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == ["0.50", "0.00"]
