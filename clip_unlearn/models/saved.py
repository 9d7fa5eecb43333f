"""Edits as files: an edited CLIP as an open_clip folder, and an edit alone as one small safetensors file."""

from __future__ import annotations

import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import open_clip
from safetensors import SafetensorError, safe_open

from ..core.cache import save_tensors
from ..core.concepts import ForgetRequest
from ..core.edit import EditSequence, ProjectionEdit, check_strength
from ..core.errors import InputError
from .clip import Clip, save_model
from .files import put, writable_home
from .hub import CONFIG, PREFIX
from .modelcard import Measured, model_card
from .sources import WEIGHTS

FORMAT = "clip_unlearn edit 1"
# What an edited CLIP's folder may hold: ours, and what the tokenizers of Hugging Face keep.
_FILES = {
    WEIGHTS,
    CONFIG,
    "edit.json",
    "README.md",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
}
_FILES |= {
    "vocab.txt",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
}
_FILES |= {"sentencepiece.bpe.model"}


def save_edited(
    clip: Clip,
    edit: ProjectionEdit | EditSequence,
    strength: float,
    folder: str | Path,
    measured: Measured | None = None,
    measured_on: str = "",
    license: str = "other",
) -> Path:
    """Write the edited CLIP as an open_clip folder with edit.json and a model card; the CLIP itself is untouched.

    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it, and it can be pushed to a
    hub as it is. `measured` are numbers for the card, rows of columns, such as the "groups" of
    metrics.json; `measured_on` says on which images. `license` is the base model's. All or nothing:
    a folder appears when everything is in it. Raises InputError for a strength outside [0, 1], an
    edit that was fitted on another CLIP, or a folder in the way.
    """
    folder, strength = Path(folder), check_strength(strength)
    fingerprint = clip.fingerprint()
    _check_base(edit, fingerprint, "the edit", clip)
    writable_home(folder)
    check_replaceable(folder)
    facts = _facts(clip, fingerprint, edit, strength) | ({"measured": measured} if measured else {})
    with tempfile.TemporaryDirectory(
        prefix=".edited.partial-", dir=writable_home(folder.absolute().parent)
    ) as stage:
        made = Path(stage) / "clip"
        with edit.applied(clip, strength):
            save_model(clip, made)
        (made / "edit.json").write_text(json.dumps(facts, indent=2, default=float) + "\n")
        (made / "README.md").write_text(model_card(facts, measured, measured_on, license))
        folder.parent.mkdir(parents=True, exist_ok=True)
        put(made, folder)
    return folder


def check_folder(out: Path, model: str) -> None:
    """InputError, before minutes of work, unless `out` is new, empty, or an earlier edit of another CLIP."""
    writable_home(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "edit.json").is_file():
        raise InputError(
            f"{out} holds other files; name a new folder for the edited CLIP, or one that holds an edit."
        )
    check_replaceable(out)
    if out.is_dir() and Path(model.removeprefix("local-dir:")).resolve() == out.resolve():
        raise InputError(f"{out} is the model itself; name another folder for the edited CLIP.")
    if out.resolve() == Path.cwd():
        raise InputError(
            "the edited CLIP is put in place as a whole folder, which cannot be the one you are in."
        )


