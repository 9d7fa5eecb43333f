"""Four of the unrelated classes."""

from __future__ import annotations

from .airplane import airplane
from .butterfly import butterfly
from .fish import fish
from .snowman import snowman

OTHERS_AIR = {"fish": fish, "butterfly": butterfly, "airplane": airplane, "snowman": snowman}
