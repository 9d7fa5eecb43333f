"""An edit as its factors: applied to a CLIP and taken back exactly, alone or with others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, no_grad

from . import ClipLike, InputError
from .concepts import ForgetRequest
from .nullspace import Factors


class _Applicable:
    """What an edit and a sequence of edits share: they are applied, and taken back bit for bit."""

    edited: tuple[str, ...]

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        raise NotImplementedError

    @property
    def towers(self) -> str:
        """ "visual", "text" or "both"."""
        return "both" if len(self.edited) == 2 else self.edited[0]

    @contextlib.contextmanager
    def applied(self, clip: ClipLike, strength: float = 1.0) -> Iterator[ClipLike]:
        """The CLIP with the edit in place; on exit its weights are what they were, bit for bit.

        That holds whatever happens inside. Nested blocks of one base add up.
        """
        heads = {tower: clip.heads[tower] for tower in self.edited}
        weights = {
            tower: self.weight(head.weight, strength, tower) for tower, head in heads.items()
        }
        tensors = [tensor for head in heads.values() for tensor in head.tensors()]
        before = [tensor.detach().clone() for tensor in tensors]
        try:
            if strength > 0:
                for tower, head in heads.items():
                    head.write(weights[tower])
            yield clip
        finally:
            with no_grad():
                for tensor, original in zip(tensors, before, strict=True):
                    tensor.copy_(original)


@dataclass(frozen=True)
class ProjectionEdit(_Applicable):
    """A fitted edit: for each edited tower the thin factors A (D, r), B (r, d) of Delta = A B."""

    request: ForgetRequest
    method: str
    factors: dict[str, Factors]
    seed: int | None = None  # of the prototypes that it was fitted on
    base: str = ""  # fingerprint of their CLIP; "" if it is not known

    @property
    def edited(self) -> tuple[str, ...]:
        """The towers that it changes."""
        return tuple(self.factors)

    def rank(self, tower: str = "visual") -> int:
        """Number of directions that the edit of a tower touches; 0 if it leaves the tower alone."""
        return len(self.factors[tower][1]) if tower in self.factors else 0

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        """W + strength * A B, pure; strength 0, or a tower that is not edited, returns W itself.

        Raises InputError for a strength outside [0, 1], or a projection of another size.
        """
        strength = check_strength(strength)
        if strength == 0 or tower not in self.factors:
            return W
        A, B = self.factors[tower]
        if W.shape != (len(A), B.shape[1]):
            raise InputError(
                f"the edit of the {tower} tower is for a projection of {len(A)} x {B.shape[1]}, "
                f"and this one is {' x '.join(map(str, W.shape))}: it was fitted on another CLIP."
            )
        return W + strength * (A.to(W) @ B.to(W))


@dataclass(frozen=True)
class EditSequence(_Applicable):
    """Edits of one base, each at a strength of its own: W + a1 A1 B1 + a2 A2 B2 + ..."""

    steps: tuple[tuple[ProjectionEdit, float], ...]

    @property
    def edited(self) -> tuple[str, ...]:
        """The towers that any of them changes."""
        return tuple(dict.fromkeys(tower for edit, _ in self.steps for tower in edit.edited))

    @property
    def base(self) -> str:
        """The fingerprint of their CLIP; "" if it is not known."""
        return next((edit.base for edit, _ in self.steps if edit.base), "")

    def weight(self, W: Tensor, strength: float, tower: str = "visual") -> Tensor:
        """All edits added to W, each at `strength` times its own; strength 0 returns W itself."""
        strength = check_strength(strength)
        for edit, own_strength in self.steps:
            W = edit.weight(W, strength * own_strength, tower)
        return W


def compose(
    edits: Sequence[ProjectionEdit], strengths: Sequence[float] | None = None
) -> EditSequence:
    """Several edits of the same base as one; `strengths` are 1 unless given.

    Their Deltas are added. Each was fitted on the base's own W, so the order changes the last bits
    at most, and two edits that take the same direction out take it out twice. To fit the second on
    what the first has left, save the edited CLIP, load it and fit there: it is a base of its own.
    Raises InputError for no edits, edits of different bases, or strengths that do not fit.
    """
    strengths = [1.0] * len(edits) if strengths is None else strengths
    if not edits or len(strengths) != len(edits):
        counts = f"{len(edits)} edits with {len(strengths)} strengths"
        raise InputError(f"{counts}: at least one edit, each with its own strength.")
    bases = {edit.base for edit in edits if edit.base}
    if len(bases) > 1:
        listed = ", ".join(sorted(bases))
        raise InputError(f"the edits were fitted on different CLIPs (weights {listed}).")
    own_strengths = [check_strength(strength) for strength in strengths]
    return EditSequence(tuple(zip(edits, own_strengths, strict=True)))


def check_strength(strength: float) -> float:
    """The strength as a float in [0, 1]; raises InputError otherwise."""
    is_number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if not is_number or not 0 <= strength <= 1:
        raise InputError(
            f"strength is {strength!r}; it must be a number from 0 (unchanged) to 1 (full edit)."
        )
    return float(strength)
