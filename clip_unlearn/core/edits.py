"""A fitted edit, frozen: the thin factors of a change of the last projections, put in place and taken back exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, no_grad

from ..models.clip import Clip
from .concepts import ForgetRequest
from .errors import InputError


class _Applicable:
    """What an edit and a sequence of edits share: they are put in place, and taken back bit for bit."""

    edited: tuple[str, ...]

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        raise NotImplementedError

    @property
    def towers(self) -> str:
        """ "visual", "text" or "both"."""
        return "both" if len(self.edited) == 2 else self.edited[0]

    @contextlib.contextmanager
    def applied(self, clip: Clip, strength: float = 1.0) -> Iterator[Clip]:
        """The CLIP with the edit in place; on exit its weights are what they were, bit for bit, whatever happened.

        Inside another edit of the same base it is added to that one.
        """
        heads = {tower: clip.heads[tower] for tower in self.edited}
        new = {tower: self.weight(head.weight, strength, tower) for tower, head in heads.items()}
        kept = [(tensor, tensor.detach().clone()) for head in heads.values() for tensor in head.tensors()]
        try:
            if strength > 0:
                for tower, head in heads.items():
                    head.write(new[tower])
            yield clip
        finally:
            with no_grad():
                for tensor, before in kept:
                    tensor.copy_(before)


@dataclass(frozen=True)
class ProjectionEdit(_Applicable):
    """A fitted edit: for each edited tower the thin factors A (D, r), B (r, d) of Delta = A B. It never changes.

    `seed` is that of the prototypes it was fitted on, `base` the fingerprint of their CLIP; "" where neither is known.
    """

    request: ForgetRequest
    method: str
    factors: dict[str, tuple[Tensor, Tensor]]
    seed: int | None = None
    base: str = ""

    @property
    def edited(self) -> tuple[str, ...]:
        """The towers that it changes."""
        return tuple(self.factors)

    def rank(self, tower: str = "visual") -> int:
        """Number of directions that the edit of a tower touches; 0 if it leaves the tower alone."""
        return self.factors[tower][1].shape[0] if tower in self.factors else 0

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        """W + strength * A B, pure; strength 0, or a tower that is not edited, returns W itself, bit for bit.

        Raises InputError for a strength outside [0, 1], or a projection of another size.
        """
        strength = check_strength(strength)
        if strength == 0 or tower not in self.factors:
            return W
        A, B = self.factors[tower]
        if W.shape != (len(A), B.shape[1]):
            raise InputError(
                f"the edit of the {tower} tower is for a projection of {len(A)} x {B.shape[1]}, and this one is "
                f"{' x '.join(map(str, W.shape))}: it was fitted on another CLIP."
            )
        return W + strength * (A.to(W) @ B.to(W))


@dataclass(frozen=True)
class EditSequence(_Applicable):
    """Edits of one base in order, each at a strength of its own: W -> W + a1 A1 B1 -> W + a1 A1 B1 + a2 A2 B2 -> ..."""

    steps: tuple[tuple[ProjectionEdit, float], ...]

    @property
    def edited(self) -> tuple[str, ...]:
        """The towers that any of them changes."""
        return tuple(dict.fromkeys(tower for edit, _ in self.steps for tower in edit.edited))

    @property
    def base(self) -> str:
        """The fingerprint of their CLIP; "" where it is not known."""
        return next((edit.base for edit, _ in self.steps if edit.base), "")

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        """All edits added to W, each at `strength` times its own; strength 0 returns W itself."""
        for edit, own in self.steps:
            W = edit.weight(W, check_strength(strength) * own, tower)
        return W


def compose(edits: Sequence[ProjectionEdit], strengths: Sequence[float] | None = None) -> EditSequence:
    """Several edits of the same base as one, `strengths` 1 unless given.

    Their Deltas are sums: each was fitted on the base's own W, so the order changes the last bits at most, and two
    edits that take the same direction out take it out twice. To fit the second on what the first has left, save the
    edited CLIP, load it, and fit there: it is a base of its own.
    Raises InputError for no edits, edits of different bases, or strengths that do not fit.
    """
    strengths = [1.0] * len(edits) if strengths is None else strengths
    if not edits or len(strengths) != len(edits):
        raise InputError(f"{len(edits)} edits with {len(strengths)} strengths: at least one edit, each with its own.")
    bases = {edit.base for edit in edits if edit.base}
    if len(bases) > 1:
        raise InputError(f"the edits were fitted on different CLIPs (weights {', '.join(sorted(bases))}).")
    return EditSequence(tuple((edit, check_strength(own)) for edit, own in zip(edits, strengths, strict=True)))


def check_strength(strength: float) -> float:
    """The strength as a float in [0, 1]; raises InputError otherwise."""
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise InputError(f"strength is {strength!r}; it must be a number from 0 (unchanged) to 1 (full edit).")
    return float(strength)
