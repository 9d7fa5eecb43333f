"""The one verb, a request and prototypes become an edit; and the edit, frozen, put in place and taken back exactly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, no_grad

from ..models.clip import Clip
from . import calibrated, nullspace, variants
from .concepts import ForgetRequest
from .errors import InputError
from .prototypes import Prototypes

TOWERS = ("visual", "text", "both")
METHODS = (
    "null-space", "null-space-text", "null-space-visual", "retain-aware", "oblique", "calibrated", "redirect", "refined"
)  # fmt: skip
# The method that measures best, by paradigm (see `fit_edit`); README says how settings were chosen.
# `calibrated` and `redirect` have none but beta = 1.1.
DEFAULT_METHOD = {
    "global": "calibrated",
    "domain-specific": "calibrated",
    "whole-domain": "redirect",
}
_CELLS = {"rho": 0.8, "rho2": 0.3, "beta": 1.2, "omega": 0.5, "dual": 0.4}
SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "oblique": {
        "global": {"rho2": 0.8, "beta": 1.5, "omega": 0.25},
        "domain-specific": _CELLS,
        "whole-domain": _CELLS,
    },
    "retain-aware": {
        "global": {"beta": 2.5},
        "domain-specific": {"beta": 2.0},
        "whole-domain": {"beta": 2.0},
    },
    "refined": {"whole-domain": {"drift": 3.0, "lam": 0.3}},
}
# On the text side the oblique edit needs its own amount. With both sides edited it must be light:
# two full edits go past zero, and the two reversed class directions meet again.
TEXT_BETA = {"oblique": {"text": 2.5, "both": 0.2}, "calibrated": {"both": 0.2}}


def check_towers(towers: str, request: ForgetRequest) -> None:
    """Raise InputError for unknown towers, or for the text side of a request that is not global."""
    if towers not in TOWERS:
        raise InputError(f'unknown towers "{towers}": {", ".join(TOWERS)}.')
    if towers != "visual" and request.paradigm != "global":
        raise InputError(
            f'towers "{towers}" needs a global request: a {request.paradigm} request edits the image side, because '
            'a prompt such as "a dog" speaks of every domain at once (use towers "visual").'
        )


def check_method(method: str, request: ForgetRequest) -> None:
    """Raise InputError for an unknown method, or one that does not fit the paradigm."""
    if method not in METHODS:
        raise InputError(f'unknown method "{method}": {", ".join(METHODS)}.')
    if method == "redirect" and request.paradigm != "whole-domain":
        raise InputError(
            f'method "redirect" forgets whole domains; this request is {request.paradigm}.'
        )


def fit_edit(
    prototypes: Prototypes,
    request: ForgetRequest,
    method: str | None = None,
    towers: str = "visual",
    **settings: float,
) -> ProjectionEdit:
    """Fit the edit that forgets `request`, from prototypes alone; no image of any data set is involved.

    `method` None takes the paradigm's best, measured over every request of the bundled set at
    strength 1 by `clip-unlearn survey` (forget accuracy, .994 before; worst request in brackets;
    change of what stays, in points):

    - global: calibrated, .000 (.00), retained +0.0; null-space .008 (.06), +0.1; null-space-text
      .218 (.38), +0.1
    - domain-specific: calibrated, .015 (.25), same class elsewhere +0.1 (-1.7); oblique .020 (.15),
      -1.5 (-15.0)
    - whole-domain: redirect, .088 (.11), retained -0.0 (-0.1)

    `settings` override hyper-parameters (see `calibrated` and `nullspace`). `towers` says which
    projections change: the text side is edited for global requests only, since a domain-free prompt
    belongs to every domain. Raises InputError for an unknown method or towers, UnknownNameError for
    names outside the grid.
    """
    request = request.on(prototypes.grid)
    method = method or DEFAULT_METHOD[request.paradigm]
    check_method(method, request)
    check_towers(towers, request)
    p, chosen = prototypes, ("visual", "text") if towers == "both" else (towers,)
    # On the text side the prompts' own features stand where the visual prototypes stand on the
    # image side.
    sides = {
        "visual": (p.W, p.visual, p.reached),
        "text": (p.W_text, p.text_features[:, :, None], None),
    }
    mask, factors = request.mask(p.grid), {}
    for tower in chosen:
        own = {
            m: {"beta": betas[towers]}
            for m, betas in TEXT_BETA.items()
            if tower == "text" and towers in betas
        }
        light = (
            method == "refined" and towers == "both" and tower == "text"
        )  # refining it would make it a full edit
        how = (DEFAULT_METHOD[request.paradigm], own, {}) if light else (method, own, settings)
        factors[tower] = _factors(p, mask, request.paradigm, *sides[tower], *how)
    if not all(x.isfinite().all() for pair in factors.values() for x in pair):
        raise InputError(
            f"the {method} edit of {request} is not finite: two classes, or two domains, have the same words, so no "
            "prompt tells them apart (see domain_words)."
        )
    return ProjectionEdit(request, method, factors, p.seed, p.base)


def _factors(
    p: Prototypes,
    mask: Tensor,
    paradigm: str,
    W: Tensor,
    features: Tensor,
    reached: Tensor | None,
    method: str,
    own: dict[str, dict[str, float]],
    settings: dict[str, float],
) -> tuple[Tensor, Tensor]:
    """Call the method on one tower: W (D, d), its prototype features (C, K, m, D), and what pictures reach.

    `own` has, by method, what this tower needs other than usual; `settings` come from the caller
    and go first.
    """
    if method.startswith("null-space"):
        use = method.removeprefix("null-space").removeprefix("-") or "both"
        return nullspace.null_space(W, p.text, features, mask, use, **settings)
    settings = {**SETTINGS.get(method, {}).get(paradigm, {}), **own.get(method, {}), **settings}
    if method == "retain-aware":
        return variants.retain_aware(W, p.class_text, features, mask, **settings)
    if method == "oblique":
        return variants.oblique(
            W, p.text, p.class_text, features, mask, reached=reached, **settings
        )
    if method == "calibrated" and reached is None:  # the text side
        return calibrated.calibrated_prompts(W, p.text, p.class_text, p.reached, mask, **settings)
    if method in ("calibrated", "redirect"):
        fit = calibrated.calibrated if method == "calibrated" else calibrated.redirect
        return fit(W, p.text, p.class_text, features, mask, reached, **settings)
    start = _factors(p, mask, paradigm, W, features, reached, DEFAULT_METHOD[paradigm], own, {})
    return variants.refined(W, p.class_text, features, mask, start=start, **settings)


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
        kept = [
            (tensor, tensor.detach().clone())
            for head in heads.values()
            for tensor in head.tensors()
        ]
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

    `seed` is that of the prototypes it was fitted on, `base` the fingerprint of their CLIP; ""
    where neither is known.
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


def compose(
    edits: Sequence[ProjectionEdit], strengths: Sequence[float] | None = None
) -> EditSequence:
    """Several edits of the same base as one, `strengths` 1 unless given.

    Their Deltas are sums: each was fitted on the base's own W, so the order changes the last bits
    at most, and two edits that take the same direction out take it out twice. To fit the second on
    what the first has left, save the edited CLIP, load it, and fit there: it is a base of its own.
    Raises InputError for no edits, edits of different bases, or strengths that do not fit.
    """
    strengths = [1.0] * len(edits) if strengths is None else strengths
    if not edits or len(strengths) != len(edits):
        raise InputError(
            f"{len(edits)} edits with {len(strengths)} strengths: at least one edit, each with its own."
        )
    bases = {edit.base for edit in edits if edit.base}
    if len(bases) > 1:
        raise InputError(
            f"the edits were fitted on different CLIPs (weights {', '.join(sorted(bases))})."
        )
    return EditSequence(
        tuple((edit, check_strength(own)) for edit, own in zip(edits, strengths, strict=True))
    )


def check_strength(strength: float) -> float:
    """The strength as a float in [0, 1]; raises InputError otherwise."""
    if (
        isinstance(strength, bool)
        or not isinstance(strength, (int, float))
        or not 0 <= strength <= 1
    ):
        raise InputError(
            f"strength is {strength!r}; it must be a number from 0 (unchanged) to 1 (full edit)."
        )
    return float(strength)
