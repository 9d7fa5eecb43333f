"""The last linear map of an image or text tower, wherever open_clip, timm or Hugging Face keeps it."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import open_clip
import torch
from torch import nn

from ..core.errors import ModelError


@dataclass(frozen=True)
class Head:
    """The last linear map of a tower: a (D, d) parameter or an nn.Linear, held by `owner` under `name`.

    A bias counts as one more row of W, met by a feature that is always 1, so that h = f W holds for
    every tower.
    """

    owner: nn.Module
    name: str

    @property
    def held(self) -> nn.Parameter | nn.Linear:
        """What the tower holds: the parameter, or the layer."""
        return getattr(self.owner, self.name)

    @property
    def weight(self) -> torch.Tensor:
        """W (D, d), a float32 copy on the CPU; with a bias (D + 1, d)."""
        held = self.held
        if isinstance(held, nn.Linear):
            rows = [held.weight.T] + ([held.bias[None]] if held.bias is not None else [])
            return torch.cat(rows).detach().float().cpu().clone()
        return held.detach().float().cpu().clone()

    @torch.no_grad()
    def write(self, weight: torch.Tensor) -> None:
        """Put W (D[+1], d) in place, in the model's own precision."""
        held = self.held
        if isinstance(held, nn.Linear):
            held.weight.copy_(weight[: held.in_features].T)
            if held.bias is not None:
                held.bias.copy_(weight[held.in_features])
        else:
            held.copy_(weight)

    @property
    def constant(self) -> bool:
        """Whether the last feature is the constant 1 that meets a bias."""
        return isinstance(self.held, nn.Linear) and self.held.bias is not None

    def tensors(self) -> list[torch.Tensor]:
        """The model's own tensors behind W, for a snapshot that restores bit for bit."""
        held = self.held
        return (
            [held]
            if isinstance(held, nn.Parameter)
            else [p for p in (held.weight, held.bias) if p is not None]
        )

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The tower without its head: inside, its output is f; yields what adds the constant 1 of a bias.

        A layer gives way to an identity layer, not to nothing: some towers read its weight and bias
        themselves.
        """
        held = self.held
        identity, finish = None, lambda f: f.float()
        if isinstance(held, nn.Linear):
            identity = nn.Linear(held.in_features, held.in_features, bias=held.bias is not None)
            nn.init.eye_(identity.weight).requires_grad_(False)
            if held.bias is not None:
                nn.init.zeros_(identity.bias).requires_grad_(False)
                finish = lambda f: torch.cat(
                    [f.float(), f.new_ones(len(f), 1, dtype=torch.float)], 1
                )  # noqa: E731
            identity.to(held.weight)
        setattr(self.owner, self.name, identity)
        try:
            yield finish
        finally:
            setattr(self.owner, self.name, held)


def image_head(model: nn.Module) -> Head:
    """The image tower's final projection; raises ModelError for a tower that ends in none."""
    visual = model.visual
    if isinstance(visual, open_clip.model.TimmModel):
        return _timm_head(visual)
    for owner, name in (
        (visual, "proj"),  # ViT, also CoCa's
        (getattr(visual, "attnpool", None), "c_proj"),  # ModifiedResNet
    ):
        if isinstance(getattr(owner, name, None), (nn.Parameter, nn.Linear)):
            return Head(owner, name)
    raise ModelError(
        f"image tower {type(visual).__name__} has no linear final projection that we know."
    )


