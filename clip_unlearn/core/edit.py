"""The table of methods, and `fit_edit`: the edit that forgets a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from . import InputError
from .applied import ProjectionEdit
from .calibrated import calibrated
from .concepts import PARADIGMS, ForgetRequest
from .nullspace import Factors, null_space
from .ondemand.sampling import EVERY, OWN, SAMPLE, pictures_needed
from .prototypes import Prototypes
from .variants import (
    calibrated_prompts,
    complete,
    oblique,
    oblique_prompts,
    redirect_every_word,
    refined,
    retain_aware,
)

TOWERS = ("visual", "text", "both")


@dataclass(frozen=True)
class Method:
    """A way to fit an edit: `fit(TowerPrototypes, mask (C, K), **settings)` returns its factors."""

    fit: Callable[..., Factors]
    about: str  # one sentence
    sees_pictures: bool = True  # synthesised ones, beside texts
    needs: str = EVERY  # of which cells it needs pictures
    paradigms: tuple[str, ...] = PARADIGMS  # that it can forget
    default_for: tuple[str, ...] = ()  # paradigms in which it measures best
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by paradigm
    # On the text side another function may be called, and needs settings of its own, by `towers`.
    fit_prompts: Callable[..., Factors] | None = None
    prompt_settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    refines_default: bool = False  # whether `fit` starts from the default edit


_CELLS = {"rho": 0.8, "rho2": 0.3, "beta": 1.2, "omega": 0.5, "dual": 0.4}
# With two full edits the class part is negative in images and in prompts, and their product would
# be positive again. So if both towers are edited, the text side is edited lightly.
_LIGHT = {"beta": 0.2}

# To add a method: write its function, as those in `variants` are written, and a row here.

METHODS: dict[str, Method] = {
    "null-space": Method(
        null_space,
        "project the forgotten texts and pictures out",
        needs=OWN,
    ),
    "null-space-text": Method(
        partial(null_space, use="text"),
        "project the forgotten texts out",
        sees_pictures=False,
        needs=OWN,
    ),
    "null-space-visual": Method(
        partial(null_space, use="visual"),
        "project the forgotten pictures out",
        needs=OWN,
    ),
    "retain-aware": Method(
        retain_aware,
        "ridge: forgotten pictures lose their class, others stay",
        settings={
            "global": {"beta": 2.5},
            "domain-specific": {"beta": 2.0},
            "whole-domain": {"beta": 2.0},
        },
    ),
    "oblique": Method(
        oblique,
        "detect one direction, remove another",
        settings={
            "global": {"rho2": 0.8, "beta": 1.5, "omega": 0.25},
            "domain-specific": _CELLS,
            "whole-domain": _CELLS,
        },
        fit_prompts=oblique_prompts,
        prompt_settings={"text": {"beta": 2.5}, "both": _LIGHT},
    ),
    "calibrated": Method(
        calibrated,
        "a detector with its zero and one in the right place",
        needs=SAMPLE,
        default_for=("global", "domain-specific"),
        fit_prompts=calibrated_prompts,
        prompt_settings={"both": _LIGHT},
    ),
    "complete": Method(
        complete,
        "the default, and a search in the domain finds nothing",
        paradigms=("domain-specific",),
    ),
    "redirect": Method(
        redirect_every_word,
        "a domain detector pulls every image to one answer, whatever words are asked",
        needs=SAMPLE,
        paradigms=("whole-domain",),
        default_for=("whole-domain",),
    ),
    "refined": Method(
        refined,
        "L-BFGS on the pictures, from the default edit",
        settings={"whole-domain": {"drift": 3.0, "lam": 0.3}},
        refines_default=True,
    ),
}
DEFAULT_METHOD = {
    paradigm: name for name, method in METHODS.items() for paradigm in method.default_for
}


def default_method(request: ForgetRequest) -> str:
    """The method that `fit_edit` takes if none is named.

    A class that goes everywhere is lost to a search with the default edit too.
    """
    if request.complete and request.paradigm == "domain-specific":
        return "complete"
    return DEFAULT_METHOD[request.paradigm]


def check_fit(request: ForgetRequest, method: str | None = None, towers: str = "visual") -> None:
    """Raise InputError for an unknown method or towers, or if they do not suit the paradigm.

    The text side is for global requests only: a prompt without a domain is about all domains.
    """
    if towers not in TOWERS:
        raise InputError(f'unknown towers "{towers}": {", ".join(TOWERS)}.')
    if towers != "visual" and request.paradigm != "global":
        raise InputError(
            f'towers "{towers}" needs a global request: a {request.paradigm} request edits the '
            'image side, because a prompt such as "a dog" speaks of every domain at once (use '
            'towers "visual").'
        )
    if method is None:
        return
    if method not in METHODS:
        raise InputError(f'unknown method "{method}": {", ".join(METHODS)}.')
    paradigms = METHODS[method].paradigms
    if request.paradigm not in paradigms:
        kinds = " and ".join(paradigms)
        raise InputError(
            f'method "{method}" is for {kinds} requests; this request is {request.paradigm}.'
        )
    if request.complete and method != default_method(request):
        raise InputError(
            f'a complete {request.paradigm} request is for the method "{default_method(request)}": '
            f'"{method}" leaves what a search finds.'
        )


def fit_edit(
    prototypes: Prototypes,
    request: ForgetRequest,
    method: str | None = None,
    towers: str = "visual",
    **settings: float,
) -> ProjectionEdit:
    """Fit the edit that forgets `request`, from prototypes alone: no image of a data set is used.

    `method` None takes the one with the best survey of all requests of the paradigm (see
    tests/benchmarks/README.md), or "complete" if the request is. `settings` override the
    hyper-parameters of the method; `towers` says which projections change: "visual", "text" or
    "both".
    Raises InputError for an unknown method or towers, UnknownNameError for names outside the grid.
    """
    request = request.on(prototypes.grid)
    method = method or default_method(request)
    check_fit(request, method, towers)
    if prototypes.sample:
        # The same edit, whatever other requests there are pictures for.
        p, needs = prototypes, METHODS[method].needs
        prototypes = p.only(pictures_needed(p.grid, request, needs, p.sample, p.seed))

    edited = ("visual", "text") if towers == "both" else (towers,)
    factors = {}
    for tower in edited:
        A, B = _fit_tower(prototypes, request, method, tower, towers, settings)
        if not (A.isfinite().all() and B.isfinite().all()):
            raise InputError(
                f"the {method} edit of {request} is not finite: two classes, or two domains, have "
                "the same words, so no prompt tells them apart (see domain_words)."
            )
        factors[tower] = (A, B)
    return ProjectionEdit(request, method, factors, prototypes.seed, prototypes.base)


def _fit_tower(
    prototypes: Prototypes,
    request: ForgetRequest,
    method: str,
    tower: str,
    towers: str,
    settings: Mapping[str, float],
) -> Factors:
    """The factors of one tower; settings of the caller override those of the method."""
    row = METHODS[method]
    default = DEFAULT_METHOD[request.paradigm]
    on_text = tower == "text"
    if row.refines_default and on_text and towers == "both":
        # Refining the light edit of the text side would make it a full one.
        return _fit_tower(prototypes, request, default, tower, towers, {})

    chosen = dict(row.settings.get(request.paradigm, {}))
    if on_text:
        chosen |= row.prompt_settings.get(towers, {})
    if row.refines_default:
        chosen["start"] = _fit_tower(prototypes, request, default, tower, towers, {})
    chosen |= settings

    fit = row.fit_prompts if on_text and row.fit_prompts else row.fit
    return fit(prototypes.of_tower(tower), request.mask(prototypes.grid), **chosen)
