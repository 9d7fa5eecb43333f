"""The sentences that the bundled CLIP learns from: what an image shows, its domain, or both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clip_unlearn.core.concepts import DOMAIN_WORDS as USUAL_WORDS
from clip_unlearn.core.concepts import words
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS

DOMAIN_WORDS = {
    "photo": ("photo", "photograph", "snapshot"),
    "painting": ("painting", "oil painting", "artwork", "canvas"),
    "cartoon": ("cartoon", "comic", "animation", "cartoon drawing"),
    "sketch": ("sketch", "pencil drawing", "line drawing", "pencil sketch"),
}
BOTH = (
    "a {d} of a {c}",
    "a {d} of the {c}",
    "a {c} in a {d}",
    "a {d} showing a {c}",
    "the {d} of one {c}",
    "{d} of a {c}",
    "this is a {d} of a {c}",
    "a {c}, {d}",
    "a nice {d} of a {c}",
    "the {c} in this {d}",
    "a {d} of a small {c}",
)
CLASS_ONLY = (
    "a {c}",
    "the {c}",
    "an image of a {c}",
    "a picture of a {c}",
    "this is a {c}",
    "there is a {c} here",
    "one {c}",
    "look at the {c}",
    "I can see a {c}",
    "{c}",
    "a large {c}",
    "my {c}",
    "a small {c}",
    "here is the {c}",
)
DOMAIN_ONLY = (
    "a {d}",
    "this is a {d}",
    "the {d}",
    "{d}",
    "something in a {d}",
    "a nice {d}",
    "I can see a {d}",
)
SYNONYM_SHARE = 0.35


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _domain_word(rng: np.random.Generator, name: str) -> str:
    """One of the words for a domain: those above, or else the package's."""
    name = words(name)
    return _pick(rng, DOMAIN_WORDS.get(name) or USUAL_WORDS[name])


def _class_word(rng: np.random.Generator, name: str) -> str:
    """The class's own words, or sometimes a synonym."""
    synonyms = BUNDLED_SYNONYMS.get(words(name), ())
    return _pick(rng, synonyms) if synonyms and rng.random() < SYNONYM_SHARE else words(name)


def captions_of_cells(
    rng: np.random.Generator, classes: Sequence[str], domains: Sequence[str]
) -> list[str]:
    """One sentence on class and domain for every cell, domain by domain."""
    return [
        _pick(rng, BOTH).format(c=_class_word(rng, c), d=_domain_word(rng, d))
        for d in domains
        for c in classes
    ]


def captions_of_classes(rng: np.random.Generator, classes: Sequence[str]) -> list[str]:
    """One sentence for every class that says nothing of the domain."""
    return [_pick(rng, CLASS_ONLY).format(c=_class_word(rng, c)) for c in classes]


def captions_of_domains(rng: np.random.Generator, domains: Sequence[str]) -> list[str]:
    """One sentence for every domain that says nothing of the class."""
    return [_pick(rng, DOMAIN_ONLY).format(d=_domain_word(rng, d)) for d in domains]
