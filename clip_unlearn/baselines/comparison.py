"""Other published ways to forget, on the same projection: how well, how fast, and what each one needs to see.

What sees real images is fitted on half of them, everything is measured on the other half. Shapes as
in `nullspace`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from tqdm.auto import tqdm

from ..core.concepts import PARADIGMS, ForgetRequest
from ..core.edit import ProjectionEdit, check_strength, fit_edit
from ..core.errors import InputError
from ..core.nullspace import Factors
from ..core.prototypes import Prototypes
from ..images.datasets import Features
from ..measure.evaluate import GROUPS, Task, evaluate, halves, one_thread
from ..measure.setting import Setting
from .closed_form import ccup_ridge, leace, oracle, random_subspace, uce_ridge
from .trained import finetune, gradient_ascent, lip, relabel, tsa

SEES = NOTHING, TEXT, PICTURES, DATA = (
    "nothing",
    "text",
    "text + synthesised pictures",
    "real images and labels",
)
OF = GOES, STAYS, EVERY = ("what goes", "what stays", "every cell")
# Picked by grid search on the bundled CLIP (halves of seed 1; 16 global requests, 16 cells, relabel
# 8, and 4 domains) for the least forget accuracy + losses of retained, same class and unrelated:
# ccup-ridge lam 1..1e4, mu 0..100; uce-ridge weight .3..300, lam .01..10, neutral text or picture;
# gradient-ascent SGD or Adam, lr .001...1; relabel one, scattered or uniform labels, L-BFGS or
# Adam, weight .1..10, lam 0..10; oracle beta 1..4, weight .1..3, lam 1e-4..3; lip sigma .5..32, lr
# .003...3, draws 4..64, with and without momentum, noise of one size or shaped like the scatter of
# the prototypes, its side held or free (free, it forgot nothing in any of 12 settings); tsa rank
# 1..16, lam .1..3, weight .3..3, goal the mean of what stays, a random direction or away, prompts
# of classes or of cells too; finetune lam 0..10, steps 25 or 100. All seeds share the images, so
# this is as optimistic as the settings of `unlearn`.
SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "ccup-ridge": {"domain-specific": {"mu": 0.3}, "whole-domain": {"lam": 1e4, "mu": 0.1}},
    "uce-ridge": {
        "domain-specific": {"weight": 10.0, "lam": 3.0},
        "whole-domain": {"weight": 300.0, "lam": 0.5},
    },
    "gradient-ascent": {"global": {"lr": 0.03}, "domain-specific": {"lr": 0.003}},
    "lip": {
        "domain-specific": {"sigma": 1.0, "draws": 4},
        "whole-domain": {"lr": 0.01, "draws": 4},
    },
    "relabel": {"whole-domain": {"weight": 3.0, "steps": 40}},
    "oracle": {"whole-domain": {"beta": 2.5, "lam": 0.01}},
}


@dataclass(frozen=True)
class Baseline:
    """A way to forget: a function from (prototypes, mask), and images if it sees data, to factors; None: `fit_edit`."""

    name: str
    factors: Callable[..., Factors] | None
    sees: str
    cite: str
    idea: str
    of: str = EVERY
    fits: tuple[str, ...] = PARADIGMS
    tower: str = "visual"

    @property
    def needs(self) -> str:
        """What must be at hand for one request; the pictures are synthesised, the images are real."""
        things = {TEXT: "names", PICTURES: "names, pictures", DATA: "names, labelled images"}
        return f"{things[self.sees]} of {self.of}" if self.sees in things else NOTHING

    def fit(
        self,
        p: Prototypes,
        request: ForgetRequest,
        images: Features | None = None,
        seed: int = 0,
        **settings: float,
    ) -> ProjectionEdit:
        """Fit with the paradigm's SETTINGS; `images` are handed on only if this sees data, else they are ignored."""
        request = request.on(p.grid)
        if request.paradigm not in self.fits:
            kinds = " and ".join(self.fits)
            raise InputError(
                f'method "{self.name}" is for {kinds} requests; this request is {request.paradigm}.'
            )
        if self.factors is None:
            return fit_edit(p, request, self.name, **settings)
        mask = request.mask(p.grid)
        settings = {**SETTINGS.get(self.name, {}).get(request.paradigm, {}), **settings}
        if "seed" in inspect.signature(self.factors).parameters:  # another draw for each request
            settings.setdefault("seed", seed + 1000 * int(mask.flatten().nonzero()[0]))
        wanted, what = (
            (~mask, f"what stays beside {request}") if self.of == STAYS else (mask, str(request))
        )
        if self.sees == DATA and (
            images is None or not wanted[images.class_of, images.domain_of].any()
        ):
            raise InputError(
                f'method "{self.name}" sees {DATA}, and got no image of {what}: see `evaluate.halves`.'
            )
        factors = self.factors(p, mask, *([images] if self.sees == DATA else []), **settings)
        return ProjectionEdit(request, self.name, {self.tower: factors})


