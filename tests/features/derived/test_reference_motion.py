"""A reference that moves with the stations measured against it: the level cannot show it, so people are asked."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import pytest

from monitor.alerts.queries.evaluations import find_state
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, EventFact, Memory, NewestEpoch
from monitor.readings.records import Reading
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.service_state import write_heartbeat
from monitor.storage.views import load_view
from monitor.text.instants import from_epoch_s
from tests.data.site_text import FOUR, criterion, head, series, station, table
from tests.data.store_rows import tell
from tests.features.derived.test_relative import HOW, ONE, START, Motion, replay, rise, write
from tests.web.served import serving

T0: Final = 1.8e9
HOUR: Final = 3600.0
MOVES: Final = "health:reference:REF1:moves"


def load_conditions(database: Database, site: str) -> Mapping[str, Mapping[str, object]]:
    with database.read() as c:
        row = find_state(c, site)
    assert row is not None
    conditions: Mapping[str, Mapping[str, object]] = row.state["conditions"]
    return conditions


@pytest.mark.parametrize(
    ("name", "motions", "rate_mm_per_day"),
    [
        ("steady", ("G1", "G2", "REF1"), 30.0),
        pytest.param("fast", ("G1", "G2", "REF1"), 240.0, marks=pytest.mark.soak),
        ("one-follows", ("G1", "REF1"), 60.0),
    ],
)
def test_reference_that_slides_with_its_stations_is_asked_about_within_one_window(
    database: Database, name: str, motions: tuple[str, ...], rate_mm_per_day: float
) -> None:
    site = parse_site(write(ONE, name=name), "b.toml")
    slide = rise(30, 0.0, rate_mm_per_day)
    moved: dict[str, Motion] = {one: slide if one in motions else lambda _: 0.0 for one in ("G1", "G2", "REF1")}
    replay(database, site, moved, 54, 0.5, 3)  # 24 hours after the slide begins
    condition = load_conditions(database, name)[MOVES]
    assert condition["level"] == 2
    with database.read() as c:
        status = next(iter(load_view(c, "site_status", site=name)))
        text = next(row["reason"] for row in load_view(c, "active_alerts", site=name) if row["key"] == MOVES)
    assert status["observability"] == "degraded"
    assert status["relative_to"] == "REF1"
    followers = "G1-rel" if name == "one-follows" else "G1-rel, G2-rel"
    assert f"the reference REF1 moves with the stations measured against it ({followers})" in text


@pytest.mark.soak
def test_page_says_that_the_level_is_relative(database: Database) -> None:
    site = parse_site(write(ONE, name="slide"), "b.toml")
    replay(database, site, dict.fromkeys(("G1", "G2", "REF1"), rise(30, 0.0, 60.0)), 54, 0.5, 3)
    now = START + 54 * timedelta(hours=1)
    tell(database, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, now)
    with serving(database, now) as client:
        page = client.get("/sites/slide").text
    assert "The level is relative to REF1" in page
    assert "the reference REF1 moves with the stations measured against it" in page


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "motions"),
    [
        pytest.param("still", {}, marks=pytest.mark.soak),
        ("swap", {"REF1": rise(40, 50.0)}),  # the antenna of the reference is replaced
        pytest.param("swap-down", {"REF1": rise(40, -80.0)}, marks=pytest.mark.soak),
        ("slope", {"G1": rise(40, 0.0, 60.0), "G2": rise(40, 0.0, 60.0)}),
    ],
)
def test_reference_at_rest_or_with_another_antenna_raises_no_question_about_its_motion(
    database: Database, name: str, motions: Mapping[str, Motion]
) -> None:
    site = parse_site(write(ONE, name=name), "b.toml")
    replay(database, site, {one: motions.get(one, lambda _: 0.0) for one in ("G1", "G2", "REF1")}, 54, 0.5, 7)
    assert MOVES not in load_conditions(database, name)


@pytest.mark.parametrize("is_declared", [False, True])
def test_common_jump_is_a_notice_unless_an_event_explains_it(is_declared: bool) -> None:
    site = parse_site(write(ONE), "b.toml")
    jump = {name: [50.0 * (hour >= 40) for hour in range(54)] for name in ("G1", "G2", "REF1")}
    events = (EventFact(T0 + 39.5 * HOUR, T0 + 40 * HOUR, T0 + 40 * HOUR, "earthquake", 5.1, "", "ops", 1, "mqtt"),)
    decision = evaluate(site, jump, events if is_declared else ())[-1]
    condition = decision.memory.conditions.get(MOVES)
    assert decision.level == 0
    if is_declared:
        assert condition is None
    else:
        assert condition is not None
        assert condition.level == 1
        assert "jumped by 50" in str(condition.reason)


def test_repeated_common_jumps_are_motion() -> None:
    site = parse_site(write(ONE), "b.toml")
    blocks = [sum(60.0 for start in (36, 42, 48) if hour >= start) for hour in range(54)]
    condition = evaluate(site, dict.fromkeys(("G1", "G2", "REF1"), blocks))[-1].memory.conditions[MOVES]
    assert condition.level == 2


@pytest.mark.soak
def test_condition_closes_when_the_reference_has_come_to_rest() -> None:
    site = parse_site(write(ONE), "b.toml")
    slide = [min(max(0, hour - 30), 30) * 60.0 / 24.0 for hour in range(160)]
    decisions = evaluate(site, dict.fromkeys(("G1", "G2", "REF1"), slide))
    is_open = [MOVES in decision.memory.conditions for decision in decisions]
    assert any(is_open[30:55])
    assert not is_open[-1]
    assert ["REF1" in decision.memory.incomplete for decision in decisions] == is_open


@pytest.mark.parametrize(
    ("quantity", "unit", "rule"),
    [
        (
            "crack_opening",
            "mm",
            criterion("rate", series="K1.crack_opening", yellow={"over": 6.0, "window": "1d"}, **HOW),
        ),
        ("crack_opening", "mm", criterion("level", series="K1.crack_opening", yellow={"over": 20.0}, **HOW)),
        ("tilt_x", "mrad", criterion("rate", series="K1.tilt_x", yellow={"over": 1.0, "window": "1d"}, **HOW)),
    ],
)
def test_other_quantities_and_kinds_judge_their_reference_too(quantity: str, unit: str, rule: str) -> None:
    stations = "".join(station(name, series(quantity, unit, max_silence="6h")) for name in ("K1", "K2"))
    text = head("bench", levels=FOUR) + stations + table("[[relative]]", to="K2", stations=["K1"]) + rule
    site = parse_site(text, "bench.toml")
    drift = [0.0 if hour < 30 else (hour - 30) * 1.0 for hour in range(60)]
    rng = random.Random(5)
    rows = {name: [value + rng.gauss(0.0, 0.02) for value in drift] for name in ("K1", "K2")}
    series_values = {f"{name}.{quantity}": values for name, values in rows.items()}
    series_values[f"K1-rel.{quantity}"] = [a - b for a, b in zip(rows["K1"], rows["K2"], strict=True)]
    decision = run(site, series_values)[-1]
    assert decision.level == 0
    assert decision.memory.conditions["health:reference:K2:moves"].level == 2


def evaluate(
    site: Site, east_mm: Mapping[str, list[float]], events: tuple[EventFact, ...] = (), sigma_mm: float = 0.3
) -> list[Decision]:
    """Evaluate every hour; the series of relative stations are the differences."""
    rng = random.Random(11)
    values: dict[str, list[float]] = {}
    for name, east in east_mm.items():
        for axis in ("east", "north", "up"):
            moved = east if axis == "east" else [0.0] * len(east)
            values[f"{name}.displacement_{axis}"] = [one + rng.gauss(0.0, sigma_mm) for one in moved]
    for name in ("G1", "G2"):
        for axis in ("east", "north", "up"):
            pairs = zip(values[f"{name}.displacement_{axis}"], values[f"REF1.displacement_{axis}"], strict=True)
            values[f"{name}-rel.displacement_{axis}"] = [own - reference for own, reference in pairs]
    return run(site, values, events)


def run(site: Site, values: Mapping[str, list[float]], events: tuple[EventFact, ...] = ()) -> list[Decision]:
    memory, decisions = Memory(), []
    for hour in range(len(next(iter(values.values())))):
        now_s = T0 + hour * HOUR + 60.0
        readings = {
            name: tuple(
                Reading(from_epoch_s(T0 + h * HOUR), from_epoch_s(T0 + h * HOUR + 30.0), 0, v, 0.0, v, None, ())
                for h, v in enumerate(column[: hour + 1])
            )
            for name, column in values.items()
        }
        newest = dict.fromkeys(values, NewestEpoch(T0 + hour * HOUR, T0 + hour * HOUR + 30.0))
        known = tuple(e for e in events if e.received_s <= now_s)
        decisions.append(
            decide(PreparedSite(site), memory, DecisionInputs(readings, newest, events=known), from_epoch_s(now_s))
        )
        memory = decisions[-1].memory
    return decisions
