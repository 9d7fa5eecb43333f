"""The last linear map of an image or text tower, wherever open_clip, timm or Hugging Face keeps it.

A `Head` reads it, writes it, and takes it away for a while. Towers that end in something else are
refused by name.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import open_clip
import torch
from open_clip.model import TimmModel
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from ..core import ModelError

_EDITABLE = (nn.Parameter, nn.Linear)


@dataclass(frozen=True)
class Head:
    """The last linear map of a tower: a (D, d) parameter or an nn.Linear.

    A bias counts as one more row of W, met by a feature that is always 1, so that h = f W holds for
    every tower.
    """

    owner: nn.Module
    """The module that holds the map."""

    name: str
    """Its name there."""

    @property
    def held(self) -> nn.Parameter | nn.Linear:
        """What the tower holds: the parameter, or the layer."""
        return getattr(self.owner, self.name)

    @property
    def weight(self) -> Tensor:
        """W (D, d), a float32 copy on the CPU; (D + 1, d) if there is a bias."""
        held = self.held
        if isinstance(held, nn.Linear):
            rows = [held.weight.T]  # (D, d)
            if held.bias is not None:
                rows.append(held.bias[None])  # (1, d)
            W = torch.cat(rows)
        else:
            W = held
        return W.detach().float().cpu().clone()

    @torch.no_grad()
    def write(self, weight: Tensor) -> None:
        """Put W (D[+1], d) in place, in the model's own precision."""
        held = self.held
        if isinstance(held, nn.Linear):
            D = held.in_features
            held.weight.copy_(weight[:D].T)
            if held.bias is not None:
                held.bias.copy_(weight[D])
        else:
            held.copy_(weight)

    @property
    def has_bias(self) -> bool:
        """Whether the last feature is the constant 1 that meets a bias."""
        return isinstance(self.held, nn.Linear) and self.held.bias is not None

    def tensors(self) -> list[Tensor]:
        """The model's own tensors behind W, for a snapshot that restores bit for bit."""
        held = self.held
        if isinstance(held, nn.Parameter):
            return [held]
        if held.bias is None:
            return [held.weight]
        return [held.weight, held.bias]

    @contextlib.contextmanager
    def bypassed(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """The tower without its head: inside, what it puts out is f.

        Yields `finish`, which makes that output into features: float32, with the constant 1 of a
        bias.
        """
        held = self.held
        has_bias = self.has_bias

        def finish(f: Tensor) -> Tensor:
            f = f.float()  # (n, D)
            if not has_bias:
                return f
            ones = f.new_ones(len(f), 1)
            return torch.cat([f, ones], 1)  # (n, D + 1)

        # A layer is replaced by the identity, not by nothing: some towers read the weight and the
        # bias of their last layer themselves.
        stand_in = None
        if isinstance(held, nn.Linear):
            stand_in = _identity(held.in_features, bias=has_bias)
            stand_in.requires_grad_(False).to(held.weight)

        setattr(self.owner, self.name, stand_in)
        try:
            yield finish
        finally:
            setattr(self.owner, self.name, held)


def _identity(width: int, bias: bool) -> nn.Linear:
    """A layer that puts out what it takes in.

    nn.Linear draws random weights first, as it always does: the random pictures of a synthesis are
    drawn after them, from the same generator.
    """
    layer = nn.Linear(width, width, bias=bias)
    nn.init.eye_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def image_head(model: nn.Module) -> Head:
    """The image tower's final projection; raises ModelError for a tower that ends in none."""
    visual = model.visual
    if isinstance(visual, TimmModel):
        return _timm_head(visual)

    # ViT, also CoCa's.
    if isinstance(getattr(visual, "proj", None), _EDITABLE):
        return Head(visual, "proj")

    # ModifiedResNet.
    pooling = getattr(visual, "attnpool", None)
    if isinstance(getattr(pooling, "c_proj", None), _EDITABLE):
        return Head(pooling, "c_proj")

    raise ModelError(
        f"image tower {type(visual).__name__} has no linear final projection that we know."
    )


def _timm_head(visual: TimmModel) -> Head:
    """The last layer of open_clip's own head, or else of the timm trunk."""
    # Without a projection of open_clip's own, the trunk's classifier has embed_dim outputs and
    # serves as one.
    last = visual.head[-1] if len(visual.head) else visual.trunk.get_classifier()
    layer = _linear_layer(last)
    if layer is None:
        raise ModelError(_no_projection(visual, last))
    path = next(path for path, module in visual.named_modules() if module is layer)
    owner, _, name = path.rpartition(".")
    return Head(visual.get_submodule(owner), name)


def _linear_layer(last: nn.Module) -> nn.Linear | None:
    """The linear layer that a part of a timm tower is, or ends in."""
    mlp = getattr(last, "fc2", None)
    attention_pooling = getattr(last, "proj", None)
    for layer in (last, mlp, attention_pooling):
        if isinstance(layer, nn.Linear):
            return layer
    return None


def _no_projection(visual: TimmModel, last: nn.Module) -> str:
    """What a timm tower without a projection ends in."""
    trunk = visual.trunk
    settings = getattr(trunk, "pretrained_cfg", None) or {}
    kind = settings.get("architecture", "")
    pools_by_attention = getattr(trunk, "attn_pool", None) is not None
    end = "attention pooling" if pools_by_attention else type(last).__name__
    return (
        f"image tower {type(visual).__name__} ({type(trunk).__name__} {kind}) ends in {end} with "
        "no linear projection after it (timm_proj is none), so it has no last matrix to edit."
    )


def text_head(model: nn.Module) -> Head:
    """The text tower's final projection; raises ModelError for a tower that ends in none."""
    tower = model if isinstance(model, open_clip.CLIP) else getattr(model, "text", model)
    kind = type(tower).__name__
    for name in ("text_projection", "proj"):  # open_clip's own towers, those of Hugging Face
        if not hasattr(tower, name):
            continue
        held = getattr(tower, name)
        if isinstance(held, _EDITABLE):
            return Head(tower, name)
        if isinstance(held, nn.Sequential) and isinstance(held[-1], nn.Linear):
            return Head(held, str(len(held) - 1))  # an MLP: its last layer
        if held is None or isinstance(held, nn.Identity):
            raise ModelError(
                f"text tower {kind} ends in no linear projection ({name} is "
                f"{type(held).__name__}), so it has no last matrix to edit."
            )
    raise ModelError(f"text tower {kind} has no linear final projection that we know.")


def add_projections(model: nn.Module, config: dict) -> None:
    """Give a tower that ends in no matrix (SigLIP) the identity as its last: W = I.

    The outputs stay the same bit for bit, and `config`, the model_cfg, says so afterwards, so that
    plain open_clip builds the same model. Done if the tower is embed_dim wide; any other tower is
    left alone, for `image_head` and `text_head` to refuse.
    """
    width = config["embed_dim"]
    _add_image_projection(model.visual, config["vision_cfg"], width)
    _add_text_projection(getattr(model, "text", model), config["text_cfg"], width)


def _add_image_projection(visual: nn.Module, config: dict, width: int) -> None:
    bare = config.get("timm_proj") == "none" and isinstance(visual, TimmModel)
    if not bare or visual.trunk.num_features != width or len(visual.head):
        return
    layer = _identity(width, bias=False).to(next(visual.parameters()))
    visual.head = nn.Sequential(OrderedDict(drop=nn.Dropout(0.0), proj=layer))
    config["timm_proj"] = "linear"


def _add_text_projection(text: nn.Module, config: dict, width: int) -> None:
    bare = config.get("proj_type") == "none" and isinstance(text, TextTransformer)
    if not bare or text.width != width or text.text_projection is not None:
        return
    precision = text.transformer.get_cast_dtype()
    device = next(text.parameters()).device
    text.text_projection = nn.Parameter(torch.eye(width, dtype=precision, device=device))
    config["proj_type"] = "linear"


@torch.no_grad()
def check_head(head: Head, embed: Callable[[], Tensor], tower: str) -> None:
    """Raise ModelError unless what the tower puts out is f W: nothing may follow its projection.

    `embed()` is the tower's output (n, d) for some fixed input.
    """
    if not _is_exact(head, embed):
        raise ModelError(
            f"{tower} tower: its output is not its features times {type(head.owner).__name__}."
            f"{head.name}; something follows that projection, so an edit of it would not be exact."
        )


def _is_exact(head: Head, embed: Callable[[], Tensor]) -> bool:
    """Whether the output is the features times W, as far as the model's precision tells."""
    h = embed().float().cpu()  # (n, d)
    try:
        with head.bypassed() as finish:
            f = finish(embed()).cpu()  # (n, D[+1])
    except RuntimeError:  # what follows the projection may not take features
        return False

    W = head.weight
    if h.ndim != 2 or f.shape != (len(h), len(W)):
        return False
    tolerance = 1e-3 if head.tensors()[0].dtype is torch.float32 else 5e-2
    too_far = (f @ W - h).abs().max() > tolerance * h.abs().max()
    return not too_far