_OURS = "this package"
_CCUP = "CCUP, arXiv 2512.14137"
_PAPER = "Mishra et al. 2025, arXiv 2512.14113, reconstructed"
_UCE = "UCE, Gandikota et al., WACV 2024, arXiv 2308.14761"
_LIP = "Lip, Kravets & Namboodiri, WACV 2025, arXiv 2407.07485, of the last matrix alone"
_TSA = "Kravets & Namboodiri, TMLR 2025, openreview.net/forum?id=V2SD2uVKEE, in its spirit"
_NEG = "Golatkar et al., CVPR 2020, arXiv 1911.04933"
_LABEL = "Graves et al., AAAI 2021, arXiv 2010.10981"
_LEACE = "Belrose et al., NeurIPS 2023, arXiv 2306.03819"
_PULL = "a domain detector pulls every image to one answer"
_ALL = (
    Baseline(
        "random-subspace", random_subspace, NOTHING, "control", "project random directions out"
    ),
    Baseline("null-space-text", None, TEXT, _CCUP, "project the forgotten texts out", GOES),
    Baseline(
        "ccup-ridge", ccup_ridge, TEXT, _CCUP, "forgotten texts score 0, retained ones as before"
    ),
    Baseline(
        "tsa",
        tsa,
        TEXT,
        _TSA,
        "train the text side: forgotten texts move away",
        EVERY,
        ("global",),
        "text",
    ),
    Baseline(
        "null-space-visual", None, PICTURES, _PAPER, "project the forgotten pictures out", GOES
    ),
    Baseline(
        "null-space", None, PICTURES, _PAPER, "project the forgotten texts and pictures out", GOES
    ),
    Baseline(
        "lip",
        lip,
        PICTURES,
        _LIP,
        "smooth what surrounds the forgotten pictures, until chance",
        GOES,
    ),
    Baseline(
        "uce-ridge",
        uce_ridge,
        PICTURES,
        _UCE,
        "ridge: forgotten pictures become neutral, others stay",
    ),
    Baseline(
        "retain-aware",
        None,
        PICTURES,
        _OURS,
        "ridge: forgotten pictures lose their class, others stay",
    ),
    Baseline("oblique", None, PICTURES, _OURS, "detect one direction, remove another"),
    Baseline(
        "calibrated", None, PICTURES, _OURS, "a detector with its zero and one in the right place"
    ),
    Baseline("redirect", None, PICTURES, _OURS, _PULL, fits=("whole-domain",)),
    Baseline("refined", None, PICTURES, _OURS, "L-BFGS on the pictures, from the default edit"),
    Baseline(
        "finetune", finetune, DATA, "control", "fine-tune to what stays, and look away", STAYS
    ),
    Baseline(
        "gradient-ascent",
        gradient_ascent,
        DATA,
        _NEG,
        "ascend the loss of forgotten images until chance",
        GOES,
    ),
    Baseline("relabel", relabel, DATA, _LABEL, "fine-tune to another label"),
    Baseline("oracle", oracle, DATA, _OURS, "retain-aware on real images instead of prototypes"),
    Baseline("leace", leace, DATA, _LEACE, "no linear probe finds the label"),
)
BASELINES = {b.name: b for b in _ALL}


