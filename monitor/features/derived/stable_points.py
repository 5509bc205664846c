"""Correct the displacement of a prism by the apparent motion of prisms on stable ground.

Air, refraction and a turning instrument move all prisms of a total station in the same way: they change the scale of
the distances, the orientation, and the heights with the square of the distance. In each round these changes are
estimated from the reference prisms and subtracted from the others. To first order they are linear in the displacement
of the references, so the error of a corrected value follows from the errors of its inputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import fsum, hypot, sqrt
from typing import Any, Final

from monitor.api.readings import HARMLESS
from monitor.api.sites import EARTH_RADIUS_M
from monitor.features.derived.samples import InputSamples, Sample, Series, Used, Value

SCALE: Final = "scale"
ORIENTATION: Final = "orientation"
REFRACTION: Final = "refraction"
AXES: Final = ("east", "north", "up")
# One reference alone cannot show that it is stable.
MIN_REFERENCES: Final = 2
# Usual change of each parameter. A value that cannot be corrected has at least the error that they cause.
_USUAL: Final = {SCALE: 30e-6, ORIENTATION: 5e-5, REFRACTION: 0.3}
# Smallest determinant, relative to the product of the diagonal, of references that determine the parameters.
_LEAST_DETERMINANT: Final = 1e-9

Vector = tuple[float, float, float]


@dataclass(slots=True, eq=False)
class CorrectionSample(Sample):
    """What was corrected at one instant. Its error is that of a value that could not be corrected.

    Attributes:
        facts: the size of the correction, and which references were used and left out.
    """

    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prism:
    """A prism: station, and its place relative to the tilting axis of the instrument, in metres."""

    station: str
    place_m: Vector

    def series(self, axis: str) -> Series:
        """Return station and quantity of the displacement along an axis."""
        return self.station, f"displacement_{axis}"


@dataclass(frozen=True, slots=True)
class Correction:
    """How a prism is corrected.

    Attributes:
        prism: the prism.
        references: prisms on stable ground.
        parameters: what the references determine: scale, orientation, refraction.
        tolerance_m: a reference whose motion differs more from the estimate is not stable and leaves the correction.
    """

    prism: Prism
    references: tuple[Prism, ...]
    parameters: tuple[str, ...]
    tolerance_m: float


@dataclass(frozen=True, slots=True)
class _Reading:
    """The displacement of a reference prism at one instant."""

    prism: Prism
    samples: tuple[Sample, Sample, Sample]

    @property
    def displacement_m(self) -> Vector:
        east, north, up = (sample.value for sample in self.samples)
        return east, north, up


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Parameters that were estimated from references.

    Attributes:
        readings: the references.
        parameters: their estimated values.
        inverse: inverse of the normal matrix.
        residual_m: largest distance between a reference and its estimated place.
    """

    readings: tuple[_Reading, ...]
    parameters: tuple[float, ...]
    inverse: tuple[tuple[float, ...], ...]
    residual_m: float


def read_place(text: str) -> Vector:
    """Read a place as three numbers in metres.

    Raises:
        ValueError: the text is none.
    """
    east_m, north_m, up_m = map(float, text.split())
    return east_m, north_m, up_m


def read_how(text: str) -> tuple[float, tuple[str, ...]]:
    """Read what is corrected: the tolerance in metres, and the names of the parameters.

    >>> read_how("scale refraction within 10 mm")
    (0.01, ('scale', 'refraction'))

    Raises:
        ValueError: the text has another form.
    """
    names, _, tolerance = text.partition(" within ")
    parameters = tuple(names.split())
    unknown = [name for name in parameters if name not in _USUAL]
    if unknown or not parameters or not tolerance.endswith(" mm"):
        raise ValueError(f"{text!r}: expected 'scale orientation refraction within 10 mm'")
    return float(tolerance.removesuffix(" mm")) / 1000.0, parameters


def compute_effects_m(place_m: Vector, parameters: Sequence[str]) -> tuple[Vector, ...]:
    """Return the displacement that one unit of each parameter causes at a place, in metres.

    >>> compute_effects_m((300.0, 400.0, 50.0), ("scale", "orientation"))
    ((300.0, 400.0, 50.0), (400.0, -300.0, 0.0))
    """
    east, north, _ = place_m
    effects = {
        SCALE: place_m,
        # The bearing grows clockwise.
        ORIENTATION: (north, -east, 0.0),
        # A larger coefficient of refraction makes the zenith angle too small.
        REFRACTION: (0.0, 0.0, (east**2 + north**2) / (2.0 * EARTH_RADIUS_M)),
    }
    return tuple(effects[name] for name in parameters)


