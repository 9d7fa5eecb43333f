"""What can be forgotten: a grid of classes x domains, its prompts, and requests as masks on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from . import InputError, unknown_name

PARADIGMS = ("global", "domain-specific", "whole-domain")
ALL_DOMAINS = "all domains"  # how a request without domains is printed

# Templates of the prompts that build prototypes: of a cell, and of a class in whatever domain.
CELL_TEMPLATES = ("a {domain} of a {class}", "a {domain} of the {class}", "a {class} in a {domain}")
CLASS_TEMPLATES = ("a {class}", "the {class}", "an image of a {class}", "this is a {class}")
# Templates of the prompts that classify: the customary ones of CLIP.
TEST_TEMPLATES = ("a photo of a {class}", "a {class}")
# Templates that build nothing: what a user might say instead.
PARAPHRASE_TEMPLATES = (
    "there is a {class} here", "one {class}", "look at the {class}", "I can see a {class}"
)  # fmt: skip

# How names begin that take "an": a vowel, unless it is read as in "unicorn" or "one"; "hour".
VOWEL_SOUND = re.compile(
    r"(?!uni(?![nm])|us[aeu]|uk|eu|ewe|one\b|once\b)[aeiou]|hour|honest|honor|heir", re.IGNORECASE
)

# Several words for one domain, so that it does not depend on one token. Others use their own name.
DOMAIN_WORDS: Mapping[str, tuple[str, ...]] = {
    "photo": ("photo", "photograph", "snapshot"),
    "painting": ("painting", "oil painting", "artwork"),
    "art painting": ("art painting", "painting", "oil painting"),
    "cartoon": ("cartoon", "comic", "animation"),
    "sketch": ("sketch", "pencil drawing", "line drawing"),
    "clipart": ("clipart", "clip art", "icon"),
    "infograph": ("infographic", "infograph", "diagram"),
    "quickdraw": ("doodle", "quick drawing", "line drawing"),
    "real": ("photo", "photograph", "real picture"),
    "real world": ("photo", "photograph", "real picture"),
    "product": ("product photo", "product picture", "catalogue photo"),
    "art": ("artwork", "painting", "drawing"),
    "rendition": ("rendition", "artwork", "drawing"),
}


def words(name: str) -> str:
    """The words of a folder name: "art_painting" -> "art painting".

    Letters are composed (NFC), since macOS keeps the accents of folder names apart.
    """
    composed = unicodedata.normalize("NFC", name)
    return " ".join(composed.replace("_", " ").replace("-", " ").split())


def fill(template: str, hole: str, name: str) -> str:
    """The template with the name for {hole}; an article right before it follows the name."""
    n = "n" if VOWEL_SOUND.match(name) else ""
    template = re.sub(rf"\b([Aa])n?(?= \{{{hole}\}})", rf"\1{n}", template)
    return template.replace("{" + hole + "}", name)


def _plain(name: str) -> str:
    """A name as names are compared: folder spelling and capitals do not count."""
    return words(name).casefold()


@lru_cache(maxsize=64)
def _positions(names: tuple[str, ...]) -> dict[str, int]:
    """Index of each plain name; cached, since a request of a thousand names looks up every one."""
    return {_plain(name): index for index, name in enumerate(names)}


def _index(name: str, names: tuple[str, ...], kind: str) -> int:
    """Index of `name` among the grid's `names`; `kind` ("class" or "domain") is for the message."""
    positions = _positions(names)
    if _plain(name) not in positions:
        raise unknown_name(kind, name, names)
    return positions[_plain(name)]


