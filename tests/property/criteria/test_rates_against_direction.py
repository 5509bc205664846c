"""A velocity against the declared direction is reported as such, not as a velocity with an uncertain sign."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.decision.criteria.dwell_texts import AGAINST, describe_dwell
from monitor.text.catalogue import LANGUAGES
from monitor.text.message import Figure
from monitor.text.rendering import translate

UNCERTAIN = {"dwell.unsure_newest", "dwell.unsure_last"}


@settings(max_examples=120, deadline=None)
@given(
    velocity=st.floats(-1e4, 1e4),
    bound=st.floats(0.01, 1e3),
    error=st.floats(0.0, 10.0),
    sign=st.sampled_from([1, -1]),
    readings=st.integers(1, 4),
    language=st.sampled_from([*LANGUAGES]),
)
def test_a_velocity_in_the_other_direction_is_not_uncertain(velocity, bound, error, sign, readings, language):
    """The message depends on whether a velocity is over its bound without certainty, within it, or reversed.

    `velocity` is positive in the direction that the bound limits, for bounds of either sign.
    """
    fact = {
        "hits": 0,
        "looked": readings,
        "needs": 3,
        "bound": sign * bound,
        "error": error,
        "margin": velocity - bound,
    }
    message = describe_dwell(fact, Figure(sign * bound, unit="mm/day"), "over" if sign > 0 else "under")
    if velocity > bound:
        assert message.id in UNCERTAIN
    elif velocity < -error and not math.isclose(velocity, -error, abs_tol=1e-9):
        assert message.id == AGAINST.id
    else:
        assert message.id in {"dwell.within", AGAINST.id}
    assert "mm/day" in translate(message, language)
