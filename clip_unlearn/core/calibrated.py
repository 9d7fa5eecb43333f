"""The default edit: a detector that reads 1 on what is forgotten and 0 on what is retained.

Text embeddings say in which direction a detector looks. The constant part of image embeddings,
which no difference of texts shares (a part of the modality gap), is its bias. Synthesised pictures
say how far images lie along it. What is removed is another direction, one that moves a single
class. All of it is closed form, for every class at once. Shapes as in `TowerPrototypes`.

What it does not do: the edit of a cell moves all images of its domain alike, so their order in a
search stays as it was. Source: this package; the frame is the edit of arXiv 2512.14113.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .nullspace import Factors, TowerPrototypes

# Relative to the mean variance: small enough that few classes are taken out exactly. With more
# classes than dimensions nothing is orthogonal to all of them; the answer is Fisher's discriminant.
RIDGE = 1e-3
# Pictures that show less of a domain than this share of its texts cannot say where images lie.
LEAST_SCALE = 0.1


# ---- directions


def centred(x: Tensor) -> Tensor:
    """The rows of x (n, d) around their mean: the directions in which they differ."""
    return x - x.mean(0)


def without(rows: Tensor, x: Tensor, ridge: float = RIDGE) -> Tensor:
    """x (m, d) without the directions of rows (n, d).

    lam (S + lam I)^-1 x with S = rows^T rows and lam = ridge * tr S / d. In double precision, with
    as many unknowns as rows when those are fewer than d (push-through identity).
    """
    X, y = rows.double(), x.double()
    n, d = X.shape
    lam = ridge * X.square().sum().clamp_min(1e-12) / d
    if n < d:
        gram = X @ X.T + lam * torch.eye(n, dtype=X.dtype)
        along_rows = torch.linalg.solve(gram, X @ y.T)  # (n, m)
        rest = y - along_rows.T @ X
    else:
        scatter = X.T @ X + lam * torch.eye(d, dtype=X.dtype)
        rest = lam * torch.linalg.solve(scatter, y.T).T
    return rest.to(x.dtype)


def class_leads(class_text: Tensor) -> Tensor:
    """(C, d): the text of each class minus the mean of the others.

    Its product with an embedding is the lead of that class over the others there.
    """
    C = len(class_text)
    return centred(class_text) * C / max(C - 1, 1)


def dual_directions(class_text: Tensor, ridge: float = 1.0) -> Tensor:
    """r (C, d) with r_c . lead_c = 1: moving along r_c changes the score of class c, others hardly.

    (T + lam I)^-1 lead_c, with T the scatter of all class texts; class c's own share of T only
    scales the result. A smaller ridge is more exact, but the way is longer, and classes outside the
    grid get lost on it.
    """
    lead = class_leads(class_text)
    r = without(centred(class_text), lead, ridge)
    along_lead = (r * lead).sum(1, keepdim=True)  # (C, 1)
    return r / along_lead


def mean_embeddings(W: Tensor, features: Tensor) -> Tensor:
    """(C, K, d): mean of the unit embeddings of each cell's prototypes."""
    return normalize(features @ W, dim=-1).mean(2)


# ---- calibration: where images lie along a direction of texts


@dataclass(frozen=True)
class Calibration:
    """What turns a direction into a detector of images."""

    constant: Tensor  # (d,) unit direction that no difference of classes or domains shares
    level: Tensor  # how far along it images lie
    scale: Tensor  # length of a difference of domains in images, as a share of the same in texts
    classes: Tensor  # (C, d) the directions in which the texts of classes differ

    def detector(self, u: Tensor, on: Tensor, off: Tensor) -> Tensor:
        """l (n, d) along u (n, d) that reads 1 where u . h = on (n,), and 0 where u . h = off."""
        per_level = self.level / (self.level**2 + 1e-4)  # 1 / level, but 0 without a constant
        bias = (off * per_level)[:, None] * self.constant
        return (u - bias) / (on - off)[:, None]


def calibrate(text: Tensor, visual: Tensor, reached: Tensor) -> Calibration:
    """The calibration from texts and mean embeddings of prototypes and pictures; all (C, K, d).

    Pictures alone fall short of what real images show of a domain, and latent prototypes overshoot:
    their mean is taken.
    """
    classes = centred(text.mean(1))
    domains = centred(text.mean(0))
    mean_image = reached.mean((0, 1))[None]
    unshared = without(torch.cat([classes, domains]), mean_image)[0]
    constant = normalize(unshared, dim=0)
    level = (reached @ constant).mean()
    scale = _scale(text, (visual + reached) / 2, classes)
    return Calibration(constant, level, scale, classes)


def _scale(text: Tensor, image: Tensor, classes: Tensor) -> Tensor:
    """Mean length of a difference of domains in image, over that in text, without the classes."""
    if text.shape[1] < 2:
        return torch.ones(())
    each_domain = torch.eye(text.shape[1], dtype=torch.bool)
    in_text = _contrasts(text, each_domain)  # (C, K, d)
    in_image = _contrasts(image, each_domain)
    no_classes = without(classes, in_text.flatten(0, 1)).view_as(text)
    u = normalize(no_classes, dim=-1)
    length_in_image = (in_image * u).sum(-1)  # (C, K)
    length_in_text = (in_text * u).sum(-1)
    share = length_in_image / length_in_text
    return share.mean().clamp_min(LEAST_SCALE)


