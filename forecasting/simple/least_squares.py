"""Nonlinear least squares for many small problems at once, so that hundreds of stations are fitted in one loop."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from forecasting.data.series import Floats

STEP = 1e-4


def minimise(residuals: Callable[[Floats], Floats], start: Floats, *, rounds: int = 14) -> Floats:
    """Levenberg-Marquardt (Marquardt 1963) with differences for slopes, one problem per row of `start`.

    Every round costs one call of `residuals`: a candidate is tried together with its neighbours, so its slopes are at
    hand when it is accepted.

    Args:
        residuals: Parameters (B, S, P) of S problems in B variants to residuals (T, B, S); no NaN.
        start: First guess, shape (S, P).
        rounds: Candidates tried.

    Returns:
        The best parameters found, shape (S, P).

    >>> x = np.arange(20.0)[:, None, None]
    >>> made = minimise(lambda p: np.exp(-p[None, :, :, 0] * x) - np.exp(-0.3 * x), np.array([[1.0], [0.1]]))
    >>> [round(float(v), 4) for v in made[:, 0]]
    [0.3, 0.3]
    """
    problems, count = start.shape
    moves = np.concatenate([np.zeros((1, 1, count)), STEP * np.eye(count)[:, None, :]])
    best, lowest = start.copy(), np.full(problems, np.inf)
    normal = np.zeros((problems, count, count))
    slope = np.zeros((problems, count))
    damping = np.full(problems, 1e-2)
    candidate = start.copy()
    for _ in range(rounds):
        made = residuals(candidate[None] + moves)
        own = made[:, 0]
        cost = np.einsum("ts,ts->s", own, own)
        better = np.isfinite(cost) & (cost < lowest)
        slopes = (made[:, 1:] - own[:, None]) / STEP
        square = np.einsum("tps,tqs->spq", slopes, slopes)
        towards = np.einsum("tps,ts->sp", slopes, own)
        usable = better & np.isfinite(square).all(axis=(1, 2)) & np.isfinite(towards).all(axis=1)
        best[usable], lowest[usable] = candidate[usable], cost[usable]
        normal[usable], slope[usable] = square[usable], towards[usable]
        damping = np.clip(np.where(usable, damping / 5.0, damping * 4.0), 1e-8, 1e8)
        size = np.einsum("spp->sp", normal)
        ridge = (
            np.eye(count)
            * (damping[:, None] * np.maximum(size, 1e-12 + 1e-9 * size.max(axis=1, keepdims=True)))[:, None, :]
        )
        candidate = best - np.clip(np.linalg.solve(normal + ridge + 1e-300, slope[..., None])[..., 0], -1.0, 1.0)
    return best


def spell_params(params: Iterable[Sequence[float]]) -> list[list[float | None]]:
    """Fitted parameters as plain numbers; None where a station could not be fitted."""
    return [[float(v) if np.isfinite(v) else None for v in row] for row in params]


def read_params(rows: Iterable[Sequence[float | None]]) -> tuple[tuple[float, float, float, float], ...]:
    """Inverse of `spell_params` for models of four parameters."""
    found = [[float("nan") if v is None else float(v) for v in row] for row in rows]
    return tuple((a, b, c, d) for a, b, c, d in found)
