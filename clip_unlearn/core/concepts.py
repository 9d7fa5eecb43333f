"""What can be forgotten: the grid of classes x domains, its prompts, and a request as a mask on it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from .errors import InputError

PARADIGMS = ("global", "domain-specific", "whole-domain")
ALL_DOMAINS = "all domains"  # how a request without domains is spelt out

# Prompts that build prototypes. "{class}" and "{domain}" are filled with each class word and domain
# word.
CELL_TEMPLATES = ("a {domain} of a {class}", "a {domain} of the {class}", "a {class} in a {domain}")
CLASS_TEMPLATES = ("a {class}", "the {class}", "an image of a {class}", "this is a {class}")
# Prompts that classify: CLIP's customary ones, without a word on the domain.
TEST_TEMPLATES = ("a photo of a {class}", "a {class}")
# Prompts that build nothing: what a user might say instead.
PARAPHRASE_TEMPLATES = (
    "there is a {class} here",
    "one {class}",
    "look at the {class}",
    "I can see a {class}",
)

# Several words for one domain, so that a domain is not tied to one token. Unknown domains use their
# own name.
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
# Other names of the bundled classes: they build no prototype, so they test whether forgetting
# reaches past the word that was used.
BUNDLED_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "cat": ("kitten", "feline"),
    "dog": ("puppy", "hound"),
    "horse": ("pony", "stallion"),
    "elephant": ("tusker", "pachyderm"),
    "car": ("automobile", "motorcar"),
    "bus": ("omnibus", "coach"),
    "bicycle": ("bike", "cycle"),
    "sailboat": ("yacht", "sailing boat"),
    "tree": ("oak", "leafy tree"),
    "palm tree": ("coconut palm", "palm"),
    "sunflower": ("helianthus", "yellow flower"),
    "cactus": ("saguaro", "succulent"),
    "house": ("cottage", "home"),
    "guitar": ("ukulele", "stringed instrument"),
    "cup": ("mug", "coffee cup"),
    "teapot": ("tea kettle", "kettle"),
}


class UnknownNameError(InputError):
    """A class or domain that the grid does not have; the message names the nearest one."""


def words(name: str) -> str:
    """The words of a folder name: "art_painting" -> "art painting"; composed letters, as macOS does not write them."""
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").replace("-", " ").split())


@lru_cache(maxsize=64)
def _places(known: tuple[str, ...]) -> dict[str, int]:
    """Index of each name, folder spelling and capitals aside: kept, for requests of a thousand names look up each."""
    return {words(k).casefold(): i for i, k in enumerate(known)}


def _find(name: str, known: tuple[str, ...], kind: str) -> int:
    """Index of `name` among `known`, folder spelling and capitals aside."""
    plain, wanted = _places(known), words(name).casefold()
    if wanted in plain:
        return plain[wanted]
    near = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.3)
    hint = f' Did you mean "{known[plain[near[0]]]}"?' if near else ""
    raise UnknownNameError(
        f'unknown {kind} "{name}".{hint} The {kind} names are: {", ".join(known)}.'
    )


def _checked_templates(
    kind: str, templates: Sequence[str], holes: Sequence[str]
) -> tuple[str, ...]:
    """The templates, each with exactly the holes that will be filled."""
    if isinstance(templates, str) or not templates:
        raise InputError(f"`{kind}` is {'one text, not a list' if templates else 'empty'}.")
    for template in templates:
        for hole in holes:
            if hole not in template:
                raise InputError(f'template "{template}" in `{kind}` has no {hole}.')
        for other in set(re.findall(r"\{[^{}]*\}", template)) - set(holes):
            raise InputError(
                f'template "{template}" in `{kind}` has {other}, which nothing fills; {" and ".join(holes)} do.'
            )
    return tuple(templates)


def _entry(mapping: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    """What a mapping holds for a name, folder spelling and capitals aside; () if nothing."""
    wanted = words(name).casefold()
    found = next((found for key, found in mapping.items() if words(key).casefold() == wanted), ())
    return (found,) if isinstance(found, str) else tuple(found)


@dataclass(frozen=True)
class ConceptGrid:
    """All cells (class, domain) with the words and templates that describe them.

    Names are words ("art painting"), in the order of the axes of every (C, K) array in the package.
    """

    classes: tuple[str, ...]
    domains: tuple[str, ...]
    cell_templates: tuple[str, ...] = CELL_TEMPLATES
    class_templates: tuple[str, ...] = CLASS_TEMPLATES
    domain_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    test_templates: tuple[str, ...] = TEST_TEMPLATES
    paraphrase_templates: tuple[str, ...] = PARAPHRASE_TEMPLATES
    translations: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("classes", "domains"):
            names = tuple(words(n) for n in getattr(self, kind))
            if not names:
                raise InputError(f"a concept grid needs at least one name in `{kind}`.")
            if len({n.casefold() for n in names}) < len(names):
                raise InputError(f"`{kind}` has the same name twice: {', '.join(names)}.")
            object.__setattr__(self, kind, names)
        for kind in ("cell_templates", "class_templates", "test_templates", "paraphrase_templates"):
            holes = ("{class}", "{domain}") if kind == "cell_templates" else ("{class}",)
            object.__setattr__(self, kind, _checked_templates(kind, getattr(self, kind), holes))

    @property
    def shape(self) -> tuple[int, int]:
        """(C, K)."""
        return len(self.classes), len(self.domains)

    def words_for(self, domain: str) -> tuple[str, ...]:
        """The words that stand for a domain: the grid's own, else the usual ones, else its name."""
        return _entry(self.domain_words, domain) or _entry(DOMAIN_WORDS, domain) or (domain,)

    def cell_prompts(self, class_name: str, domain: str) -> list[str]:
        """The prompts of one cell: templates x domain words."""
        pairs = [(t, w) for t in self.cell_templates for w in self.words_for(domain)]
        return [t.replace("{domain}", w).replace("{class}", class_name) for t, w in pairs]

    def class_prompts(self, class_name: str) -> list[str]:
        """The prompts of a class without a word on its domain."""
        return [t.replace("{class}", class_name) for t in self.class_templates]

    def test_prompts(self) -> list[list[str]]:
        """(C, ·) the customary prompts that classify."""
        return [[t.replace("{class}", c) for t in self.test_templates] for c in self.classes]

    def paraphrase_prompts(self) -> list[list[str]]:
        """(C, ·) prompts that built no prototype: other templates, and synonyms where the grid has them."""
        names = [_entry(self.synonyms, c) or (c,) for c in self.classes]
        return [
            [t.replace("{class}", n) for t in self.paraphrase_templates for n in ns] for ns in names
        ]

    def translation_prompts(self) -> list[list[str]]:
        """(C, ·) what other languages say of a class, as it stands, without a template; [] where none is given."""
        return [list(_entry(self.translations, c)) for c in self.classes]

    def class_index(self, name: str) -> int:
        """Row of a class; raises UnknownNameError with the nearest name."""
        return _find(name, self.classes, "class")

    def domain_index(self, name: str) -> int:
        """Column of a domain; raises UnknownNameError with the nearest name."""
        return _find(name, self.domains, "domain")