def _entry(mapping: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    """The texts that a mapping has for a name; () if it has none."""
    wanted = _plain(name)
    for key, texts in mapping.items():
        if _plain(key) == wanted:
            return (texts,) if isinstance(texts, str) else tuple(texts)
    return ()


def _checked_names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names as words; raises InputError if there are none, or the same one twice."""
    names = tuple(words(name) for name in names)
    if not names:
        raise InputError(f"a concept grid needs at least one name in `{kind}`.")
    if len({name.casefold() for name in names}) < len(names):
        raise InputError(f"`{kind}` has the same name twice: {', '.join(names)}.")
    return names


def _checked_templates(kind: str, templates: Sequence[str]) -> tuple[str, ...]:
    """The templates; raises InputError unless each has exactly the holes that will be filled."""
    if isinstance(templates, str):
        raise InputError(f"`{kind}` is one text, not a list.")
    if not templates:
        raise InputError(f"`{kind}` is empty.")

    holes = ("{class}", "{domain}") if kind == "cell_templates" else ("{class}",)
    for template in templates:
        for hole in holes:
            if hole not in template:
                raise InputError(f'template "{template}" in `{kind}` has no {hole}.')
        for hole in set(re.findall(r"\{[^{}]*\}", template)) - set(holes):
            raise InputError(
                f'template "{template}" in `{kind}` has {hole}, which nothing fills; '
                f"{' and '.join(holes)} do."
            )
    return tuple(templates)


@dataclass(frozen=True)
class ConceptGrid:
    """All cells (class, domain), with the words and templates that describe them.

    Names are words ("art painting"), in the order of the axes of every (C, K) array here.
    """

    classes: tuple[str, ...]
    domains: tuple[str, ...]
    # Prompts that build prototypes.
    cell_templates: tuple[str, ...] = CELL_TEMPLATES
    class_templates: tuple[str, ...] = CLASS_TEMPLATES
    domain_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Prompts that classify, and what else a user might say for a class.
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    test_templates: tuple[str, ...] = TEST_TEMPLATES
    paraphrase_templates: tuple[str, ...] = PARAPHRASE_TEMPLATES
    translations: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("classes", "domains"):
            names = _checked_names(kind, getattr(self, kind))
            object.__setattr__(self, kind, names)
        for kind in ("cell_templates", "class_templates", "test_templates", "paraphrase_templates"):
            templates = _checked_templates(kind, getattr(self, kind))
            object.__setattr__(self, kind, templates)

    @property
    def shape(self) -> tuple[int, int]:
        """(C, K): how many classes, how many domains."""
        return len(self.classes), len(self.domains)

    def class_index(self, name: str) -> int:
        """Row of a class; raises UnknownNameError with the nearest name."""
        return _index(name, self.classes, "class")

    def domain_index(self, name: str) -> int:
        """Column of a domain; raises UnknownNameError with the nearest name."""
        return _index(name, self.domains, "domain")

    def words_for(self, domain: str) -> tuple[str, ...]:
        """The words that stand for a domain: the grid's own, else the usual ones, else its name."""
        return _entry(self.domain_words, domain) or _entry(DOMAIN_WORDS, domain) or (domain,)

    def cell_prompts(self, class_name: str, domain: str) -> list[str]:
        """The prompts of one cell: every template with every word for the domain."""
        return [
            fill(fill(template, "domain", word), "class", class_name)
            for template in self.cell_templates
            for word in self.words_for(domain)
        ]

    def class_prompts(self, class_name: str) -> list[str]:
        """The prompts of a class that say nothing about its domain."""
        return [fill(template, "class", class_name) for template in self.class_templates]

    def test_prompts(self) -> list[list[str]]:
        """(C, ·) the customary prompts that classify."""
        return [
            [fill(template, "class", name) for template in self.test_templates]
            for name in self.classes
        ]

    def paraphrase_prompts(self) -> list[list[str]]:
        """(C, ·) prompts that built no prototype: other templates, and synonyms if it has any."""
        names_of = [_entry(self.synonyms, name) or (name,) for name in self.classes]
        return [
            [fill(t, "class", name) for t in self.paraphrase_templates for name in names]
            for names in names_of
        ]

    def translation_prompts(self) -> list[list[str]]:
        """(C, ·) what other languages say for a class, without a template; [] if none is given."""
        return [list(_entry(self.translations, name)) for name in self.classes]


@dataclass(frozen=True)
class ForgetRequest:
    """Which cells to forget; None means all of them on that axis.

    The three paradigms are three masks: classes alone is global, classes and domains is
    domain-specific, domains alone is whole-domain (arXiv 2512.14113). `complete`: a search by a
    text, among the images of the domains, is not to find the classes either.
    """

    classes: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None
    complete: bool = False

    def __post_init__(self) -> None:
        if not self.classes and not self.domains:
            raise InputError("nothing to forget: name classes, domains, or both.")
        for kind in ("classes", "domains"):
            names = getattr(self, kind)
            if names is None:
                continue
            if not names:
                raise InputError(f"`{kind}` names nothing; None (or no value) stands for all.")
            if isinstance(names, str):
                names = (names,)
            object.__setattr__(self, kind, tuple(dict.fromkeys(names)))
        if self.complete and self.classes is None:
            raise InputError(
                "complete is for classes: of a domain that goes as a whole, every image gets one "
                "answer, and a search inside it still finds each class."
            )

    @property
    def paradigm(self) -> str:
        """ "global", "domain-specific" or "whole-domain"."""
        if self.domains is None:
            return "global"
        return "whole-domain" if self.classes is None else "domain-specific"

    def on(self, grid: ConceptGrid) -> ForgetRequest:
        """The same request in the grid's own spelling.

        An axis of which every name is given becomes None, so a domain whose classes are all named
        is a whole domain. Raises UnknownNameError, or InputError if nothing would be retained.
        """
        classes, domains = self.classes, self.domains
        if classes is not None:
            classes = tuple(grid.classes[grid.class_index(name)] for name in classes)
        if domains is not None:
            domains = tuple(grid.domains[grid.domain_index(name)] for name in domains)
        if len(grid.classes) < 2:
            only = grid.classes[0]
            raise InputError(
                f'the only class is "{only}": at least two are needed to tell one from another.'
            )

        every_class = classes is None or set(classes) == set(grid.classes)
        every_domain = domains is None or set(domains) == set(grid.domains)
        if every_class and every_domain:
            raise InputError(
                "the request covers the whole grid: at least one class or domain must stay."
            )
        return ForgetRequest(
            None if every_class else classes,
            None if every_domain else domains,
            self.complete,
        )

    def mask(self, grid: ConceptGrid) -> torch.Tensor:
        """(C, K) bool, True for the cells to forget."""
        request = self.on(grid)
        classes = set(request.classes or grid.classes)
        domains = set(request.domains or grid.domains)
        rows = [name in classes for name in grid.classes]
        columns = [name in domains for name in grid.domains]
        return torch.tensor(rows)[:, None] & torch.tensor(columns)[None, :]

    def __str__(self) -> str:
        what = "everything" if self.classes is None else ", ".join(self.classes)
        where = ALL_DOMAINS if self.domains is None else ", ".join(self.domains)
        return f"{what} in {where}" + (", complete" if self.complete else "")


def all_requests(grid: ConceptGrid, paradigm: str, complete: bool = False) -> list[ForgetRequest]:
    """Every single-class, single-cell or single-domain request: what a fair mean is taken over."""
    if paradigm == "global":
        return [ForgetRequest((c,), None, complete) for c in grid.classes]
    if paradigm == "domain-specific":
        return [ForgetRequest((c,), (d,), complete) for c in grid.classes for d in grid.domains]
    if paradigm == "whole-domain":
        return [ForgetRequest(None, (d,)) for d in grid.domains]
    raise InputError(f'unknown paradigm "{paradigm}": {", ".join(PARADIGMS)}.')
