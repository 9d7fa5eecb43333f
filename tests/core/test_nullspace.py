"""The mathematics, as theorems on random tensors, against independent computations if possible."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from clip_unlearn.core import calibrated, nullspace, variants

C, K, D, WIDTH = 4, 3, 24, 12


@dataclass(frozen=True)
class Problem:
    """Random inputs of an edit, in the shapes of TowerPrototypes, and a mask (C, K)."""

    W: Tensor
    text: Tensor
    class_text: Tensor
    visual: Tensor
    mask: Tensor

    @property
    def known(self) -> nullspace.TowerPrototypes:
        """What an edit is fitted on."""
        return nullspace.TowerPrototypes(self.W, self.text, self.class_text, self.visual)


MASKS = {
    "one-cell": [(1, 2)],
    "class": [(1, 0), (1, 1), (1, 2)],
    "domain": [(c, 2) for c in range(C)],
}


def make(cells: str = "one-cell", m: int = 5, features: int = D, seed: int = 0) -> Problem:
    rng = torch.Generator().manual_seed(seed)
    mask = torch.zeros(C, K, dtype=torch.bool)
    mask[tuple(zip(*MASKS[cells], strict=True))] = True
    return Problem(
        W=torch.randn(features, WIDTH, generator=rng) / features**0.5,
        text=normalize(torch.randn(C, K, WIDTH, generator=rng), dim=-1),
        class_text=normalize(torch.randn(C, WIDTH, generator=rng), dim=-1),
        visual=torch.randn(C, K, m, features, generator=rng),
        mask=mask,
    )


@pytest.fixture(params=MASKS)
def p(request: pytest.FixtureRequest) -> Problem:
    return make(request.param)


METHODS: dict[str, Callable[[Problem], nullspace.Factors]] = {
    "null_space": lambda p: nullspace.null_space(p.known, p.mask),
    "retain_aware": lambda p: variants.retain_aware(p.known, p.mask),
    "oblique": lambda p: variants.oblique(p.known, p.mask),
    "refined": lambda p: variants.refined(p.known, p.mask, steps=5),
    "calibrated": lambda p: calibrated.calibrated(p.known, p.mask),
    "redirect": lambda p: calibrated.redirect(p.known, make("domain").mask),
    "random_subspace": lambda p: variants.random_subspace(p.W, 3, seed=7),
}


def close(a: Tensor, b: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


# ---- the basis


def test_basis_is_orthonormal_and_spans_the_vectors(p: Problem) -> None:
    vectors = p.text[p.mask]
    U = nullspace.orthonormal_basis(vectors)
    close(U.T @ U, torch.eye(U.shape[1]))
    close(vectors @ U @ U.T, vectors)


def test_basis_drops_directions_below_the_tolerance() -> None:
    vectors = torch.diag(torch.tensor([1.0, 0.5, 1e-5]))
    assert nullspace.orthonormal_basis(vectors).shape == (3, 2)
    assert nullspace.orthonormal_basis(vectors, rtol=1e-6).shape == (3, 3)


def test_basis_of_nothing_is_empty() -> None:
    assert nullspace.orthonormal_basis(torch.empty(0, 5)).shape == (5, 0)


# ---- the paper's null space


@pytest.mark.parametrize("use", ["text", "visual", "both"])
def test_null_space_projector_is_idempotent(p: Problem, use: str) -> None:
    A, B = nullspace.null_space(p.known, p.mask, use)
    projector = torch.eye(WIDTH) - B.T @ B
    close(projector @ projector, projector)
    close(projector, projector.T)
    edited = p.W + A @ B
    close(edited @ projector, edited)  # a second application changes nothing


def test_null_space_of_one_vector_is_the_textbook_formula() -> None:
    p = make("one-cell")
    t = p.text[1, 2]
    A, B = nullspace.null_space(p.known, p.mask, "text")
    close(A @ B, -torch.outer(p.W @ t, t))


def test_null_space_fixes_retained_prototypes_orthogonal_to_the_forget_span(p: Problem) -> None:
    U = nullspace.orthonormal_basis(p.text[p.mask])
    wanted = p.text[~p.mask] @ (torch.eye(WIDTH) - U @ U.T)
    f = wanted @ torch.linalg.pinv(p.W)  # features whose embeddings are orthogonal to the span
    A, B = nullspace.null_space(p.known, p.mask, "text")
    close(f @ (p.W + A @ B), f @ p.W)


@pytest.mark.parametrize("use", ["visual", "both"])
def test_null_space_moves_forgotten_prototypes_out_of_the_span(use: str) -> None:
    p = make("one-cell")
    A, B = nullspace.null_space(p.known, p.mask, use)
    f = p.visual[p.mask].flatten(0, 1)
    assert (f @ p.W @ B.T).norm() > 1  # before the edit they do lie in it
    close(
        f @ (p.W + A @ B), torch.zeros(len(f), WIDTH)
    )  # they span U themselves: nothing of them is left


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_score_of_a_prompt_in_the_span_is_exactly_one_minus_strength(
    p: Problem, strength: float
) -> None:
    A, B = nullspace.null_space(p.known, p.mask)
    f = torch.randn(50, D, generator=torch.Generator().manual_seed(1))
    prompts = p.text[p.mask]
    close(f @ (p.W + strength * A @ B) @ prompts.T, (1 - strength) * (f @ p.W @ prompts.T))


def test_null_space_ignores_retained_prototypes(p: Problem) -> None:
    other = p.visual.clone()
    other[~p.mask] = 0
    A, B = nullspace.null_space(p.known, p.mask)
    A2, B2 = nullspace.null_space(p.known._replace(features=other), p.mask)
    assert torch.equal(A @ B, A2 @ B2)


def test_null_space_refuses_an_unknown_source_of_directions() -> None:
    p = make()
    with pytest.raises(ValueError, match="images"):
        nullspace.null_space(p.known, p.mask, "images")


# ---- retain-aware least squares


def dense_solution(p: Problem, beta: float, weight: float, lam: float) -> np.ndarray:
    """The same objective as one stacked least-squares problem in double precision."""
    W, visual, mask = (
        t.numpy().astype(float if t.is_floating_point() else bool) for t in (p.W, p.visual, p.mask)
    )
    norms = np.linalg.norm(visual, axis=-1, keepdims=True)
    f = visual / norms * norms.mean()
    forget, retain = f[mask].reshape(-1, f.shape[-1]), f[~mask].reshape(-1, f.shape[-1])
    basis, _ = np.linalg.qr(p.class_text[p.mask.any(1)].numpy().astype(float).T)
    w = weight * len(retain) / len(forget)
    ridge = lam * (w * (forget**2).sum() + (retain**2).sum()) / f.shape[-1]
    rows = np.concatenate([w**0.5 * forget, retain, ridge**0.5 * np.eye(f.shape[-1])])
    wanted = np.zeros((len(rows), W.shape[1]))
    wanted[: len(forget)] = -beta * w**0.5 * forget @ W @ basis @ basis.T
    return np.linalg.lstsq(rows, wanted, rcond=None)[0]


@pytest.mark.parametrize(("m", "features"), [(5, D), (1, 64)], ids=["more-than-D", "fewer-than-D"])
@pytest.mark.parametrize(("beta", "weight", "lam"), [(1.5, 1.0, 0.01), (2.5, 3.0, 0.2)])
@pytest.mark.parametrize("cells", MASKS)
def test_retain_aware_is_the_least_squares_solution(
    cells: str, m: int, features: int, beta: float, weight: float, lam: float
) -> None:
    p = make(cells, m, features)
    assert (C * K * m < features) == (features == 64)  # both branches of the solver are met
    A, B = variants.retain_aware(p.known, p.mask, beta, weight, lam)
    close(A @ B, torch.from_numpy(dense_solution(p, beta, weight, lam)).float(), atol=1e-4)


@pytest.mark.parametrize("cells", MASKS)
def test_retain_aware_leaves_retained_prototypes_alone_as_lam_vanishes(cells: str) -> None:
    p = make(cells, m=1, features=64)  # 12 features in 64 dimensions: linearly independent
    f = variants.unit_features(p.visual)
    B0 = nullspace.orthonormal_basis(p.class_text[p.mask.any(1)])
    wanted = f[p.mask][:, 0] @ p.W @ (torch.eye(WIDTH) - 1.5 * B0 @ B0.T)
    kept, reached = [], []
    for lam in (1e-1, 1e-3, 1e-5):
        A, B = variants.retain_aware(p.known, p.mask, 1.5, lam=lam)
        kept.append((f[~p.mask] @ A @ B).abs().max().item())
        reached.append((f[p.mask][:, 0] @ (p.W + A @ B) - wanted).abs().max().item())
    assert kept[0] > 10 * kept[1] > 100 * kept[2] and kept[2] < 1e-3
    assert reached[0] > 10 * reached[1] > 100 * reached[2] and reached[2] < 1e-3


def test_retain_aware_does_not_depend_on_the_scale_of_single_prototypes(p: Problem) -> None:
    stretch = (
        1 + torch.rand(p.visual.shape[:3], generator=torch.Generator().manual_seed(3))[..., None]
    )
    f = variants.unit_features(p.visual * stretch)
    close(f.norm(dim=-1), f.norm(dim=-1).mean().expand(f.shape[:3]), atol=1e-4)
    close(normalize(f, dim=-1), normalize(p.visual, dim=-1))


# ---- oblique: detect one direction, remove another


def features_of(embeddings: Tensor, W: Tensor) -> Tensor:
    """Features whose embeddings are the given ones; W has full column rank."""
    return embeddings @ torch.linalg.pinv(W)


def mixtures(p: Problem, omega: float) -> Tensor:
    """m (C, K, d): text plus omega times the unit mean embedding of the cell's prototypes."""
    mean = normalize(normalize(p.visual @ p.W, dim=-1).mean(2), dim=-1)
    return normalize(p.text + omega * mean, dim=-1)


