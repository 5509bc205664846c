"""Weights over simple forecasts from what each has cost so far beside a robust standard: an average, never a switch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.simple.rows import remember, sum_in_order

OTHERS: Final = 3
"""Stations that all others together count for at most: they err alike, by one reference and one weather."""
DRIFTS: Final = 4.0
"""In the exponent, what a drift counts for that will have grown to the usual error at a horizon where none is noise."""
USUAL_DRIFTS: Final = 1.5  # times its own usual drift that a forecast may drift


@dataclass(frozen=True, slots=True)
class Rule:
    """How fast errors move weights: of the rules that do alike on records left out, the best on quiet ones is this."""

    prior: float = 6.0  # weight of the standard beside 1 of each other before any error is known
    # what one independent error, as large as that of the standard on average, is worth in the exponent
    sharpness: float = 1.0
    discount: float = 0.995  # what an error still counts for one row later; of noise, which stays as it is, more
    # spans of one horizon that must have been scored before the standard is departed from; fully at twice it
    blocks: int = 2
    # usual errors from which a newest one is a surprise: what was scored before counts that much less
    startled: float = 6.0


@dataclass(frozen=True, slots=True)
class Shorter:
    """What was scored at the horizons before one."""

    errors: Floats  # at the shortest of them (E, N, S), NaN where the target is not known
    shortest: int  # its rows
    # evidence against each forecast at the longest of them, shape (E, N, S); None where that is the shortest, whose
    # errors are of noise rather than of motion
    score: Floats | None
    steps: int  # the rows of the longest


def compute_weights(
    made: Floats,
    errors: Floats,
    steps: int,
    rule: Rule,
    least: Ints,
    surprise: Floats | None = None,
    scale: Floats | None = None,
    groups: Sequence[Sequence[int]] = (),
    shorter: Shorter | None = None,
) -> tuple[Floats, Shorter]:
    """Weight of each forecast at each row, shape (E, N, S); they sum to 1 where any of them answers.

    The exponentially weighted average of Cesa-Bianchi and Lugosi 2006 (2.1) on the excess of each |error| over that of
    the standard, as a share of the standard's own mean |error|. Errors of forecasts `steps` rows ahead overlap, so the
    evidence is their discounted count divided by `steps`. An error is known when its target is, `steps` rows late.
    After a surprise the errors before it say little of what comes: the standard, which follows, has the word again. An
    error counts in proportion to what was to be expected when it was made: who was lucky as one slide ended does not
    lead through the quiet months behind it.
    Spans of a long horizon are few, but what the standard errs at the shortest one tells how much of its error is noise
    (`find_noise_share`). So far as it is, errors are remembered longer and the standard, which follows motion, has less
    of a lead. Two more things speak where spans are few: what a forecast cost at the horizon before, as much as that
    is shorter, and, as far as its error is noise, what it cost at the other stations: noise asks for the same of all,
    each motion is its own. And who errs to one side at the shortest horizon, by more than is usual for him, was made
    for another pace: by a longer one that grows (`find_drift`).

    >>> line = np.arange(60.0)
    >>> made = np.stack([line, line + 1.0])[:, :, None]  # a standard that lags one behind, and one that is right
    >>> errors = made - (line + 1.0)[None, :, None]
    >>> weights, _ = compute_weights(made, errors, 1, Rule(), np.zeros(2, dtype=np.int64))
    >>> weights[0, [1, 2, 3, 4, 59], 0].round(2).tolist()
    [1.0, 1.0, 0.62, 0.1, 0.0]

    Args:
        made: Forecasts (E, N, S), the standard first, NaN where one does not answer.
        errors: What they lie above their targets, NaN where the target is not known; |errors| tell no drift.
        least: Rows that must have been scored before a forecast has any weight, shape (E,).
        surprise: Newest error in usual ones, shape (N, S).
        scale: Size of error to be expected, mm, shape (N, S), NaN where it is not known; None where always alike.
        groups: Columns of each motion: their shares of excess are averaged, so that they obey one choice.
        shorter: What was scored at the horizons before; None where this is the shortest.
    """
    keep = np.ones(made.shape[1:]) if surprise is None else rule.startled / np.maximum(surprise, rule.startled)
    signed, errors = errors, np.abs(errors)
    noise = np.zeros(keep.shape)
    if shorter is not None:
        noise = find_noise_share(errors[0], steps, np.abs(shorter.errors[0]), shorter.shortest, rule, keep, groups)
    errors = errors if scale is None else errors / np.maximum(scale, 1e-9)
    standard = errors[0]
    known = np.isfinite(errors) & np.isfinite(standard)
    kept = rule.discount ** (1.0 - noise) * keep
    late = _late(known.astype(np.float64), steps)
    count = _decay(late.copy(), kept)
    size = _decay(_late(np.where(known[:1], standard, 0.0), steps), kept)[0]
    usual = size / np.maximum(count[0], 1e-12)
    cost = _decay(_late(np.where(known, errors - standard, 0.0), steps), kept)
    judged = count > 0
    excess = np.where(judged, cost / np.maximum(count, 1e-12), 0.0) / np.where(usual > 0, usual, 1.0)
    score = excess * count / steps
    score = _share(score, noise, groups)
    if shorter is None:
        passed_on = Shorter(signed, steps, None, steps)
    else:
        if shorter.score is not None:
            score += shorter.steps / steps * shorter.score
        passed_on = Shorter(shorter.errors, shorter.shortest, score, steps)
        drift = find_drift(shorter.errors, shorter.shortest, steps, rule)
        usual = _average(np.abs(signed[:1]), steps, np.full(keep.shape, rule.discount))[0]
        moves = 1.0 - noise
        drift *= DRIFTS * moves * moves * moves / np.where(usual > 0, usual, np.inf)
        score = score + _share(drift, np.zeros(noise.shape), groups)
    scored = _late(np.cumsum(known.any(axis=2), axis=1)[:, :, None], steps)
    answers = np.isfinite(made)
    open_ = answers & judged & (scored >= least[:, None, None])
    open_[0] = answers[0]
    best = np.where(open_, score, np.inf).min(axis=0)
    prior = np.ones(made.shape)
    prior[0] = rule.prior ** (1.0 - noise)
    gap = np.where(open_, score - np.where(np.isfinite(best), best, 0.0), 0.0)
    weights = np.where(open_, prior * np.exp(-rule.sharpness * gap), 0.0)
    # where nothing can be told from errors, all that answer weigh as they did before any
    total = sum_in_order(weights)
    weights = np.where(total > 0, weights, prior * answers)
    total = sum_in_order(weights)
    weights /= np.where(total > 0, total, 1.0)
    sure = np.clip(_decay(late[:1], keep)[0] / (rule.blocks * steps) - 1.0, 0.0, 1.0)
    sure = np.where(answers[0], sure, 1.0)
    weights *= sure
    weights[0] += 1.0 - sure
    return np.asarray(weights), passed_on


def _share(score: Floats, noise: Floats, groups: Sequence[Sequence[int]]) -> Floats:
    """The scores (E, N, S), those of one motion alike, with what the other motions say where errors are noise."""
    motions = [list(group) for group in groups]
    each = [sum_in_order(score[:, :, columns].transpose(2, 0, 1)) / len(columns) for columns in motions]
    worth = min(len(motions) - 1, OTHERS)
    total = sum_in_order(np.stack(each)) if worth > 0 else 0.0
    for columns, one in zip(motions, each, strict=True):
        score[:, :, columns] = one[..., None]
        if worth > 0:
            rest = worth * (total - one) / (len(motions) - 1)
            score[:, :, columns] += np.square(noise[:, columns]) * rest[..., None]
    return score


def find_noise_share(
    errors: Floats,
    steps: int,
    near: Floats,
    shortest: int,
    rule: Rule,
    keep: Floats,
    groups: Sequence[Sequence[int]] = (),
) -> Floats:
    """Share of an |error| that is noise rather than motion, as known at each row, shape (N, S).

    The usual |error| at the shortest horizon beside that at this one: noise is as large at both, motion grows. It is
    taken as far as this horizon lies beyond the shortest and as the memory has filled with errors.

    >>> still, moving = np.ones((400, 1)), np.full((400, 1), 30.0)
    >>> keep = np.ones((400, 1))
    >>> found = [find_noise_share(one, 30, still, 1, Rule(), keep) for one in (still, moving)]
    >>> [one[[29, 130, 399], 0].round(2).tolist() for one in found]
    [[0.0, 0.38, 0.82], [0.0, 0.01, 0.03]]

    Args:
        errors: |Errors| at this horizon (N, S), NaN where the target is not known.
        keep: What a surprise leaves of what was scored before, shape (N, S).
        groups: Columns of one motion: their shares are averaged.
    """
    small, _ = _average(near[None], shortest, rule.discount * keep)
    usual, count = _average(errors[None], steps, rule.discount * keep)
    share: Floats = np.where(usual > 0, np.minimum(small / np.where(usual > 0, usual, 1.0), 1.0), 0.0)[0]
    share *= max(0.0, 1.0 - shortest / steps) * np.minimum((1.0 - rule.discount) * count[0], 1.0)
    for columns in (list(group) for group in groups if len(group) > 1):
        share[:, columns] = sum_in_order(share[:, columns].T)[:, None] / len(columns)
    return share


def find_drift(errors: Floats, shortest: int, steps: int, rule: Rule) -> Floats:
    """What each forecast will have drifted at a horizon beyond what is usual for it, mm, shape (E, N, S).

    Its mean error over about as many rows as the horizon has: noise falls out of it, a pace that is no more remains.
    `errors`: at the shortest horizon (E, N, S), NaN where the target is not known.

    >>> errors = np.repeat([0.0, 0.1], 200)[None, :, None] + np.tile([0.5, -0.5], 200)[None, :, None]
    >>> find_drift(errors, 1, 30, Rule())[0, [199, 230, 260], 0].round(1).tolist()
    [0.0, 1.0, 1.1]
    """
    shape = errors.shape[1:]
    mean, count = _average(errors, shortest, np.full(shape, 1.0 - 1.0 / steps))
    mean = np.where(2.0 * count >= steps, np.abs(mean), np.nan)
    usual, _ = _average(mean, 0, np.full(shape, rule.discount))
    beyond: Floats = np.nan_to_num(np.maximum(mean - USUAL_DRIFTS * usual, 0.0))
    return beyond * (steps / shortest)


def _average(values: Floats, steps: int, keep: Floats) -> tuple[Floats, Floats]:
    """Mean of those known after so many rows and how many they are, each keeping what a row (N, S) says; (E, N, S)."""
    known = np.isfinite(values)
    count = _decay(_late(known.astype(np.float64), steps), keep)
    return _decay(_late(np.where(known, values, 0.0), steps), keep) / np.maximum(count, 1e-12), count


def mix(made: Floats, weights: Floats) -> Floats:
    """The average of forecasts (E, N, S) by their weights, shape (N, S); NaN where none answers."""
    answers = np.isfinite(made)
    total = np.zeros(made.shape[1:])
    # one after the other in a fixed order: a sum over an axis may round by its shape
    for one, weight, ok in zip(made, weights, answers, strict=True):
        total += weight * np.where(ok, one, 0.0)
    return np.where(answers.any(axis=0), total, np.nan)


def _decay(values: Floats, keep: Floats) -> Floats:
    """`remember` over the rows of candidates (E, N, S), each keeping what a row (N, S) says; in place."""
    return remember(values.swapaxes(0, 1), keep).swapaxes(0, 1)


def _late(values: Floats | Ints, steps: int) -> Floats:
    out = np.zeros(values.shape)
    out[:, steps:] = values[:, : max(0, values.shape[1] - steps)]
    return out
