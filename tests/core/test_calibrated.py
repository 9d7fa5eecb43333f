"""Calibrated edits, as theorems on random tensors: what detectors read, and what moves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn.core import calibrated as cal
from clip_unlearn.core.nullspace import TowerPrototypes
from clip_unlearn.core.variants import (
    calibrated_prompts,
    complete,
    interaction,
    interaction_detectors,
)

C, K, D, WIDTH, LEVEL = 5, 3, 40, 24, 0.4


@dataclass(frozen=True)
class World:
    """Texts are class + domain around a mean; images lie half as far apart, around another mean."""

    W: Tensor
    text: Tensor
    class_text: Tensor
    image: Tensor
    constant: Tensor

    @property
    def known(self) -> TowerPrototypes:
        """What an edit is fitted on; the prototypes stand for the pictures."""
        return TowerPrototypes(self.W, self.text, self.class_text, self.visual)

    @property
    def seen(self) -> TowerPrototypes:
        """The same with the images as the pictures."""
        return self.known._replace(reached=self.image)

    @property
    def visual(self) -> Tensor:
        """(C, K, 1, D) features whose embeddings are the images."""
        return self.image[:, :, None] @ torch.linalg.pinv(self.W)


def world(classes: int = C, width: int = WIDTH, seed: int = 0) -> World:
    rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(width, width, generator=rng)).Q
    a, d = torch.randn(classes, width, generator=rng), torch.randn(K, width, generator=rng)
    constant, common = basis[:2]
    a, d = (0.4 * normalize(x - x @ basis[:2].T @ basis[:2], dim=-1) for x in (a, d))
    a, d = a - a.mean(0), d - d.mean(0)
    text = a[:, None] + d[None] + 0.3 * common
    return World(
        W=torch.randn(D, width, generator=rng) / D**0.5,
        text=text,
        class_text=normalize(a, dim=-1),
        image=0.5 * (a[:, None] + d[None]) + LEVEL * constant,
        constant=constant,
    )


def mask_of(*cells: tuple[int, int], classes: int = C) -> Tensor:
    mask = torch.zeros(classes, K, dtype=torch.bool)
    mask[tuple(zip(*cells, strict=True))] = True
    return mask


def close(a: Tensor, b: Tensor | float, atol: float = 2e-2) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b).expand_as(a), atol=atol, rtol=0)


CELLS = mask_of((1, 2))
TWO = mask_of((1, 0), (1, 2), (3, 0), (3, 2))


def test_without_removes_few_directions_and_leaves_what_is_orthogonal_to_them() -> None:
    rng = torch.Generator().manual_seed(1)
    rows = torch.randn(4, WIDTH, generator=rng)
    Q = torch.linalg.qr(cal.centred(rows)[:3].T).Q
    x = torch.randn(6, WIDTH, generator=rng)
    close(cal.without(cal.centred(rows), x), x - x @ Q @ Q.T, atol=5e-2)


@pytest.mark.parametrize("n", [4, WIDTH - 1, WIDTH, 60])
def test_without_is_its_formula_whatever_the_number_of_rows(n: int) -> None:
    rng = torch.Generator().manual_seed(n)
    rows, x = (torch.randn(m, WIDTH, generator=rng, dtype=torch.float64) for m in (n, 5))
    S = rows.T @ rows
    lam = 0.5 * S.diagonal().mean()
    expected = lam * torch.linalg.inv(S + lam * torch.eye(WIDTH, dtype=S.dtype)) @ x.T
    close(cal.without(rows, x, ridge=0.5), expected.T, atol=1e-9)


def test_rows_of_nothing_remove_nothing() -> None:
    x = torch.randn(3, WIDTH)
    close(cal.without(torch.zeros(4, WIDTH), x), x, atol=1e-5)


def test_a_dual_direction_moves_its_class_by_one_and_no_other_against_another() -> None:
    w = world()
    r, lead = cal.dual_directions(w.class_text, 1e-4), cal.class_leads(w.class_text)
    close((r * lead).sum(1), 1.0, atol=1e-5)
    scores = r @ w.class_text.T  # row c: what a step along r_c adds to each score
    for c in range(C):
        others = scores[c][torch.arange(C) != c]
        close(others - others.mean(), 0.0, atol=5e-3)
        close(scores[c, c] - others.mean(), 1.0, atol=1e-4)


def test_at_the_default_ridge_other_classes_hardly_move_against_each_other() -> None:
    w = world()
    scores = cal.dual_directions(w.class_text) @ w.class_text.T
    for c in range(C):
        others = scores[c][torch.arange(C) != c]
        assert (others - others.mean()).abs().max() < 0.25 < 0.3 < scores[c, c] - others.mean()


def test_the_scale_is_that_of_pictures_and_prototypes_together() -> None:
    w = world()
    far = 2 * (w.image - w.image.mean((0, 1))) + w.image.mean((0, 1))  # prototypes that overshoot
    share = cal.SHARE_OF_PICTURES
    expected = share * 0.5 + (1 - share) * 1.0
    close(cal.calibrate(w.text, far, w.image).scale, expected, atol=1e-3)


def test_pictures_that_show_no_domain_do_not_blow_the_edit_up() -> None:
    w = world()
    blind = w.image.mean(1, keepdim=True).expand_as(w.image)
    assert cal.calibrate(w.text, blind, blind).scale == pytest.approx(cal.LEAST_SCALE)


def test_a_larger_ridge_is_a_shorter_way() -> None:
    w = world()
    lengths = [cal.dual_directions(w.class_text, ridge).norm(dim=1) for ridge in (1e-3, 1.0, 100.0)]
    assert (lengths[0] > lengths[1]).all() and (lengths[1] > lengths[2]).all()


def test_calibration_finds_the_constant_and_the_scale_of_images() -> None:
    w = world()
    found = cal.calibrate(w.text, w.image, w.image)
    close(found.constant @ w.constant, 1.0)
    close(found.level, LEVEL, atol=1e-3)
    close(found.scale, 0.5, atol=1e-3)


@pytest.mark.parametrize("mask", [CELLS, TWO], ids=["one-cell", "two-classes-two-domains"])
def test_a_cell_detector_reads_the_domains_that_go_and_no_class(mask: Tensor) -> None:
    w = world()
    l = cal.cell_detectors(cal.calibrate(w.text, w.image, w.image), w.text, mask)  # noqa: E741
    for i, c in enumerate(mask.any(1).nonzero().flatten().tolist()):
        for other in range(C):  # the domains of class c, for whatever class is shown
            close((w.image[other][mask[c]] @ l[i]).mean(), 1.0)
            close((w.image[other][~mask[c]] @ l[i]).mean(), 0.0)


def test_a_near_domain_is_read_like_a_far_one() -> None:
    """Domain 2 is forgotten; domain 0 is made to lie near it, and domain 1 farther off."""
    w = world()
    domains = w.text.mean(0)
    nearer = w.text.clone()
    nearer[:, 0] += 0.5 * (domains[2] - domains[0])
    nearer += w.text.mean((0, 1)) - nearer.mean((0, 1))
    image = 0.5 * (nearer - nearer.mean((0, 1))) + LEVEL * w.constant

    def spread(neighbours: float) -> float:
        calibration = cal.calibrate(nearer, image, image)
        detector = cal.cell_detectors(calibration, nearer, CELLS, neighbours)[0]
        reading = image[1] @ detector
        close(reading[2], 1.0)
        close(reading[:2].mean(), 0.0)
        return (reading[0] - reading[1]).item()

    without_it, soft, exact = spread(1e9), spread(cal.NEIGHBOURS), spread(0.0)
    assert without_it > 0.3
    assert abs(soft) < 0.6 * without_it
    assert abs(exact) < 0.02


def test_a_class_detector_reads_its_class_and_no_domain() -> None:
    w = world()
    chosen = torch.arange(C) == 2
    l = cal.class_detectors(cal.calibrate(w.text, w.image, w.image), w.text, w.image, chosen)[0]  # noqa: E741
    reading = (w.image @ l).mean(1)
    close(reading[2], 1.0, atol=1e-3)
    close(reading[~chosen].mean(), 0.0, atol=1e-3)


def leads(w: World, embeddings: Tensor) -> Tensor:
    """(C, K): how far each image's score for its own class is above the mean of the others."""
    return torch.einsum("ckd,cd->ck", embeddings, cal.class_leads(w.class_text))


