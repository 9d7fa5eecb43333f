"""A ridge, L-BFGS, and the thin factors of a matrix: what the other variants solve with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..nullspace import Factors


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


def thin(delta: Tensor, rtol: float = 1e-4) -> Factors:
    """Factors A (D, r), B (r, d) of Delta (D, d), with r its numerical rank."""
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    strong = s > rtol * s[0]
    r = max(int(strong.sum()), 1)
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