@one_thread()
def compare(
    setting: Setting,
    requests: ForgetRequest | Sequence[ForgetRequest],
    methods: Sequence[str] | None = None,
    strength: float = 1.0,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """One row per request and method (None: all that fit), every method measured on the half that none was fitted on.

    before, forget, paraphrase: accuracies; retained ... unrelated: changes in points; seconds: of
    fitting alone, on one thread; synthesis: seconds that the pictures of the whole grid once took,
    0 for a method without them; cost: both, what a first request takes. Taking and labelling the
    images that `needs` may name is in none of them.
    """
    if unknown := [n for n in methods or () if n not in BASELINES]:
        raise InputError(f'unknown method "{unknown[0]}": {", ".join(BASELINES)}.')
    requests = [requests] if isinstance(requests, ForgetRequest) else requests
    strength = check_strength(strength)
    fit, held = halves(setting.task, seed)
    rows = []
    for request in tqdm(requests, desc="comparing", disable=not progress):
        rows += _rows(replace(setting, task=held), fit, request, methods, strength, seed)
    return pd.DataFrame(rows)


def _rows(
    setting: Setting,
    fit: Task,
    request: ForgetRequest,
    methods: Sequence[str] | None,
    strength: float,
    seed: int,
) -> Iterator[dict[str, object]]:
    """The rows of one request; `setting` holds the images to measure on, `fit` those to fit on."""
    p, held = setting.prototypes, setting.task
    request = request.on(p.grid)
    if not all(
        request.mask(p.grid)[t.images.class_of, t.images.domain_of].any() for t in (fit, held)
    ):
        raise InputError(
            f"too few images of {request}: one to fit on and one to measure on are needed."
        )
    before = evaluate(p, ProjectionEdit(request, "", {}), held, [0.0], setting.unrelated).set_index(
        "group"
    )["accuracy"]
    for name in methods or [n for n, b in BASELINES.items() if request.paradigm in b.fits]:
        start = time.perf_counter()
        edit = (baseline := BASELINES[name]).fit(p, request, fit.images, seed)
        seconds = time.perf_counter() - start
        after = evaluate(p, edit, held, [strength], setting.unrelated).set_index("group")
        row = {"request": str(request), "paradigm": request.paradigm, "method": name}
        row |= {"sees": baseline.sees, "needs": baseline.needs}
        row |= {"before": before["forget"], "forget": after["accuracy"]["forget"]}
        row |= after.loc["forget", ["paraphrase", "H"]].to_dict()
        row |= {g: 100 * (after["accuracy"][g] - before[g]) for g in GROUPS[1:] if g in before}
        synthesis = p.seconds if baseline.sees == PICTURES else 0.0
        yield row | {"seconds": seconds, "synthesis": synthesis, "cost": seconds + synthesis}


def comparison_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and worst of `compare` by paradigm and method: who sees least first, then the best H."""
    groups = frame.groupby(["paradigm", "method"])
    table = groups.agg(
        requests=("method", "size"), sees=("sees", "first"), synthesis=("synthesis", "max")
    )
    if "needs" in frame:
        table.insert(2, "needs", groups["needs"].first())
    for column in ("forget", "paraphrase", *GROUPS[1:], "H", "seconds", "cost"):
        if column in frame and frame[column].notna().any():
            table[column] = groups[column].mean()
            table[f"{column} worst"] = groups[column].agg(
                "min" if column in (*GROUPS[1:], "H") else "max"
            )
    keys = table.assign(sees=table["sees"].map(SEES.index), H=-table["H"])
    return table.loc[keys.sort_values(["paradigm", "sees", "H"]).index]
