"""Make a pretrained CLIP forget: prototypes from text, and a closed-form edit of its projection.

The names are in the order in which a reader meets them. `clip_unlearn.core` is the method, and says
in which order to read it.
"""

from .models.clip import Clip, load_clip  # isort: skip
from .images.bundled import BUNDLED_SYNONYMS  # isort: skip
from .images.datasets import bundled_images, encode, grid_of, open_images  # isort: skip
from .core.concepts import ConceptGrid, ForgetRequest, all_requests  # isort: skip
from .core.prototypes import Prototypes, synthesize_prototypes  # isort: skip
from .core.applied import ProjectionEdit, compose  # isort: skip
from .core.edit import fit_edit  # isort: skip
from .measure.evaluate import accuracy_grid, evaluate, make_task, predict  # isort: skip
from .measure.setting import Setting, prepare  # isort: skip
from .measure.survey import every_request, summary  # isort: skip
from .models.saved import load_edit, save_edit, save_edited  # isort: skip

__all__ = [  # noqa: RUF022 (the order is the reader's)
    "load_clip",
    "Clip",
    "open_images",
    "bundled_images",
    "BUNDLED_SYNONYMS",
    "grid_of",
    "ConceptGrid",
    "ForgetRequest",
    "all_requests",
    "synthesize_prototypes",
    "Prototypes",
    "fit_edit",
    "ProjectionEdit",
    "compose",
    "encode",
    "make_task",
    "predict",
    "accuracy_grid",
    "evaluate",
    "every_request",
    "summary",
    "prepare",
    "Setting",
    "save_edited",
    "save_edit",
    "load_edit",
]
__version__ = "0.1.0"
