"""Masks and quality layers that come with a grid of displacement: which cells of them are good."""

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
_SAME_CELL: Final = 0.01  # centres that differ by less than this share of a cell are the same
RECOMMENDED: Final = "recommended_mask"
_OPTION: Final = re.compile(r"\s*([^=<>\s]+)\s*(?:(>=|=)\s*([-+]?\d*\.?\d+))?\s*")
_QUALITY_NAME: Final = re.compile(
    r"mask|quality|coh(?:erence)?(?![a-z])|conn.*comp|reliab|confiden|flag|layover|shadow|similarity|snr"
    r"|(?:^|_)(?:shp|count|counts|valid|q[ac]|cc)(?:_|$)",
    re.IGNORECASE,
)
# Such masks are about the ground or the geometry of the radar, and not about the quality of the displacement.
_OF_GROUND: Final = re.compile(r"water|land|ocean|layover|shadow|slope", re.IGNORECASE)
_GOOD: Final = r"(?:good|valid|reliable|usable|keep|kept)\b"
_BAD: Final = r"(?:bad|invalid|unreliable|masked|mask out|discard)"
_ONE_IS_GOOD: Final = re.compile(rf"\b1\b[^\d.;]*\b{_GOOD}|\b0\b[^\d.;]*\b{_BAD}", re.IGNORECASE)
_ZERO_IS_GOOD: Final = re.compile(rf"\b0\b[^\d.;]*\b{_GOOD}|\b1\b[^\d.;]*\b{_BAD}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QualityRule:
    """Which values of a quality layer mark a good cell. A cell without a value is never good."""

    layer: str
    accepted: tuple[float, ...] = ()  # good are these values; empty: every value but 0
    least: float | None = None  # good are this value and higher ones; replaces `accepted`

    def select_good(self, values: Array) -> NDArray[np.bool_]:
        """Return which cells are good.

        >>> QualityRule("m").select_good(np.array([0.0, 1.0, np.nan])).tolist()
        [False, True, False]
        >>> QualityRule("c", least=0.7).select_good(np.array([0.6, 0.7, np.nan])).tolist()
        [False, True, False]
        """
        known = np.isfinite(values)
        if self.least is not None:
            good = values >= self.least
        elif self.accepted:
            good = np.isin(values, self.accepted)
        else:
            good = values != 0
        return np.asarray(known & good)

    def __str__(self) -> str:
        """Return the rule as `--mask` accepts it."""
        if self.least is not None:
            return f"{self.layer}>={self.least:g}"
        if self.accepted:
            return f"{self.layer}={' or '.join(f'{value:g}' for value in self.accepted)}"
        return self.layer


@dataclass(frozen=True, slots=True)
class QualityMask:
    """The rules that apply to a grid, and how to read which cells are good."""

    name: str  # for reports
    # cells of layers, rows and columns; shape (layers or 1, rows, columns)
    read_good: Callable[[slice, slice, slice], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class QualityLayer:
    """A layer that comes with the displacement, and what its file says about its values."""

    name: str
    read: Callable[[slice, slice, slice], Array]
    rule: QualityRule | None  # None: the file does not say which values are good


@dataclass(frozen=True, slots=True)
class Footing:
    """The instants and cells of a grid, on which a layer must lie to belong to it."""

    times: Sequence[datetime]
    x: Array
    y: Array
    crs: CRS

    def has_cells(self, x: Array, y: Array) -> bool:
        """Return whether centres of cells are those of the grid."""
        return _is_same_axis(self.x, x) and _is_same_axis(self.y, y)


def _is_same_axis(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    step = abs(float(one[1] - one[0])) if len(one) > 1 else 1.0
    return bool(np.abs(one - other).max() <= _SAME_CELL * step)


def is_quality_name(name: str) -> bool:
    """Return whether a layer is called like a mask or a measure of quality.

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
    """Derive from CF flags or from the description of a layer which of its values are good; None: it is not said.

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
    is_one, is_zero = bool(_ONE_IS_GOOD.search(text)), bool(_ZERO_IS_GOOD.search(text))
    if is_one == is_zero:
        return None
    return QualityRule(layer) if is_one else QualityRule(layer, accepted=(0.0,))


ListBeside = Callable[[Footing, ExitStack], Sequence[QualityLayer]]
"""Opens the masks and quality layers that lie as files beside a grid; the stack closes them."""


def choose_mask(file: str, layers: Iterable[QualityLayer], given: str | None) -> QualityMask | None:
    """Choose which layers mask the displacement.

    Args:
        file: name of the file, for messages.
        layers: every layer on the grid of the displacement.
        given: the value of `--mask`; None: apply the layers whose good values are known.

    Raises:
        ConfigError: there are quality layers, and neither the file nor the user says which cells are good.
    """
    by_name = {layer.name: layer for layer in layers}
    if given is not None:
        rules = parse_mask_option(given)
        there = ", ".join(sorted(by_name)) or "none"
        for rule in rules:
            if rule.layer not in by_name:
                raise ConfigError(f"{file}: --mask: no layer {rule.layer!r} on the same grid; there are: {there}")
        return _combine([(by_name[rule.layer], rule) for rule in rules]) if rules else None
    candidates = [layer for layer in by_name.values() if layer.rule is not None or is_quality_name(layer.name)]
    understood = [(layer, layer.rule) for layer in candidates if layer.rule is not None]
    recommended = [pair for pair in understood if pair[0].name == RECOMMENDED]
    unknown = sorted(layer.name for layer in candidates if layer.rule is None)
    is_judged = any(not _OF_GROUND.search(layer.name) for layer, _ in understood)
    if unknown and not is_judged:
        known = ", ".join(str(rule) for _, rule in understood)
        raise ConfigError(
            f"{file}: contains the quality layers {', '.join(unknown)}, and does not say which of their values are "
            "good. Give --mask NAME (every value but 0 is good), NAME=VALUE, 'NAME>=VALUE', or --mask none to use "
            f"every cell{f'; known beside them: {known} (join several with commas)' if known else ''}"
        )
    return _combine(recommended or understood) if understood else None


def _combine(pairs: Sequence[tuple[QualityLayer, QualityRule]]) -> QualityMask:
    def read_good(layers: slice, rows: slice, columns: slice) -> NDArray[np.bool_]:
        good = [rule.select_good(layer.read(layers, rows, columns)) for layer, rule in pairs]
        return reduce(np.logical_and, good)

    return QualityMask(" and ".join(str(rule) for _, rule in pairs), read_good)
