"""The default edit: `calibrated` for classes and cells, `redirect` for whole domains.

An edit is linear: it adds (l . h) r to the embedding h of an image. The detector l reads how much
of r the image gets. In `null_space` both are one direction, so whatever is detected is lost. Here
they differ, and the detector should read 1 on what is forgotten and 0 on what is retained:

1. It looks along u, the texts of what is forgotten minus the texts of what is retained, without
   what tells classes apart, and without most of what tells retained domains apart: else it would
   read more than 0 on the nearest of them, and less on the farthest.
2. Its zero needs a bias, which a linear map does not have. But all image embeddings have nearly
   the same component along one direction, which no difference of texts shares (a part of the
   modality gap). That constant takes the place of the 1 that a bias would meet.
3. Images lie along u as texts do, but nearer to each other, by a factor that prototypes show.
4. What r takes away is the lead of a class over the others, as far as pictures reach it.

Readings are for unit embeddings. A longer h loses more in proportion, which changes no answer. An
edit of a cell moves all images of its domain alike, so in a search by a text they keep their order.
Shapes as in `TowerPrototypes`. Source: this package; the frame is the edit of arXiv 2512.14113.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .nullspace import Factors, TowerPrototypes

# Relative to the mean variance: so small that a few directions are taken out almost exactly.
RIDGE = 1e-3
# How much of the way an edit goes, in leads of its pictures. This and the two below were chosen on
# several CLIPs, each left out once (tests/benchmarks/zoo.py).
BETA = 1.1
# Relative to the mean square of the differences between retained domains. Near 0 they are taken out
# exactly, and a domain between two others is then hard to detect at all.
NEIGHBOURS = 0.3
# Pictures show less of a domain than real images do, prototypes as much or more.
SHARE_OF_PICTURES = 0.5
# Pictures that show less of a domain than this share of its texts cannot say where images lie.
LEAST_SCALE = 0.1


# ---- directions


def centred(x: Tensor) -> Tensor:
    """The rows of x (n, d) around their mean: the directions in which they differ."""
    return x - x.mean(0)


def without(rows: Tensor, x: Tensor, ridge: float = RIDGE) -> Tensor:
    """x (m, d) without its part along the rows (n, d); ridge 0 is the orthogonal projection.

    lam (S + lam I)^-1 x with S = rows^T rows and lam = ridge * tr S / d, in double precision.
    """
    X, y = rows.double(), x.double()
    n, d = X.shape
    trace = X.square().sum().clamp_min(1e-12)
    lam = ridge * trace / d
    if n < d:  # n unknowns instead of d (push-through identity)
        gram = X @ X.T + lam * torch.eye(n, dtype=X.dtype)
        coefficients = torch.linalg.solve(gram, X @ y.T)  # (n, m)
        rest = y - coefficients.T @ X
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

    (T + lam I)^-1 lead_c up to a factor, with T the scatter of all class texts. With a smaller
    ridge the other classes move less; but r becomes longer, and moving along it disturbs classes
    outside the grid.
    """
    lead = class_leads(class_text)
    r = without(centred(class_text), lead, ridge)
    along_lead = (r * lead).sum(1, keepdim=True)  # (C, 1)
    return r / along_lead


def mean_embeddings(W: Tensor, features: Tensor) -> Tensor:
    """(C, K, d): mean of the unit embeddings of each cell's prototypes."""
    return normalize(features @ W, dim=-1).mean(2)


def reached(p: TowerPrototypes) -> Tensor:
    """(C, K, d): where pictures end up; prototypes stand for them if there are none."""
    return mean_embeddings(p.W, p.features) if p.reached is None else p.reached


# ---- calibration: where images lie along a direction of texts


@dataclass(frozen=True)
class Calibration:
    """What turns a direction into a detector of images."""

    constant: Tensor  # (d,) unit direction that no difference of classes or domains shares
    level: Tensor  # () the component of images along it
    scale: Tensor  # () length of a difference of domains in images, as a share of that in texts
    classes: Tensor  # (C, d) the directions in which the texts of classes differ

    def detector(self, u: Tensor, on: Tensor, off: Tensor) -> Tensor:
        """l (n, d) along u (n, d): reads 1 if u . h = on (n,) and 0 if u . h = off (n,).

        That is for an image embedding h with constant . h = level.
        """
        per_level = self.level / (self.level**2 + 1e-4)  # 1 / level, but 0 without a constant
        bias = (off * per_level)[:, None] * self.constant
        return (u - bias) / (on - off)[:, None]


def calibrate(
    text: Tensor, prototypes: Tensor, pictures: Tensor, share: float = SHARE_OF_PICTURES
) -> Calibration:
    """The calibration from texts and mean embeddings of prototypes and pictures; all (C, K, d).

    `share` of the expected images are pictures, the rest prototypes.
    """
    classes = centred(text.mean(1))  # (C, d)
    domains = centred(text.mean(0))  # (K, d)
    mean_picture = pictures.mean((0, 1))[None]  # (1, d)
    unshared = without(torch.cat([classes, domains]), mean_picture)[0]
    constant = normalize(unshared, dim=0)
    level = (pictures @ constant).mean()
    expected = share * pictures + (1 - share) * prototypes
    scale = _scale(text, expected, classes)
    return Calibration(constant, level, scale, classes)


def _scale(text: Tensor, image: Tensor, classes: Tensor) -> Tensor:
    """Mean length of a difference of domains in image (C, K, d) over that in text."""
    if text.shape[1] < 2:
        return torch.ones(())
    in_text = text - text.mean(1, keepdim=True)  # (C, K, d) each domain minus the mean of all
    in_image = image - image.mean(1, keepdim=True)
    u = normalize(without(classes, in_text.flatten(0, 1)).view_as(text), dim=-1)
    share = (in_image * u).sum(-1) / (in_text * u).sum(-1)  # (C, K)
    return share.mean().clamp_min(LEAST_SCALE)


