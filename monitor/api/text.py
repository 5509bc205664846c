"""Texts for people: messages, formats, time zones, translation."""

from monitor.text.message import (
    Figure,  # a number with its unit
    Template,  # a text with values, in any language
)

__all__ = [
    "Figure",
    "Template",
]
