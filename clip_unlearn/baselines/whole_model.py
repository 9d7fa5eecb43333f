"""Lip as its authors wrote it: it changes layers all over a CLIP, so it is no edit of one matrix.

Source: Kravets & Namboodiri, WACV 2025, arXiv 2407.07485, and their published code, for what the
paper leaves open. A request takes a minute or more, and after it every image must be encoded anew;
so the comparison over every request has the last matrix alone, `trained.lip`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.transforms.v2.functional import gaussian_blur
from tqdm.auto import tqdm

from ..core import InputError
from ..core.concepts import ConceptGrid, ForgetRequest
from ..measure.evaluate import classifier
from ..models.clip import Clip

# From the least noise to the most, its deviation beside pixels of deviation 1; and how many more
# tensors may change at each.
NOISE = (0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
MORE_TENSORS = (0, 2, 5, 8, 10, 15, 20)
# After a picture that does not come out, less confidence is asked for, down to the least.
_LESS_CONFIDENCE = 0.025
_LEAST_CONFIDENCE = 0.45


@dataclass(frozen=True, kw_only=True)
class Lip:
    """The numbers of the authors."""

    # Pictures of what goes.
    pictures: int = 64
    steps: int = 3000  # at most; a picture is done once it is recognised
    length: float = 25.0  # of a step
    jitter: int = 16  # pixels, at most
    blur_every: int = 10  # steps
    blur: float = 0.5  # pixels
    shrink: float = 1e-3  # weight of the norm of a picture
    confidence: float = 0.8  # a picture is recognised from this probability on
    # Training.
    draws: int = 5
    tensors: int = 25  # of each tower; the authors' number for a ViT
    rate: float = 5e-5
    decay: float = 0.2
    rounds: int = 30
    stop: float = 0.2  # share of the pictures that is still recognised


# ---- pictures


def lip_pictures(
    clip: Clip,
    texts: Tensor,
    target: int,
    how: Lip = Lip(),
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Normalised pictures (n, 3, s, s), each recognised as row `target` of unit texts (m, d).

    From N(0, 1) noise, steps of one length up the gradient of the text's logit, each under a random
    shift; clamped to what a picture may be, and blurred every few steps. All are made at once and
    share the shift, where the authors make one after the other. Raises InputError if no picture is
    recognised at the least confidence that the authors ask for.
    """
    generator = torch.Generator().manual_seed(seed)
    size = clip.image_size
    confidence = how.confidence
    found: list[Tensor] = []
    while len(found) < how.pictures:
        missing = how.pictures - len(found)
        noise = torch.randn(missing, 3, size, size, generator=generator).to(clip.device)
        done = _ascended(clip, noise, texts, target, confidence, how, generator, progress)
        found += done

        if not done and confidence <= _LEAST_CONFIDENCE:
            raise InputError(
                f"in {how.steps} steps no picture is recognised with probability "
                f"{_LEAST_CONFIDENCE}: ask for more steps."
            )
        if len(done) < missing:
            confidence = max(confidence - _LESS_CONFIDENCE, _LEAST_CONFIDENCE)
    return torch.stack(found)


def _ascended(
    clip: Clip,
    pictures: Tensor,
    texts: Tensor,
    target: int,
    confidence: float,
    how: Lip,
    generator: torch.Generator,
    progress: bool,
) -> list[Tensor]:
    """Those of the pictures (n, 3, s, s) that are recognised in time, each (3, s, s)."""
    means, deviations = (torch.tensor(x, device=clip.device) for x in clip.normalization)
    mean, deviation = means[:, None, None], deviations[:, None, None]
    black = (0 - mean) / deviation  # (3, 1, 1)
    white = (1 - mean) / deviation
    texts = texts.to(clip.device)

    found: list[Tensor] = []
    for step in tqdm(range(how.steps), desc="pictures", disable=not progress):
        across, down = torch.randint(0, how.jitter + 1, (2,), generator=generator).tolist()
        shifted = pictures.roll((down, across), (2, 3)).requires_grad_()
        logit = _logits(clip, shifted, texts)[:, target]
        score = logit - how.shrink * shifted.flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad(score.sum(), shifted)
        moved = shifted.detach() + how.length * normalize(gradient.flatten(1)).view_as(gradient)

        pictures = moved.roll((-down, -across), (2, 3))
        pictures = pictures.clamp(black, white)
        if step % how.blur_every == 0:
            pictures = gaussian_blur(pictures, [5, 5], [how.blur, how.blur])

        seen = clip.normalized(_stretched(pictures * deviation + mean))
        with torch.no_grad():
            probability = _logits(clip, seen, texts).softmax(1)
        recognised = probability.argmax(1).eq(target) & (probability[:, target] > confidence)
        found += seen[recognised]
        pictures = pictures[~recognised]
        if not len(pictures):
            break
    return found


def _stretched(pixels: Tensor) -> Tensor:
    """Pixels (n, 3, s, s), each picture's darkest value at 0 and its brightest at 1."""
    darkest = pixels.amin((1, 2, 3), keepdim=True)
    brightest = pixels.amax((1, 2, 3), keepdim=True)
    return (pixels - darkest) / (brightest - darkest).clamp_min(1e-12)


