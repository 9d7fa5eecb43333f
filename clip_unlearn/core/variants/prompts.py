"""The text side of the default edit and of the oblique one: prompts move, not images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..calibrated import BETA, calibrate, class_detectors, class_leads, dual_directions
from ..nullspace import Factors, TowerPrototypes
from .oblique import oblique


def calibrated_prompts(p: TowerPrototypes, mask: Tensor, beta: float = BETA) -> Factors:
    """`calibrated` on the text side, for classes forgotten everywhere: only their prompts move.

    A prompt of class c moves by -amount r_c. That takes away the lead which the class has with the
    pictures `p.reached`.
    """
    chosen = mask.any(1)
    calibration = calibrate(p.text, p.text, p.text)
    l = class_detectors(calibration, p.text, p.text, chosen)  # noqa: E741
    r = dual_directions(p.class_text)[chosen]

    pictures = p.reached[chosen]  # (n, K, d)
    leads = class_leads(p.class_text)[chosen]
    lead = torch.einsum("ckd,cd->ck", pictures, leads)
    lead_per_step = torch.einsum("ckd,cd->ck", pictures, r)  # (n, K)
    steps = lead / lead_per_step.clamp_min(1e-3)
    amount = steps.amax(1).clamp_min(0)
    return -beta * (p.W @ l.T) * amount, r


def oblique_prompts(p: TowerPrototypes, mask: Tensor, **settings: float) -> Factors:
    """`oblique` on the text side, where pictures do not say how far prompts have to move."""
    return oblique(p._replace(reached=None), mask, **settings)