def check_replaceable(folder: Path) -> None:
    """InputError unless a folder is new, empty, or an edited CLIP and nothing else: it is replaced as a whole."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and "edit.json" not in names:
        raise InputError(
            f"{folder} is in the way: it is not empty, and no edited CLIP that could be replaced."
        )
    if others := sorted(names - _FILES):
        raise InputError(
            f"{folder} holds {others[0]} beside an edited CLIP, and would be replaced as a whole."
        )


def save_edit(edit: ProjectionEdit, file: str | Path) -> Path:
    """Write an edit alone: its thin factors, float32, with the request and the fingerprint of its base.

    Raises InputError for an edit that does not say what it was fitted on.
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
    tensors = {f"{tower}.A": A.float().contiguous() for tower, (A, _) in edit.factors.items()}
    tensors |= {f"{tower}.B": B.float().contiguous() for tower, (_, B) in edit.factors.items()}
    facts = _edit_facts(edit, 1.0) | {
        "seed": edit.seed,
        "base_fingerprint": edit.base,
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory(
        prefix=".edit.partial-", dir=writable_home(file.absolute().parent)
    ) as stage:
        save_tensors(
            Path(stage) / file.name, tensors, {"format": FORMAT, "edit": json.dumps(facts)}
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        put(Path(stage) / file.name, file)
    return file


def load_edit(file: str | Path, clip: Clip) -> ProjectionEdit:
    """The edit of a file, for the CLIP that it was fitted on.

    Raises InputError for a file that holds no edit, or an edit of another CLIP: it would remove
    something else there.
    """
    file = Path(file)
    facts = read_edit(file)
    request = ForgetRequest(facts["classes"], facts["domains"])
    with safe_open(file, "pt") as held:
        towers = dict.fromkeys(name.partition(".")[0] for name in held.keys())  # noqa: SIM118 (it is no mapping)
        factors = {t: (held.get_tensor(f"{t}.A"), held.get_tensor(f"{t}.B")) for t in towers}
    edit = ProjectionEdit(
        request, facts["method"], factors, facts["seed"], facts["base_fingerprint"]
    )
    _check_base(edit, clip.fingerprint(), str(file), clip)
    return edit


def read_edit(file: str | Path) -> dict:
    """What a file of `save_edit` says of its edit: request, method, rank, seed, versions, fingerprint of the base.

    Raises InputError for a file that holds no edit.
    """
    if not Path(file).is_file():
        raise InputError(f"no edit file {file}.")
    try:
        with safe_open(file, "pt") as held:
            note = held.metadata() or {}
        if note.get("format") == FORMAT:
            return json.loads(note["edit"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{file} is no edit of clip_unlearn: {error}.") from error
    raise InputError(
        f'{file} is no edit of clip_unlearn: its format is "{note.get("format", "")}", not "{FORMAT}".'
    )


def versions() -> dict[str, str]:
    """Versions of what makes an edit."""
    names = ("clip_unlearn", "torch", "open_clip_torch", "timm", "safetensors")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def _check_base(
    edit: ProjectionEdit | EditSequence, fingerprint: str, what: str, clip: Clip
) -> None:
    """Raise InputError for an edit of another CLIP; one made by hand, without a base, is taken on trust."""
    if edit.base and edit.base != fingerprint:
        raise InputError(
            f"{what} was fitted on a CLIP with the weights {edit.base}, and {clip.name} in {clip.precision} has the "
            f"weights {fingerprint}: an edit fits its own base alone, in the precision it was fitted in. Load that "
            "one, or fit anew on this one."
        )


def _facts(
    clip: Clip, fingerprint: str, edit: ProjectionEdit | EditSequence, strength: float
) -> dict:
    """What edit.json says: the base, the edits with the strength of each, and the versions."""
    steps = edit.steps if isinstance(edit, EditSequence) else ((edit, 1.0),)
    edits = [
        *clip.edits,
        *(_edit_facts(one, own * strength) | {"seed": one.seed} for one, own in steps),
    ]
    base = {
        "base": clip.name,
        "origin": clip.origin,
        "base_repo": _hub_repo(clip.origin),
        "base_fingerprint": fingerprint,
        "precision": clip.precision,
    }
    # One edit is the usual case: what it says is also found without looking into the list.
    return base | (edits[0] if len(edits) == 1 else {}) | {"edits": edits, "versions": versions()}


def _edit_facts(edit: ProjectionEdit, strength: float) -> dict:
    return {
        "paradigm": edit.request.paradigm,
        "classes": edit.request.classes,
        "domains": edit.request.domains,
        "method": edit.method,
        "towers": edit.towers,
        "strength": strength,
        "rank": {tower: edit.rank(tower) for tower in edit.factors},
    }


def _hub_repo(origin: str) -> str:
    """The hub repository behind MODEL:TAG or an "hf-hub:" name; "" for local files."""
    if origin.startswith(PREFIX):
        return origin.removeprefix(PREFIX)
    name, _, tag = origin.partition(":")
    return (
        open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "").rpartition("/")[0] if tag else ""
    )
