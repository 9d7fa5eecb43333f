"""Unrelated things that stand or lie on the ground: umbrella, mushroom, apple, key."""

from __future__ import annotations

from .apple import apple
from .key import key
from .mushroom import mushroom
from .umbrella import umbrella

OTHERS_GROUND = {"umbrella": umbrella, "mushroom": mushroom, "apple": apple, "key": key}
