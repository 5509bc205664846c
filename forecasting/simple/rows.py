"""Sums over the first axis of an array, with the same bits for any number of series side by side."""

import numpy as np

from forecasting.data.series import Floats


def sum_discounted(values: Floats, keep: Floats) -> Floats:
    """Replace each row by a sum over it and the rows before it, in which earlier rows are discounted.

    Args:
        values: Shape (T, ...). The array is changed and returned.
        keep: By which factor the sum of the earlier rows is multiplied at each row, same shape, or one that broadcasts.
    """
    for row in range(1, values.shape[0]):
        values[row] += keep[row] * values[row - 1]
    return values


def sum_in_order(values: Floats) -> Floats:
    """Return the sum over the first axis, added one after the other.

    `numpy.sum` adds in an order that depends on the shape of the array, so its rounding depends on it too.
    """
    total = np.zeros(values.shape[1:])
    for part in values:
        total += part
    return total
