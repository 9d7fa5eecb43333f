"""Which files of a model are on this machine, and whether the Hugging Face hub answers.

Both are found out before any download: the hub's own client tries again and again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import open_clip
from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from open_clip.pretrained import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from ..core import ModelError, first_line

PREFIX = "hf-hub:"
CONFIG = "open_clip_config.json"
PROBE_SECONDS = 4.0
_WEIGHTS = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
# A refusal is an answer too.
_ASK = """\
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1])
except urllib.request.HTTPError:
    pass
"""


@dataclass(frozen=True)
class HubFile:
    """A file of a hub repository."""

    repo: str
    """OWNER/NAME."""

    names: tuple[str, ...]
    """Any of these names will do; the first is the one to fetch."""

    def cached(self) -> str | None:
        """Where it is on this machine, or None."""
        for name in self.names:
            path = try_to_load_from_cache(self.repo, name)
            if isinstance(path, str):
                return path
        return None

    @property
    def vital(self) -> bool:
        """Whether nothing can be loaded without it: configuration and weights.

        A tokenizer may also be kept elsewhere.
        """
        name = self.names[0]
        return name == CONFIG or name.endswith((".safetensors", ".bin"))


def reach(address: str, seconds: float = PROBE_SECONDS) -> None:
    """Raise ConnectionError unless something answers at an address within `seconds`.

    In a process of its own, because looking up a name has no time limit.
    """
    command = [sys.executable, "-c", _ASK, address]
    try:
        subprocess.run(command, capture_output=True, timeout=seconds, check=True)
    except subprocess.SubprocessError as error:
        printed = error.stderr or b"no answer"
        why = printed.decode(errors="replace").strip().splitlines()[-1]
        raise ConnectionError(
            f"no network: {address} cannot be reached ({why}). Connect, and try again."
        ) from None


def hub_files(name: str, tag: str | None) -> list[HubFile]:
    """The hub files that open_clip needs for an "hf-hub:" name, or for a name with its tag.

    Configuration, weights, and the tokenizer's files; raises ModelError for what cannot be a name.
    """
    if name.startswith(PREFIX):
        return _repository_files(name)

    tokenizer = text_files(open_clip.get_model_config(name)["text_cfg"])
    place = open_clip.get_pretrained_cfg(name, tag or "").get("hf_hub", "")
    repo, _, file = place.rpartition("/")
    if not repo:
        return tokenizer
    if not file:
        return [HubFile(repo, _WEIGHTS), *tokenizer]
    safe = f"{file.rpartition('.')[0]}.safetensors"  # open_clip looks for it first
    return [HubFile(repo, (file, safe)), *tokenizer]


def _repository_files(name: str) -> list[HubFile]:
    """The files of an "hf-hub:" name; its tokenizer is known once its configuration is here."""
    repo = name.removeprefix(PREFIX)
    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise ModelError(
            f'"{name}" is no name on the hub; it should look like {PREFIX}OWNER/NAME.'
        ) from None
    config = HubFile(repo, (CONFIG,))
    path = config.cached()
    text_config = json.loads(Path(path).read_text())["model_cfg"]["text_cfg"] if path else {}
    return [config, HubFile(repo, _WEIGHTS), *text_files(text_config)]


def text_files(
    text: dict, keys: Sequence[str] = ("hf_tokenizer_name", "hf_model_name")
) -> list[HubFile]:
    """What a Hugging Face tokenizer or text tower, named in a text_cfg, takes from the hub."""
    names = {
        "hf_tokenizer_name": ("tokenizer_config.json", "tokenizer.json"),
        "hf_model_name": ("config.json",),
    }
    files = []
    for key in keys:
        repo = text.get(key)
        if repo and not Path(repo).is_dir():
            files.append(HubFile(repo, names[key]))
    return files


def check_transformers(text: dict, name: str) -> None:
    """Raise ModelError if a text_cfg needs the transformers package and it is not installed."""
    for key, part in (("hf_model_name", "text tower"), ("hf_tokenizer_name", "tokenizer")):
        if text.get(key) and importlib.util.find_spec("transformers") is None:
            raise ModelError(
                f"{name} takes its {part} ({text[key]}) from transformers: "
                "pip install transformers."
            )


@contextlib.contextmanager
def prepared(files: Sequence[HubFile], spec: str) -> Iterator[None]:
    """Inside, all files are here and nobody asks the hub, or the hub has answered.

    `spec` is MODEL[:TAG], as `python -m clip_unlearn.check --prefetch` takes it. Raises ModelError
    for files that are missing and cannot be fetched; it says what to do.
    """
    missing = [file for file in files if not file.cached()]
    obstacle = _unreachable() if missing else ""
    if obstacle and any(file.vital for file in missing):
        raise ModelError(_missing(missing, spec, obstacle))

    # The hub would ask whether a file has changed, with retries if there is no network.
    may_ask = missing and not obstacle
    try:
        with contextlib.nullcontext() if may_ask else _hub_offline():
            yield
    except Exception as error:
        still_missing = [file for file in missing if not file.cached()]
        if not still_missing:
            raise
        why = obstacle or first_line(error)
        raise ModelError(_missing(still_missing, spec, why)) from error

    # Without weights open_clip only warns, and goes on with random ones.
    absent = [file for file in missing if file.vital and not file.cached()]
    if absent:
        raise ModelError(_missing(absent, spec, f"{constants.ENDPOINT} has no such file"))


@contextlib.contextmanager
def _hub_offline() -> Iterator[None]:
    """Inside, the hub's client asks nobody. open_clip hands it no `local_files_only`."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _unreachable() -> str:
    """Why the hub cannot be asked; "" if it can."""
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE keeps the hub from being asked"
    try:
        reach(constants.ENDPOINT)
    except ConnectionError as error:
        return str(error).removesuffix(" Connect, and try again.")
    return ""


def _missing(files: Sequence[HubFile], spec: str, why: str) -> str:
    """Which files are missing, why they cannot be fetched, and the two ways to get them here."""
    listed = ", ".join(f"{file.names[0]} of {file.repo}" for file in files)
    folders = dict.fromkeys(f"models--{file.repo.replace('/', '--')}" for file in files)
    return (
        f"{spec} is not on this machine: missing {listed}; {why.rstrip('.')}. "
        f"Where there is a network, run `python -m clip_unlearn.check --prefetch {spec}`, "
        f"and copy {', '.join(folders)} from its {constants.HF_HUB_CACHE} into the one here."
        f"{_by_hand(files, spec)}"
    )


def _by_hand(files: Sequence[HubFile], spec: str) -> str:
    """Where a browser finds the weights of an open_clip name; "" if no weights are missing."""
    if spec.startswith(PREFIX):
        return ""
    weights = next((file for file in files if file.vital and file.names[0] != CONFIG), None)
    if weights is None:
        return ""
    url = hf_hub_url(weights.repo, weights.names[0])
    return f" Or download {url} by hand and give the file in place of the tag: --pretrained FILE."