def edited(w: World, factors: tuple[Tensor, Tensor], strength: float = 1.0) -> Tensor:
    A, B = factors
    return w.visual[:, :, 0] @ (w.W + strength * A @ B)


@pytest.mark.parametrize(
    "mask", [CELLS, mask_of((1, 0), (1, 2))], ids=["one-domain", "two-domains"]
)
def test_at_beta_one_a_forgotten_cell_falls_back_to_the_others_and_the_same_class_stays(
    mask: Tensor,
) -> None:
    w = world()
    # Prototypes are unit vectors in the edit; the images of this world are not, so hand over what
    # they reach.
    factors = cal.calibrated(w.seen, mask, beta=1.0)
    image = cal.mean_embeddings(w.W, w.visual)
    calibration = cal.calibrate(w.text, image, w.image)
    reading = w.image[mask.any(1)] @ cal.cell_detectors(calibration, w.text, mask)[:, :, None]
    before, after = leads(w, w.image)[mask.any(1)], leads(w, edited(w, factors))[mask.any(1)]
    close(before - after, reading[..., 0] * before.amax(1, keepdim=True), atol=1e-4)


def test_an_edit_of_two_classes_is_the_sum_of_their_edits() -> None:
    w = world()
    both = cal.calibrated(w.seen, TWO)
    parts = [TWO & (torch.arange(C) == c)[:, None] for c in (1, 3)]
    single = [cal.calibrated(w.seen, m) for m in parts]
    close(both[0] @ both[1], sum(A @ B for A, B in single), atol=1e-5)


