"""Filters over time: many series side by side as arrays, a few one by one as plain floats, with the same bits."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from forecasting.data.series import Floats

FEW = 12  # series, times variants of their parameters, up to which arrays cost more than plain floats
Pick = Callable[[Any, Any, Any], Any]  # `np.where`, or the same of plain numbers
Step = Callable[..., Iterator[tuple[Any, ...]]]
"""Rows of (seen, value), rows where a series begins, rows that lack one, `pick`, parameters: to what each row gives."""


def run(step: Step, values: Floats, params: Iterable[Floats]) -> tuple[Floats, ...]:
    """What a filter finds at each row, each shape (T, ..., S).

    >>> def add(rows, begins, gaps, pick, a):
    ...     total = 0.0 * a
    ...     for seen, value in rows:
    ...         total = total + pick(seen, a * value, 0.0)
    ...         yield (total,)
    >>> column = np.array([[1.0], [np.nan], [3.0]])
    >>> few, many = (run(add, np.repeat(column, n, axis=1), [np.full(n, 0.1)])[0] for n in (1, 40))
    >>> few[:, 0].round(1).tolist(), bool((few == many).all())
    ([0.1, 0.1, 0.4], True)

    Args:
        step: The filter, row by row, of arithmetic alone, so that it takes floats as well as arrays.
        params: Its parameters, any shape (..., S) that all share.
    """
    shared = np.broadcast_arrays(*params)
    seen = np.isfinite(values)
    plain, first = np.where(seen, values, 0.0), seen.argmax(axis=0)
    lacking = ~seen
    if shared[0].size > FEW:
        begins, gaps = set(first.tolist()), set(np.flatnonzero(lacking.any(axis=1)).tolist())
        out: list[Floats] = []
        for t, row in enumerate(step(zip(seen, plain, strict=True), begins, gaps, np.where, *shared)):
            out = out or [np.empty((values.shape[0], *shared[0].shape)) for _ in row]
            for part, value in zip(out, row, strict=True):
                part[t] = value
        return tuple(out)
    lanes = {}
    for lane in np.ndindex(shared[0].shape):
        s = lane[-1]
        rows = zip(seen[:, s].tolist(), plain[:, s].tolist(), strict=True)
        begins, gaps = {int(first[s])}, set(np.flatnonzero(lacking[:, s]).tolist())
        lanes[lane] = np.array(list(step(rows, begins, gaps, _choose, *(float(p[lane]) for p in shared))))
    few = np.stack(list(lanes.values()), axis=-1).reshape(values.shape[0], -1, *shared[0].shape)
    return tuple(few[:, i] for i in range(few.shape[1]))


def _choose(condition: bool, one: float, other: float) -> float:
    return one if condition else other


def remember(values: Floats, keep: Floats) -> Floats:
    """Sum over the rows so far, first axis, each counting for what a row keeps of those before it; in place."""
    for row in range(1, values.shape[0]):
        values[row] += keep[row] * values[row - 1]
    return values


def sum_in_order(values: Floats) -> Floats:
    """Sum over the first axis, one after the other: a sum over an axis may round by its shape."""
    total = np.zeros(values.shape[1:])
    for one in values:
        total += one
    return total