def test_oblique_with_equal_directions_is_the_null_space_of_one_vector() -> None:
    p = make("one-cell")
    class_text = p.class_text.clone()
    class_text[1] = p.text[1, 2]  # the removed direction is the detected one
    A, B = variants.oblique(
        p.known._replace(class_text=class_text), p.mask, rho=0.0, rho2=0.0, beta=1.0, omega=0.0
    )
    A0, B0 = nullspace.null_space(p.known, p.mask, "text")
    close(A @ B, A0 @ B0)


@pytest.mark.parametrize(
    ("rho", "rho2"), [(0.0, 0.0), (0.8, 0.3), (0.5, 0.5), (1.0, 1.0), (0.0, 1.0)]
)
@pytest.mark.parametrize("omega", [0.0, 0.5])
def test_oblique_is_its_formula(p: Problem, rho: float, rho2: float, omega: float) -> None:
    m = mixtures(p, omega)

    def projection(span: Tensor, x: Tensor) -> Tensor:
        """Of x on the span of rows, by least squares rather than by a basis."""
        return (
            span.T @ torch.linalg.lstsq(span.T, x[:, None]).solution[:, 0] if len(span) else 0 * x
        )

    parts: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for c, k in p.mask.nonzero().tolist():
        detector = m[c, k] - rho * projection(m[c][~p.mask[c]], m[c, k])
        detector = detector - rho2 * projection(m[:, k][~p.mask[:, k]], detector)
        parts.setdefault(c, []).append((detector / (detector @ m[c, k]), m[c, k]))
    delta = torch.zeros(D, WIDTH)
    for c, pairs in parts.items():
        r, answer = p.class_text[c], sum(d @ x for d, _ in pairs for _, x in pairs) / len(pairs)
        for (
            detector,
            cell,
        ) in pairs:  # a class's forgotten cells meet 1 on average, however many they are
            delta -= 1.2 * torch.outer(p.W @ detector / answer, (cell @ r) * r)
    A, B = variants.oblique(p.known, p.mask, rho, rho2, beta=1.2, omega=omega)
    close(A @ B, delta, atol=1e-4)


