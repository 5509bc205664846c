"""Masks and quality layers that are delivered with a grid of displacement: which of their values mark good cells."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from monitor.errors import ConfigError
from monitor.ingest.grids.stack import Array

NONE: Final = "none"
_SAME_CELL: Final = 0.01  # centres that differ by less than this share of a cell are equal
RECOMMENDED: Final = "recommended_mask"  # of OPERA products: 1 is good
_OPTION: Final = re.compile(r"\s*([^=<>\s]+)\s*(?:(>=|=)\s*([-+]?\d*\.?\d+))?\s*")
_QUALITY_NAME: Final = re.compile(
    r"mask|quality|coh(?:erence)?(?![a-z])|conn.*comp|reliab|confiden|flag|layover|shadow|similarity|snr"
    r"|(?:^|_)(?:shp|count|counts|valid|q[ac]|cc)(?:_|$)",
    re.IGNORECASE,
)
# Masks of the ground or of the geometry of the radar. They do not judge the quality of the displacement.
_OF_GROUND: Final = re.compile(r"water|land|ocean|layover|shadow|slope", re.IGNORECASE)
_GOOD: Final = r"(?:good|valid|reliable|usable|keep|kept)\b"
_BAD: Final = r"(?:bad|invalid|unreliable|masked|mask out|discard)"
_ONE_IS_GOOD: Final = re.compile(rf"\b1\b[^\d.;]*\b{_GOOD}|\b0\b[^\d.;]*\b{_BAD}", re.IGNORECASE)
_ZERO_IS_GOOD: Final = re.compile(rf"\b0\b[^\d.;]*\b{_GOOD}|\b1\b[^\d.;]*\b{_BAD}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QualityRule:
    """Which values of a quality layer mark a good cell. A cell without a value is never good.

    Attributes:
        accepted: Good values. Empty: every value except 0 is good.
        least: Smallest good value. If it is given, `accepted` has no effect.
    """

    layer: str
    accepted: tuple[float, ...] = ()
    least: float | None = None

    def select_good(self, values: Array) -> NDArray[np.bool_]:
        """Return which cells are good.

        >>> QualityRule("m").select_good(np.array([0.0, 1.0, np.nan])).tolist()
        [False, True, False]
        >>> QualityRule("c", least=0.7).select_good(np.array([0.6, 0.7, np.nan])).tolist()
        [False, True, False]
        """
        has_value = np.isfinite(values)
        if self.least is not None:
            good = values >= self.least
        elif self.accepted:
            good = np.isin(values, self.accepted)
        else:
            good = values != 0
        return np.asarray(has_value & good)

    def __str__(self) -> str:
        """Return the rule as `--mask` accepts it."""
        if self.least is not None:
            return f"{self.layer}>={self.least:g}"
        if self.accepted:
            return f"{self.layer}={' or '.join(f'{value:g}' for value in self.accepted)}"
        return self.layer


@dataclass(frozen=True, slots=True)
class QualityMask:
    """Combination of the quality layers that apply to a grid.

    Attributes:
        name: Rules of the layers, for reports.
        read_good: Reads which cells of layers, rows and columns are good; shape (layers or 1, rows, columns).
    """

    name: str
    read_good: Callable[[slice, slice, slice], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class QualityLayer:
    """A layer on the cells of the displacement.

    Attributes:
        read: Reads layers, rows and columns; shape (layers or 1, rows, columns).
        rule: Which values are good; None if the file does not state it.
    """

    name: str
    read: Callable[[slice, slice, slice], Array]
    rule: QualityRule | None


@dataclass(frozen=True, slots=True)
class GridGeometry:
    """Times and cells of a grid. A quality layer belongs to the grid if it has the same."""

    times: Sequence[datetime]
    x: Array
    y: Array
    crs: CRS

    def has_cells(self, x: Array, y: Array) -> bool:
        """Return whether centres of columns and rows are those of the grid."""
        return _is_same_axis(self.x, x) and _is_same_axis(self.y, y)


def _is_same_axis(axis: Array, other: Array) -> bool:
    if axis.shape != other.shape:
        return False
    step = abs(float(axis[1] - axis[0])) if len(axis) > 1 else 1.0
    return bool(np.abs(axis - other).max() <= _SAME_CELL * step)


def is_quality_name(name: str) -> bool:
    """Return whether a layer has the name of a mask or of a measure of quality.

    >>> [is_quality_name(n) for n in ("recommended_mask", "temporal_coherence", "connected_component_labels", "rain")]
    [True, True, True, False]
    """
    return bool(_QUALITY_NAME.search(name))


def parse_mask_option(text: str) -> tuple[QualityRule, ...]:
    """Parse the value of `--mask`: NAME, NAME=VALUE, NAME>=VALUE, several of them with commas, or `none` for no mask.

    >>> [str(rule) for rule in parse_mask_option("coherence >= 0.70, shadow=0")], parse_mask_option("none")
    (['coherence>=0.7', 'shadow=0'], ())

    Raises:
        ConfigError: the text has another form.
    """
    if text == NONE:
        return ()
    rules = []
    for part in text.split(","):
        match = _OPTION.fullmatch(part)
        if match is None:
            raise ConfigError(
                f"--mask: expected NAME, NAME=VALUE, 'NAME>=VALUE', several of them with commas, or none, "
                f"got {text[:60]!r}"
            )
        layer, comparison, number = match.groups()
        if comparison == ">=":
            rules.append(QualityRule(layer, least=float(number)))
        else:
            rules.append(QualityRule(layer, accepted=() if number is None else (float(number),)))
    return tuple(rules)


def find_rule(layer: str, attributes: Mapping[str, Any]) -> QualityRule | None:
    """Return which values of a layer are good by its CF flags or its description; None if they do not state it.

    >>> str(find_rule("m", {"description": "0 indicates a bad pixel, 1 is good"}))
    'm'
    >>> str(find_rule("m", {"flag_values": [0, 1, 2], "flag_meanings": "good noisy bad"}))
    'm=0'
    >>> find_rule("m", {"long_name": "Connected components"}) is None
    True
    """
    if layer == RECOMMENDED:
        return QualityRule(layer)
    meanings = str(attributes.get("flag_meanings", "")).split()
    values = np.atleast_1d(np.asarray(attributes.get("flag_values", ())))
    if meanings and len(meanings) == len(values):
        good = [float(v) for v, text in zip(values, meanings, strict=True) if re.match(_GOOD, text, re.IGNORECASE)]
        return QualityRule(layer, accepted=tuple(good)) if good else None
    text = ". ".join(str(attributes.get(key, "")) for key in ("description", "long_name", "comment"))
    is_one_good = bool(_ONE_IS_GOOD.search(text))
    is_zero_good = bool(_ZERO_IS_GOOD.search(text))
    if is_one_good == is_zero_good:
        return None
    return QualityRule(layer) if is_one_good else QualityRule(layer, accepted=(0.0,))


OpenCompanions = Callable[[GridGeometry, ExitStack], Sequence[QualityLayer]]
"""Opens masks and quality layers that are separate files in the folder of a grid. The stack closes them."""


def choose_mask(file: str, layers: Iterable[QualityLayer], given: str | None) -> QualityMask | None:
    """Choose which layers mask the displacement.

    Args:
        file: Name of the file, for messages.
        layers: All layers on the cells of the displacement.
        given: Value of `--mask`. None: apply the layers whose good values the file states.

    Raises:
        ConfigError: there are quality layers, and neither the file nor the user states which values are good.
    """
    by_name = {layer.name: layer for layer in layers}
    if given is not None:
        rules = parse_mask_option(given)
        for rule in rules:
            if rule.layer not in by_name:
                names = ", ".join(sorted(by_name)) or "none"
                raise ConfigError(f"{file}: --mask: no layer {rule.layer!r} on the same grid; there are: {names}")
        return _combine([(by_name[rule.layer], rule) for rule in rules]) if rules else None
    candidates = [layer for layer in by_name.values() if layer.rule is not None or is_quality_name(layer.name)]
    with_rule = [(layer, layer.rule) for layer in candidates if layer.rule is not None]
    without_rule = sorted(layer.name for layer in candidates if layer.rule is None)
    recommended = [(layer, rule) for layer, rule in with_rule if layer.name == RECOMMENDED]
    is_quality_masked = any(not _OF_GROUND.search(layer.name) for layer, _ in with_rule)
    if without_rule and not is_quality_masked:
        stated = ", ".join(str(rule) for _, rule in with_rule)
        raise ConfigError(
            f"{file}: contains the quality layers {', '.join(without_rule)}, and does not state which of their values "
            "are good. Give --mask NAME (every value except 0 is good), NAME=VALUE, 'NAME>=VALUE', or --mask none to "
            f"use every cell{f'; rules of other layers: {stated} (join several with commas)' if stated else ''}"
        )
    return _combine(recommended or with_rule) if with_rule else None


def _combine(pairs: Sequence[tuple[QualityLayer, QualityRule]]) -> QualityMask:
    def read_good(layers: slice, rows: slice, columns: slice) -> NDArray[np.bool_]:
        good = [rule.select_good(layer.read(layers, rows, columns)) for layer, rule in pairs]
        return reduce(np.logical_and, good)

    return QualityMask(" and ".join(str(rule) for _, rule in pairs), read_good)