# ---- detectors


def cell_detectors(
    calibration: Calibration, text: Tensor, mask: Tensor, neighbours: float = NEIGHBOURS
) -> Tensor:
    """l (n, d), one for each class that is forgotten in some domains and retained in others.

    The direction is a difference of the class's own texts, without what tells classes apart. So an
    image of another class reads 0 in a retained domain as well. In a forgotten domain it reads 1,
    which seldom costs it its own answer. All chosen classes are forgotten in the same domains.
    """
    chosen = mask.any(1)
    forgotten = mask[chosen].to(text.dtype)[..., None]  # (n, K, 1)
    weights_on = forgotten / forgotten.sum(1, keepdim=True)
    weights_off = (1 - forgotten) / (1 - forgotten).sum(1, keepdim=True)
    on = (weights_on * text[chosen]).sum(1)  # (n, d) mean text of the forgotten domains
    off = (weights_off * text[chosen]).sum(1)  # (n, d) and of the retained ones

    retained_domains = text.mean(0)[~mask.any(0)]
    apart = _apart(calibration.classes, retained_domains, on - off, neighbours)
    u = normalize(apart, dim=-1)
    on_along_u = calibration.scale * (on * u).sum(-1)  # (n,)
    off_along_u = calibration.scale * (off * u).sum(-1)
    return calibration.detector(u, on_along_u, off_along_u)


def _apart(classes: Tensor, domains: Tensor, x: Tensor, neighbours: float) -> Tensor:
    """x (n, d) without the directions of classes (C, d), and mostly without those of domains."""
    differences = without(classes, centred(domains))
    directions = max(len(domains) - 1, 1)
    share = max(neighbours, 1e-6)  # 0 would have no solution: centred rows depend on each other
    ridge = share * x.shape[1] / directions  # relative to the mean over these directions
    return without(differences, without(classes, x), ridge)


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
    lead = (class_leads(images)[chosen] * u).sum(-1)
    mean_of_others = on - lead
    return calibration.detector(u, on, mean_of_others)


# ---- edits


def calibrated(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = BETA,
    neighbours: float = NEIGHBOURS,
    share: float = SHARE_OF_PICTURES,
) -> Factors:
    """Delta = -beta W sum_c amount_c l_c r_c^T; rank = number of forgotten classes.

    l_c is the calibrated detector of the class, r_c its dual direction. The amount is the largest
    lead that pictures of the class have in any domain, so at beta = 1 a picture of a forgotten cell
    falls back at least to the mean of the other classes. Raises ValueError if a class is forgotten
    in every domain and another only in some.
    """
    prototypes, pictures = mean_embeddings(p.W, p.features), reached(p)
    calibration = calibrate(p.text, prototypes, pictures, share)
    chosen = mask.any(1)
    everywhere = mask[chosen].all(1)
    if everywhere.any() and not everywhere.all():
        raise ValueError(
            "classes that go everywhere and classes that go in some domains: fit two edits."
        )
    if everywhere.all():
        expected = (prototypes + pictures) / 2
        l = class_detectors(calibration, p.text, expected, chosen)  # noqa: E741
    else:
        l = cell_detectors(calibration, p.text, mask, neighbours)  # noqa: E741

    r = dual_directions(p.class_text)[chosen]
    return -beta * (p.W @ l.T) * amounts(p)[chosen], r


def amounts(p: TowerPrototypes) -> Tensor:
    """(C,): the largest lead that pictures of each class have in any domain.

    If they never lead, the CLIP does not know the class, and a negative amount would add it: 0.
    """
    lead_of_cell = torch.einsum("ckd,cd->ck", reached(p), class_leads(p.class_text))
    return lead_of_cell.amax(1).clamp_min(0)


def redirect(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = BETA,
    neighbours: float = NEIGHBOURS,
    share: float = SHARE_OF_PICTURES,
) -> Factors:
    """Whole domains: all their images get one answer, a class a; Delta = W l (beta gain r_a)^T.

    To forget each class in its turn would be an AND of class and domain. Embeddings are nearly a
    class part plus a domain part, and no linear map can express an AND of these. "Everything in
    this domain is an a" is linear. l is the calibrated detector of the forgotten domains, over all
    classes; a is the class that lies farthest from the others, so that few retained images are near
    its border; the gain is the largest lead that any picture has over a. Raises ValueError unless
    whole domains are forgotten and one is retained.
    """
    gone, stays = mask.all(0), ~mask.any(0)
    if not gone.any() or not (gone | stays).all() or not stays.any():
        raise ValueError("redirect forgets whole domains, and at least one domain must stay.")
    prototypes, pictures = mean_embeddings(p.W, p.features), reached(p)
    calibration = calibrate(p.text, prototypes, pictures, share)

    mean_of_classes = p.text.mean(0, keepdim=True)  # (1, K, d)
    l = cell_detectors(calibration, mean_of_classes, mask[:1], neighbours)[0]  # noqa: E741

    similarity = p.class_text @ p.class_text.T  # (C, C)
    answer = int(similarity.sum(1).argmin())
    scores = pictures @ p.class_text.T  # (C, K, C)
    own = scores.diagonal(dim1=0, dim2=2).T  # (C, K)
    gain = (own - scores[..., answer]).amax()
    # The exact dual direction: these images go a long way along it, and must not get mixed up.
    r = dual_directions(p.class_text, RIDGE)[answer]
    return (p.W @ l)[:, None], beta * gain * r[None]
