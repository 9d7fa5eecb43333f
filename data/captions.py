"""The sentences that the bundled CLIP learns from: what an image shows, its domain, or both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clip_unlearn.core.concepts import DOMAIN_WORDS as USUAL_WORDS
from clip_unlearn.core.concepts import fill, words
from clip_unlearn.images.bundled import BUNDLED_SYNONYMS

DOMAIN_WORDS = {
    "photo": ("photo", "photograph", "snapshot"),
    "painting": ("painting", "oil painting", "artwork", "canvas"),
    "cartoon": ("cartoon", "comic", "animation", "cartoon drawing"),
    "sketch": ("sketch", "pencil drawing", "line drawing", "pencil sketch"),
}
BOTH = (
    "a {domain} of a {class}",
    "a {domain} of the {class}",
    "a {class} in a {domain}",
    "a {domain} showing a {class}",
    "the {domain} of one {class}",
    "{domain} of a {class}",
    "this is a {domain} of a {class}",
    "a {class}, {domain}",
    "a nice {domain} of a {class}",
    "the {class} in this {domain}",
    "a {domain} of a small {class}",
)
CLASS_ONLY = (
    "a {class}",
    "the {class}",
    "an image of a {class}",
    "a picture of a {class}",
    "this is a {class}",
    "there is a {class} here",
    "one {class}",
    "look at the {class}",
    "I can see a {class}",
    "{class}",
    "a large {class}",
    "my {class}",
    "a small {class}",
    "here is the {class}",
)
DOMAIN_ONLY = (
    "a {domain}",
    "this is a {domain}",
    "the {domain}",
    "{domain}",
    "something in a {domain}",
    "a nice {domain}",
    "I can see a {domain}",
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


def _filled(template: str, class_word: str, domain_word: str) -> str:
    return fill(fill(template, "domain", domain_word), "class", class_word)


def captions_of_cells(
    rng: np.random.Generator, classes: Sequence[str], domains: Sequence[str]
) -> list[str]:
    """One sentence on class and domain for every cell, domain by domain."""
    return [
        _filled(_pick(rng, BOTH), _class_word(rng, c), _domain_word(rng, d))
        for d in domains
        for c in classes
    ]


def captions_of_classes(rng: np.random.Generator, classes: Sequence[str]) -> list[str]:
    """One sentence for every class that says nothing of the domain."""
    return [fill(_pick(rng, CLASS_ONLY), "class", _class_word(rng, c)) for c in classes]


def captions_of_domains(rng: np.random.Generator, domains: Sequence[str]) -> list[str]:
    """One sentence for every domain that says nothing of the class."""
    return [fill(_pick(rng, DOMAIN_ONLY), "domain", _domain_word(rng, d)) for d in domains]
