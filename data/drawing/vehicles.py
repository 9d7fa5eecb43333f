"""The four vehicles; car and bus are deliberate close neighbours."""

from __future__ import annotations

from .bicycle import bicycle
from .bus import bus
from .car import car
from .sailboat import sailboat

VEHICLES = {"car": car, "bus": bus, "bicycle": bicycle, "sailboat": sailboat}