def correct(correction: Correction, axis: str, samples: InputSamples, at_s: float) -> Value | None:
    """Return the corrected displacement of a prism along one axis at an instant; None if it was not measured.

    A value that cannot be corrected, because references are missing or contradict each other, stays as it was
    measured, with a larger error.
    """
    own = samples.find(correction.prism.series(axis), at_s)
    if own is None:
        return None
    readings = [reading for prism in correction.references if (reading := _read(prism, samples, at_s)) is not None]
    estimate = _find_estimate(correction, readings, samples)
    missing = sorted({prism.station for prism in correction.references} - {one.prism.station for one in readings})
    if estimate is None:
        return _keep(correction, axis, own, [one.prism.station for one in readings], missing)
    used_stations = [one.prism.station for one in estimate.readings]
    facts: dict[str, Any] = {
        "references": used_stations,
        **{name: float(f"{value:.6g}") for name, value in zip(correction.parameters, estimate.parameters, strict=True)},
    }
    left_out = [one.prism.station for one in readings if one.prism.station not in used_stations]
    if left_out:
        facts["moving"] = left_out
    if missing:
        facts["missing"] = missing
    return _subtract(correction, axis, own, estimate, facts)


def estimate_parameters(correction: Correction, readings: Sequence[_Reading]) -> _Estimate | None:
    """Estimate the parameters from the largest group of references that agree; None if no majority of them agrees.

    References agree if the least-squares fit to all of them puts none of them farther than the tolerance from where it
    was measured. The number of groups doubles with each reference, so only some are fitted: all references, and the
    groups that grow from each pair of references. A group that differs from others by a reference near the tolerance
    may be missed. Then fewer references count, or none.
    """
    everything = tuple(range(len(readings)))
    fitted: set[tuple[int, ...]] = set()
    best: _Estimate | None = None
    for start in (everything, *combinations(everything, MIN_REFERENCES)):
        for estimate in _grow(correction, readings, start, fitted):
            if best is None or _is_better(estimate, best):
                best = estimate
        if best is not None and len(best.readings) == len(readings):
            return best
    # More than half of the references must agree. Of two halves that contradict each other, either may have moved.
    return best if best is not None and 2 * len(best.readings) > len(readings) else None


def _grow(
    correction: Correction, readings: Sequence[_Reading], start: tuple[int, ...], fitted: set[tuple[int, ...]]
) -> Iterator[_Estimate]:
    """Yield the estimates of groups of references that agree.

    A group that agrees takes in the nearest of the other references. A group that does not agree drops the reference
    with the largest residual.

    Args:
        start: indices of the references of the first group.
        fitted: groups that were fitted before. The search ends at such a group.
    """
    group = start
    # The limit bounds the time of a search. Most searches end long before, at a group that was fitted before.
    for _ in range(2 * len(readings)):
        if group in fitted or len(group) < MIN_REFERENCES:
            return
        fitted.add(group)
        estimate = _fit(correction.parameters, [readings[k] for k in group])
        if estimate is None:
            return
        residuals_m = _compute_residuals_m(correction.parameters, estimate.parameters, readings)
        if estimate.residual_m <= correction.tolerance_m:
            yield estimate
            others = [k for k in range(len(readings)) if k not in group]
            if not others:
                return
            nearest = min(others, key=residuals_m.__getitem__)
            group = tuple(sorted((*group, nearest)))
        else:
            worst = max(group, key=residuals_m.__getitem__)
            group = tuple(k for k in group if k != worst)


def _is_better(estimate: _Estimate, other: _Estimate) -> bool:
    """Return whether an estimate has more references than another, or as many and a smaller residual."""
    count, other_count = len(estimate.readings), len(other.readings)
    return count > other_count or (count == other_count and estimate.residual_m < other.residual_m)


def _find_estimate(correction: Correction, readings: Sequence[_Reading], samples: InputSamples) -> _Estimate | None:
    """Return the estimate of a round; all prisms and axes that use the same readings of references share it."""
    measured = tuple(reading.samples for reading in readings)
    key = (correction.references, correction.parameters, correction.tolerance_m, measured)
    if key not in samples.estimates:
        samples.estimates[key] = estimate_parameters(correction, readings)
    estimate: _Estimate | None = samples.estimates[key]
    return estimate


def _read(prism: Prism, samples: InputSamples, at_s: float) -> _Reading | None:
    if any(prism.series(axis) not in samples.by_series for axis in AXES):
        return None
    east, north, up = (samples.find(prism.series(axis), at_s) for axis in AXES)
    if east is None or north is None or up is None:
        return None
    if any(not HARMLESS.issuperset(sample.flags) for sample in (east, north, up)):
        return None
    return _Reading(prism, (east, north, up))


