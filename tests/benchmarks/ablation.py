"""Every idea of the calibrated edit on and off, over every request, and how near prototypes come to real images.

    python tests/benchmarks/ablation.py                                  the bundled CLIP and images
    python tests/benchmarks/ablation.py --name pacs --model DIR --images DIR     another CLIP, real
    images

Writes ablation.csv and prototypes.csv to tests/benchmarks/results; rows of other data sets stay as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from clip_unlearn.core import calibrated as cal
from clip_unlearn.core.concepts import all_requests
from clip_unlearn.core.edit import ProjectionEdit, fit_edit
from clip_unlearn.core.nullspace import Factors
from clip_unlearn.core.prototypes import Prototypes, synthesize_prototypes
from clip_unlearn.core.variants import cell_embeddings, unit_features
from clip_unlearn.measure.evaluate import GROUPS, evaluate, one_thread
from clip_unlearn.measure.setting import Setting, SurveyConfig, prepare

RESULTS = Path(__file__).parent / "results"
Fit = Callable[[Prototypes, Tensor], Factors]


def cells(
    p: Prototypes,
    mask: Tensor,
    direction: str = "text",
    classes: str = "taken out",
    bias: str = "constant",
    scale: str = "both",
    removed: float | str = 1.0,
    lead: str = "mean",
    beta: float = 1.1,
) -> Factors:
    """`cal.calibrated` for requests of cells, with each of its choices open; the defaults are its own."""
    image = cal.mean_embeddings(p.W, p.visual)
    picture = {
        "both": (image, p.reached),
        "pictures": (p.reached, p.reached),
        "prototypes": (image, image),
    }
    c = cal.calibrate(
        p.text, picture.get(scale, picture["both"])[0], picture.get(scale, picture["both"])[1]
    )
    c = replace(c, constant=(k := cal.calibrate(p.text, image, p.reached)).constant, level=k.level)
    if scale == "texts":
        c = replace(c, scale=torch.ones(()))
    if bias == "mean":
        c = replace(
            c,
            constant=(m := normalize(p.reached.mean((0, 1)), dim=0)),
            level=(p.reached @ m).mean(),
        )
    if bias == "none":
        c = replace(c, level=torch.zeros(()))
    if classes == "left in":
        c = replace(c, classes=torch.zeros_like(c.classes))
    if direction == "visual":  # its differences are those of images already
        c = replace(c, scale=torch.ones(()))
    seen = {"text": p.text, "visual": image, "average": p.text.mean(0).expand_as(p.text)}[direction]
    l, chosen = cal.cell_detectors(c, seen, mask), mask.any(1)  # noqa: E741
    r = cal.dual_directions(p.class_text, removed) if removed != "text" else p.class_text
    r = r / (r * cal.class_leads(p.class_text)).sum(1, keepdim=True)
    scores = p.reached @ p.class_text.T
    own = scores.diagonal(dim1=0, dim2=2).T
    others = scores.masked_fill(
        torch.eye(len(mask), dtype=torch.bool)[:, None], float("-inf")
    ).amax(2)
    found = (
        own - others
        if lead == "best other"
        else torch.einsum("ckd,cd->ck", p.reached, cal.class_leads(p.class_text))
    )
    return -beta * (p.W @ l.T) * found.amax(1)[chosen], r[chosen]


def _method(name: str, **settings: float) -> Fit:
    """A method of the package, by the request that has this mask."""

    def fit(p: Prototypes, mask: Tensor) -> Factors:
        for kind in ("global", "domain-specific", "whole-domain"):
            for request in all_requests(p.grid, kind):
                if request.mask(p.grid).equal(mask):
                    return fit_edit(p, request, name, **settings).factors["visual"]
        raise ValueError("no single class, cell or domain has this mask.")

    return fit


def _cells(**choices: float | str) -> Fit:
    return lambda p, mask: cells(p, mask, **choices)


OF_CELLS: dict[str, Fit] = {
    "calibrated, as it is": _cells(),
    "no bias: zero where the embedding is zero": _cells(bias="none"),
    "bias from the mean image embedding, differences left in": _cells(bias="mean"),
    "direction from visual prototypes instead of texts": _cells(direction="visual"),
    "one direction for all classes: no interaction": _cells(direction="average"),
    "what tells classes apart left in the detector": _cells(classes="left in"),
    "scale of texts": _cells(scale="texts"),
    "scale of pixel pictures alone": _cells(scale="pictures"),
    "scale of blended prototypes alone": _cells(scale="prototypes"),
    "class text removed instead of the dual direction": _cells(removed="text"),
    "exact dual direction": _cells(removed=1e-3),
    "amount: lead over the best other class": _cells(lead="best other"),
    **{f"beta {beta}": _cells(beta=beta) for beta in (0.9, 1.0, 1.2, 1.3)},
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
    "redirect, as it is": _method("redirect"),
    **{f"beta {beta}": _method("redirect", beta=beta) for beta in (0.9, 1.0, 1.2, 1.3)},
    "calibrated, class by class": _method("calibrated"),
    "null space": _method("null-space"),
}
KINDS: Mapping[str, Mapping[str, Fit]] = {
    "global": OF_CLASSES,
    "domain-specific": OF_CELLS,
    "whole-domain": OF_DOMAINS,
}


def every(s: Setting, p: Prototypes, kind: str, fit: Fit) -> dict[str, float]:
    """Mean and worst over every request of a kind, at strength 1: accuracies, and changes in points."""
    rows = []
    for request in all_requests(p.grid, kind):
        edit = ProjectionEdit(request, "", {"visual": fit(p, request.mask(p.grid))})
        frame = evaluate(p, edit, s.task, [0.0, 1.0], s.unrelated)
        table = frame.pivot(index="group", columns="strength", values="accuracy")
        if "forget" in table.index:
            change = 100 * (table[1.0] - table[0.0])
            rows.append(
                {
                    "forget": table.loc["forget", 1.0],
                    **{g: change[g] for g in GROUPS[1:] if g in change},
                }
            )
    frame, out = pd.DataFrame(rows), {}
    for name in frame:
        worst = frame[name].max() if name == "forget" else frame[name].min()
        out |= {name: round(frame[name].mean(), 3), f"{name} worst": round(worst, 3)}
    return out


def prototype_variants(s: Setting) -> Iterator[tuple[str, Prototypes]]:
    """Other prototypes for the same edit: fewer a cell, and of those another seed, or one kind alone."""
    for idea, settings in {
        "2 prototypes a cell": {},
        "2 prototypes a cell, another seed": {"seed": 1},
        "2 prototypes a cell, pixel alone": {"kind": "pixel"},
        "2 prototypes a cell, latent alone": {"kind": "latent"},
    }.items():
        yield idea, synthesize_prototypes(s.clip, s.prototypes.grid, 2, **settings)


def parts(x: Tensor) -> dict[str, Tensor]:
    """x (C, K, n) as a mean, a part of the class, a part of the domain, and what is left: the interaction."""
    mean = x.mean((0, 1))
    a, d = x.mean(1, keepdim=True) - mean, x.mean(0, keepdim=True) - mean
    return {"mean": mean, "class": a, "domain": d, "interaction": x - mean - a - d}


def likeness(s: Setting, p: Prototypes) -> Iterator[dict[str, float | str]]:
    """Cosine of each part of the prototypes' cell means to that of real images, in both spaces, and relative size."""
    images, (C, K) = s.task.images, p.grid.shape
    at = [(images.class_of == c) & (images.domain_of == k) for c in range(C) for k in range(K)]
    unit = normalize(images.f @ p.W, dim=-1)
    real = {
        name: torch.stack([x[i].mean(0) for i in at]).view(C, K, -1)
        for name, x in (("f", images.f), ("h", unit))
    }
    found = {
        ("f", "visual prototypes"): unit_features(p.visual, p.W).mean(2),
        ("h", "visual prototypes"): cell_embeddings(p.W, p.visual),
        ("h", "pixel pictures"): p.reached,
        ("h", "texts"): p.text,
    }
    for (space, name), x in found.items():
        row: dict[str, float | str] = {"space": space, "prototypes": name}
        for part, (a, b) in {k: (parts(x)[k], parts(real[space])[k]) for k in parts(x)}.items():
            row |= {part: round((a * b).sum().item() / (a.norm() * b.norm()).item(), 3)}
            row |= {f"{part} size": round((a.norm() / b.norm()).item(), 3)}
        yield row


