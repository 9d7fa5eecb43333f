"""Words that a CLIP knows: what texts can see, and a pull for words that nobody named."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .. import ClipLike
from ..calibrated import BETA, centred, reached, redirect, without
from ..concepts import CELL_TEMPLATES, DOMAIN_WORDS, ConceptGrid, fill
from ..nullspace import Factors, TowerPrototypes, orthonormal_basis
from .solvers import minimise

# As many words of the tokenizer stand for all words: with 240 captions of a real CLIP in the place
# of words, others were forgotten nearly as well as those (tests/benchmarks/never_named.py).
WORDS = 1000
# A list of words is this long; the pull should hold for short and for long ones.
LISTS = (3, 8)
LISTED = 512  # words in all lists of a length together
# How far a detector's readings stray from 0 and 1: the standard deviation over images, and what it
# misses by on whole domains and classes.
STRAY = 0.3
# An image that is lost where it should stay weighs as much as so many that are still known.
WORTH = 10.0
# How far the leads of single images stray from the mean one, as a share of it.
SOFT = 0.08
# The price of a pull as long as that lead.
LENGTH = 5e-4
STARTS = 4
# So many prompts of the words above, in all kinds of domains, show what texts can see at all.
SEEING = 2000
# Directions in which prompts vary less than this share of the strongest count as unseen.
SPAN_RTOL = 0.01


def seen_by_texts(clip: ClipLike) -> Tensor | None:
    """(d, r): orthonormal basis of the embeddings of texts of all kinds, whatever the grid.

    They say the words that the CLIP knows, with all words for domains. None if its tokenizer does
    not tell which words it knows.
    """
    prompts = seeing_prompts(clip)
    if not prompts:
        return None
    texts = clip.text_features(prompts) @ clip.heads["text"].weight
    return orthonormal_basis(normalize(texts, dim=-1), SPAN_RTOL)


def seeing_prompts(clip: ClipLike) -> list[str]:
    """The prompts of `seen_by_texts`; [] if no words are known."""
    words = clip.vocabulary(WORDS)
    domains = list(dict.fromkeys(word for words in DOMAIN_WORDS.values() for word in words))
    step = max(1, len(words) * len(domains) // SEEING)
    prompts = []
    for i, word in enumerate(words):
        prompts.append(f"an image of {word}")
        for j in range(i % step, len(domains), step):
            template = CELL_TEMPLATES[(i + j) % len(CELL_TEMPLATES)]
            prompts.append(fill(fill(template, "domain", domains[j]), "class", word))
    return prompts


def known_words(clip: ClipLike, grid: ConceptGrid) -> Tensor:
    """(n, d): unit texts of words that the CLIP knows, all different, and none of them the grid's.

    A word counts if its text lies away from those of the classes, of the words for domains ("oil"
    in "oil painting" is one), of no word at all, and of the words before it: by half of what lies
    between two classes.
    """
    taken, words = _taken(grid), clip.vocabulary(WORDS)
    prompts = word_prompts(clip, grid)
    unit = normalize(clip.text_features(prompts) @ clip.heads["text"].weight, dim=-1)
    texts = normalize(unit.unflatten(0, (len(taken) + len(words), -1)).mean(1), dim=-1)

    C = len(grid.classes)
    apart = torch.pdist(texts[:C]).mean() / 2
    kept = list(range(len(taken)))
    for i in range(len(taken), len(texts)):
        if torch.cdist(texts[i : i + 1], texts[kept]).min() > apart:
            kept.append(i)
    return texts[kept[len(taken) :]]


def word_prompts(clip: ClipLike, grid: ConceptGrid) -> list[str]:
    """The prompts of `known_words`: every template of a class with every name and word."""
    return [
        fill(template, "class", name) if name else template.replace("{class}", "").strip()
        for name in [*_taken(grid), *clip.vocabulary(WORDS)]
        for template in grid.class_templates
    ]


def _taken(grid: ConceptGrid) -> list[str]:
    """The grid's own words: classes first, words for domains whole and in parts, and no word."""
    phrases = [phrase for domain in grid.domains for phrase in grid.words_for(domain)]
    parts = [word for phrase in phrases for word in phrase.split()]
    return [*grid.classes, *phrases, *parts, ""]


def redirect_every_word(
    p: TowerPrototypes,
    mask: Tensor,
    beta: float = BETA,
    every_word: bool = True,
    worth: float = WORTH,
    **settings: float,
) -> Factors:
    """`redirect`, and for words that it does not name too: Delta = W l (beta gain r_a + q)^T.

    q is the `pull_of_words`; without words, with no room left for it, or if `every_word` is off,
    this is `redirect`, which takes the other settings.
    """
    A, pull = redirect(p, mask, beta, **settings)
    unknown = not pull.any()  # no picture leads over the answer: nothing of the classes is known
    if p.words is None or not every_word or unknown:
        return A, pull
    return A, pull + pull_of_words(p, reached(p), pull[0], worth)