def test_a_request_that_mixes_whole_classes_and_cells_is_refused() -> None:
    w = world()
    mixed = mask_of((0, 0), (0, 1), (0, 2), (1, 0))
    with pytest.raises(ValueError, match="fit two edits"):
        cal.calibrated(w.known, mixed)


def test_prompts_of_a_forgotten_class_move_and_no_others() -> None:
    w = world()
    mask = mask_of((2, 0), (2, 1), (2, 2))
    W_text = torch.eye(WIDTH)
    A, B = calibrated_prompts(w.seen._replace(W=W_text), mask, beta=1.0)
    moved = w.text.mean(1) @ A @ B
    drop = -(w.image[2] @ moved[2])  # of the class's score, for its images in each domain
    close((drop - leads(w, w.image)[2]).amin(), 0.0)
    assert moved[[0, 1, 3, 4]].mean(0).norm() < 0.05 * moved[2].norm()


def test_redirect_pulls_a_domain_to_the_farthest_class_and_leaves_the_rest() -> None:
    w = world()
    mask = mask_of(*[(c, 2) for c in range(C)])
    scores = edited(w, cal.redirect(w.known, mask)) @ w.class_text.T
    n = int((w.class_text @ w.class_text.T).sum(1).argmin())
    assert scores[:, 2].argmax(-1).eq(n).all()
    before = (w.image @ w.class_text.T)[:, :2]
    assert scores[:, :2].argmax(-1).equal(before.argmax(-1))


@pytest.mark.parametrize(
    "mask", [CELLS, mask_of((1, 0), (1, 1), (1, 2))], ids=["one-cell", "class"]
)
def test_redirect_refuses_anything_but_whole_domains(mask: Tensor) -> None:
    w = world()
    with pytest.raises(ValueError, match="whole domains"):
        cal.redirect(w.known, mask)
    with pytest.raises(ValueError, match="at least one domain must stay"):
        cal.redirect(w.known, torch.ones_like(mask))


def test_with_more_classes_than_dimensions_the_edit_is_finite_and_still_forgets() -> None:
    w = world(classes=60)
    mask = mask_of((7, 1), classes=60)
    before = leads(w, w.image)
    after = leads(w, edited(w, cal.calibrated(w.known, mask)))
    assert after.isfinite().all()
    assert after[7, 1] < 0.2 * before[7, 1] and (after[7, [0, 2]] > 0.6 * before[7, [0, 2]]).all()


