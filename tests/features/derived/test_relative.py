"""Motion relative to a reference: the added stations, their values, and the levels that motion and jumps raise."""

import json
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import sqrt
from typing import Final

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.evaluations import find_state
from monitor.decision.common_mode import StationMotion, move_alike
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.features.derived.calculator import compute_pending
from monitor.features.derived.plans import plan_site
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.parents import Parent, list_children
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.sites.witnesses import find_groups
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from tests.data.site_text import FOUR, bounds, criterion, head, series, station, table
from tests.fixtures.soak import in_soak
from tests.tables import tabulated

START, HOUR = parse_time("2026-03-01T00:00:00Z"), timedelta(hours=1)
MOVED = series("displacement", "mm", max_silence="6h", noise_floor_mm=1.0, verify_step_mm=30.0)
FACTS = {"azimuth_deg": 90.0, "plunge_deg": 0.0}
HOW = {"dwell": {"hits": 2, "of": 3, "within": "6h"}, "valid_for": "12h", "author": "test", "reason": "test"}
SPEED = criterion("velocity", stations=["G*"], **bounds(yellow="6 1d", orange="24 12h", red="80 8h"), **HOW)
OTHERS = station("K1", series("tilt_x", "mrad"), series("crack_opening", "mm", "6h"))
ONE = table("[[relative]]", to="REF1", stations=["G*"])
HISTORY: Final = 28  # hours of readings that are stored together
Motion = Callable[[int], float]


def write(*more: str, name: str = "bench") -> str:
    placed = "".join(station(one, MOVED, **FACTS) for one in ("G1", "G2", "REF1"))
    fusion = table("[fusion]", top_needs=1, verify_within="2h")
    return head(name, levels=FOUR) + placed + OTHERS + SPEED + fusion + "".join(more)


def replay(db: Database, site: Site, motions: Mapping[str, Motion], hours: int, noise: float, seed: int) -> list[int]:
    """Return the level after each hour."""
    rng, levels, now = random.Random(seed), [], START
    pipeline = Pipeline(db, {site.id: site}, lambda: now)
    with db.write() as c:
        save_site(c, site, "Ada", "new", START)
    messages: list[BrokerMessage] = []
    for hour in range(hours):
        at = START + hour * HOUR
        for name, motion in motions.items():
            values = {f"displacement_{way}_mm": rng.gauss(0.0, noise) for way in ("east", "north", "up")}
            values["displacement_east_mm"] += motion(hour)
            stated = dict.fromkeys(values, noise)
            payload = json.dumps({"time": at.isoformat(), "sigma": stated, **values}).encode()
            messages.append(BrokerMessage(f"slopeward/v1/{site.id}/{name}/obs", payload, at, "live"))
        now = at + timedelta(seconds=30)
        if hour in range(HISTORY):
            levels.append(0)
            continue
        assert pipeline.store(messages).rejected == 0
        compute_pending(pipeline.database, pipeline.sites, pipeline._clock)
        messages = []
        levels.append(evaluate_site(db, site, now, "observation").decision.level)
    return levels


def read(db: Database, site: str, name: str) -> list[tuple[float, float, float | None]]:
    """Return hour, value and error of each reading of a series."""
    with db.read() as c:
        number = find_series_id(c, site, *name.split(".")) or 0
        rows = load_readings(c, number, None, START + 999 * HOUR, START + 999 * HOUR)
    return [((one.observed_at - START) / HOUR, one.value, one.sigma) for one in rows]


def test_criteria_judge_the_relative_station() -> None:
    rule = table(
        "[[fusion.rule]]",
        id="r",
        level="orange",
        when={"criterion": "velocity-1", "stations": ["G1"]},
        author="test",
        reason="test",
    )
    level = criterion("level", series="G2.displacement_up", yellow={"over": 9.0}, author="test", reason="test")
    site = parse_site(write(ONE, rule, level), "bench.toml")
    assert [one.stations for one in site.criteria[:2]] == [("G1-rel", "G2-rel"), ("G2-rel",)]
    assert [one.witnesses for one in [site.fusion.rules[0].when]] == [("G1-rel",)]
    assert {one.station for one in site.modelled_motion_series} == {"G1-rel", "G2-rel", "REF1", "K1"}
    by_id = {one.id: one for one in site.stations}
    assert (by_id["REF1"].on_slope, by_id["G1-rel"].reference, by_id["G1-rel"].azimuth_deg) == (False, "REF1", 90.0)
    groups = find_groups(site)
    assert groups["G1-rel"] == groups["G2-rel"] == groups["G1"] == groups["REF1"] != groups["K1"]
    assert PreparedSite(site).unjudged_series == ["K1.crack_opening", "K1.tilt_x"]
    hanging = {place[0] for place in list_children(site)[Parent("station", "REF1")]}
    assert hanging == {"REF1", "G1-rel", "G2-rel"}  # its silence is one notice


