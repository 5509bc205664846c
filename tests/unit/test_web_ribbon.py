"""The ribbon shows what is the case now, however short it has been so."""

from datetime import UTC, datetime, timedelta

from monitor.domain.instants import spell
from monitor.web.ribbon import WIDTH, draw_ribbon

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LEVELS = [{"number": 0, "name": "green"}, {"number": 3, "name": "red"}]


def segment(level: int, minutes_from: float, minutes_to: float) -> dict[str, object]:
    ends = (spell(NOW - timedelta(minutes=m)) for m in (minutes_from, minutes_to))
    return {"level": level, "observability": "full", **dict(zip(("from_at", "to_at"), ends, strict=True))}


def test_a_level_of_five_minutes_is_inside_the_picture_and_on_top() -> None:
    ribbon = draw_ribbon([segment(0, 40_000, 5), segment(3, 5, 0)], LEVELS, NOW - timedelta(days=30), NOW)
    assert ribbon is not None
    newest = ribbon["blocks"][-1]
    assert newest["level"] == 3
    assert newest["width"] >= 3.0
    assert newest["x"] + newest["width"] <= WIDTH
    assert ribbon["blocks"][0]["width"] > 900.0


def test_the_key_names_the_levels_that_occur_in_order_and_what_was_not_evaluated() -> None:
    rows = [segment(3, 2000, 1500), segment(0, 1500, 500), segment(3, 500, 0)]
    ribbon = draw_ribbon(rows, LEVELS, NOW - timedelta(minutes=10_000), NOW)
    assert ribbon is not None
    assert [k["name"] for k in ribbon["keys"]] == ["green", "red"]
    assert ribbon["since"] == 0.8 * WIDTH


def test_no_evaluation_is_no_ribbon() -> None:
    assert draw_ribbon([], LEVELS, NOW - timedelta(days=30), NOW) is None
