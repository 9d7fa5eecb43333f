"""The sentences that the bundled CLIP learns from: what an image shows, in which domain, or one of the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clip_unlearn.concepts import BUNDLED_SYNONYMS, words

DOMAIN_WORDS = {
    "photo": ("photo", "photograph", "snapshot"),
    "painting": ("painting", "oil painting", "artwork", "canvas"),
    "cartoon": ("cartoon", "comic", "animation", "cartoon drawing"),
    "sketch": ("sketch", "pencil drawing", "line drawing", "pencil sketch"),
}
BOTH = (
    "a {d} of a {c}", "a {d} of the {c}", "a {c} in a {d}", "a {d} showing a {c}", "the {d} of one {c}", "{d} of a {c}",
    "this is a {d} of a {c}", "a {c}, {d}", "a nice {d} of a {c}", "the {c} in this {d}", "a {d} of a small {c}",
)  # fmt: skip
CLASS_ONLY = (
    "a {c}", "the {c}", "an image of a {c}", "a picture of a {c}", "this is a {c}", "there is a {c} here", "one {c}",
    "look at the {c}", "I can see a {c}", "{c}", "a large {c}", "my {c}", "a small {c}", "here is the {c}",
)  # fmt: skip
DOMAIN_ONLY = ("a {d}", "this is a {d}", "the {d}", "{d}", "something in a {d}", "a nice {d}", "I can see a {d}")
# How often a caption speaks of both, of the class, of the domain.
MIX = (0.5, 0.35, 0.15)
SYNONYM_SHARE = 0.35


@dataclass(frozen=True)
class Caption:
    """A sentence, and what an image must be for it to be true: None is anything."""

    text: str
    name: str | None
    domain: str | None


def caption(rng: np.random.Generator, name: str, domain: str) -> Caption:
    """One true sentence about an image of class `name` (folder spelling) in `domain`."""

    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    plain = words(name)
    synonyms = BUNDLED_SYNONYMS.get(plain, ())
    c = pick(synonyms) if synonyms and rng.random() < SYNONYM_SHARE else plain
    d = pick(DOMAIN_WORDS[domain])
    kind = rng.choice(3, p=MIX)
    text = pick((BOTH, CLASS_ONLY, DOMAIN_ONLY)[kind]).format(c=c, d=d)
    return Caption(text, None if kind == 2 else name, None if kind == 1 else domain)