def test_several_references_and_other_quantities() -> None:
    tilts = "".join(station(name, series("tilt_x", "mrad"), series("tilt_y", "mrad")) for name in ("K2", "K3"))
    relative = table("[[relative]]", to=["K2", "K3"], stations=["K1"])
    derived = table("[[derived]]", station="K2", quantity="tilt", unit="mrad", expression="'K1-rel.tilt_x' * 2")
    site = parse_site(write(tilts, relative, derived), "bench.toml")
    assert [(plan.name, plan.calculation.expression) for plan in plan_site(site).each] == [
        ("K1-rel.tilt_x", "'K1.tilt_x' - mean('K2.tilt_x', 'K3.tilt_x')"),
        ("K2.tilt", "'K1-rel.tilt_x' * 2"),
    ]


@tabulated(
    ("facts", "why"),
    [
        ({"to": "REF9"}, "relative[0]: unknown station 'REF9'"),
        ({"stations": ["Q*"]}, "relative[0]: unknown station 'Q*'"),
        ({"stations": ["G1", "REF1"]}, "REF1 is a reference itself"),
        ({"to": "K1"}, "G1 and K1 have no series of displacement, tilt, crack or strain in common"),
        ({"within": "1h", "hold": "2h"}, "relative[0]: expected within or hold, not both"),
        ({"every": "10m"}, "relative[0].every: expected 1h to 6h (interval of its inputs, max_silence)"),
        ({"to": "S1"}, "G1.displacement every 1h, S1.displacement every 6h: expected within"),
        ({"size": 2}, "unknown key"),
    ],
)
def test_invalid_table_is_refused_with_its_place(facts: Mapping[str, object], why: str) -> None:
    slow = station("S1", series("displacement", "mm", "6h"))
    with pytest.raises(ConfigError) as caught:
        parse_site(write(slow, table("[[relative]]", **{"to": "REF1", "stations": ["G1"]} | facts)), "bench.toml")
    assert why in str(caught.value)


@tabulated(
    "more",
    [
        table("[[relative]]", to="G1", stations=["REF1"]),  # a cycle
        table("[[relative]]", to="K1", stations=["REF1"]),  # a reference of a reference
        ONE,
    ],
)
def test_reference_is_not_relative_and_a_station_is_relative_once(more: str) -> None:
    with pytest.raises(ConfigError, match=r"is a reference itself|exists already"):
        parse_site(write(ONE, more), "bench.toml")