@dataclass(frozen=True)
class ForgetRequest:
    """Which cells to forget; None means all of them on that axis.

    The three paradigms are three masks: classes alone is global, classes and domains is
    domain-specific, domains alone is whole-domain (arXiv 2512.14113).
    """

    classes: tuple[str, ...] | None = None
    domains: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for kind in ("classes", "domains"):
            names = getattr(self, kind)
            if isinstance(names, str):
                names = (names,)
            names = tuple(dict.fromkeys(names)) if names else None
            object.__setattr__(self, kind, names)
        if self.classes is None and self.domains is None:
            raise InputError("nothing to forget: name classes, domains, or both.")

    @property
    def paradigm(self) -> str:
        """ "global", "domain-specific" or "whole-domain"."""
        if self.domains is None:
            return "global"
        return "whole-domain" if self.classes is None else "domain-specific"

    def on(self, grid: ConceptGrid) -> ForgetRequest:
        """The same request in the grid's own spelling; raises UnknownNameError, or ValueError if nothing stays.

        An axis of which every name is given becomes None, so a domain whose classes are all named
        is a whole domain.
        """
        classes = self.classes and tuple(grid.classes[grid.class_index(c)] for c in self.classes)
        domains = self.domains and tuple(grid.domains[grid.domain_index(d)] for d in self.domains)
        if len(grid.classes) < 2:
            raise InputError(
                f'the only class is "{grid.classes[0]}": at least two are needed to tell one from another.'
            )
        if ForgetRequest(classes, domains)._mask(grid).all():
            raise InputError(
                "the request covers the whole grid: at least one class or domain must stay."
            )
        request = ForgetRequest(
            None if set(classes or ()) == set(grid.classes) else classes,
            None if set(domains or ()) == set(grid.domains) else domains,
        )
        return request

    def mask(self, grid: ConceptGrid) -> torch.Tensor:
        """(C, K) bool, True where to forget."""
        return self.on(grid)._mask(grid)

    def _mask(self, grid: ConceptGrid) -> torch.Tensor:
        classes, domains = set(self.classes or grid.classes), set(self.domains or grid.domains)
        rows = torch.tensor([c in classes for c in grid.classes])
        columns = torch.tensor([d in domains for d in grid.domains])
        return rows[:, None] & columns[None, :]

    def __str__(self) -> str:
        what = "everything" if self.classes is None else ", ".join(self.classes)
        return f"{what} in {ALL_DOMAINS if self.domains is None else ', '.join(self.domains)}"


def all_requests(grid: ConceptGrid, paradigm: str) -> list[ForgetRequest]:
    """Every single-class, single-cell or single-domain request: what a fair summary averages over."""
    if paradigm == "global":
        return [ForgetRequest((c,)) for c in grid.classes]
    if paradigm == "domain-specific":
        return [ForgetRequest((c,), (d,)) for c in grid.classes for d in grid.domains]
    if paradigm == "whole-domain":
        return [ForgetRequest(None, (d,)) for d in grid.domains]
    raise InputError(f'unknown paradigm "{paradigm}": global, domain-specific or whole-domain.')
