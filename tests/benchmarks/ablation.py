"""Every idea of the calibrated edit on and off, and how near prototypes come to real images.

    python tests/benchmarks/ablation.py                                  the bundled CLIP and images
    python tests/benchmarks/ablation.py --name pacs --model DIR --images DIR      another CLIP, real

Writes ablation.csv (mean and worst over every request) and prototypes.csv to
tests/benchmarks/results. The rows of other data sets stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from clip_unlearn.core import calibrated as cal
from clip_unlearn.core.applied import ProjectionEdit
from clip_unlearn.core.concepts import all_requests
from clip_unlearn.core.edit import fit_edit
from clip_unlearn.core.nullspace import Factors
from clip_unlearn.core.prototypes import Prototypes, synthesize_prototypes
from clip_unlearn.core.variants import cell_embeddings, unit_features
from clip_unlearn.measure.evaluate import GROUPS, evaluate, one_thread
from clip_unlearn.measure.setting import Setting, SurveyConfig, prepare

RESULTS = Path(__file__).parent / "results"
Fit = Callable[[Prototypes, Tensor], Factors]


# ---- the calibrated edit of a cell, with each of its choices open


@dataclass(frozen=True)
class Choices:
    """What `cells` may do otherwise. The defaults make the edit of the package."""

    direction: str = "text"
    """Where the detector looks: by the class's "text", by "visual" prototypes, or by the "average"
    text of all classes."""

    classes: str = "taken out"
    """Directions in which classes differ: "taken out" of the detector, or "left in"."""

    neighbours: float = cal.NEIGHBOURS
    """How far the differences between retained domains are left in: 0 takes them out exactly."""

    bias: str = "constant"
    """Its zero: by the "constant" part of image embeddings, by their "mean", or by "none"."""

    scale: str = "both"
    """Its one: by "pictures", by "prototypes", by the mean of "both", or by "texts"."""

    removed: str | float = 1.0
    """What is removed: the class's "text", or its dual direction with this ridge."""

    lead: str = "mean"
    """The amount: the lead over the "mean" of the other classes, or over the "best other"."""

    beta: float = cal.BETA
    """How much of the way."""


def cells(p: Prototypes, mask: Tensor, choices: Choices) -> Factors:
    """`cal.calibrated` for requests of cells, with these choices."""
    W = p.seen_projection
    image = cal.mean_embeddings(W, p.visual)  # (C, K, d)
    calibration = _calibration(p, image, choices)
    average = p.text.mean(0).expand_as(p.text)
    seen = {"text": p.text, "visual": image, "average": average}[choices.direction]
    detectors = cal.cell_detectors(calibration, seen, mask, choices.neighbours)  # (n, d)

    forgotten = mask.any(1)  # (C,)
    removed = _removed(p, choices)[forgotten]  # (n, d)
    amount = _leads(p, choices).amax(1)[forgotten]  # (n,)
    return -choices.beta * (W @ detectors.T) * amount, removed


def _calibration(p: Prototypes, image: Tensor, choices: Choices) -> cal.Calibration:
    """The calibration from image (C, K, d), the mean embeddings of visual prototypes."""
    calibration = cal.calibrate(p.text, image, p.reached)
    if choices.scale == "pictures":
        pictures = cal.calibrate(p.text, p.reached, p.reached)
        calibration = replace(calibration, scale=pictures.scale)
    if choices.scale == "prototypes":
        prototypes = cal.calibrate(p.text, image, image)
        calibration = replace(calibration, scale=prototypes.scale)
    # The differences of visual prototypes are those of images already.
    if choices.scale == "texts" or choices.direction == "visual":
        calibration = replace(calibration, scale=torch.ones(()))

    if choices.bias == "mean":
        mean = normalize(p.reached.mean((0, 1)), dim=0)
        calibration = replace(calibration, constant=mean, level=(p.reached @ mean).mean())
    if choices.bias == "none":
        calibration = replace(calibration, level=torch.zeros(()))

    if choices.classes == "left in":
        calibration = replace(calibration, classes=torch.zeros_like(calibration.classes))
    return calibration


def _removed(p: Prototypes, choices: Choices) -> Tensor:
    """(C, d): the direction that is removed of each class; moving 1 along it takes a lead of 1."""
    if choices.removed == "text":
        r = p.class_text
    else:
        r = cal.dual_directions(p.class_text, choices.removed)
    return r / (r * cal.class_leads(p.class_text)).sum(1, keepdim=True)


