"""Edits as files: an edited CLIP as an open_clip folder, or an edit alone as one safetensors file.

Whatever is written appears whole or not at all, and replaces nothing but its own kind.
"""

from __future__ import annotations

import json
import platform
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import open_clip
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core import InputError
from ..core.applied import EditSequence, ProjectionEdit, check_strength
from ..core.cache import save_tensors
from ..core.concepts import ForgetRequest
from .clip import Clip, save_model
from .files import put, writable_home
from .hub import CONFIG, PREFIX
from .modelcard import Measured, model_card
from .sources import WEIGHTS

FORMAT = "clip_unlearn edit 1"
# The distributions whose version can change an edit.
SOFTWARE = ("clip_unlearn", "torch", "open_clip_torch", "timm", "safetensors")
# What the tokenizers of Hugging Face keep in a model's folder.
_TOKENIZER_FILES = (
    "tokenizer.json tokenizer_config.json vocab.json vocab.txt merges.txt special_tokens_map.json "
    "added_tokens.json spiece.model sentencepiece.bpe.model"
)
_FILES = {WEIGHTS, CONFIG, "edit.json", "README.md", *_TOKENIZER_FILES.split()}


# ---- an edited CLIP


def save_edited(
    clip: Clip,
    edit: ProjectionEdit | EditSequence,
    strength: float,
    folder: str | Path,
    measured: Measured | None = None,
    measured_on: str = "",
    license: str = "other",
) -> Path:
    """Write the edited CLIP as an open_clip folder with edit.json and a model card.

    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it, and it can be pushed to a
    hub as it is. `measured` are numbers for the card by group of images, such as the "groups" of
    metrics.json; `measured_on` says on which images. `license` is the base model's. The CLIP itself
    is untouched. Raises InputError for a strength outside [0, 1], an edit that was fitted on
    another CLIP, or a folder that holds something else.
    """
    # Everything that can be wrong, before anything is written.
    folder = Path(folder)
    strength = check_strength(strength)
    fingerprint = clip.fingerprint()
    _check_base(edit, fingerprint, "the edit", clip)
    writable_home(folder)
    check_replaceable(folder)

    # What is known of it.
    facts = _facts(clip, fingerprint, edit, strength)
    if measured:
        facts["measured"] = measured

    # The folder, made beside its place.
    home = writable_home(folder.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".edited.partial-", dir=home) as stage:
        made = Path(stage) / "clip"
        with edit.applied(clip, strength):
            save_model(clip, made)
        (made / "edit.json").write_text(json.dumps(facts, indent=2, default=float) + "\n")
        (made / "README.md").write_text(model_card(facts, measured, measured_on, license))
        folder.parent.mkdir(parents=True, exist_ok=True)
        put(made, folder)
    return folder


def check_folder(out: Path, model: str) -> None:
    """Raise InputError, before minutes of work, if an edited CLIP cannot be saved as `out`.

    It can be if `out` is new, empty, or an earlier edit of another CLIP than `model`.
    """
    writable_home(out)
    check_replaceable(out)
    if out.is_dir() and Path(model.removeprefix("local-dir:")).resolve() == out.resolve():
        raise InputError(f"{out} is the model itself; name another folder for the edited CLIP.")
    if out.resolve() == Path.cwd():
        raise InputError(
            "the edited CLIP is put in place as a whole folder, which cannot be the one you are in."
        )


