"""Other names of the bundled classes, which only test how far forgetting reaches."""

from __future__ import annotations

from collections.abc import Mapping

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
