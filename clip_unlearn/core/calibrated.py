"""Calibrated edits: a detector that reads 1 on what goes and 0 on what stays, and a direction that moves one class.

Text embeddings say in which direction a detector looks; the constant part of image embeddings,
which no difference of texts shares (a part of the modality gap), is its bias; synthesised pictures
say how far images lie along it. Closed form, every class at once. Shapes as in `nullspace`; reached
(C, K, d) is the mean embedding of a cell's synthesised pictures.

What it does not do: a cell's edit moves all images of its domain alike, so their order in a search
stays as it was. Source: this package; the frame is arXiv 2512.14113's edit of the final projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .nullspace import Factors

# Relative to the mean variance: small enough that few classes are taken out exactly, and with more
# classes than dimensions (where nothing is orthogonal to all of them) the answer is Fisher's
# discriminant.
RIDGE = 1e-3
# Pictures that show less of a domain than this share of what its texts say cannot tell where images
# lie.
LEAST_SCALE = 0.1


def centred(x: Tensor) -> Tensor:
    """Rows of x (n, d) around their mean: the directions in which they differ."""
    return x - x.mean(0)


def without(rows: Tensor, x: Tensor, ridge: float = RIDGE) -> Tensor:
    """x (m, d) without the directions of rows (n, d): lam (S + lam I)^-1 x, S = rows^T rows, lam = ridge * tr S / d.

    In double precision, with as many unknowns as rows (push-through identity) when those are fewer
    than d.
    """
    X, y = rows.double(), x.double()
    lam = ridge * X.square().sum().clamp_min(1e-12) / X.shape[1]
    if len(X) < X.shape[1]:
        out = (
            y - torch.linalg.solve(X @ X.T + lam * torch.eye(len(X), dtype=X.dtype), X @ y.T).T @ X
        )
    else:
        out = lam * torch.linalg.solve(X.T @ X + lam * torch.eye(X.shape[1], dtype=X.dtype), y.T).T
    return out.to(x.dtype)


def class_leads(class_text: Tensor) -> Tensor:
    """(C, d): each class's text minus the mean of the others; its product with an embedding is the class's lead."""
    C = len(class_text)
    return (class_text - class_text.mean(0)) * C / max(C - 1, 1)


def dual_directions(class_text: Tensor, ridge: float = 1.0) -> Tensor:
    """r (C, d), r_c . lead_c = 1: moving along r_c changes the score of class c against the others, theirs hardly.

    (T + lam I)^-1 lead_c with T the scatter of all class texts; class c's own share of T only
    scales the result. The smaller the ridge, the more exact; but an exact answer is a longer way,
    on which classes outside the grid get lost.
    """
    lead = class_leads(class_text)
    r = without(centred(class_text), lead, ridge)
    return r / (r * lead).sum(1, keepdim=True)


@dataclass(frozen=True)
class Calibration:
    """What turns a direction into a detector of images.

    constant (d,): unit direction that no difference of classes or domains shares; level: how far
    along it images lie; scale: length of a difference of domains in images, as a share of the same
    in texts; classes (C, d): the directions in which the texts of classes differ.
    """

    constant: Tensor
    level: Tensor
    scale: Tensor
    classes: Tensor

    def detector(self, u: Tensor, on: Tensor, off: Tensor) -> Tensor:
        """l (n, d) along u (n, d) that reads 1 where u . h = on (n,) and 0 where u . h = off."""
        per_level = self.level / (
            self.level**2 + 1e-4
        )  # 1 / level, but no bias where there is no constant
        return (u - (off * per_level)[:, None] * self.constant) / (on - off)[:, None]


def calibrate(text: Tensor, visual: Tensor, reached: Tensor) -> Calibration:
    """Calibration from text (C, K, d), mean embeddings of visual prototypes and of synthesised pictures (both C, K, d).

    Pictures alone fall short of what real images show of a domain, latent prototypes overshoot;
    their mean is taken.
    """
    classes, domains = centred(text.mean(1)), centred(text.mean(0))
    constant = normalize(
        without(torch.cat([classes, domains]), reached.mean((0, 1))[None])[0], dim=0
    )
    level = (reached @ constant).mean()
    scale = torch.ones(())
    if text.shape[1] > 1:
        each = torch.eye(text.shape[1], dtype=torch.bool)
        between = [_contrasts(x, each) for x in (text, (visual + reached) / 2)]  # (C, K, d)
        u = normalize(without(classes, between[0].flatten(0, 1)).view_as(text), dim=-1)
        scale = ((between[1] * u).sum(-1) / (between[0] * u).sum(-1)).mean().clamp_min(LEAST_SCALE)
    return Calibration(constant, level, scale, classes)


def _contrasts(x: Tensor, gone: Tensor) -> Tensor:
    """(C, n, d): mean of x (C, K, d) over the domains of each row of gone (n, K) minus the mean over the others."""
    weight = gone / gone.sum(1, keepdim=True) - ~gone / (~gone).sum(1, keepdim=True)
    return torch.einsum("nk,ckd->cnd", weight.to(x.dtype), x)


def mean_embeddings(W: Tensor, visual: Tensor) -> Tensor:
    """(C, K, d): mean of the unit embeddings of each cell's visual prototypes."""
    return normalize(visual @ W, dim=-1).mean(2)


