"""Weights that are not here: one question to the hub, and one clear answer.

Weights that are here load without any question.
"""

from __future__ import annotations

import copy
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import open_clip
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from tiny import Bomb

from clip_unlearn import load_clip
from clip_unlearn.core import ModelError
from clip_unlearn.models import hub
from clip_unlearn.models.hub import CONFIG, HubFile
from clip_unlearn.models.sources import WEIGHTS

REPO = "someone/tiny-clip"
TAGGED = ("tiny", "hubbed")


class Silent:
    """A hub on this machine that takes calls and never answers; counts them."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.calls: list = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self.calls.append(self.server.accept()[0])
            except OSError:
                return

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    """The hub's address is one that never answers; waiting for it is short."""
    hanging = Silent()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", hanging.address)
    monkeypatch.setattr(hub.reach, "__defaults__", (1.0,))
    yield hanging
    hanging.server.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def tagged(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teaches open_clip the small model "tiny" with a tag whose weights are on the hub."""
    config = json.loads((clip_folder / CONFIG).read_text())
    model_config = copy.deepcopy(config["model_cfg"])
    tag = {"hf_hub": f"{REPO}/", "mean": (0.5,) * 3, "std": (0.25,) * 3}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", model_config)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"hubbed": tag})


@pytest.fixture
def keep(cache: Path, clip_folder: Path) -> Callable[..., Path]:
    """`keep(names)` puts files of the tiny CLIP into the cache, as a download would."""

    def put(names: tuple[str, ...] = (CONFIG, WEIGHTS)) -> Path:
        home = cache / f"models--{REPO.replace('/', '--')}"
        snapshot = home / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text("0" * 40)
        for name in names:
            shutil.copy(clip_folder / name, snapshot)
        return snapshot

    return put


# ---- what is missing


@pytest.mark.parametrize(("name", "tag"), [TAGGED, (f"hf-hub:{REPO}", None)], ids=["tag", "hf-hub"])
def test_without_network_the_error_names_the_file_the_place_and_the_way(
    name: str, tag: str | None, tagged: None, cache: Path, silent: Silent
) -> None:
    with pytest.raises(ModelError) as caught:
        load_clip(name, tag, device="cpu")
    spec = f"{name}:{tag}" if tag else name
    message = str(caught.value)
    assert f"{WEIGHTS} of {REPO}" in message
    assert f"models--{REPO.replace('/', '--')}" in message
    assert str(cache) in message
    assert f"python -m clip_unlearn.check --prefetch {spec}" in message
    assert silent.address in message
    assert "\n" not in message
    assert len(silent.calls) == 1  # one question, and no retries


def test_the_weights_can_also_be_put_in_by_hand(tagged: None, cache: Path, silent: Silent) -> None:
    with pytest.raises(
        ModelError, match=rf"download .*{REPO}/resolve/main/{WEIGHTS} by hand.*--pretrained FILE"
    ):
        load_clip(*TAGGED, device="cpu")


def test_offline_nobody_is_asked(
    tagged: None, cache: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=rf"missing {WEIGHTS} of {REPO}; HF_HUB_OFFLINE keeps"):
        load_clip(*TAGGED, device="cpu")
    assert not silent.calls


def test_a_refused_connection_is_reported_at_once(
    tagged: None, cache: Path, silent: Silent
) -> None:
    silent.server.close()
    with pytest.raises(ModelError, match=r"cannot be reached .*refused"):
        load_clip(*TAGGED, device="cpu")


@pytest.fixture
def refusing(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub, or something in between, that answers every question with a refusal."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        do_HEAD = do_GET  # noqa: N815 (the library's name)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("name", "tag"), [TAGGED, (f"hf-hub:{REPO}", None)], ids=["tag", "hf-hub"])
def test_a_hub_that_answers_and_gives_nothing_gets_the_same_advice(
    name: str, tag: str | None, tagged: None, cache: Path, refusing: None
) -> None:
    with pytest.raises(
        ModelError, match=rf"missing .*{WEIGHTS} of {REPO}; .*check --prefetch {name}"
    ):
        load_clip(name, tag, device="cpu")


def test_weights_that_the_hub_lacks_are_never_replaced_by_random_ones(
    keep: Callable, refusing: None
) -> None:
    keep((CONFIG,))
    with pytest.raises(ModelError, match=rf"missing {WEIGHTS} of {REPO}; .* has no such file"):
        load_clip(f"hf-hub:{REPO}", device="cpu")


def test_half_a_download_names_the_other_half(keep: Callable, silent: Silent) -> None:
    keep((CONFIG,))
    with pytest.raises(ModelError, match=rf"missing {WEIGHTS} of {REPO};"):
        load_clip(f"hf-hub:{REPO}", device="cpu")


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", [("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", WEIGHTS)]),
        ("ViT-B-32-quickgelu", "openai", [("timm/vit_base_patch32_clip_224.openai", WEIGHTS)]),
        ("ViTamin-S", "datacomp1b", [("jienengchen/ViTamin-S", "pytorch_model.bin")]),
        (
            "ViT-H-14-CLIPA",
            "datacomp1b",
            [
                ("UCSC-VLAA/ViT-H-14-CLIPA-datacomp1B", WEIGHTS),
                ("bert-base-uncased", "tokenizer_config.json"),
            ],
        ),
        ("hf-hub:a/b", None, [("a/b", CONFIG), ("a/b", WEIGHTS)]),
    ],
)
def test_what_open_clip_will_ask_for(
    name: str, tag: str | None, expected: list, cache: Path
) -> None:
    assert [(file.repo, file.names[0]) for file in hub.hub_files(name, tag)] == expected


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:a b/c", "hf-hub:a/b/c"])
def test_what_cannot_be_a_name_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match=f'"{name}" is no name on the hub; .*hf-hub:OWNER/NAME'):
        load_clip(name)


def test_a_tokenizer_of_transformers_without_transformers_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModelError, match=r"ViT-H-14-CLIPA takes its tokenizer .*pip install transformers"
    ):
        load_clip("ViT-H-14-CLIPA", "datacomp1b")
    with pytest.raises(
        ModelError,
        match=r"roberta-ViT-B-32 takes its text tower \(roberta-base\) from transformers",
    ):
        load_clip("roberta-ViT-B-32", "laion2b_s12b_b32k")


# ---- what is here


@pytest.mark.parametrize(("name", "tag"), [TAGGED, (f"hf-hub:{REPO}", None)], ids=["tag", "hf-hub"])
def test_cached_weights_load_and_nobody_is_asked(
    name: str, tag: str | None, tagged: None, keep: Callable, silent: Silent, clip_folder: Path
) -> None:
    keep()
    clip = load_clip(name, tag, device="cpu")
    assert clip.fingerprint() == load_clip(clip_folder, device="cpu").fingerprint()
    assert clip.origin == (f"{name}:{tag}" if tag else name)
    assert not silent.calls
    assert constants.HF_HUB_OFFLINE is False  # as it was before


def test_a_cached_state_dict_loads_and_a_cached_pickle_is_never_opened(
    tagged: None, keep: Callable, silent: Silent, clip_folder: Path, tmp_path: Path
) -> None:
    weights = keep(()) / "open_clip_pytorch_model.bin"
    torch.save(load_file(clip_folder / WEIGHTS), weights)
    cached = load_clip(*TAGGED, device="cpu")
    assert cached.fingerprint() == load_clip(clip_folder, device="cpu").fingerprint()
    torch.save(Bomb(tmp_path / "opened"), weights)
    with pytest.raises(ModelError, match="cannot load tiny"):
        load_clip(*TAGGED, device="cpu")
    assert not (tmp_path / "opened").exists()


def test_any_name_of_a_file_will_do(keep: Callable) -> None:
    snapshot = keep((CONFIG,))
    assert HubFile(REPO, ("absent", CONFIG)).cached() == str(snapshot / CONFIG)
    assert HubFile(REPO, ("absent",)).cached() is None