def test_oblique_with_rho_one_does_not_touch_the_same_class_where_it_stays() -> None:
    p = make("one-cell")
    A, B = variants.oblique(p.known, p.mask, rho=1.0, rho2=0.0, omega=0.5)
    stays = features_of(mixtures(p, 0.5)[1, :2], p.W)
    close(stays @ (p.W + A @ B), stays @ p.W)


def test_oblique_with_rho2_one_does_not_touch_the_other_classes_of_the_domain() -> None:
    p = make("one-cell")
    A, B = variants.oblique(p.known, p.mask, rho=0.0, rho2=1.0, omega=0.5)
    stays = features_of(mixtures(p, 0.5)[[0, 2, 3], 2], p.W)
    close(stays @ (p.W + A @ B), stays @ p.W)


def test_oblique_with_beta_one_removes_the_class_direction_from_the_forgotten_cell() -> None:
    p = make("one-cell")
    A, B = variants.oblique(p.known, p.mask, beta=1.0)
    h = mixtures(p, 0.5)[1, 2]
    edited = features_of(h[None], p.W)[0] @ (p.W + A @ B)
    r = p.class_text[1]
    close(edited, h - (h @ r) * r)


def test_the_dual_direction_of_a_class_moves_no_other_class_against_another() -> None:
    p = make()
    r = variants.class_direction(p.class_text, 1, dual=True)
    scores = p.class_text @ r
    others = scores[[0, 2, 3]]
    close(r.norm(), torch.tensor(1.0))
    close(others, others[:1].expand(3))
    assert scores[1] > others[0] + 0.1
    assert torch.equal(variants.class_direction(p.class_text, 1, dual=False), p.class_text[1])


# ---- refined


def own_probability(p: Problem, delta: Tensor) -> Tensor:
    """Mean p(own class) of the forgotten prototypes, at the logit scale of the edit."""
    f = variants.unit_features(p.visual)
    own = p.mask.nonzero()[:, 0]
    logits = 100 * normalize(f[p.mask] @ (p.W + delta), dim=-1) @ p.class_text.T
    return logits.softmax(-1)[torch.arange(len(own)), :, own].mean()