def _timm_head(visual: nn.Module) -> Head:
    """The last layer of open_clip's own head, else of the timm trunk."""
    trunk = visual.trunk
    # Without a projection of open_clip's own, the trunk's classifier has embed_dim outputs and
    # serves as one.
    last = visual.head[-1] if len(visual.head) else trunk.get_classifier()
    layers = (
        last,
        getattr(last, "fc2", None),
        getattr(last, "proj", None),
    )  # linear, MLP, attention pooling
    linear = next((layer for layer in layers if isinstance(layer, nn.Linear)), None)
    if linear is None:
        kind = (getattr(trunk, "pretrained_cfg", None) or {}).get("architecture", "")
        pooling = (
            "attention pooling"
            if getattr(trunk, "attn_pool", None) is not None
            else type(last).__name__
        )
        raise ModelError(
            f"image tower {type(visual).__name__} ({type(trunk).__name__} {kind}) ends in {pooling} with no linear "
            "projection after it (timm_proj is none), so it has no last matrix to edit."
        )
    path = next(path for path, module in visual.named_modules() if module is linear)
    owner, _, name = path.rpartition(".")
    return Head(visual.get_submodule(owner), name)


def text_head(model: nn.Module) -> Head:
    """The text tower's final projection; raises ModelError for a tower that ends in none."""
    owner = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", model)
    for name in ("text_projection", "proj"):  # open_clip's own towers, Hugging Face ones
        held = getattr(owner, name, None)
        if isinstance(held, nn.Sequential) and isinstance(
            held[-1], nn.Linear
        ):  # an MLP: its last layer
            return Head(held, str(len(held) - 1))
        if isinstance(held, (nn.Parameter, nn.Linear)):
            return Head(owner, name)
        if hasattr(owner, name) and (held is None or isinstance(held, nn.Identity)):
            raise ModelError(
                f"text tower {type(owner).__name__} ends in no linear projection ({name} is {type(held).__name__}), "
                "so it has no last matrix to edit."
            )
    raise ModelError(
        f"text tower {type(owner).__name__} has no linear final projection that we know."
    )


def add_projections(model: nn.Module, config: dict) -> None:
    """Give a tower that ends in no matrix (SigLIP) the identity as its last, W = I, and say so in its model_cfg.

    The outputs stay the same bit for bit, and plain open_clip builds the same model from the new
    configuration. Done where the tower's width is embed_dim; any other tower is left alone, for
    `image_head` and `text_head` to refuse.
    """
    d = config["embed_dim"]
    visual, text = model.visual, getattr(model, "text", model)
    bare = config["vision_cfg"].get("timm_proj") == "none" and isinstance(
        visual, open_clip.model.TimmModel
    )
    if bare and visual.trunk.num_features == d and not len(visual.head):
        identity = nn.Linear(d, d, bias=False)
        nn.init.eye_(identity.weight)
        identity.to(next(visual.parameters()))
        visual.head = nn.Sequential(OrderedDict(drop=nn.Dropout(0.0), proj=identity))
        config["vision_cfg"]["timm_proj"] = "linear"
    bare = config["text_cfg"].get("proj_type") == "none" and isinstance(
        text, open_clip.transformer.TextTransformer
    )
    if bare and text.width == d and text.text_projection is None:
        identity = torch.eye(
            d, dtype=text.transformer.get_cast_dtype(), device=next(text.parameters()).device
        )
        text.text_projection = nn.Parameter(identity)
        config["text_cfg"]["proj_type"] = "linear"


@torch.no_grad()
def check_head(head: Head, embed: Callable[[], torch.Tensor], tower: str) -> None:
    """Raise ModelError unless what the tower puts out is f W: nothing may follow its projection.

    `embed()` is the tower on some fixed input, (n, d).
    """
    h, W = embed().float().cpu(), head.weight
    f = torch.zeros(0)
    with (
        contextlib.suppress(RuntimeError),
        head.bypassed() as finish,
    ):  # what follows may not take features
        f = finish(embed()).cpu()
    tolerance = 1e-3 if head.tensors()[0].dtype is torch.float32 else 5e-2
    exact = h.ndim == 2 and f.shape == (len(h), len(W))
    if not exact or (f @ W - h).abs().max() > tolerance * h.abs().max():
        raise ModelError(
            f"{tower} tower: its output is not its features times {type(head.owner).__name__}.{head.name}; something "
            "follows that projection, so an edit of it would not be exact."
        )
