"""The one verb: a request and prototypes become an edit."""

from __future__ import annotations

from torch import Tensor

from ..models.saved import save_edited as save_edited
from . import calibrated, nullspace
from .concepts import ForgetRequest
from .edits import ProjectionEdit
from .edits import check_strength as check_strength  # one place to import the verb and its checks from
from .errors import InputError
from .prototypes import Prototypes

TOWERS = ("visual", "text", "both")
METHODS = (
    "null-space", "null-space-text", "null-space-visual", "retain-aware", "oblique", "calibrated", "redirect", "refined"
)  # fmt: skip
# The method that measures best, by paradigm (see `fit_edit`); README says how settings were chosen. `calibrated` and
# `redirect` have none but beta = 1.1.
DEFAULT_METHOD = {"global": "calibrated", "domain-specific": "calibrated", "whole-domain": "redirect"}
_CELLS = {"rho": 0.8, "rho2": 0.3, "beta": 1.2, "omega": 0.5, "dual": 0.4}
SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "oblique": {
        "global": {"rho2": 0.8, "beta": 1.5, "omega": 0.25},
        "domain-specific": _CELLS,
        "whole-domain": _CELLS,
    },
    "retain-aware": {"global": {"beta": 2.5}, "domain-specific": {"beta": 2.0}, "whole-domain": {"beta": 2.0}},
    "refined": {"whole-domain": {"drift": 3.0, "lam": 0.3}},
}
# On the text side the oblique edit needs its own amount. With both sides edited it must be light: two full edits go
# past zero, and the two reversed class directions meet again.
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
        raise InputError(f'method "redirect" forgets whole domains; this request is {request.paradigm}.')


def fit_edit(
    prototypes: Prototypes,
    request: ForgetRequest,
    method: str | None = None,
    towers: str = "visual",
    **settings: float,
) -> ProjectionEdit:
    """Fit the edit that forgets `request`, from prototypes alone; no image of any data set is involved.

    `method` None takes the paradigm's best, measured over every request of the bundled set at strength 1 by
    `clip-unlearn survey` (forget accuracy, .994 before; worst request in brackets; change of what stays, in points):

    - global: calibrated, .000 (.00), retained +0.0; null-space .008 (.06), +0.1; null-space-text .218 (.38), +0.1
    - domain-specific: calibrated, .015 (.25), same class elsewhere +0.1 (-1.7); oblique .020 (.15), -1.5 (-15.0)
    - whole-domain: redirect, .088 (.11), retained -0.0 (-0.1)

    `settings` override hyper-parameters (see `calibrated` and `nullspace`). `towers` says which projections change: the
    text side is edited for global requests only, since a domain-free prompt belongs to every domain. Raises InputError
    for an unknown method or towers, UnknownNameError for names outside the grid.
    """
    request = request.on(prototypes.grid)
    method = method or DEFAULT_METHOD[request.paradigm]
    check_method(method, request)
    check_towers(towers, request)
    p, chosen = prototypes, ("visual", "text") if towers == "both" else (towers,)
    # On the text side the prompts' own features stand where the visual prototypes stand on the image side.
    sides = {"visual": (p.W, p.visual, p.reached), "text": (p.W_text, p.text_features[:, :, None], None)}
    mask, factors = request.mask(p.grid), {}
    for tower in chosen:
        own = {m: {"beta": betas[towers]} for m, betas in TEXT_BETA.items() if tower == "text" and towers in betas}
        light = method == "refined" and towers == "both" and tower == "text"  # refining it would make it a full edit
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

    `own` has, by method, what this tower needs other than usual; `settings` come from the caller and go first.
    """
    if method.startswith("null-space"):
        use = method.removeprefix("null-space").removeprefix("-") or "both"
        return nullspace.null_space(W, p.text, features, mask, use, **settings)
    settings = {**SETTINGS.get(method, {}).get(paradigm, {}), **own.get(method, {}), **settings}
    if method == "retain-aware":
        return nullspace.retain_aware(W, p.class_text, features, mask, **settings)
    if method == "oblique":
        return nullspace.oblique(W, p.text, p.class_text, features, mask, reached=reached, **settings)
    if method == "calibrated" and reached is None:  # the text side
        return calibrated.calibrated_prompts(W, p.text, p.class_text, p.reached, mask, **settings)
    if method in ("calibrated", "redirect"):
        fit = calibrated.calibrated if method == "calibrated" else calibrated.redirect
        return fit(W, p.text, p.class_text, features, mask, reached, **settings)
    start = _factors(p, mask, paradigm, W, features, reached, DEFAULT_METHOD[paradigm], own, {})
    return nullspace.refined(W, p.class_text, features, mask, start=start, **settings)