def recognisable(cells: str) -> Problem:
    """A problem whose prototypes are recognised: embeddings near their class's text."""
    p = make(cells)
    wanted = p.class_text[:, None, None] + 0.1 * normalize(p.visual @ p.W, dim=-1)
    return Problem(p.W, p.text, p.class_text, features_of(wanted, p.W), p.mask)


@pytest.mark.parametrize("cells", MASKS)
def test_refined_forgets_its_prototypes_and_keeps_the_others_recognised(cells: str) -> None:
    p = recognisable(cells)
    assert own_probability(p, torch.zeros_like(p.W)) > 0.9
    A, B = variants.refined(p.known, p.mask)
    # What stays of a whole domain's classes lies in the same directions here, so there is a price
    # to forgetting it.
    assert own_probability(p, A @ B) < (0.5 if cells == "domain" else 0.2)
    if cells != "domain":
        kept = p.visual[~p.mask].flatten(0, 1)
        before, after = (normalize(kept @ W, dim=-1) @ p.class_text.T for W in (p.W, p.W + A @ B))
        assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.9


def test_refined_moves_retained_embeddings_less_the_more_drift_costs() -> None:
    p = recognisable("one-cell")
    kept = p.visual[~p.mask].flatten(0, 1)
    moved = []
    for drift in (0.0, 1e4):
        A, B = variants.refined(p.known, p.mask, drift=drift, lam=0.1)
        moved.append(1 - torch.cosine_similarity(kept @ p.W, kept @ (p.W + A @ B)).mean())
    assert moved[1] < 0.5 * moved[0]


def test_refined_improves_the_edit_it_starts_from() -> None:
    p = recognisable("class")
    start = nullspace.null_space(p.known, p.mask, "text")
    A, B = variants.refined(p.known, p.mask, start=start)
    assert own_probability(p, A @ B) < own_probability(p, start[0] @ start[1])


def test_refined_without_steps_is_its_start() -> None:
    p = make("class")
    start = nullspace.null_space(p.known, p.mask)
    A, B = variants.refined(p.known, p.mask, start=start, steps=0)
    close(A @ B, start[0] @ start[1])


# ---- factors


@pytest.mark.parametrize("rank", [1, 4, WIDTH])
def test_thin_factors_reconstruct_delta_at_its_own_rank(rank: int) -> None:
    rng = torch.Generator().manual_seed(rank)
    delta = torch.randn(D, rank, generator=rng) @ torch.randn(rank, WIDTH, generator=rng)
    A, B = variants.thin(delta)
    assert A.shape == (D, rank) and B.shape == (rank, WIDTH)
    close(A @ B, delta, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 5])
def test_random_subspace_has_the_rank_asked_for_and_is_a_projection(rank: int) -> None:
    p = make()
    A, B = variants.random_subspace(p.W, rank)
    close(B @ B.T, torch.eye(rank))
    close(A, -p.W @ B.T)
    assert torch.linalg.matrix_rank(A @ B) == rank


def test_random_subspace_follows_its_seed() -> None:
    W = make().W
    first, again, other = (variants.random_subspace(W, 3, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("method", "cells", "rank"),
    [
        ("redirect", "domain", 1),
        ("null_space", "one-cell", 1 + 5),
        ("retain_aware", "one-cell", 1),
        ("retain_aware", "class", 1),
        ("retain_aware", "domain", C),
        ("oblique", "one-cell", 1),
        ("oblique", "class", K),
        ("oblique", "domain", C),
        ("random_subspace", "class", 3),
    ],
)
def test_edits_are_low_rank(method: str, cells: str, rank: int) -> None:
    A, B = METHODS[method](make(cells))
    assert A.shape == (D, rank) and B.shape == (rank, WIDTH)


@pytest.mark.parametrize("method", METHODS)
def test_edits_are_finite_change_something_and_repeat_to_the_bit(method: str, p: Problem) -> None:
    (A, B), (A2, B2) = METHODS[method](p), METHODS[method](p)
    assert A.isfinite().all() and B.isfinite().all() and (A @ B).norm() > 1e-3
    assert torch.equal(A, A2) and torch.equal(B, B2)


@pytest.mark.parametrize("method", METHODS)
def test_edits_leave_their_inputs_alone(method: str, p: Problem) -> None:
    before = [t.clone() for t in vars(p).values()]
    METHODS[method](p)
    assert all(torch.equal(t, b) for t, b in zip(vars(p).values(), before, strict=True))
    assert not any(t.requires_grad for t in vars(p).values())


def test_the_mathematics_imports_torch_alone() -> None:
    tree = ast.parse(Path(nullspace.__file__).read_text())
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {
        ("." * n.level) + (n.module or "") for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
    }
    packages = {name.split(".")[0] for name in imported}
    assert packages - {"__future__", "typing"} == {"torch"}