def keep(rows: list[dict], name: str, data: str) -> None:
    """Replace the rows of one data set in a CSV."""
    path = RESULTS / name
    old = pd.read_csv(path) if path.is_file() else pd.DataFrame({"data": []})
    pd.concat([old[old["data"] != data], pd.DataFrame(rows)]).to_csv(path, index=False)


@click.command(help=__doc__)
@click.option("--name", default="bundled")
@click.option("--model", default="bundled")
@click.option("--images", default="bundled")
def main(name: str, model: str, images: str) -> None:
    config = SurveyConfig(model=model, images=images)
    s, rows, alike = prepare(config, progress=True), [], []
    with one_thread():
        for kind, fits in KINDS.items():
            for idea, fit in tqdm(fits.items(), desc=kind):
                rows.append(
                    {
                        "data": name,
                        "requests": kind,
                        "idea": idea,
                        **every(s, s.prototypes, kind, fit),
                    }
                )
    alike += [{"data": name, "variant": "as it is", **row} for row in likeness(s, s.prototypes)]
    for idea, p in prototype_variants(s):
        with one_thread():
            for kind, method in (("domain-specific", "calibrated"), ("whole-domain", "redirect")):
                found = every(s, p, kind, _method(method))
                rows.append({"data": name, "requests": kind, "idea": idea, **found})
            alike += [{"data": name, "variant": idea, **row} for row in likeness(s, p)]
    keep(rows, "ablation.csv", name)
    keep(alike, "prototypes.csv", name)


if __name__ == "__main__":
    main()
