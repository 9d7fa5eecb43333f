"""Other edits of the final projection, to be looked up: least squares, an oblique null space, refinement.

Shapes as in `nullspace`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .nullspace import Factors, orthonormal_basis


def unit_features(visual: Tensor, W: Tensor) -> Tensor:
    """Prototype features on one scale: f / |f|, times the mean norm, so that no cell weighs more than another."""
    norms = visual.norm(dim=-1, keepdim=True)
    return visual / norms * norms.mean()


def retain_aware(
    W: Tensor,
    class_text: Tensor,
    visual: Tensor,
    mask: Tensor,
    beta: float = 1.5,
    weight: float = 1.0,
    lam: float = 1.0,
) -> Factors:
    """Least squares in feature space: forgotten prototypes lose their class directions, retained ones stay put.

    min  w sum_F |f (W + Delta) - f W (I - beta B B^T)|^2 + sum_R |f Delta|^2 + lam |Delta|^2, with
    B an orthonormal basis of the forgotten classes' domain-free text embeddings. `weight` is w as a
    multiple of |R| / |F|; `lam` is relative to the squared norm of the stacked prototypes over D.
    Solved with as many unknowns as prototypes (push-through identity) when those are fewer than D.
    """
    f = unit_features(visual, W)
    forget, retain = f[mask].flatten(0, 1), f[~mask].flatten(0, 1)
    B = orthonormal_basis(class_text[mask.any(1)])
    w = weight * max(len(retain), 1) / len(forget)
    X = torch.cat([w**0.5 * forget, retain])
    Y = torch.cat([-beta * w**0.5 * forget @ W @ B, retain.new_zeros(len(retain), B.shape[1])])
    ridge = lam * X.square().sum() / X.shape[1]
    if len(X) < X.shape[1]:
        A = X.T @ torch.linalg.solve(X @ X.T + ridge * torch.eye(len(X)), Y)
    else:
        A = torch.linalg.solve(X.T @ X + ridge * torch.eye(X.shape[1]), X.T @ Y)
    return A, B.T


def class_direction(class_text: Tensor, c: int, dual: float) -> Tensor:
    """(d,) unit direction to remove for class c: from its text embedding (dual 0) to its dual direction (dual 1).

    The dual is orthogonal to every difference of two other classes' embeddings: moving along it
    changes the score of class c and of no other class relative to the others, so it cannot make the
    others confuse each other.
    """
    others = torch.cat([class_text[:c], class_text[c + 1 :]])
    lead = class_text[c] - others.mean(0)
    Q = orthonormal_basis(others[1:] - others[:1], rtol=1e-4)
    return normalize(
        (1 - dual) * class_text[c] + dual * normalize(lead - Q @ (Q.T @ lead), dim=-1), dim=-1
    )


def cell_embeddings(W: Tensor, visual: Tensor) -> Tensor:
    """(C, K, d): unit mean embedding of each cell's visual prototypes."""
    return normalize(normalize(visual @ W, dim=-1).mean(2), dim=-1)


def oblique(
    W: Tensor,
    text: Tensor,
    class_text: Tensor,
    visual: Tensor,
    mask: Tensor,
    rho: float = 0.8,
    rho2: float = 0.3,
    beta: float = 1.0,
    omega: float = 0.5,
    dual: float = 0.0,
    reached: Tensor | None = None,
) -> Factors:
    """Detect one direction, remove another: Delta = -beta W sum_cells amount * l r^T; rank = number of cells.

    For a forgotten cell, m = text + omega * visual mean; its detector l is m without a share rho of
    the same class's cells that stay and a share rho2 of the other classes' cells of its domain that
    stay, scaled so that a forgotten cell meets 1 from its class's detectors together, on average:
    the number of domains does not count. What is removed is r, a direction of the class alone
    (`class_direction`). The amount is m . r; given `reached` (C, K, d), the mean embeddings of
    synthesised pictures, it is what takes such a picture's score for the class down to the mean of
    the other classes, in the domain where that takes most: so beta = 1 means the same in every
    model. With rho = rho2 = 0, beta = 1 and r = m this is `null_space` of one cell: the plain
    projector ties detector and removed direction together.
    """
    m = normalize(text + omega * cell_embeddings(W, visual), dim=-1)
    columns, rows = [], []
    for c in mask.any(1).nonzero().flatten().tolist():
        detectors = torch.stack(
            [_detector(m, mask, c, k, rho, rho2) for k in mask[c].nonzero().flatten().tolist()]
        )
        # The detectors of a class answer to each other's cells: on average a forgotten cell shall
        # meet 1 in all.
        detectors = detectors / (m[c][mask[c]] @ detectors.sum(0)).mean()
        r = class_direction(class_text, c, dual)
        amount = m[c][mask[c]] @ r
        if reached is not None:
            lead = class_text[c] - torch.cat([class_text[:c], class_text[c + 1 :]]).mean(0)
            amount = ((reached[c] @ lead).max() / (r @ lead)).expand(len(detectors))
        columns.append(-beta * (W @ detectors.T) * amount)
        rows.append(r.expand(len(detectors), -1))
    return torch.cat(columns, 1), torch.cat(rows)