def _contrasts(x: Tensor, gone: Tensor) -> Tensor:
    """(C, n, d): mean of x (C, K, d) over the domains in a row of gone (n, K), minus the rest."""
    inside = gone / gone.sum(1, keepdim=True)
    outside = ~gone / (~gone).sum(1, keepdim=True)
    return torch.einsum("nk,ckd->cnd", (inside - outside).to(x.dtype), x)


# ---- detectors


def cell_detectors(calibration: Calibration, text: Tensor, mask: Tensor) -> Tensor:
    """l (n, d), one for each class that is forgotten in some domains: those against the others.

    The direction is the difference of the class's own texts, without what tells classes apart: so
    the images of other classes in the retained domains read 0 as well. Those in the forgotten
    domains read 1, which seldom costs them their own answer.
    """
    chosen = mask.any(1)
    forgotten = mask[chosen].to(text.dtype)[..., None]  # (n, K, 1)
    retained = 1 - forgotten
    forgotten = forgotten / forgotten.sum(1, keepdim=True)
    retained = retained / retained.sum(1, keepdim=True)
    on = (forgotten * text[chosen]).sum(1)  # (n, d) mean text of the forgotten domains
    off = (retained * text[chosen]).sum(1)

    u = normalize(without(calibration.classes, on - off), dim=-1)
    on_along_u = calibration.scale * (on * u).sum(-1)  # (n,)
    off_along_u = calibration.scale * (off * u).sum(-1)
    return calibration.detector(u, on_along_u, off_along_u)


def class_detectors(
    calibration: Calibration, text: Tensor, expected: Tensor, chosen: Tensor
) -> Tensor:
    """l (n, d), one for each chosen class: 1 on its images and 0 on all others, in every domain.

    expected (C, K, d): where images of each cell are expected.
    """
    text_leads = class_leads(text.mean(1))  # (C, d)
    u = normalize(text_leads[chosen], dim=-1)
    images = expected.mean(1)  # (C, d)
    on = (images[chosen] * u).sum(-1)
    lead_of_on = (class_leads(images)[chosen] * u).sum(-1)
    return calibration.detector(u, on, on - lead_of_on)


# ---- edits


def calibrated(p: TowerPrototypes, mask: Tensor, beta: float = 1.1) -> Factors:
    """Delta = -beta W sum_c amount_c l_c r_c^T; rank = number of forgotten classes.

    l_c is the calibrated detector of the class, r_c its dual direction. The amount is the largest
    lead that synthesised pictures of the class reach, so at beta = 1 a picture of a forgotten cell
    falls back to the mean of the other classes. Raises ValueError if a class is forgotten in every
    domain and another only in some.
    """
    visual, reached = _embeddings(p)
    calibration = calibrate(p.text, visual, reached)
    chosen = mask.any(1)
    everywhere = mask[chosen].all(1)
    if everywhere.any() and not everywhere.all():
        raise ValueError(
            "classes that go everywhere and classes that go in some domains: fit two edits."
        )
    if everywhere.all():
        expected = (visual + reached) / 2
        l = class_detectors(calibration, p.text, expected, chosen)  # noqa: E741
    else:
        l = cell_detectors(calibration, p.text, mask)  # noqa: E741

    # If its pictures never lead, the CLIP does not know the class: nothing to take, nothing to add.
    leads = torch.einsum("ckd,cd->ck", reached, class_leads(p.class_text))
    amount = leads.amax(1)[chosen].clamp_min(0)  # (n,)
    r = dual_directions(p.class_text)[chosen]
    return -beta * (p.W @ l.T) * amount, r


def redirect(p: TowerPrototypes, mask: Tensor, beta: float = 1.1) -> Factors:
    """Whole domains: every image of them is pulled to one answer; Delta = beta gain W l r_n^T.

    l is the calibrated detector of the forgotten domains against the retained ones, over all
    classes. n is the class that lies farthest from the others, so that few retained images are near
    its border. The gain is the largest lead over n that synthesised pictures reach. "Forget this
    class here", for every class, is an AND of class and domain, which no linear map can express
    from additive prototypes; "this domain answers n" is linear. Raises ValueError unless whole
    domains are forgotten and one is retained.
    """
    gone, stays = mask.all(0), ~mask.any(0)
    if not gone.any() or not (gone | stays).all() or not stays.any():
        raise ValueError("redirect forgets whole domains, and at least one domain must stay.")
    visual, reached = _embeddings(p)
    calibration = calibrate(p.text, visual, reached)

    contrast = _contrasts(p.text, gone[None]).mean(0)
    u = normalize(contrast, dim=-1)  # (1, d)
    on = p.text[:, gone].mean((0, 1)) @ u.T
    off = p.text[:, stays].mean((0, 1)) @ u.T
    scale = calibration.scale
    l = calibration.detector(u, scale * on, scale * off)[0]  # noqa: E741

    similarity = p.class_text @ p.class_text.T  # (C, C)
    n = int(similarity.sum(1).argmin())
    scores = reached @ p.class_text.T  # (C, K, C)
    own = scores.diagonal(dim1=0, dim2=2).T  # (C, K)
    gain = (own - scores[..., n]).amax()
    # The exact dual direction: these images go a long way along it, and must not get mixed up.
    r = dual_directions(p.class_text, RIDGE)[n]
    return beta * gain * (p.W @ l)[:, None], r[None]


def _embeddings(p: TowerPrototypes) -> tuple[Tensor, Tensor]:
    """Mean embeddings (C, K, d) of prototypes, and of pictures, or of prototypes once more."""
    visual = mean_embeddings(p.W, p.features)
    if p.reached is None:
        return visual, visual
    return visual, p.reached