def _logits(clip: Clip, pictures: Tensor, texts: Tensor) -> Tensor:
    """(n, m) logits of normalised pictures for unit texts (m, d), at the CLIP's own scale."""
    h = clip.model.encode_image(pictures, normalize=True)
    return clip.model.logit_scale.exp() * h @ texts.T


# ---- training


def lipschitz_loss(
    model: nn.Module,
    tokens: Tensor,
    pictures: Tensor,
    sd: float,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """Sum over pictures x, mean over noise e of (|T - I(x + e)| + |I(x) - I(x + e)|) / (2 |e|).

    T is the embedding of the tokens (1, n), I that of a normalised picture (n, 3, s, s); neither is
    of unit length. I(x + e) counts as a constant, so that the first part moves the text tower and
    the second the image tower. Halved once more, as in the authors' code: beside a weight decay
    that is not the same.
    """
    T = model.encode_text(tokens, normalize=False)  # (1, d)
    own = model.encode_image(pictures, normalize=False)  # (n, d)

    total = own.new_zeros(())
    for _ in range(draws):
        e = sd * torch.randn(pictures.shape, generator=generator).to(pictures)
        with torch.no_grad():
            shaken = model.encode_image(pictures + e, normalize=False)
        of_text = (T - shaken).norm(dim=1)  # (n,)
        of_pictures = (own - shaken).norm(dim=1)
        total = total + ((of_text + of_pictures) / (2 * e.flatten(1).norm(dim=1))).sum()
    return total / (2 * draws)


def lip_unlearned(
    clip: Clip,
    grid: ConceptGrid,
    request: ForgetRequest,
    pictures: Tensor,
    how: Lip = Lip(),
    seed: int = 0,
) -> Clip:
    """A copy of the CLIP, smoothed around pictures (n, 3, s, s) of one class, or of one cell.

    Each round is one step of Adam on the tensors of each tower with the largest mean gradient. A
    round after which no fewer pictures are recognised is taken back, and the next one has more
    noise and changes more tensors. It ends when few are recognised, or the noise is largest.
    Raises InputError unless the request is one class, everywhere or in one domain.
    """
    class_name, prompt = lip_prompt(grid, request)
    changed = replace(clip, model=copy.deepcopy(clip.model))
    model = changed.model
    tokens = clip.tokenizer([prompt]).to(clip.device)
    c = grid.class_index(class_name)

    towers = [list(model.visual.parameters()), list(_text_blocks(model).parameters())]
    trained = [tensor for tower in towers for tensor in tower]
    for tensor in trained:
        tensor.requires_grad_()
    adam = torch.optim.Adam(
        trained, lr=how.rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=how.decay
    )

    generator = torch.Generator().manual_seed(seed)
    level = 0
    best = 1.0
    for _ in range(how.rounds):
        before = copy.deepcopy((model.state_dict(), adam.state_dict()))
        adam.zero_grad()
        loss = lipschitz_loss(model, tokens, pictures, NOISE[level], how.draws, generator)
        loss.backward()
        for tower in towers:
            _keep_largest_gradients(tower, how.tensors + MORE_TENSORS[level])
        adam.step()

        share = recognised(changed, grid, pictures, c)
        if share < best:
            best = share
        else:
            weights, moments = before
            model.load_state_dict(weights)
            adam.load_state_dict(moments)
            level += 1
        if best <= how.stop or level == len(NOISE):
            break

    adam.zero_grad()
    model.requires_grad_(False)
    return changed


def lip_prompt(grid: ConceptGrid, request: ForgetRequest) -> tuple[str, str]:
    """The class of a request, and what its pictures are pictures of."""
    request = request.on(grid)
    one_class = request.classes is not None and len(request.classes) == 1
    one_domain = request.domains is None or len(request.domains) == 1
    if not (one_class and one_domain):
        raise InputError(
            f"Lip as published is for one class, everywhere or in one domain, not {request}."
        )
    (class_name,) = request.classes
    kind = "picture" if request.domains is None else request.domains[0]
    return class_name, f"a {kind} of {class_name}"


def recognised(clip: Clip, grid: ConceptGrid, pictures: Tensor, c: int) -> float:
    """The share of normalised pictures (n, 3, s, s) that the CLIP takes for class c of the grid."""
    prompts = grid.test_prompts()
    features = clip.text_features([prompt for row in prompts for prompt in row])
    of_class = features.split([len(row) for row in prompts])
    texts = classifier(of_class, clip.heads["text"].weight)  # (C, d)
    with torch.no_grad():
        f = clip.image_features(pictures).cpu()
    scores = f @ clip.heads["visual"].weight @ texts.T
    return scores.argmax(1).eq(c).float().mean().item()


def _text_blocks(model: nn.Module) -> nn.Module:
    """The transformer of the text tower, wherever open_clip keeps it."""
    return getattr(model, "text", model).transformer


def _keep_largest_gradients(tensors: Sequence[Tensor], count: int) -> None:
    """Drop the gradients of all but the tensors with the largest mean absolute one."""
    with_gradient = [tensor for tensor in tensors if tensor.grad is not None]
    by_size = sorted(with_gradient, key=lambda tensor: -tensor.grad.abs().mean().item())
    for tensor in by_size[count:]:
        tensor.grad = None
