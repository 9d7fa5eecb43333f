"""Plants: tree, palm tree, sunflower, cactus."""

from __future__ import annotations

from .cactus import cactus
from .palm_tree import palm_tree
from .sunflower import sunflower
from .tree import tree

PLANTS = {"tree": tree, "palm_tree": palm_tree, "sunflower": sunflower, "cactus": cactus}