def pull_of_words(
    p: TowerPrototypes, pictures: Tensor, named: Tensor, worth: float = WORTH, seed: int = 0
) -> Tensor:
    """q (d,): what to add to the pull `named` (d,), so that no list of words is told apart.

    q is orthogonal to the differences of the named classes, so among these nothing changes. Of an
    image it moves the score of word w by q . w times the reading of the domain's detector: it wins
    over the image's own word if the gap between the two is larger than the lead. One word should
    lie far above the others in nearly every list; but the larger the gaps, the more does a reading
    that is not quite 0 cost where the domain stays. So q is the minimum, by L-BFGS from the
    strongest directions of words, of

        share of a list still known + worth * share lost where it stays + LENGTH (|q| / lead)^2

    over random lists of the words, images of a word being expected where `pictures` (C, K, d) of
    the named classes are: at a share of their texts' leads. Zero if there are too few words, or if
    the named classes leave no direction.
    """
    words, classes = p.words, centred(p.class_text)
    if len(words) < min(LISTS):
        return torch.zeros_like(named)
    # Twice: what the first time leaves of a strong direction, the second takes.
    free = without(classes, without(classes, centred(words)))  # (n, d)
    _, strength, directions = torch.linalg.svd(free, full_matrices=False)
    room = directions[strength > 0.05 * torch.linalg.matrix_norm(centred(words), 2)]  # (k, d)
    if not len(room):
        return torch.zeros_like(named)

    share = _share_of_leads(p.class_text, pictures)
    lead = share * (1 - _off_diagonal(words @ words.T).mean())
    generator = torch.Generator().manual_seed(seed)
    lists = [_lists(len(words), length, generator) for length in LISTS]
    pulled_by_named = words @ named  # (n,)
    along = words @ room.T  # (n, k)

    def loss(unknowns: Sequence[Tensor]) -> Tensor:
        (z,) = unknowns
        pulled = pulled_by_named + along @ z
        known = torch.stack([_known(words, pulled, part, share, SOFT * lead) for part in lists])
        gone, lost = known.mean(0)
        return gone + worth * lost + LENGTH * z.square().sum() / lead**2

    found = []
    for k in range(min(STARTS // 2, len(room))):
        for sign in (1, -1):
            start = torch.zeros(len(room))
            start[k] = sign * lead / along[:, k].std()
            (z,) = minimise(loss, [start], steps=60)
            found.append((loss([z]).item(), z))
    _, best = min(found, key=lambda pair: pair[0])
    return best @ room


def _share_of_leads(class_text: Tensor, pictures: Tensor) -> Tensor:
    """The mean lead of pictures (C, K, d) over each other class, as a share of that of texts."""
    in_pictures = pictures.mean(1) @ class_text.T  # (C, C)
    in_texts = class_text @ class_text.T
    of_pictures = in_pictures.diagonal().mean() - _off_diagonal(in_pictures).mean()
    of_texts = in_texts.diagonal().mean() - _off_diagonal(in_texts).mean()
    return (of_pictures / of_texts).clamp_min(0.05)


def _off_diagonal(square: Tensor) -> Tensor:
    """The entries of a square matrix that are not on its diagonal."""
    return square[~torch.eye(len(square), dtype=torch.bool)]


def _lists(n: int, length: int, generator: torch.Generator) -> Tensor:
    """(LISTED / length, length) words by index, each list without repeats; all n if that is few."""
    rows = [torch.randperm(n, generator=generator)[:length] for _ in range(LISTED // length)]
    return torch.stack(rows)


def _known(words: Tensor, pulled: Tensor, lists: Tensor, share: Tensor, soft: Tensor) -> Tensor:
    """(2,): the share of a list that is still known where it goes, and that is lost where it stays.

    Over readings of the detector around 1 and around 0, which three points of each stand for.
    """
    texts = words[lists]  # (lists, length, d)
    scores = share * texts @ texts.mT  # (lists, word of the image, word of the answer)
    push = pulled[lists][:, None, :]

    def right(reading: float) -> Tensor:
        answers = ((scores + reading * push) / soft).softmax(-1)
        return answers.diagonal(dim1=1, dim2=2).mean()

    far = 3**0.5 * STRAY  # with weights of 1/6, 2/3, 1/6 the first moments of a Gaussian
    gone = (right(1 - STRAY) + right(1) + right(1 + STRAY)) / 3
    stays = (right(-far) + 4 * right(0) + right(far)) / 6
    return torch.stack([gone, right(0) - stays])
