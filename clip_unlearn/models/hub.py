"""What of a model lies on this machine, and whether the Hugging Face hub answers: asked before any download."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import open_clip
from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from open_clip.pretrained import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

from ..core.errors import ModelError, first_line

PREFIX, CONFIG = "hf-hub:", "open_clip_config.json"
PROBE_SECONDS = 4.0
_ASK = "import sys, urllib.request as r\ntry: r.urlopen(sys.argv[1])\nexcept r.HTTPError: pass  # also an answer"


@dataclass(frozen=True)
class HubFile:
    """A file of a hub repository; any of the `names` will do, the first is the one to fetch."""

    repo: str
    names: tuple[str, ...]

    def cached(self) -> str | None:
        """Where it lies on this machine, or None."""
        found = (try_to_load_from_cache(self.repo, name) for name in self.names)
        return next((path for path in found if isinstance(path, str)), None)

    @property
    def vital(self) -> bool:
        """Whether nothing can be loaded without it: configuration and weights; words may also be kept elsewhere."""
        return self.names[0] == CONFIG or self.names[0].endswith((".safetensors", ".bin"))


def reach(address: str, seconds: float = PROBE_SECONDS) -> None:
    """Raise ConnectionError unless anything answers there within `seconds`: the hub itself would try again and again.

    In a process of its own, because no look-up of a name has a time limit.
    """
    try:
        subprocess.run(
            [sys.executable, "-c", _ASK, address], capture_output=True, timeout=seconds, check=True
        )
    except subprocess.SubprocessError as error:
        why = (error.stderr or b"no answer").decode(errors="replace").strip().splitlines()[-1]
        raise ConnectionError(
            f"no network: {address} cannot be reached ({why}). Connect, and try again."
        ) from None


def hub_files(name: str, tag: str | None) -> list[HubFile]:
    """The hub files that open_clip needs for an "hf-hub:" name, or for a name with its tag: config, weights, words."""
    if name.startswith(PREFIX):
        repo = name.removeprefix(PREFIX)
        try:
            validate_repo_id(repo)
        except HFValidationError:
            raise ModelError(
                f'"{name}" is no name on the hub; it should look like {PREFIX}OWNER/NAME.'
            ) from None
        config = HubFile(repo, (CONFIG,))
        path = config.cached()
        text = json.loads(Path(path).read_text())["model_cfg"]["text_cfg"] if path else {}
        return [config, HubFile(repo, (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)), *text_files(text)]
    files = text_files(open_clip.get_model_config(name)["text_cfg"])
    repo, _, file = open_clip.get_pretrained_cfg(name, tag or "").get("hf_hub", "").rpartition("/")
    if repo:
        safe = f"{file.rpartition('.')[0]}.safetensors"  # open_clip looks for it first
        files.insert(
            0, HubFile(repo, (file, safe) if file else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME))
        )
    return files


def text_files(
    text: dict, keys: Sequence[str] = ("hf_tokenizer_name", "hf_model_name")
) -> list[HubFile]:
    """What a Hugging Face tokenizer or text tower (text_cfg) asks the hub for."""
    names = {
        "hf_tokenizer_name": ("tokenizer_config.json", "tokenizer.json"),
        "hf_model_name": ("config.json",),
    }
    return [
        HubFile(text[key], names[key])
        for key in keys
        if text.get(key) and not Path(text[key]).is_dir()
    ]


def check_transformers(text: dict, name: str) -> None:
    """Raise ModelError where the text side needs the transformers package and it is not installed."""
    needs = [key for key in ("hf_model_name", "hf_tokenizer_name") if text.get(key)]
    if needs and importlib.util.find_spec("transformers") is None:
        what = "text tower" if needs[0] == "hf_model_name" else "tokenizer"
        raise ModelError(
            f"{name} takes its {what} ({text[needs[0]]}) from transformers: pip install transformers."
        )


@contextlib.contextmanager
def prepared(files: Sequence[HubFile], spec: str) -> Iterator[None]:
    """Where all files lie here, nothing inside asks the hub; else the hub has answered, or ModelError says what to do.

    `spec` is MODEL[:TAG], as `python -m clip_unlearn.check --prefetch` takes it.
    """
    missing = [file for file in files if not file.cached()]
    why = _unreachable() if missing else ""
    if why and any(file.vital for file in missing):
        raise ModelError(_missing(missing, spec, why))
    # The hub would ask whether a file has changed, with retries where there is no network.
    quiet = (
        mock.patch.object(constants, "HF_HUB_OFFLINE", True)
        if why or not missing
        else contextlib.nullcontext()
    )
    try:
        with quiet:
            yield
    except Exception as error:
        if still := [file for file in missing if not file.cached()]:
            raise ModelError(_missing(still, spec, why or first_line(error))) from error
        raise
    # Without weights open_clip only warns, and goes on with random ones.
    if absent := [file for file in missing if file.vital and not file.cached()]:
        raise ModelError(_missing(absent, spec, f"{constants.ENDPOINT} has no such file"))


def _unreachable() -> str:
    """Why the hub cannot be asked; "" where it can."""
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
    folders = ", ".join(dict.fromkeys(f"models--{file.repo.replace('/', '--')}" for file in files))
    weights = next((file for file in files if file.vital and file.names[0] != CONFIG), None)
    by_hand = ""
    if weights and not spec.startswith(PREFIX):
        url = hf_hub_url(weights.repo, weights.names[0])
        by_hand = (
            f" Or download {url} by hand and give the file in place of the tag: --pretrained FILE."
        )
    return (
        f"{spec} is not on this machine: missing {listed}; {why.rstrip('.')}. Where there is a network, run "
        f"`python -m clip_unlearn.check --prefetch {spec}`, and copy {folders} from its {constants.HF_HUB_CACHE} "
        f"into the one here.{by_hand}"
    )