def _leads(p: Prototypes, choices: Choices) -> Tensor:
    """(C, K): by how much the pictures of each cell lead for their own class."""
    if choices.lead == "mean":
        return torch.einsum("ckd,cd->ck", p.reached, cal.class_leads(p.class_text))
    scores = p.reached @ p.class_text.T  # (C, K, C)
    own = scores.diagonal(dim1=0, dim2=2).T  # (C, K)
    itself = torch.eye(len(scores), dtype=torch.bool)[:, None]
    others = scores.masked_fill(itself, float("-inf")).amax(2)
    return own - others


# ---- the ideas


def _cells(**choices: float | str) -> Fit:
    return lambda p, mask: cells(p, mask, Choices(**choices))


def _method(name: str, **settings: float) -> Fit:
    """A method of the package, by the request that has this mask."""

    def fit(p: Prototypes, mask: Tensor) -> Factors:
        for kind in ("global", "domain-specific", "whole-domain"):
            for request in all_requests(p.grid, kind):
                if request.mask(p.grid).equal(mask):
                    return fit_edit(p, request, name, **settings).factors["visual"]
        raise ValueError("no single class, cell or domain has this mask.")

    return fit


def _redirect(**settings: float) -> Fit:
    """`redirect` without the pull for other words, which leaves the named classes as they are."""
    return _method("redirect", every_word=False, **settings)


OF_CELLS: dict[str, Fit] = {
    "calibrated, as it is": _cells(),
    "no bias: zero where the embedding is zero": _cells(bias="none"),
    "bias from the mean image embedding, differences left in": _cells(bias="mean"),
    "direction from visual prototypes instead of texts": _cells(direction="visual"),
    "one direction for all classes: no interaction": _cells(direction="average"),
    "what tells classes apart left in the detector": _cells(classes="left in"),
    "differences between retained domains left in": _cells(neighbours=1e6),
    "differences between retained domains taken out exactly": _cells(neighbours=1e-4),
    "scale of texts": _cells(scale="texts"),
    "scale of pixel pictures alone": _cells(scale="pictures"),
    "scale of blended prototypes alone": _cells(scale="prototypes"),
    "class text removed instead of the dual direction": _cells(removed="text"),
    "exact dual direction": _cells(removed=1e-3),
    "amount: lead over the best other class": _cells(lead="best other"),
    "beta 0.9": _cells(beta=0.9),
    "beta 1.0": _cells(beta=1.0),
    "beta 1.2": _cells(beta=1.2),
    "beta 1.3": _cells(beta=1.3),
    "oblique, as before": _method("oblique"),
    "oblique, class text removed": _method("oblique", dual=0.0),
    "null space": _method("null-space"),
    "null space, text alone": _method("null-space-text"),
}
OF_CLASSES: dict[str, Fit] = {
    "calibrated, as it is": _method("calibrated"),
    "oblique, as before": _method("oblique"),
    "null space": _method("null-space"),
    "null space, text alone": _method("null-space-text"),
}
OF_DOMAINS: dict[str, Fit] = {
    "redirect, as it is": _redirect(),
    "differences between retained domains left in": _redirect(neighbours=1e6),
    "differences between retained domains taken out exactly": _redirect(neighbours=1e-4),
    "beta 0.9": _redirect(beta=0.9),
    "beta 1.0": _redirect(beta=1.0),
    "beta 1.2": _redirect(beta=1.2),
    "beta 1.3": _redirect(beta=1.3),
    "calibrated, class by class": _method("calibrated"),
    "null space": _method("null-space"),
}
KINDS: Mapping[str, Mapping[str, Fit]] = {
    "global": OF_CLASSES,
    "domain-specific": OF_CELLS,
    "whole-domain": OF_DOMAINS,
}
# Other prototypes for the same edit: fewer a cell, and of those another seed, or one kind alone.
PROTOTYPES: Mapping[str, Mapping[str, str | int]] = {
    "2 prototypes a cell": {},
    "2 prototypes a cell, another seed": {"seed": 1},
    "2 prototypes a cell, pixel alone": {"kind": "pixel"},
    "2 prototypes a cell, latent alone": {"kind": "latent"},
}


# ---- what is measured