@pytest.mark.parametrize("seed", [0, *in_soak(1, 2)])
def test_common_motion_changes_neither_values_nor_levels(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    shift, drift, at = rng.uniform(-80.0, 80.0), rng.uniform(-40.0, 40.0), rng.randrange(30, 48)
    speed = rng.choice((0.0, 20.0, 60.0))
    own = {"G1": lambda h: max(0, h - 36) * speed / 24.0, "G2": lambda _: 0.0, "REF1": lambda _: 0.0}

    def add(motion: Motion) -> Motion:
        return lambda h: motion(h) + drift * h / 24.0 + shift * (h >= at)

    moved = {"shaken": {k: add(m) for k, m in own.items()}, "quiet": own}
    shaken, quiet = (replay(database, parse_site(write(ONE, name=k), "b"), m, 56, 0.5, seed) for k, m in moved.items())
    assert shaken == quiet
    assert (max(shaken) > 0) == (speed > 0.0)
    for name in ("G1", "G2"):
        found = read(database, "shaken", f"{name}-rel.displacement_east")
        assert len(found) == 56
        assert {round(sigma or 0.0, 9) for _, _, sigma in found} == {round(0.5 * sqrt(2.0), 9)}
        assert sum(abs(value - own[name](int(hour))) > 3.0 * (sigma or 0.0) for hour, value, sigma in found) <= 3


def rise(at: int, size: float, per_day: float = 0.0) -> Motion:
    return lambda h: (size + (h - at) * per_day / 24.0) * (h >= at)


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize(
    ("name", "motions", "raised"),
    [
        pytest.param("quake", {"G1": (40, 50.0), "G2": (40, 50.0), "REF1": (40, 50.0)}, None, marks=pytest.mark.soak),
        ("swap", {"REF1": (40, 50.0)}, None),  # the antenna of the reference was replaced
        pytest.param("swap-back", {"REF1": (40, -50.0)}, None, marks=pytest.mark.soak),
        pytest.param("both", {"REF1": (40, 50.0), "G1": (41, 0.0, 60.0)}, 51, marks=pytest.mark.soak),
        (
            "failure",
            {"G1": (40, 50.0), "G2": (40, 50.0, 60.0), "REF1": (40, 50.0)},
            50,
        ),  # an earthquake starts a failure
        (
            "slope",
            {"G1": (40, 0.0, 60.0), "G2": (40, 0.0, 60.0)},
            50,
        ),  # all stations move, and the reference does not
        ("jump", {"G1": (40, 50.0)}, 43),  # no answer states that the instrument jumped
    ],
)
def test_motion_of_the_slope_raises_the_level_in_time_and_motion_of_the_reference_does_not(
    database: Database, name: str, motions: Mapping[str, tuple[float, ...]], raised: int | None
) -> None:
    site = parse_site(write(ONE, name=name), "b.toml")
    moved = {one: rise(*motions.get(one, (0, 0.0))) for one in ("G1", "G2", "REF1")}
    levels = replay(database, site, moved, 54, 0.5, 7)
    first = next((hour for hour, level in enumerate(levels) if level), None)
    assert first is None if raised is None else first is not None and 40 <= first <= raised, (name, first)
    with database.read() as c:
        asked = set(find_state(c, name).state["conditions"])
    is_swap = name in {"swap", "swap-back", "both"}
    assert ({"health:G1-rel:verify", "health:G2-rel:verify"} <= asked) == is_swap


def test_late_reference_is_subtracted_when_it_arrives(database: Database) -> None:
    site = parse_site(write(ONE), "bench.toml")
    replay(database, site, {"G1": lambda _: 7.0}, 30, 0.0, 1)
    assert read(database, "bench", "G1-rel.displacement_east") == []
    replay(database, site, {"REF1": lambda _: 2.0}, 30, 0.0, 1)
    assert [value for _, value, _ in read(database, "bench", "G1-rel.displacement_east")] == [5.0] * 30


def test_reference_at_rest_shows_that_a_common_motion_is_real() -> None:
    rovers = [StationMotion(name, (20.0, 0.0), 0.5, is_moving=True) for name in ("G1-rel", "G2-rel")]
    found = []
    for vector, moving in (((0.1, 0.0), False), ((8.0, 0.0), False), ((-8.0, 0.0), False), ((20.0, 0.0), True)):
        subtracted = [StationMotion("REF1", vector, 0.5, is_moving=moving)]
        found.append(move_alike(rovers, [], others_move=False, subtracted=subtracted))
    assert (found, move_alike(rovers, [], others_move=False)) == ([False, True, False, True], True)


@pytest.mark.soak
@tabulated("references", [("REF1",), ("REF1", "REF2")])
def test_silent_reference_is_the_only_notice(database: Database, references: tuple[str, ...]) -> None:
    relative = table("[[relative]]", to=[*references], stations=["G*"])
    other = station("REF2", MOVED, **FACTS) if "REF2" in references else ""
    site = parse_site(write(other, relative), "bench.toml")
    motions = dict.fromkeys(("G1", "G2", *references), lambda _: 0.0)
    replay(database, site, motions, 36, 0.5, 1)
    del motions["REF1"]
    assert set(replay(database, site, motions, 50, 0.5, 1)) == {0}
    assert len(read(database, "bench", "G1-rel.displacement_east")) == 36  # the mean of fewer references would jump
    with database.read() as c:
        conditions = find_state(c, "bench").state["conditions"]
        text = next(row["reason"] for row in load_view(c, "active_alerts") if row["key"].endswith("REF1:stale"))
    assert {one for one in conditions if ":K1." not in one} == {"health:site:reachable", "health:station:REF1:stale"}
    assert "station REF1 is silent, and so is everything that depends on it: G1-rel.displacement, G2-rel.disp" in text
