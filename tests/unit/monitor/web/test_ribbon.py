"""The ribbon shows what is the case now, however short it has been so."""

from datetime import UTC, datetime, timedelta

from monitor.domain.instants import spell
from monitor.store.pages import SiteCard
from monitor.web.parts.ribbon import WIDTH, draw_ribbon, spell_sight

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


def test_a_site_that_catches_up_says_so_whatever_is_seen_of_it() -> None:
    for seen in ("full", "degraded", "blind"):
        cards = [SiteCard("s", "S", 46.0, 9.0, LEVELS, {"catching_up": late}, {"ok": 2}) for late in (True, False)]
        assert ["catching up: readings that waited" in spell_sight(card, seen) for card in cards] == [True, False]
        assert ("decide by other means" in spell_sight(cards[0], seen)) == (seen == "blind")
