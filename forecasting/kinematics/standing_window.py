"""Which failure window of a series stands: the newest one, an earlier one that contains the present, or none.

The movement job, a replay and `slopeward forecast failure-time` call `update_standing` for each issue, so that the
decision, the page and the command show the same window.
"""

from dataclasses import dataclass, replace
from typing import Final

from forecasting.kinematics.failure import FailureIssue
from forecasting.reasons import Reason, join_reasons

_EDGE_PASSED: Final = Reason("failure.edge_passed")
_GONE: Final = Reason("failure.gone")
_UNSEEN: Final = Reason("failure.unseen")


@dataclass(frozen=True, slots=True)
class FailureWindow:
    """A failure window; times in epoch seconds, velocity per day."""

    data_until_s: float  # newest reading that it was computed from
    from_s: float  # early edge
    mid_s: float  # middle estimate
    to_s: float  # late edge
    trusted: bool
    reasons: tuple[Reason, ...]  # why it is not trusted, or other remarks
    velocity: float | None
    onset_s: float | None  # since when the motion accelerates
    r2: float | None
    n_filters: int
    n_agree: int

    def contains(self, at_s: float) -> bool:
        """Return whether an instant lies between the edges."""
        return self.from_s <= at_s < self.to_s


@dataclass(frozen=True, slots=True)
class StandingUpdate:
    """What an issue changes."""

    standing: FailureWindow | None  # the window that stands now; the next update starts from it
    issued: FailureWindow | None  # the window to store and to show: the standing one as of the newest reading
    withdrawn: Reason | None  # why earlier windows do not stand any more; None if one is issued


def update_standing(standing: FailureWindow | None, issue: FailureIssue) -> StandingUpdate:
    """Return the window that stands after an issue.

    A window that contains the present is not withdrawn by an issue without a window, because the slope may fail at any
    moment. It is issued again, without trust, until a newer window replaces it or its late edge has passed. A window
    that was never trusted is withdrawn as soon as the motion has slowed down.

    Args:
        standing: The window that stood after the previous issue.
        issue: The issue of the newest reading.
    """
    window = _read_window(issue)
    if window is not None:
        return StandingUpdate(window, window, issue.withdrawn)
    now_s = issue.data_until_s
    if standing is not None and standing.contains(now_s) and (standing.trusted or not issue.slowed):
        return StandingUpdate(standing, _hold(standing, issue), None)
    if standing is not None and standing.to_s <= now_s:
        return StandingUpdate(None, None, _EDGE_PASSED)
    if issue.withdrawn is not None:
        return StandingUpdate(None, None, issue.withdrawn)
    return StandingUpdate(None, None, join_reasons(issue.reasons) if issue.reasons else _GONE)


def _read_window(issue: FailureIssue) -> FailureWindow | None:
    if issue.from_s is None or issue.mid_s is None or issue.to_s is None:
        return None
    return FailureWindow(
        issue.data_until_s,
        issue.from_s,
        issue.mid_s,
        issue.to_s,
        issue.trusted,
        issue.reasons,
        issue.velocity,
        issue.onset_s,
        issue.r2,
        issue.n_filters,
        issue.n_agree,
    )


def _hold(standing: FailureWindow, issue: FailureIssue) -> FailureWindow:
    """Return a window as of a later reading, with the reason why that reading does not support it.

    Without trust it holds a level that was reached, and raises none.
    """
    now_s = issue.data_until_s
    if issue.withdrawn is not None:
        reason = issue.withdrawn
    else:
        reason = join_reasons(issue.reasons) if issue.reasons else _UNSEEN
    return replace(
        standing,
        data_until_s=now_s,
        from_s=max(now_s, standing.from_s),
        mid_s=max(now_s, standing.mid_s),
        trusted=False,
        reasons=(*standing.reasons, Reason("failure.stands", {"text": reason})),
        velocity=issue.velocity,
    )