def _detector(m: Tensor, mask: Tensor, c: int, k: int, rho: float, rho2: float) -> Tensor:
    """l (d,) of one cell: m without shares of what stays of its class and of its domain, with l . m = 1."""
    same_class, same_domain = (
        orthonormal_basis(m[c][~mask[c]]),
        orthonormal_basis(m[:, k][~mask[:, k]]),
    )
    l = m[c, k] - rho * same_class @ (same_class.T @ m[c, k])  # noqa: E741
    l = l - rho2 * same_domain @ (same_domain.T @ l)  # noqa: E741
    return l / (l @ m[c, k])


def refined(
    W: Tensor,
    class_text: Tensor,
    visual: Tensor,
    mask: Tensor,
    start: Factors | None = None,
    scale: float = 30.0,
    drift: float = 1.0,
    lam: float = 1.0,
    steps: int = 40,
) -> Factors:
    """A few dozen L-BFGS steps on Delta, on prototypes alone.

    forget: -log(1 - p(own class)); retain: cross-entropy to the model's own predictions + drift of
    the embedding; + lam |Delta|^2 / |W|^2. `scale` is the logit scale. Starts from `start` (a
    closed-form edit) or from zero.
    """
    f = unit_features(visual, W)
    own = torch.arange(len(mask))[:, None, None].expand(visual.shape[:3])
    forget, retain, own_forget = f[mask].flatten(0, 1), f[~mask].flatten(0, 1), own[mask].flatten()
    before = normalize(retain @ W, dim=-1)
    target = (scale * before @ class_text.T).softmax(-1)
    delta = torch.zeros_like(W) if start is None else start[0] @ start[1]
    delta.requires_grad_(True)
    solver = torch.optim.LBFGS([delta], max_iter=steps, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = scale * normalize(forget @ (W + delta), dim=-1) @ class_text.T
        rest = logits.scatter(1, own_forget[:, None], float("-inf")).logsumexp(1)
        forgotten = (
            logits.logsumexp(1) - rest
        ).mean()  # = -log(1 - p(own class)), without cancellation
        after = normalize(retain @ (W + delta), dim=-1)
        kept = (
            cross_entropy(scale * after @ class_text.T, target)
            + drift * (1 - (after * before).sum(-1)).mean()
        )
        total = forgotten + kept + lam * delta.square().sum() / W.square().sum()
        total.backward()
        return total

    solver.step(loss)
    return thin(delta.detach())


def thin(delta: Tensor, rtol: float = 1e-4) -> Factors:
    """Factors A (D, r), B (r, d) of Delta (D, d), r its numerical rank."""
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    r = max(int((s > rtol * s[0]).sum()), 1)
    return u[:, :r] * s[:r], vh[:r]


def minimise(
    loss: Callable[[Sequence[Tensor]], Tensor],
    start: Sequence[Tensor],
    steps: int,
    **options: float,
) -> list[Tensor]:
    """Where L-BFGS takes the tensors of `start` on a smooth loss of them.

    `options` go to torch.optim.LBFGS, such as tolerance_change.
    """
    unknowns = [x.detach().clone().requires_grad_() for x in start]
    solver = torch.optim.LBFGS(unknowns, max_iter=steps, line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        solver.zero_grad()
        value = loss(unknowns)
        value.backward()
        return value

    solver.step(closure)
    return [x.detach() for x in unknowns]


def ridge_solution(X: Tensor, Y: Tensor, ridge: Tensor | float) -> Tensor:
    """A (D, d), the minimum of |X A - Y|^2 + ridge |A|^2, for X (n, D) and Y (n, d).

    Solved with as many unknowns as rows when those are fewer than D (push-through identity).
    """
    n, D = X.shape
    if n < D:
        gram = X @ X.T + ridge * torch.eye(n, dtype=X.dtype)
        return X.T @ torch.linalg.solve(gram, Y)
    gram = X.T @ X + ridge * torch.eye(D, dtype=X.dtype)
    return torch.linalg.solve(gram, X.T @ Y)