def every(s: Setting, p: Prototypes, kind: str, fit: Fit) -> dict[str, float]:
    """Mean and worst over every request of a kind, at strength 1: accuracy, changes in points."""
    rows = []
    for request in all_requests(p.grid, kind):
        factors = fit(p, request.mask(p.grid))
        edit = ProjectionEdit(request, "", {"visual": factors})
        frame = evaluate(p, edit, s.task, [0.0, 1.0], s.unrelated)
        accuracy = frame.pivot(index="group", columns="strength", values="accuracy")
        if "forget" not in accuracy.index:
            continue  # a cell without images cannot be measured
        change = 100 * (accuracy[1.0] - accuracy[0.0])
        kept = {group: change[group] for group in GROUPS[1:] if group in change}
        rows.append({"forget": accuracy.loc["forget", 1.0], **kept})

    out = {}
    for name, values in pd.DataFrame(rows).items():
        worst = values.max() if name == "forget" else values.min()
        out[name] = round(values.mean(), 3)
        out[f"{name} worst"] = round(worst, 3)
    return out


def parts(x: Tensor) -> dict[str, Tensor]:
    """x (C, K, n) as a mean, a part of the class, one of the domain, and the rest: interaction."""
    mean = x.mean((0, 1))
    of_class = x.mean(1, keepdim=True) - mean
    of_domain = x.mean(0, keepdim=True) - mean
    rest = x - mean - of_class - of_domain
    return {"mean": mean, "class": of_class, "domain": of_domain, "interaction": rest}


def likeness(s: Setting, p: Prototypes) -> Iterator[dict[str, float | str]]:
    """How each part of the prototypes' cell means compares to that of real images.

    The cosine of the two and the ratio of their sizes, in feature space (f) and joint space (h).
    """
    f = s.task.images.f  # (n, D)
    h = normalize(f @ p.seen_projection, dim=-1)  # (n, d)
    real = {"f": _cell_means(s, p, f), "h": _cell_means(s, p, h)}
    synthesised = {
        ("f", "visual prototypes"): unit_features(p.visual).mean(2),
        ("h", "visual prototypes"): cell_embeddings(p.seen_projection, p.visual),
        ("h", "pixel pictures"): p.reached,
        ("h", "texts"): p.text,
    }
    for (space, name), means in synthesised.items():
        row: dict[str, float | str] = {"space": space, "prototypes": name}
        ours, theirs = parts(means), parts(real[space])
        for part in ours:
            a, b = ours[part], theirs[part]
            cosine = (a * b).sum().item() / (a.norm() * b.norm()).item()
            row[part] = round(cosine, 3)
            row[f"{part} size"] = round((a.norm() / b.norm()).item(), 3)
        yield row


def _cell_means(s: Setting, p: Prototypes, x: Tensor) -> Tensor:
    """(C, K, m): mean of x (n, m) over the real images of each cell."""
    images = s.task.images
    classes, domains = p.grid.shape
    means = []
    for c in range(classes):
        for k in range(domains):
            means.append(x[(images.class_of == c) & (images.domain_of == k)].mean(0))
    return torch.stack(means).view(classes, domains, -1)


# ---- the two tables


def ablation_rows(s: Setting) -> Iterator[dict[str, float | str]]:
    """One row for every idea, with the prototypes as they are."""
    for kind, fits in KINDS.items():
        for idea, fit in tqdm(fits.items(), desc=kind):
            yield {"requests": kind, "idea": idea, **every(s, s.prototypes, kind, fit)}


def prototype_rows(s: Setting, idea: str, p: Prototypes) -> Iterator[dict[str, float | str]]:
    """One row for each kind of request whose default edit looks at pictures of a domain."""
    for kind, fit in (("domain-specific", _method("calibrated")), ("whole-domain", _redirect())):
        yield {"requests": kind, "idea": idea, **every(s, p, kind, fit)}


def keep(rows: list[dict], name: str, data: str) -> None:
    """Replace the rows of one data set in a CSV."""
    path = RESULTS / name
    old = pd.read_csv(path) if path.is_file() else pd.DataFrame({"data": []})
    new = pd.DataFrame(rows)
    new.insert(0, "data", data)
    pd.concat([old[old["data"] != data], new]).to_csv(path, index=False)


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
def main(name: str, model: str, images: str) -> None:
    s = prepare(SurveyConfig(model=model, images=images), progress=True)
    with one_thread():
        ablation = list(ablation_rows(s))
        like_real = [{"variant": "as it is", **row} for row in likeness(s, s.prototypes)]
    for idea, settings in PROTOTYPES.items():
        p = synthesize_prototypes(s.clip, s.prototypes.grid, 2, **settings)
        with one_thread():
            ablation += prototype_rows(s, idea, p)
            like_real += [{"variant": idea, **row} for row in likeness(s, p)]
    keep(ablation, "ablation.csv", name)
    keep(like_real, "prototypes.csv", name)


if __name__ == "__main__":
    main()
