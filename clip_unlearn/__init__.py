"""Make a pretrained CLIP forget: prototypes from text, a closed-form edit of the final projection, at a strength."""

from .core.concepts import ConceptGrid, ForgetRequest, all_requests
from .core.edit import EditSequence, ProjectionEdit, compose, fit_edit
from .core.prototypes import Prototypes, synthesize_prototypes
from .core.synthesis import Synthesis
from .images.bundled import BUNDLED_SYNONYMS
from .images.datasets import bundled_images, encode, grid_of, open_images
from .measure.evaluate import accuracy_grid, evaluate, make_task, predict
from .measure.setting import Setting, SurveyConfig, prepare
from .measure.survey import every_request, summary
from .models.clip import Clip, load_clip
from .models.saved import load_edit, read_edit, save_edit, save_edited

__all__ = [
    "BUNDLED_SYNONYMS",
    "Clip",
    "ConceptGrid",
    "EditSequence",
    "ForgetRequest",
    "ProjectionEdit",
    "Prototypes",
    "Setting",
    "SurveyConfig",
    "Synthesis",
    "accuracy_grid",
    "all_requests",
    "bundled_images",
    "compose",
    "encode",
    "evaluate",
    "every_request",
    "fit_edit",
    "grid_of",
    "load_clip",
    "load_edit",
    "make_task",
    "open_images",
    "predict",
    "prepare",
    "read_edit",
    "save_edit",
    "save_edited",
    "summary",
    "synthesize_prototypes",
]
__version__ = "0.1.0"