def _seen(W: Tensor, visual: Tensor, reached: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean embeddings (C, K, d) of prototypes and of pictures; the former stand for the latter where none are given."""
    image = mean_embeddings(W, visual)
    return image, image if reached is None else reached


def cell_detectors(calibration: Calibration, text: Tensor, mask: Tensor) -> Tensor:
    """(n, d), one for each class that is forgotten in some domains: domains that go against those that stay.

    The direction is the difference of the class's own texts, without what tells classes apart: so
    the other classes' images of the domains that stay read 0 as well. Those of the domains that go
    read 1, which seldom costs them theirs.
    """
    t, gone = text[mask.any(1)], mask[mask.any(1)]
    weight = [(m / m.sum(1, keepdim=True)).to(t.dtype)[..., None] for m in (gone, ~gone)]
    on, off = ((w * t).sum(1) for w in weight)
    u = normalize(without(calibration.classes, on - off), dim=-1)
    return calibration.detector(u, *(calibration.scale * (x * u).sum(-1) for x in (on, off)))


def class_detectors(
    calibration: Calibration, text: Tensor, expected: Tensor, chosen: Tensor
) -> Tensor:
    """(n, d), one for each chosen class: 1 on its images, 0 on the other classes', in all domains.

    expected (C, K, d): where images of each cell are expected.
    """
    u = normalize(class_leads(text.mean(1))[chosen], dim=-1)
    mean = expected.mean(1)
    on = (mean[chosen] * u).sum(-1)
    off = on - (class_leads(mean)[chosen] * u).sum(-1)
    return calibration.detector(u, on, off)


def calibrated(
    W: Tensor,
    text: Tensor,
    class_text: Tensor,
    visual: Tensor,
    mask: Tensor,
    reached: Tensor | None = None,
    beta: float = 1.1,
) -> Factors:
    """Delta = -beta W sum_c amount_c l_c r_c^T: a calibrated detector and the dual direction of each forgotten class.

    The amount is the largest lead that synthesised pictures of the class reach, so at beta = 1 a
    picture of a forgotten cell falls back to the mean of the other classes. `reached` None stands
    for the mean embeddings of `visual`. Rank = number of classes. Raises ValueError where a class
    goes in every domain and another only in some.
    """
    image, reached = _seen(W, visual, reached)
    calibration, chosen = calibrate(text, image, reached), mask.any(1)
    whole = mask[chosen].all(1)
    if whole.any() and not whole.all():
        raise ValueError(
            "classes that go everywhere and classes that go in some domains: fit two edits."
        )
    if whole.all():
        l = class_detectors(calibration, text, (image + reached) / 2, chosen)  # noqa: E741
    else:
        l = cell_detectors(calibration, text, mask)  # noqa: E741
    # Pictures that never lead are of a class that the CLIP does not know: there is nothing to take,
    # and nothing to add.
    amount = (
        torch.einsum("ckd,cd->ck", reached, class_leads(class_text)).amax(1)[chosen].clamp_min(0)
    )
    return -beta * (W @ l.T) * amount, dual_directions(class_text)[chosen]


def calibrated_prompts(
    W_text: Tensor,
    text: Tensor,
    class_text: Tensor,
    reached: Tensor,
    mask: Tensor,
    beta: float = 1.1,
) -> Factors:
    """The same on the text side, for classes that go everywhere: their prompts move, and no other.

    A prompt of class c moves by -amount r_c, which takes the lead of the class from the pictures
    `reached` (C, K, d).
    """
    calibration, chosen = calibrate(text, text, text), mask.any(1)
    l, r = class_detectors(calibration, text, text, chosen), dual_directions(class_text)[chosen]  # noqa: E741
    lead, per_step = (
        torch.einsum("ckd,cd->ck", reached[chosen], x) for x in (class_leads(class_text)[chosen], r)
    )
    return -beta * (W_text @ l.T) * (lead / per_step.clamp_min(1e-3)).amax(1).clamp_min(0), r


def redirect(
    W: Tensor,
    text: Tensor,
    class_text: Tensor,
    visual: Tensor,
    mask: Tensor,
    reached: Tensor | None = None,
    beta: float = 1.1,
) -> Factors:
    """Whole domains: every image of them is pulled to one answer, so that prompts read nothing from it; rank 1.

    Delta = beta * gain W l r_n^T. l is the calibrated detector of the domains that go against those
    that stay, over all classes; n the class that lies farthest from the others, so that few images
    that stay are near its border; the gain is the largest lead over n that synthesised pictures
    reach. "Forget this class here" for every class is an AND of class and domain, which no linear
    map can express from additive prototypes; "this domain answers n" is linear. Raises ValueError
    unless whole domains are forgotten and one stays.
    """
    gone, stays = mask.all(0), ~mask.any(0)
    if not gone.any() or not (gone | stays).all() or not stays.any():
        raise ValueError("redirect forgets whole domains, and at least one domain must stay.")
    image, reached = _seen(W, visual, reached)
    calibration = calibrate(text, image, reached)
    u = normalize(_contrasts(text, gone[None]).mean(0), dim=-1)
    on, off = ((text[:, part].mean((0, 1)) @ u.T) * calibration.scale for part in (gone, stays))
    l, n = calibration.detector(u, on, off)[0], int((class_text @ class_text.T).sum(1).argmin())  # noqa: E741
    scores = reached @ class_text.T  # (C, K, C)
    own = scores.diagonal(dim1=0, dim2=2).T  # (C, K)
    gain = (own - scores[..., n]).amax()
    # The exact dual direction: all images of the domain go a long way along it, and shall not come
    # out in disorder.
    return beta * gain * (W @ l)[:, None], dual_directions(class_text, RIDGE)[n][None]
