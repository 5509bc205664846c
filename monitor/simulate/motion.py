"""Closed forms and noise of a moving slope: what the ground does, before any instrument looks at it."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def voight_displacement(days: Array, creep_mm_per_day: float, onset_day: float, failure_day: float) -> Array:
    """Displacement (mm) by steady creep that accelerates to failure.

    Voight (1988, Nature 332, 125-130) with alpha = 2 integrates to 1/v falling linearly to zero at the failure time;
    the constant is set so that the velocity is continuous at the onset.

    Args:
        days: time since the model's start, days, shape (n,).
        creep_mm_per_day: steady velocity up to the onset.
        onset_day: where the acceleration begins.
        failure_day: where the velocity becomes infinite; ``inf`` for a slope that only creeps.

    Returns:
        Displacement, shape (n,); NaN at and after the failure.

    >>> float(voight_displacement(np.array([10.0]), 2.0, 20.0, 30.0)[0])
    20.0
    """
    days = np.asarray(days, dtype=np.float64)
    if not np.isfinite(failure_day):
        return creep_mm_per_day * days
    span = failure_day - onset_day
    left = np.where(days < failure_day, failure_day - days, np.nan)
    accelerated = creep_mm_per_day * (onset_day + span * np.log(span / np.minimum(left, span)))
    steady = creep_mm_per_day * days
    return np.where(days <= onset_day, steady, accelerated)


def draw_rain(rng: np.random.Generator, steps: int, step_h: float, storm_every_days: float = 6.0) -> Array:
    """Rain (mm per interval) as a Poisson process of storms, in tips of 0.2 mm.

    Storms last 4 to 30 h with a mean intensity around 2 mm/h, shaped like a half sine and roughened: the rectangular
    pulse idea of Rodriguez-Iturbe et al. (1987), kept simple.

    Returns:
        Shape (steps,); a multiple of 0.2 mm each.
    """
    rain = np.zeros(steps)
    at_h = float(rng.exponential(storm_every_days * 24.0))
    while at_h < steps * step_h:
        hours = float(rng.uniform(4.0, 30.0))
        intensity = float(rng.gamma(2.0, 1.0))
        first, last = int(at_h / step_h), min(steps, int((at_h + hours) / step_h) + 1)
        phase = (np.arange(first, last) + 0.5 - first) / max(last - first, 1)
        rough = rng.gamma(1.5, 1.0 / 1.5, size=last - first)
        rain[first:last] += intensity * 1.57 * np.sin(np.pi * phase) * rough * step_h
        at_h += hours + float(rng.exponential(storm_every_days * 24.0))
    # A tipping bucket keeps what has not yet tipped.
    tips: Array = np.floor(np.cumsum(rain) / 0.2 + 1e-9)
    return np.round(np.diff(tips, prepend=0.0) * 0.2, 3)


def wetness(rain_mm: Array, step_h: float, rise_h: float = 18.0, decay_h: float = 96.0) -> Array:
    """Lagged response of the ground to rain: rain convolved with a difference of exponentials of unit sum.

    Args:
        rain_mm: rain per interval, shape (n,).
        step_h: interval, hours.
        rise_h: time constant of infiltration.
        decay_h: time constant of drainage, larger than `rise_h`.

    Returns:
        Millimetres of rain arriving at depth per interval, shape (n,); its sum over all time equals the rain's.
    """
    hours = np.arange(len(rain_mm)) * step_h
    kernel = np.exp(-hours / decay_h) - np.exp(-hours / rise_h)
    kernel /= kernel.sum() if kernel.sum() > 0 else 1.0
    size = 2 * len(rain_mm)
    response: Array = np.fft.irfft(np.fft.rfft(rain_mm, size) * np.fft.rfft(kernel, size), size)[: len(rain_mm)]
    # The transform leaves rounding noise where there was no rain yet.
    return np.where(response > 1e-9, response, 0.0)


def wetness_peak_lag_h(rise_h: float = 18.0, decay_h: float = 96.0) -> float:
    """Hours from a burst of rain to the largest response of `wetness`.

    >>> round(wetness_peak_lag_h(), 1)
    37.1
    """
    return float(np.log(decay_h / rise_h) / (1.0 / rise_h - 1.0 / decay_h))


def flicker_noise(rng: np.random.Generator, steps: int, sigma: float) -> Array:
    """Noise with spectrum 1/f, scaled by its innovations, shape (steps,).

    Fractional integration of order 1/2 (Kasdin 1995, Proc. IEEE 83, 802-827), the usual model of GNSS positions
    beside white noise (Williams 2003).
    """
    index = np.arange(1, steps, dtype=np.float64)
    weights = np.concatenate([[1.0], np.cumprod((index - 0.5) / index)])
    size = 2 * steps
    white = rng.normal(0.0, sigma, steps)
    out: Array = np.fft.irfft(np.fft.rfft(white, size) * np.fft.rfft(weights, size), size)[:steps]
    return out


def season(days: Array, amplitude: float, day_of_year: float) -> Array:
    """Annual cycle, largest at the end of winter, zero at the model's start; shape of `days`."""
    phase = 2.0 * np.pi * (days + day_of_year - 60.0) / 365.25
    start = 2.0 * np.pi * (day_of_year - 60.0) / 365.25
    cycle: Array = amplitude * (np.cos(phase) - np.cos(start))
    return cycle
