"""The four animals; cat and dog are deliberate close neighbours."""

from __future__ import annotations

from .cat import cat
from .dog import dog
from .elephant import elephant
from .horse import horse

ANIMALS = {"cat": cat, "dog": dog, "horse": horse, "elephant": elephant}
