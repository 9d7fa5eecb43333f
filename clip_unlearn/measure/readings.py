"""What the detectors of an edit read on images: 1 on what goes and 0 on what stays, if all is well.

The default edits take from an image a share of what they were made to take: the reading of their
detector. Zero and one are set without images, so here images check them. A reading far above 1
takes more than was meant; one below 0 adds the class where it should stay as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.applied import ProjectionEdit
from ..core.calibrated import calibrate, mean_embeddings, reached
from ..core.nullspace import TowerPrototypes
from ..core.prototypes import Prototypes
from ..images.datasets import Features

DETECTING = ("calibrated", "redirect")  # the methods whose detectors have a zero and a one
MOST = 1.3  # a reading above this on what goes is worth a word
LEAST = -0.1  # and one below this on what stays
# Directions of the projection weaker than this share of the strongest are outside the span.
_RTOL = 1e-4


@dataclass(frozen=True)
class Readings:
    """Mean readings at full strength."""

    forgotten: float  # on the images to forget, of the detector of their own class
    retained: Mapping[str, float]  # on what stays in each domain; of several detectors the lowest


def readings(prototypes: Prototypes, edit: ProjectionEdit, images: Features) -> Readings | None:
    """The readings on these images; None if the edit has no such detectors.

    That is every method but `DETECTING`, and an edit of the text side. A domain without images that
    stay is left out. Readings are in units of what the edit takes from the images that it expects.
    """
    if edit.method not in DETECTING or "visual" not in edit.factors:
        return None
    p = prototypes.of_tower("visual")
    mask = edit.request.mask(prototypes.grid)
    forget = mask[images.class_of, images.domain_of]
    if not forget.any():
        return None

    A, _ = edit.factors["visual"]  # (D, r), a detector in each column
    norm = (images.f @ p.W).norm(dim=-1, keepdim=True).clamp_min(1e-12)
    pull = images.f @ A / norm  # (n, r)
    expected = _expected_pull(p, mask, A)  # (r,)
    takes = expected.abs() > 1e-9  # nothing from a class that the CLIP does not know
    reading = torch.where(takes, pull / expected, 0.0)

    # The detector of each image to forget: there is one a class, or one for all.
    detector_of_class = mask.any(1).cumsum(0) - 1  # (C,)
    own = detector_of_class[images.class_of].clamp(0, A.shape[1] - 1)
    of_own = reading.gather(1, own[:, None])[:, 0]  # (n,)

    retained = {}
    for k, name in enumerate(prototypes.grid.domains):
        stays = ~forget & (images.domain_of == k)
        if stays.any():
            retained[name] = reading[stays].mean(0).min().item()
    return Readings(of_own[forget].mean().item(), retained)


def _expected_pull(p: TowerPrototypes, mask: Tensor, A: Tensor) -> Tensor:
    """(r,) how far each detector moves the mean image that the edit expects of what goes."""
    detectors = torch.linalg.pinv(p.W, rtol=_RTOL) @ A  # (d, r), on embeddings
    pull = expected_images(p, mask) @ detectors  # (C, K, r)
    if A.shape[1] == 1:
        return pull[mask].mean(0)
    of_class = [pull[c, mask[c], i].mean() for i, c in enumerate(mask.any(1).nonzero().flatten())]
    return torch.stack(of_class)


def expected_images(p: TowerPrototypes, mask: Tensor) -> Tensor:
    """(C, K, d): the embeddings to which the detectors of a request are calibrated.

    Along the constant every image is at the calibrated level. Beside it, a domain's detector
    expects texts at the calibrated scale, and the detector of a class that goes everywhere expects
    images halfway between prototypes and pictures (`core.calibrated`).
    """
    prototypes = mean_embeddings(p.W, p.features)
    pictures = reached(p)
    calibration = calibrate(p.text, prototypes, pictures)
    everywhere = mask[mask.any(1)].all()
    images = (prototypes + pictures) / 2 if everywhere else calibration.scale * p.text
    constant = calibration.constant
    beside = images - (images @ constant)[..., None] * constant
    return beside + calibration.level * constant


def warnings_of(found: Readings | None, strength: float) -> list[str]:
    """A sentence for each reading that is out of range at a strength, with the strength to take."""
    if found is None or strength == 0:
        return []
    sentences = []
    most = strength * found.forgotten
    if most > MOST:
        sentences.append(
            f"The images to forget lose {most:.1f} times what the edit was made to take; strength "
            f"{1 / found.forgotten:.2f} takes just that."
        )
    if found.retained:
        name, reading = min(found.retained.items(), key=lambda entry: entry[1])
        if strength * reading < LEAST:
            sentences.append(
                f"Where {name} should stay as it is, the edit reads {strength * reading:.2f} "
                f"instead of 0 and pushes images the other way; strength {LEAST / reading:.2f} "
                f"keeps that above {LEAST:g}, and forgets less."
            )
    return sentences
