"""Lead time that a forecast gains over velocity at an equal number of false days, computed by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.alerts.replay.matrix import EventLabel, Span
from monitor.alerts.replay.scorecard import AS_DECLARED, FACTORS, Strength, find_gains
from monitor.sites.parsing import parse_site
from monitor.text.instants import epoch_s
from tests.data.site_text import criterion, head, series, station

DAY = 86400.0
START = datetime(2025, 6, 1, tzinfo=UTC)
S = epoch_s(START)
TEXT = head("slope", timezone="UTC", forecast={"horizons": ["1d"]})
TEXT += station("G1", series("displacement", "mm", "1d", max_silence="3d"))
TEXT += criterion("velocity", id="v", stations=["G1"], yellow={"over": 2.0, "window": "5d"}, dwell={"hits": 2, "of": 3})
TEXT += criterion("forecast", id="f", stations=["G1"], yellow={"over": 2.0, "window": "1d", "probability": 0.3})
SITE = parse_site(TEXT, "slope.toml")
EVENT = EventLabel(START + timedelta(days=50), START + timedelta(days=52), 1, 1)


def word(day: float, low: float, *, level: int = 0, error: float = 0.1) -> dict[str, object]:
    said = {"level": 1, "bound": 2.0, "rate": low + error, "error": error, "low": low}
    facts = {"newest_s": S + day * DAY, "facts": {"bounds": [said]}}
    return {"criterion": "v", "station": "G1", "heard": True, "raise_level": level, **facts}


def follow(lows: dict[float, float], raised: set[float] = frozenset()) -> Strength:  # type: ignore[assignment]
    strength = Strength()
    for day in range(60):
        strength.add(SITE, [word(day, lows.get(day, 0.0), level=int(day in raised))], S + day * DAY)
    strength.close(S + 60 * DAY)
    return strength


def test_strength_is_the_factor_that_enough_epochs_exceed() -> None:
    # 5 mm/day is 2.5 times the bound; one epoch alone is none, the second of three counts
    strength = follow({10: 5.0, 20: 5.0, 22: 3.0}, raised={22})
    (near,) = strength.warn(FACTORS.index(1.0))
    assert near == Span(S + 22 * DAY, S + 23 * DAY, 1)
    assert strength.warn(FACTORS.index(2.0)) == [], "two epochs of three were over 1.5 times the bound, none over twice"
    doubtful = Strength()
    for day in (1, 2, 3):
        doubtful.add(SITE, [word(day, 5.0, error=9.0)], S + day * DAY)
    doubtful.close(S + 4 * DAY)
    assert doubtful.warn(0) == [], "what is not real by its own error is over no bound"
    # skipped epochs: the evidence of a look holds the newest fit alone
    strength = follow({30: 5.0}, raised={30})
    assert [s.from_s for s in strength.warn(AS_DECLARED)] == [S + 30 * DAY]
    held = follow({30: 5.0, 31: 5.0})  # answered by a person
    assert held.warn(AS_DECLARED) == []
    assert held.warn(AS_DECLARED - 1) != []


def test_lead_is_compared_at_equal_false_days() -> None:
    # velocity warns on day 48 by its bound; with bounds times 0.7 on day 47, times 0.6 on day 44 and on days 5 and 6
    lows = {4: 1.2, 5: 1.2, 43: 1.2, 44: 1.2, 45: 1.4, 46: 1.6, 47: 4.0, 48: 4.0, 49: 5.0}
    strength = follow(lows, raised={48, 49})
    for false, gained in ((0, 4.0), (5, 1.0)):
        said = [Span(S + 43 * DAY, S + 50 * DAY, 1)]
        said += [Span(S + 20 * DAY, S + (20 + false) * DAY, 1)] if false else []
        (gain,) = find_gains(SITE, strength, {"f": said}, {"f": 1.0}, [EVENT], 8 * DAY)
        assert gain.false_days == (0, false)
        assert gain.gained_s == (pytest.approx(gained * DAY),)
        # more false days let velocity alone have lower bounds: it warns earlier by itself
        assert gain.factor == pytest.approx(1 / 16 if false else 0.5**0.5)
        assert gain.to_json()["events"][0]["gained_s"] == pytest.approx(gained * DAY)
    assert find_gains(SITE, strength, {}, {}, [], DAY) == (), "no event, nothing to gain"