def test_what_pictures_reach_decides_how_much_is_removed() -> None:
    w = world()
    weak, strong = (
        cal.calibrated(w.known._replace(reached=x), CELLS)[0].norm()
        for x in (
            w.image,
            w.image + 0.3 * normalize(cal.class_leads(w.class_text), dim=-1)[:, None],
        )
    )
    assert strong > 1.5 * weak


# ---- from a search too


def with_interaction(size: float, seed: int = 1) -> TowerPrototypes:
    """The world, whose features also hold something of each cell alone, which W does not see."""
    p = world().seen
    rng = torch.Generator().manual_seed(seed)
    unseen = torch.linalg.svd(p.W.T).Vh[WIDTH:]  # (D - WIDTH, D)
    own = size * torch.randn(C, K, D - WIDTH, generator=rng) @ unseen
    return p._replace(features=p.features + own[:, :, None])


def unit_cells(p: TowerPrototypes) -> Tensor:
    """(C, K, D) features of unit embeddings."""
    return (p.features / (p.features @ p.W).norm(dim=-1, keepdim=True)).mean(2)


@pytest.mark.parametrize("mask", [CELLS, TWO], ids=["one cell", "two classes"])
def test_an_interaction_detector_reads_what_is_neither_class_nor_domain(mask: Tensor) -> None:
    p = with_interaction(0.3)
    i = interaction_detectors(p, mask, doubt=1e-6)
    cells = unit_cells(p)
    for n, c in enumerate(mask.any(1).nonzero().flatten().tolist()):
        goes = torch.zeros(C, K, 1)
        goes[c] = mask[c][:, None].float()
        # What is additive reads 0; so each cell reads the interaction of where the class goes.
        close(cells @ i[:, n], interaction(goes)[..., 0], atol=3e-2)
        close(cells.mean((0, 1)) @ i[:, n], 0.0, atol=1e-2)
        for text in (p.text.mean(1), p.text.mean(0)):
            close(cal.centred(text) @ p.W.T @ i[:, n], 0.0, atol=2e-2)


def test_the_interaction_has_no_mean_over_classes_or_domains() -> None:
    x = torch.randn(C, K, 4)
    found = interaction(x)
    close(found.mean(0), 0.0, atol=1e-6)
    close(found.mean(1), 0.0, atol=1e-6)
    a, d = torch.randn(C, 1, 4), torch.randn(1, K, 4)
    close(interaction(x + a + d), found, atol=1e-5)


def test_where_features_are_sums_complete_is_calibrated() -> None:
    (A, B), (A2, B2) = (fit(with_interaction(0.0), TWO) for fit in (cal.calibrated, complete))
    assert torch.equal(B, B2)
    close(A2, A, atol=1e-4)


def test_with_more_doubt_less_of_the_interaction_is_read() -> None:
    p = with_interaction(0.3)
    sizes = [float(interaction_detectors(p, CELLS, doubt).norm()) for doubt in (0.01, 0.2, 5, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3 * sizes[0]


def test_complete_brings_a_cell_near_the_others_of_its_domain_and_leaves_it_elsewhere() -> None:
    p = with_interaction(0.3)
    lead = cal.class_leads(p.class_text)[1]

    def ahead(edit: tuple[Tensor, Tensor]) -> Tensor:
        """(K,) how far class 1 is ahead of the other classes of a domain in a search for it."""
        A, B = edit
        scores = unit_cells(p) @ (p.W + A @ B) @ lead  # (C, K)
        return scores[1] - scores[[0, 2, 3, 4]].mean(0)

    before = ahead((torch.zeros(D, 1), torch.zeros(1, WIDTH)))
    calibrated = ahead(cal.calibrated(p, CELLS))
    close(calibrated, before, atol=2e-2)

    # The interaction of one cell of K is 1 - 1/K there and -1/K in the other domains, more than
    # that of the other classes.
    amount = torch.einsum("kd,d->k", p.reached[1], lead).max()
    step = complete(p, CELLS, doubt=1e-6)
    moved = (before - ahead(step)) / amount
    close(moved, torch.tensor([-1 / K, -1 / K, 1 - 1 / K]), atol=5e-2)