def check_replaceable(folder: Path) -> None:
    """Raise InputError unless a folder is new, empty, or an edited CLIP and nothing else.

    It is replaced as a whole.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and "edit.json" not in names:
        raise InputError(
            f"{folder} holds other files; name a new folder for the edited CLIP, or one that holds "
            "an edit."
        )
    others = sorted(names - _FILES)
    if others:
        raise InputError(
            f"{folder} holds {others[0]} beside an edited CLIP, and would be replaced as a whole."
        )


# ---- an edit alone


def save_edit(edit: ProjectionEdit, file: str | Path) -> Path:
    """Write an edit alone: its thin factors, float32, with its request and what it was fitted on.

    Raises InputError for an edit that does not say what it was fitted on, or a file in its place
    that holds no edit.
    """
    file = Path(file)
    if not edit.base:
        raise InputError(
            "this edit does not say which CLIP it was fitted on; an edit by `fit_edit` does."
        )
    if file.is_dir():
        raise InputError(f"{file} is a folder; an edit alone is one file.")
    if file.exists():
        read_edit(file)  # only an edit is replaced

    tensors = {}
    for tower, (A, B) in edit.factors.items():
        tensors[f"{tower}.A"] = A.float().contiguous()  # (D, r)
        tensors[f"{tower}.B"] = B.float().contiguous()  # (r, d)
    facts = _edit_facts(edit, 1.0)
    facts["base_fingerprint"] = edit.base
    facts["versions"] = versions()
    note = {"format": FORMAT, "edit": json.dumps(facts)}

    home = writable_home(file.absolute().parent)
    with tempfile.TemporaryDirectory(prefix=".edit.partial-", dir=home) as stage:
        made = Path(stage) / file.name
        save_tensors(made, tensors, note)
        file.parent.mkdir(parents=True, exist_ok=True)
        put(made, file)
    return file


def load_edit(file: str | Path, clip: Clip) -> ProjectionEdit:
    """The edit of a file, for the CLIP that it was fitted on.

    Raises InputError for a file that holds no edit, or an edit of another CLIP: it would remove
    something else there.
    """
    facts, tensors = _read(Path(file))
    towers = dict.fromkeys(name.partition(".")[0] for name in tensors)
    edit = ProjectionEdit(
        request=ForgetRequest(facts["classes"], facts["domains"], facts.get("complete", False)),
        method=facts["method"],
        factors={tower: (tensors[f"{tower}.A"], tensors[f"{tower}.B"]) for tower in towers},
        seed=facts["seed"],
        base=facts["base_fingerprint"],
    )
    _check_base(edit, clip.fingerprint(), str(file), clip)
    return edit


def read_edit(file: str | Path) -> dict:
    """What a file of `save_edit` says of its edit.

    Request, method, rank, seed, versions and the fingerprint of the base. Raises InputError for a
    file that holds no edit.
    """
    facts, _ = _read(Path(file))
    return facts


def _read(file: Path) -> tuple[dict, dict[str, Tensor]]:
    """What a file says of its edit, and its factors by name."""
    if not file.is_file():
        raise InputError(f"no edit file {file}.")
    try:
        with safe_open(file, "pt") as held:
            note = held.metadata() or {}
            found_format = note.get("format", "")
            if found_format != FORMAT:
                raise InputError(
                    f'{file} is no edit of clip_unlearn: its format is "{found_format}", '
                    f'not "{FORMAT}".'
                )
            facts = json.loads(note["edit"])
            tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{file} is no edit of clip_unlearn: {error}.") from error
    return facts, tensors


# ---- what both say


def versions(names: Sequence[str] = SOFTWARE) -> dict[str, str]:
    """Versions of Python and of some distributions: those that make an edit unless named."""
    numbers = {name: metadata.version(name) for name in names}
    return {"python": platform.python_version(), **numbers}


def _check_base(
    edit: ProjectionEdit | EditSequence, fingerprint: str, what: str, clip: Clip
) -> None:
    """Raise InputError for an edit of another CLIP; one without a base is taken on trust."""
    if edit.base and edit.base != fingerprint:
        raise InputError(
            f"{what} was fitted on a CLIP with the weights {edit.base}, and {clip.name} in "
            f"{clip.precision} has the weights {fingerprint}: an edit fits its own base alone, in "
            "the precision it was fitted in. Load that one, or fit anew on this one."
        )


def _facts(
    clip: Clip, fingerprint: str, edit: ProjectionEdit | EditSequence, strength: float
) -> dict:
    """What edit.json says: the base, the edits with the strength of each, and the versions."""
    facts = {
        "base": clip.name,
        "origin": clip.origin,
        "base_repo": _hub_repo(clip.origin),
        "base_fingerprint": fingerprint,
        "precision": clip.precision,
    }
    steps = edit.steps if isinstance(edit, EditSequence) else [(edit, 1.0)]
    new_edits = [_edit_facts(step, own * strength) for step, own in steps]
    edits = [*clip.edits, *new_edits]
    if len(edits) == 1:
        # The usual case: what it says is also found without looking into the list.
        facts |= edits[0]
    facts["edits"] = edits
    facts["versions"] = versions()
    return facts


def _edit_facts(edit: ProjectionEdit, strength: float) -> dict:
    return {
        "paradigm": edit.request.paradigm,
        "classes": edit.request.classes,
        "domains": edit.request.domains,
        "complete": edit.request.complete,
        "method": edit.method,
        "towers": edit.towers,
        "strength": strength,
        "rank": {tower: edit.rank(tower) for tower in edit.factors},
        "seed": edit.seed,
    }


def _hub_repo(origin: str) -> str:
    """The hub repository behind MODEL:TAG or an "hf-hub:" name; "" for local files."""
    if origin.startswith(PREFIX):
        return origin.removeprefix(PREFIX)
    name, _, tag = origin.partition(":")
    if not tag:
        return ""
    place = open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "")
    repo, _, _ = place.rpartition("/")
    return repo
