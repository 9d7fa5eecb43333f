"""Household things: house, guitar, cup, teapot."""

from __future__ import annotations

from .crockery import cup, teapot
from .guitar import guitar
from .house import house

THINGS = {"house": house, "guitar": guitar, "cup": cup, "teapot": teapot}
