"""Calculated series: declaration, computation when readings arrive, and recomputation when inputs change."""

import json
import math
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.alerts.acts.loosening import find_loosening
from monitor.alerts.acts.site_diff import find_differences
from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.offsets import add_offset
from monitor.decision.prepared_site import PreparedSite
from monitor.errors import ConfigError
from monitor.features.derived import pending
from monitor.features.derived import values as computed_values
from monitor.features.derived.calculator import compute_pending
from monitor.features.derived.checks import CHECKS, AgreementStatus, read_agreement
from monitor.features.derived.redefined import run
from monitor.features.derived.values import MADE_FROM
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.corrections import load_unsigned
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Site
from monitor.sites.witnesses import find_groups
from monitor.storage.actor import Actor
from monitor.storage.check import CheckFinding
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from tests.data import site_text
from tests.fixtures.databases import ON_BOTH
from tests.tables import tabulated

NOW = datetime(2026, 3, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
BASE = "".join(
    (
        site_text.head("bench", levels=site_text.THREE),
        *(
            site_text.station(
                name, site_text.series("displacement", "mm", noise_floor=0.1), azimuth_deg=90.0, plunge_deg=0
            )
            for name in ("G1", "G2")
        ),
        site_text.station("P1", site_text.series("pore_pressure", "kPa")),
        site_text.station("B1", site_text.series("air_pressure", "hPa", "6h")),
        site_text.station("D1", latitude=46.0, longitude=8.0),
    )
)
DISTANCE = {
    "station": "D1",
    "quantity": "crack_opening",
    "unit": "mm",
    "expression": "G1.displacement_east - G2.displacement_east",
}


def write(*derived: Mapping[str, object]) -> str:
    criterion = site_text.criterion("level", series="D1.crack_opening", yellow={"over": 5.0}, red={"over": 50.0})
    has_crack = any(one["quantity"] == "crack_opening" for one in derived)
    return BASE + "".join(site_text.table("[[derived]]", **one) for one in derived) + criterion * has_crack


def find_disagreements(status: AgreementStatus) -> list[CheckFinding]:
    return [finding for check in CHECKS if check.fact_type is AgreementStatus for finding in check.run(status)]


class Bench:
    """A site with its pipeline, which stores readings and computes the calculated series at once."""

    def __init__(self, db: Database, *derived: Mapping[str, object]) -> None:
        self.db, self.now = db, NOW
        self.declare(*derived)

    def declare(self, *derived: Mapping[str, object]) -> None:
        self.site: Site = parse_site(write(*derived), "bench.toml")
        with self.db.write() as c:
            save_site(c, self.site, "Ada", "new", self.now)
        self.pipeline = Pipeline(self.db, {"bench": self.site}, lambda: self.now)

    def send(self, station: str, hours: float, **values: object) -> None:
        self.send_together([(station, hours, values)])

    def send_together(
        self, readings: Iterable[tuple[str, float, Mapping[str, object]]], *, compute: bool = True
    ) -> None:
        self.now += timedelta(seconds=1)
        messages = []
        for station, hours, values in readings:
            payload = json.dumps({"time": (NOW + hours * HOUR).isoformat(), **values}).encode()
            messages.append(BrokerMessage(f"slopeward/v1/bench/{station}/obs", payload, self.now, "live"))
        assert self.pipeline.store(messages).rejected == 0
        if compute:
            self.compute()

    def compute(self) -> None:
        compute_pending(self.db, {"bench": self.site}, lambda: self.now)

    def renew(self) -> str:
        """Compute the past of series that were redefined, and return the line of the job."""
        line = run(self.db, None, self.site, self.now)
        self.compute()
        return line

    def read(self, name: str = "D1.crack_opening") -> dict[float, float]:
        """Return the values by hours, as if two people had signed every correction."""
        with self.db.read() as c:
            number = find_series_id(c, "bench", *name.split("."))
            end = NOW + 999 * HOUR
            rows = [] if number is None else load_readings(c, number, None, end, end, with_unsigned=True)
        self.rows = rows
        return {(one.observed_at - NOW) / HOUR: round(one.value, 9) for one in rows}


@ON_BOTH
def test_value_is_computed_with_flags_and_the_instants_of_its_inputs(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    bench.send("G1", 0, displacement_east_mm=12.0)
    assert bench.read() == {}
    bench.send("G2", 0.2, displacement_east_mm=2.0)
    assert bench.read() == {0.0: 10.0}
    assert json.loads(bench.rows[0].extra or "")[MADE_FROM] == {"G2.displacement_east": "2026-03-10T00:12:00.000000Z"}
    assert bench.rows[0].received_at == bench.now
    bench.send("G2", -0.1, displacement_east_mm=4.0)  # late, and nearer
    assert bench.read() == {0.0: 8.0}
    bench.send("G1", 1, displacement_east_mm=5e6)
    bench.send("G2", 1, displacement_east_mm=0.0)
    bench.read()
    assert "out_of_range" in bench.rows[-1].flags


def test_values_have_no_rounding_errors(database: Database) -> None:
    bench, values = Bench(database, DISTANCE), [15.7, 31.4, 42.0, -31.4, 0.1]
    for k, value in enumerate(values):
        bench.send("G2", k, displacement_east_mm=0.0)
        bench.send("G1", k, displacement_east_mm=value)
    bench.read()
    assert [one.value_raw for one in bench.rows] == values


def test_value_follows_corrections_of_its_input(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    for value, more in ((5.0, {}), (6.0, {}), (5.0, {"solution": "corrected"}), (6.0, {"solution": "corrected"})):
        bench.send("G1", 0, displacement_east_mm=value, **more)
        bench.send("G2", 0, displacement_east_mm=0.0)
        assert bench.read() == {0.0: value}


@ON_BOTH
def test_calculated_series_is_one_witness_with_its_inputs(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    groups = find_groups(bench.site)
    assert groups["D1"] == groups["G1"] == groups["G2"] != groups["P1"]
    assert PreparedSite(bench.site).unjudged_series == []  # the criterion judges G1 and G2 through D1
    for hours in range(-12, 1):
        for name, value in (("G1", 9.0), ("G2", 1.0)):
            bench.send(name, hours, displacement_east_mm=value)
    assert evaluate_site(bench.db, bench.site, bench.now, "tick").decision.level == 1


@pytest.mark.soak
def test_values_do_not_depend_on_the_order_and_grouping_of_messages(database: Database) -> None:
    derived = [
        DISTANCE,
        {
            "station": "P1",
            "quantity": "water_level",
            "unit": "m",
            "hold": "9h",
            "expression": "(P1.pore_pressure - (B1.air_pressure - '1000 hPa')) / '10 kPa/m'",
        },
        {
            "station": "D1",
            "quantity": "displacement",
            "unit": "mm",
            "expression": "D1.crack_opening - lag(D1.crack_opening, '3h')",
        },
    ]
    rng = random.Random(5)
    readings = [
        (name, h, {key: round(rng.gauss(middle, 1.0), 3)})
        for h in range(24)
        for name, key, middle in (
            ("G1", "displacement_east_mm", 0),
            ("G2", "displacement_east_mm", 0),
            ("P1", "pore_pressure_kpa", 30),
        )
    ]
    readings += [("B1", h, {"air_pressure_hpa": 1000.0 + h}) for h in range(0, 24, 6)]
    names = ("D1.crack_opening", "P1.water_level", "D1.displacement")
    results = []
    for turn in range(4):
        with database.write() as c:
            for table in ("observation", "series_latest", "series"):
                c.exec_driver_sql(f"DELETE FROM {table}")
        bench = Bench(database, *derived)
        if turn % 2:
            rng.shuffle(readings)
        for first in range(0, len(readings), 1 if turn < 2 else 3):  # three readings are one hour
            bench.send_together(readings[first : first + (1 if turn < 2 else 3)])
        if turn == 1:
            readings.sort(key=lambda reading: reading[1])
        results.append([bench.read(name) for name in names])
    assert results[0] == results[1] == results[2] == results[3]
    assert len(results[0][0]) == len(results[0][1]) == 24
    assert len(results[0][2]) == 21


@pytest.mark.soak
@ON_BOTH
def test_past_is_computed_for_a_new_series_and_after_an_offset(database: Database) -> None:
    bench = Bench(database)
    for hours in range(48):
        for name, value in (("G1", 9.0), ("G2", 1.0)):
            bench.send(name, hours, displacement_east_mm=value)
    bench.now = NOW + 48 * HOUR
    bench.declare(DISTANCE)
    assert bench.renew() == "the past of 1 calculated series is computed again"
    assert (set(bench.read().values()), bench.renew()) == ({8.0}, "nothing is due")
    with database.write() as c:
        number = find_series_id(c, "bench", "G1", "displacement_east") or 0
        offset = {
            "size": 4.0,
            "unit": "mm",
            "kind": "antenna",
            "author": Actor("Ada", "person"),
            "reason": "a new antenna",
        }
        add_offset(c, number, at=NOW + 24 * HOUR, known_from=bench.now, now=bench.now, **offset)
    bench.now += HOUR
    assert (bench.renew(), bench.read()[23.0]) == ("the past of 1 calculated series is computed again", 8.0)
    assert bench.read()[24.0] == 4.0
    bench.declare(DISTANCE | {"expression": "G2.displacement_east - G1.displacement_east"})
    bench.renew()
    bench.declare(DISTANCE)
    bench.renew()
    bench.declare(DISTANCE | {"expression": "G2.displacement_east - G1.displacement_east"})
    bench.renew()
    assert bench.read()[0.0] == -8.0


@tabulated(
    ("derived", "why"),
    [
        ([DISTANCE | {"station": "Q1"}], "derived[0].station: 'Q1' is no [[station]]"),
        (
            [DISTANCE | {"expression": "G1.displacement_east - G9.displacement_east"}],
            "derived[0].expression: 'G9.displacement_east' is no series",
        ),
        ([DISTANCE | {"expression": "P1.pore_pressure * 2"}], "the result has the unit Pa, but crack_opening needs m"),
        ([DISTANCE | {"expression": "G1.displacement_east + 2 * D1.crack_opening"}], "cannot depend on itself"),
        (
            [
                DISTANCE | {"expression": "D1.displacement"},
                DISTANCE | {"quantity": "displacement", "expression": "D1.crack_opening"},
            ],
            "derived: D1.",
        ),
        ([DISTANCE, DISTANCE], "declared twice"),
        ([DISTANCE | {"station": "G1", "quantity": "displacement"}], "declared twice"),
        ([DISTANCE | {"within": "1h", "hold": "2h"}], "expected within or hold, not both"),
        ([DISTANCE | {"at": "P1.pore_pressure"}], "derived[0].at: expected a series of the expression"),
        (
            [
                {
                    "station": "P1",
                    "quantity": "water_level",
                    "unit": "m",
                    "expression": "(P1.pore_pressure - B1.air_pressure) / '10 kPa/m'",
                }
            ],
            "P1.pore_pressure every 1h, B1.air_pressure every 6h: expected within",
        ),
        (
            [DISTANCE | {"expression": "rate(G1.displacement_east, '90d') * '1 day'"}],
            "each value is computed from 2160 readings",
        ),
        ([DISTANCE | {"expresion": "1"}], "unknown key"),
        ([DISTANCE | {"every": "30m"}], "derived[0].every: expected 1h (interval of its inputs"),
        ([DISTANCE | {"every": "5h", "max_silence": "4h"}], "derived[0].every: expected 1h to 4h"),
        ([DISTANCE | {"expression": "G-1.displacement_east"}], "an id with a hyphen must be in quotes"),
        ([DISTANCE | {"expression": "G-A.displacement_east"}], "'G': expected numbers, series"),
        ([DISTANCE | {"unit": "kPa"}], "derived[0].unit: unit 'kPa' cannot be converted to 'mm'"),
    ],
)
def test_invalid_declaration_is_refused_with_its_place(derived: Iterable[Mapping[str, object]], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_site(write(*derived), "bench.toml")
    assert why in str(caught.value)


def test_gap_is_computed_when_a_series_is_declared_again(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    for hours, derived in ((-3, [DISTANCE]), (-2, []), (-1, [DISTANCE])):
        bench.declare(*derived)
        for name, value in (("G1", 9.0), ("G2", 1.0)):
            bench.send(name, hours, displacement_east_mm=value)
        bench.renew()
    assert bench.read() == dict.fromkeys((-3.0, -2.0, -1.0), 8.0)


@tabulated(
    "expression",
    [
        "G2.displacement_east-G1.displacement_east",
        """'G1.displacement_east' - max("G1.displacement_up", 'G2.displacement_up')""",
        "rate(G1.displacement_up, '1d') * '1 day'",
    ],
)
def test_renamed_station_in_an_expression_is_no_loosening(expression: str) -> None:
    old, new = (write(DISTANCE | {"expression": one}) for one in (expression, expression.replace("G1.", "H1.")))
    new = new.replace('id = "G1"', 'id = "H1"\nwas = ["G1"]')
    assert find_loosening(parse_site(old, "bench.toml"), parse_site(new, "bench.toml")) == ()


def test_only_a_correction_of_an_input_needs_signatures(database: Database) -> None:
    held = "(P1.pore_pressure - B1.air_pressure) / '9.81 kPa/m'"
    levels = [
        {"station": "P1", "quantity": "water_level", "unit": "m", "expression": held, "hold": "9h"},
        {"station": "D1", "quantity": "water_level", "unit": "m", "expression": "P1.water_level + '1 m'"},
    ]
    bench = Bench(database, *levels)

    def list_unsigned() -> list[bool]:
        with database.read() as c:
            ids = [find_series_id(c, bench.site.id, name, "water_level") for name in ("P1", "D1")]
            since = {number: NOW - timedelta(days=9) for number in ids if number}
            unsigned = load_unsigned(c, since, NOW + 999 * HOUR, NOW + 999 * HOUR)
        return [number in unsigned for number in ids]

    bench.send("B1", -6, air_pressure_hpa=1000.0)
    bench.send("P1", 0, pore_pressure_kpa=150.0)
    bench.send("B1", 0, air_pressure_hpa=1020.0)
    assert (bench.read("D1.water_level"), bench.rows[0].revision) == ({0.0: pytest.approx(48.0 / 9.81 + 1.0)}, 1)
    assert list_unsigned() == [False, False]
    bench.send("P1", 0, pore_pressure_kpa=140.0, solution="corrected")
    assert list_unsigned() == [True, True]
    bench.declare(levels[0], levels[1] | {"expression": "P1.water_level"})
    bench.renew()
    bench.declare(*levels)
    bench.renew()
    assert list_unsigned()[1]


def test_received_value_of_a_calculated_series_is_rejected(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    for name, value in (("G1", 5.0), ("G2", 1.0)):
        bench.send(name, 0, displacement_east_mm=value)
    payload = json.dumps({"time": NOW.isoformat(), "temperature_degc": 5.0, "crack_opening_mm": 99.0}).encode()
    for client in ("live", "replay"):
        message = BrokerMessage("slopeward/v1/bench/D1/obs", payload, bench.now, client)
        assert bench.pipeline.store([message]).rejected == 1
    assert (bench.read("D1.temperature"), bench.read()) == ({0.0: 5.0}, {0.0: 4.0})
    with database.read() as c:
        [reason, *_] = [row["reason"] for row in load_view(c, "rejected_messages")]
    assert reason.startswith("D1 crack opening is calculated by the site file")


def test_file_is_imported_without_its_rows_of_a_calculated_series(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, DISTANCE)
    rows = [f"G{k},displacement_east,2026-03-09T0{h}:00:00Z,{9 * k},mm" for k in (1, 2) for h in range(9)]
    rows += [f"D1,crack_opening,2026-03-09T0{h}:00:00Z,77,mm" for h in range(9)]
    path = tmp_path / "export.csv"
    path.write_text("station,quantity,time,value,unit\n" + "\n".join(rows))
    result = FileImport(path, bench.pipeline, bench.site, lambda: NOW, by="Ada").run()
    assert (result.stored, result.rejected, result.reasons) == (18, 9, {"unknown_quantity": 9})
    assert result.first_reason.endswith("a station of its own")
    assert bench.read() == dict.fromkeys([h - 24.0 for h in range(9)], -9.0)
    with database.read() as c:
        [waiting] = load_view(c, "rejected_messages")
    assert (waiting["code"], waiting["reason"].count("9 rows")) == ("unknown_quantity", 1)


def test_differences_name_each_series_of_the_same_quantity() -> None:
    tables = [DISTANCE | {"station": name, "quantity": "tilt_x", "unit": "mrad"} for name in ("P1", "B1")]
    old, new = (write(*(one | {"expression": f"G1.displacement_up / '{m} m'"} for one in tables)) for m in (1, 2))
    keys = [one.key for one in find_differences(old, new)]
    assert keys == ["derived[P1.tilt_x].expression", "derived[B1.tilt_x].expression"]


def test_values_without_stored_inputs_survive_an_offset_but_no_new_expression(database: Database) -> None:
    bench = Bench(database, DISTANCE)
    for hours in range(-9, 0):
        for name, value in (("G1", 9.0), ("G2", 1.0)):
            bench.send(name, hours, displacement_east_mm=value)
    bench.renew()
    with database.write() as c:
        number = find_series_id(c, "bench", "G1", "displacement_east") or 0
        limit = (NOW - 5 * HOUR).isoformat()[:19]
        c.exec_driver_sql(f"DELETE FROM observation WHERE series_id = {number} AND observed_at < '{limit}'")
        author = Actor("Ada", "person")
        facts = {"size": 4.0, "unit": "mm", "kind": "antenna", "author": author, "reason": "a new antenna"}
        add_offset(c, number, at=NOW - 3 * HOUR, known_from=bench.now, now=bench.now, **facts)
    bench.now += HOUR
    bench.renew()
    assert [bench.read()[float(h)] for h in (-9, -4, -2)] == [8.0, 8.0, 4.0]
    assert not any(one.flags for one in bench.rows)
    bench.declare(DISTANCE | {"expression": "2 * (G1.displacement_east - G2.displacement_east)"})
    bench.renew()
    bench.read()
    assert [one.flags for one in bench.rows] == [("bad",)] * 4 + [()] * 5


def test_disagreeing_inputs_are_an_alarm(database: Database) -> None:
    mean = "mean(G1.displacement_east, G2.displacement_east)"
    bench = Bench(database, DISTANCE | {"expression": mean, "unit": "cm", "agree_within": 0.2})
    for hours, other, is_wrong in ((-3, 1.5, False), (-2, 3.5, True), (-1, -3.0, True), (0, 1.0, False)):
        bench.send("G1", hours, displacement_east_mm=1.0)
        bench.send("G2", hours, displacement_east_mm=other)
        status = read_agreement(database, {"bench": bench.site}, NOW + hours * HOUR)
        [finding] = find_disagreements(status)
        assert (finding.is_wrong, finding.key) == (is_wrong, "derived:bench:D1.crack_opening:disagree")
        assert ("differ by 4 mm, more than 2 mm" in finding.text) == (hours == -1)
    old = read_agreement(database, {"bench": bench.site}, NOW + 30 * HOUR)
    assert find_disagreements(old) == []  # silent inputs have an alarm of their own
    with pytest.raises(ConfigError, match="agree_within: expected series of one unit"):
        parse_site(
            write(DISTANCE | {"expression": "G1.displacement_east / P1.pore_pressure * '1 kPa'", "agree_within": 1.0}),
            "b",
        )


def test_fault_of_one_calculation_does_not_stop_others(database, monkeypatch):
    bench = Bench(database)
    bench.send("G1", 0, displacement_east_mm=9.0)
    bench.send("G2", 0, displacement_east_mm=1.0)
    compute_values = computed_values.compute_values

    def fail_for_displacement(site_id, plan, *given):
        if plan.name == "D1.displacement":
            raise RuntimeError("a bug")
        return compute_values(site_id, plan, *given)

    monkeypatch.setattr(computed_values, "compute_values", fail_for_displacement)
    bench.declare({**DISTANCE, "quantity": "displacement"}, DISTANCE)
    bench.renew()
    assert (bench.read(), bench.read("D1.displacement")) == ({0.0: 8.0}, {})


def test_fault_while_scheduling_does_not_stop_ingestion(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    bench = Bench(database, DISTANCE)
    monkeypatch.setattr(pending, "plan_site", fail)
    bench.send("G1", 0, displacement_east_mm=12.0)
    bench.send("G2", 0, displacement_east_mm=2.0)
    assert (bench.read(), bench.read("G1.displacement_east")) == ({}, {0.0: 12.0})


def test_division_by_zero_gives_no_value(database: Database) -> None:
    bench = Bench(database, DISTANCE | {"expression": "'1 mm2' / (G1.displacement_east - G2.displacement_east)"})
    for hours, other in ((0, 1.0), (1, 3.0)):
        bench.send("G1", hours, displacement_east_mm=1.0)
        bench.send("G2", hours, displacement_east_mm=other)
    assert bench.read() == {1.0: -0.5}
    assert math.isfinite(bench.rows[0].value)


def test_value_that_can_no_longer_be_computed_is_flagged_until_it_can(database: Database) -> None:
    inverse = DISTANCE | {"expression": "'1 mm2' / (G1.displacement_east - G2.displacement_east)"}
    bench = Bench(database, inverse)
    bench.send("G1", 0, displacement_east_mm=3.0)
    for other, flags in ((1.0, ()), (3.0, ("bad",)), (2.0, ())):
        bench.send("G2", 0, displacement_east_mm=other, solution="corrected")
        bench.read()
        assert bench.rows[0].flags == flags
    for hours in range(-5, 0):
        bench.send("G1", hours, displacement_east_mm=3.0)
        bench.send("G2", hours - 0.2, displacement_east_mm=1.0)
    bench.declare(inverse | {"expression": "G1.displacement_east - '1 mm/kPa' * P1.pore_pressure"})
    bench.send("P1", -1, pore_pressure_kpa=2.0)
    bench.renew()
    assert (bench.read()[-1.0], [one.flags for one in bench.rows]) == (1.0, [("bad",)] * 4 + [(), ("bad",)])
    bench.declare(DISTANCE | {"at": "G2.displacement_east"})
    bench.renew()
    bench.read()
    assert [(one.observed_at - NOW) / HOUR for one in bench.rows if not one.flags] == [
        -5.2,
        -4.2,
        -3.2,
        -2.2,
        -1.2,
        0.0,
    ]


def test_series_that_reads_a_redefined_series_is_computed_again(database: Database) -> None:
    twice = {"station": "P1", "quantity": "displacement", "unit": "mm", "expression": "2 * D1.crack_opening"}
    bench = Bench(database, DISTANCE, twice)
    for name, value in (("G1", 9.0), ("G2", 1.0)):
        bench.send(name, 0, displacement_east_mm=value)
    bench.declare(DISTANCE | {"expression": "3 * G1.displacement_east"}, twice)
    bench.renew()
    assert bench.read("P1.displacement") == {0.0: 54.0}


def test_changed_unit_of_a_calculated_series_does_not_stop_ingestion(database: Database) -> None:
    bench = Bench(database)
    for hours, unit in enumerate(("kN", "tf")):
        quantity = site_text.table("[[quantity]]", name="load", unit=unit, low=0, high=1e6)
        load = {"station": "D1", "quantity": "load", "unit": unit, "expression": f"P1.pore_pressure * '0.5 {unit}/kPa'"}
        bench.site = parse_site(write(load) + quantity, "bench.toml")
        bench.pipeline = Pipeline(database, {"bench": bench.site}, lambda: bench.now)
        bench.send("P1", hours, pore_pressure_kpa=100.0)
    assert (bench.read("P1.pore_pressure"), bench.read("D1.load")) == ({0.0: 100.0, 1.0: 100.0}, {0.0: 50.0})
