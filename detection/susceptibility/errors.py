"""The causes for which a susceptibility map is not made: one class per cause, one clear line each."""

from detection.imagery.errors import ImageryError


class SusceptibilityError(ImageryError):
    """Root of what this room raises on purpose."""


class StudyError(SusceptibilityError):
    """The study file is no TOML, lacks a key, or names what is not there."""


class VectorError(SusceptibilityError):
    """Outlines, points or lines that cannot be read, or whose place is not known."""


class FactorError(SusceptibilityError):
    """A factor from which nothing can be learned."""


class InventoryError(SusceptibilityError):
    """An inventory from which nothing can be learned: too few, elsewhere, of one class."""