def _fit(parameters: Sequence[str], readings: Sequence[_Reading]) -> _Estimate | None:
    """Fit the parameters by least squares; None if the references do not determine them."""
    effects = [compute_effects_m(reading.prism.place_m, parameters) for reading in readings]
    count = len(parameters)
    # The equations: three displacements of each reference, and the effect of each parameter on them.
    columns = [[component for effect in effects for component in effect[row]] for row in range(count)]
    measured = [component for reading in readings for component in reading.displacement_m]
    normal = [[_multiply(column, other) for other in columns] for column in columns]
    right = [_multiply(column, measured) for column in columns]
    inverse = _invert(normal)
    if inverse is None:
        return None
    values = tuple(_multiply(row, right) for row in inverse)
    residuals_m = _compute_residuals_m(parameters, values, readings)
    return _Estimate(tuple(readings), values, inverse, max(residuals_m))


def _compute_residuals_m(
    parameters: Sequence[str], values: Sequence[float], readings: Sequence[_Reading]
) -> list[float]:
    """Return the distance of each reference from the place that the estimated parameters give it."""
    residuals_m = []
    for reading in readings:
        effects = compute_effects_m(reading.prism.place_m, parameters)
        differences = [
            displacement_m - _multiply(values, [effect[axis] for effect in effects])
            for axis, displacement_m in enumerate(reading.displacement_m)
        ]
        residuals_m.append(hypot(*differences))
    return residuals_m


def _multiply(first: Sequence[float], second: Sequence[float]) -> float:
    return fsum(a * b for a, b in zip(first, second, strict=True))


def _invert(matrix: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...] | None:
    """Invert a symmetric matrix of at most three rows by Gauss-Jordan elimination; None if it is nearly singular.

    The result must not depend on the linear algebra library of the machine, because stored values are recomputed.
    """
    size = len(matrix)
    scales = [sqrt(matrix[k][k]) for k in range(size)]
    if not all(scales):
        return None
    # Rows and columns are scaled, because the parameters have different units.
    rows = [
        [matrix[i][j] / (scales[i] * scales[j]) for j in range(size)] + [float(i == j) for j in range(size)]
        for i in range(size)
    ]
    determinant = 1.0
    for pivot in range(size):
        best = max(range(pivot, size), key=lambda i: abs(rows[i][pivot]))
        rows[pivot], rows[best] = rows[best], rows[pivot]
        determinant *= rows[pivot][pivot]
        if abs(determinant) < _LEAST_DETERMINANT:
            return None
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for i in range(size):
            if i != pivot:
                factor = rows[i][pivot]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[pivot], strict=True)]
    return tuple(tuple(rows[i][size + j] / (scales[i] * scales[j]) for j in range(size)) for i in range(size))


def _subtract(correction: Correction, axis: str, own: Sample, estimate: _Estimate, facts: dict[str, Any]) -> Value:
    """Return the corrected value, and how much it changes with each reading that it depends on."""
    k = AXES.index(axis)
    effects = compute_effects_m(correction.prism.place_m, correction.parameters)
    own_effects = [effect[k] for effect in effects]
    value = own.value - _multiply(estimate.parameters, own_effects)
    used: Used = {own: 1.0, CorrectionSample(own.series, own.at_s, 0.0, 0.0, facts=facts): 0.0}
    weights = [_multiply(own_effects, column) for column in zip(*estimate.inverse, strict=True)]
    for reading in estimate.readings:
        of_reference = compute_effects_m(reading.prism.place_m, correction.parameters)
        for component, sample in enumerate(reading.samples):
            slope = -_multiply(weights, [effect[component] for effect in of_reference])
            used[sample] = used.get(sample, 0.0) + slope
    return value, used


def _keep(correction: Correction, axis: str, own: Sample, disagreeing: Sequence[str], missing: Sequence[str]) -> Value:
    """Return a value that cannot be corrected, with the error that the usual changes of the parameters cause."""
    k = AXES.index(axis)
    effects = compute_effects_m(correction.prism.place_m, correction.parameters)
    error_m = sqrt(
        fsum((_USUAL[name] * effect[k]) ** 2 for name, effect in zip(correction.parameters, effects, strict=True))
    )
    facts: dict[str, Any] = {"references": []}
    if disagreeing:
        facts["disagreeing"] = list(disagreeing)
    if missing:
        facts["missing"] = list(missing)
    known = own if own.sigma is not None else Sample(own.series, own.at_s, own.value, 0.0, own.flags, own.is_changed)
    return own.value, {known: 1.0, CorrectionSample(own.series, own.at_s, 0.0, error_m, facts=facts): 1.0}
