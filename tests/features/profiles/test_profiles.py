"""Depth profiles of a site: declared, computed after readings are stored, read by SQL and on the page."""

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.offsets import add_offset
from monitor.app.checks.table import run_alarm_checks
from monitor.errors import ConfigError
from monitor.features.profiles.checks import read_profiles
from monitor.features.profiles.declare import list_profiles
from monitor.features.profiles.redefined import run
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.witnesses import find_groups
from monitor.storage.actor import Actor
from monitor.storage.engine import Database
from monitor.storage.service_state import IDLE, write_heartbeat
from monitor.storage.views import load_view
from tests.data import site_text
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH
from tests.tables import tabulated
from tests.web.served import serving

NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = timedelta(days=1)
PROBE = {"station": "I1", "kind": "probe", "unit": "mm", "first_m": 0.5, "last_m": 10.0, "axes": 1, "interval": "7d"}


def write(*profiles, criterion=""):
    parts = [site_text.head("bench", levels=site_text.THREE)]
    parts += [site_text.station(name, latitude=46.0, longitude=8.0) for name in ("I1", "I2")]
    return "".join(parts) + "".join(site_text.table("[[profile]]", **one) for one in profiles) + criterion


class Bench:
    """A site with its pipeline, and what it reads."""

    def __init__(self, db: Database, *profiles, criterion="") -> None:
        self.db, self.now = db, NOW
        self.criterion = criterion
        self.declare(*profiles)

    def declare(self, *profiles) -> None:
        self.site = parse_site(write(*profiles, criterion=self.criterion), "bench.toml")
        tell(self.db, save_site, self.site, "Ada", "new", self.now)
        self.pipeline = Pipeline(self.db, {"bench": self.site}, lambda: self.now)

    def send(self, day: float, station: str = "I1", unit: str = "mm", *, compute: bool = True, **values: float) -> None:
        self.now = max(self.now + timedelta(seconds=1), NOW + day * DAY)
        names = {f"{name}_{unit}": value for name, value in values.items()}
        payload = json.dumps({"time": (NOW + day * DAY).isoformat(), **names}).encode()
        result = self.pipeline.store([BrokerMessage(f"slopeward/v1/bench/{station}/obs", payload, self.now, "live")])
        assert result.rejected == 0, result
        if compute:
            self.compute()

    def compute(self) -> None:
        """Compute everything that waits, as an import without a running service does."""
        self.pipeline.complete()

    def renew(self) -> str:
        """Notice what was defined again, compute it, and return what the job reports."""
        report = run(self.db, None, self.site, self.now)
        self.compute()
        return report

    def read(self, name, **more):
        return ask(self.db, load_view, name, site="bench", order_by=("observed_at",), **more)

    def load(self, quantity, station="I1"):
        """Return the values that count once two people have signed what was computed again."""
        with self.db.read() as c:
            number = find_series_id(c, "bench", station, quantity)
            return load_readings(c, number, None, self.now + 99 * DAY, self.now + 99 * DAY, with_unsigned=True)


def survey(profile, rng, slip_mm=0.0, slip_at=5.0):
    """Faces of a probe in a casing that leans by 30 mm a step, by the names of their series."""
    faces = {}
    for place, depth in enumerate(profile.depths_m):
        tilt = 30.0 + (slip_mm if depth == slip_at else 0.0)
        faces[profile.name_quantity("a0", place)] = tilt + rng.gauss(0.0, 0.05) + 1.0
        faces[profile.name_quantity("a180", place)] = -tilt + rng.gauss(0.0, 0.05) + 1.0
    return faces


@ON_BOTH
def test_views_and_page_show_the_depth_of_slip(database):
    strings = {"station": "I2", "kind": "thermistor", "unit": "degC", "depths_m": [0.5, 1.0, 2.0], "interval": "7d"}
    bench, rng = Bench(database, PROBE, strings), random.Random(1)
    probe, string = list_profiles(bench.site)
    for week in range(4):
        bench.send(7 * week, **survey(probe, rng, 3.0 * week))
        bench.send(7 * week, "I2", "degC", **{string.name_quantity("temperature", i): -1.0 - week for i in range(3)})
    first, *_, last = bench.read("slip_depth", station="I1")
    assert (first["slip_depth_m"], first["reason"]) == (None, "only one reading within 588h")
    assert (last["slip_depth_m"], last["slip_depth_low_m"], last["slip_depth_high_m"]) == (5.25, 5.0, 5.5)
    assert last["rate_mm_per_day"] == pytest.approx(3 / 7, abs=0.01)
    assert 0.0 < last["rate_sigma_mm_per_day"] < 0.02
    rows = bench.read("profile_latest", station="I1")
    assert (len(rows), rows[0]["displacement_mm"]) == (20, pytest.approx(9.0, abs=0.5))
    assert rows[-1]["checksum_mm"] == pytest.approx(0.0, abs=0.3)
    assert len(bench.read("profile_history", station="I1")) == 80
    assert bench.read("profile_latest", station="I2", depth_m=2.0)[0]["reading_change"] == -3.0
    assert "does not measure displacement" in bench.read("slip_depth", station="I2")[-1]["reason"]
    assert find_groups(bench.site)["I1"] == "I1"
    tell(database, write_heartbeat, "core", {"state": "running", "version": "x", "degraded": []}, bench.now)
    with serving(database, bench.now) as client:
        page = client.get("/sites/bench/profiles").text
        assert "slips at 5.25 m" in page
        assert (page.count("0 0 360 420"), page.count('fill="var(--flag)"')) == (4, 2)
        answer = client.get("/sites/bench/profiles", headers={"accept-language": "it"}).text
        assert all(one in answer for one in ("sonda inclinometrica", "spostamento", "Profili in profondità"))
        assert "/sites/bench/profiles" in client.get("/sites/bench").text


@pytest.mark.soak
@ON_BOTH
def test_a_criterion_reads_the_rate_at_the_depth_of_slip(database):
    rate = site_text.criterion("level", series="I1.slip_rate", yellow={"over": 0.1}, red={"over": 5.0})
    bench, rng = Bench(database, PROBE, criterion=rate), random.Random(2)
    [profile] = list_profiles(bench.site)
    levels = []
    for week, slip_mm in enumerate((0.0, 0.0, 0.0, 4.0, 9.0)):
        bench.send(7 * week, **survey(profile, rng, slip_mm))
        levels.append(evaluate_site(database, bench.site, bench.now, "tick").decision.level)
    assert (levels[:3], levels[-1]) == ([0, 0, 0], 1)  # its dwell wants two readings beyond the bound
    assert [round(one.value, 1) for one in bench.load("slip_rate")] == [0.0, 0.0, 0.2, 0.4]


def test_late_corrected_and_missing_readings_compute_it_again(database):
    bench, rng = Bench(database, PROBE), random.Random(3)
    [profile] = list_profiles(bench.site)
    surveys = [survey(profile, rng, 2.0 * week) for week in range(3)]
    late = {name: surveys[1].pop(name) for name in (profile.name_quantity("a0", 9), profile.name_quantity("a180", 9))}
    for week, one in enumerate(surveys):
        bench.send(7 * week, **one)
    assert [one.value for one in bench.load("depth_count")] == [20.0, 19.0, 20.0]
    assert bench.load("displacement")[-1].value == pytest.approx(4.0, abs=0.5)
    rates = [((one.observed_at - NOW) / DAY, one.flags) for one in bench.load("slip_rate")]
    assert rates == [(7.0, ("incomplete",)), (14.0, ())]  # where nothing came it may slip
    bench.send(7.01, **late)
    assert bench.load("depth_count")[1].value == pytest.approx(20.0)
    assert bench.read("slip_depth")[1]["slip_depth_m"] == 5.25
    assert bench.load("slip_rate")[0].value > 0.0
    bench.send(7.01, **late)
    assert bench.load("depth_count")[1].revision == 1  # the same again is nothing new
    assert bench.renew() == "the past of 1 depth profiles is computed again"
    assert bench.load("depth_count")[1].revision == 1
    assert bench.renew() == IDLE


def test_surveys_that_are_alike_to_the_last_digit_are_at_rest(database):
    bench, rng = Bench(database, PROBE | {"axes": 2}), random.Random(5)
    [profile] = list_profiles(bench.site)
    still = dict.fromkeys((profile.name_quantity(face, i) for face in ("b0", "b180") for i in range(20)), 1.0)
    first = survey(profile, rng)
    for week, one in enumerate((first, first, survey(profile, rng, 9.0))):
        bench.send(7 * week, **one, **still)
    assert [(round(one.value, 1), one.sigma is None) for one in bench.load("slip_rate")] == [(0.0, True), (0.6, False)]
    assert [row["slip_depth_m"] for row in bench.read("slip_depth")] == [None, None, 5.25]
    bench.renew()
    assert {one.revision for one in bench.load("slip_rate")} == {0}


def test_another_zero_and_an_offset_compute_the_past_again(database):
    bench, rng = Bench(database, PROBE), random.Random(4)
    [profile] = list_profiles(bench.site)
    for week in range(4):
        bench.send(7 * week, **survey(profile, rng, 2.0 * week))
    bench.renew()
    bench.declare(PROBE | {"zero": (NOW + 10 * DAY).date()})
    assert bench.renew() == "the past of 1 depth profiles is computed again"
    assert [round(one.value) for one in bench.load("displacement")] == [-4, -2, 0, 2]
    with database.write() as c:
        number = find_series_id(c, "bench", "I1", profile.name_quantity("a0", 9))
        facts = {"size": 1.0, "kind": "rezero", "unit": "mm", "author": Actor("Ada", "person"), "reason": "a new probe"}
        add_offset(c, number, at=NOW + 20 * DAY, known_from=bench.now, now=bench.now, **facts)
    bench.now += DAY
    bench.renew()
    assert bench.load("displacement")[-1].value == pytest.approx(1.5, abs=0.5)


def test_what_a_message_brings_of_what_a_profile_makes_is_refused(database):
    bench = Bench(database, PROBE)
    payload = {"time": NOW.isoformat(), "slip_rate": {"value": 9.0, "unit": "mm/day"}, "displacement_mm": 9.0}
    message = BrokerMessage("slopeward/v1/bench/I1/obs", json.dumps(payload).encode(), NOW, "live")
    assert bench.pipeline.store([message]).rejected == 1
    assert (bench.load("slip_rate"), bench.load("displacement")) == ([], [])
    [reason] = {row["reason"] for row in ask(database, load_view, "rejected_messages")}
    assert "is calculated by the site file" in reason


def test_an_expression_may_name_what_a_profile_makes(database):
    half = {"station": "I2", "quantity": "crack_opening", "unit": "mm", "expression": "I1.displacement / 2"}
    bench, rng = Bench(database, PROBE, criterion=site_text.table("[[derived]]", **half)), random.Random(4)
    [profile] = list_profiles(bench.site)
    for week in range(3):
        bench.send(7 * week, **survey(profile, rng, 2.0 * week))
    bench.renew()
    assert [round(one.value) for one in bench.load("crack_opening", "I2")] == [0, 1, 2]
    bench.declare(PROBE | {"zero": (NOW + 10 * DAY).date()})
    bench.renew()
    assert [round(one.value) for one in bench.load("crack_opening", "I2")] == [-2, -1, 0]


@pytest.mark.parametrize("with_anchor", [True, False])
def test_depths_that_are_read_again_soon_belong_to_the_survey_before(database, with_anchor):
    bench, rng = Bench(database, PROBE), random.Random(6)
    [profile] = list_profiles(bench.site)
    first, second = survey(profile, rng), survey(profile, rng)
    wrong = second | {profile.name_quantity("a0", 4): 99.0}
    places = [4, 19] if with_anchor else [4]
    again = {name: second[name] for face in profile.faces for name in (profile.name_quantity(face, i) for i in places)}
    bench.send(0, **first)
    bench.send(7, **wrong)
    bench.send(7.2, **again)
    assert [round(one.value) for one in bench.load("displacement")] == [0, 0]
    assert [row["slip_depth_m"] for row in bench.read("slip_depth")] == [None, None]
    bench.send(7.4, **survey(profile, rng, 3.0))  # a whole one is a survey of its own
    assert [round(one.value) for one in bench.load("displacement")] == [0, 0, 3]
    bench.send(14.2, **again)  # comes before its survey: it stood for one until that came
    bench.now += timedelta(hours=1)
    bench.compute()
    assert (bench.load("depth_count")[-1].observed_at - NOW) / DAY == pytest.approx(14.2)
    bench.send(14, **second)
    days = [(one.observed_at - NOW) / DAY for one in bench.load("depth_count") if not one.flags]
    assert days == pytest.approx([0.0, 7.0, 7.4, 14.0])


@pytest.mark.soak
@tabulated(
    ("columns", "why"),
    [
        ({"a0": "a180", "a180": "a0"}, "A equals -A of the zero reading"),
        ({"a0": "b0", "b0": "a0", "a180": "b180", "b180": "a180"}, "A equals B of the zero reading"),
        ({"b0": "b180", "b180": "b0"}, "B equals -B of the zero reading"),
        ({"a180": "b0", "b0": "a180"}, "checksums of A scatter by"),
        ({"a180": "a0"}, "checksums of A scatter by"),
    ],
)
def test_columns_that_are_exchanged_are_named_and_nothing_is_made_of_them(database, columns, why):
    bench, rng = Bench(database, PROBE | {"axes": 2, "stable_m": [8.0, 10.0]}), random.Random(7)
    [profile] = list_profiles(bench.site)
    lean = {(axis, i): 5.0 * rng.gauss(0.0, 1.0) for axis in "ab" for i in range(20)}
    for week in range(5):
        faces = {
            (face, i): (1 if face.endswith("0") and "180" not in face else -1) * lean[face[0], i] + rng.gauss(1.0, 0.1)
            for face in profile.faces
            for i in range(20)
        }
        from_ = columns if week == 2 else {}
        bench.send(7 * week, **{profile.name_quantity(f, i): faces[from_.get(f, f), i] for f, i in faces})
    reasons = [row["reason"] for row in bench.read("slip_depth")]
    assert [why in one for one in reasons] == [False, False, True, False, False]
    assert [(one.observed_at - NOW) / DAY for one in bench.load("displacement")] == [0.0, 7.0, 21.0, 28.0]
    assert [round(one.value, 1) for one in bench.load("slip_rate")] == [0.0, 0.0, 0.0]


@tabulated(
    ("change", "why"),
    [
        ({"station": "I9"}, "profile[0].station: expected a [[station]]"),
        ({"unit": "kPa"}, "profile[0].unit: expected one of mm, mrad, or constant"),
        ({"kind": "extensometer", "axes": 2}, "profile[0].axes: extensometer has one axis"),
        ({"twist_deg": [[0.0, 1.0]]}, "twist_deg needs both"),
        ({"stable_m": [30.0, 40.0]}, "profile[0].stable_m: expected a range"),
        ({"depths_m": [2.0, 1.0]}, "profile[0].depths_m: expected 2 to 500 depths downwards"),
        ({"last_m": 10.3}, "profile[0].last_m: expected 10.5, as every_m is 0.5 m"),
        ({"window": "99999d"}, "contains more than 200000 readings"),
        ({"kind": "sonar"}, "profile[0].kind"),
        ({"depht": 1}, "unknown key"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change, why):
    with pytest.raises(ConfigError) as caught:
        parse_site(write(PROBE | change), "bench.toml")
    assert why in str(caught.value)


def list_wrong(bench, name):
    """Subjects of one check that are not in order."""
    statuses = read_profiles(bench.db, {"bench": bench.site}, bench.now)
    findings = [one for one in run_alarm_checks(statuses) if one.check.id == f"profile.*.{name}"]
    return [str(one.text) for one in findings if one.is_wrong]


@pytest.mark.soak
def test_survey_with_missing_depths_is_reported_and_moves_no_level(database):
    yellow = site_text.criterion("level", series="I1.slip_rate", yellow={"over": 0.5}, author="test", reason="test")
    bench, rng = Bench(database, PROBE, criterion=yellow), random.Random(6)
    [profile] = list_profiles(bench.site)
    for week in range(4):
        bench.send(7 * week, **survey(profile, rng, 7.0 * week))
        level = evaluate_site(database, bench.site, bench.now, "observation").decision.level
    assert (level, list_wrong(bench, "missing")) == (1, [])
    for week in (4, 5, 6):
        values = survey(profile, rng, 28.0)  # it has come to rest, and the depth that slipped is not read any more
        del values[profile.name_quantity("a0", 9)]
        bench.send(7 * week, **values)
        bench.now += timedelta(hours=1)
        bench.compute()
        level = evaluate_site(database, bench.site, bench.now, "observation").decision.level
    assert level == 1
    assert bench.load("slip_rate")[-1].flags == ("incomplete",)
    assert list_wrong(bench, "missing") == [
        "the newest survey of I1 lacks 1 of 20 depths: whether it slips there is unknown"
    ]


@tabulated(
    ("sent", "reason"),
    [
        ("depth_a0_1m0_mm", "I1 has no depth 'depth_a0_1m0'"),
        ("depth_a180_1_0_mm", "send depth_a180_1m instead"),
        ("depth_a0_11m_mm", "send depth_a0_10m instead"),
        (
            "depth_a0_0m75_mm",
            "its [[profile]] in the site file declares depth_a0_0m5, depth_a0_1m, ..., depth_a180_10m",
        ),
    ],
)
def test_depth_under_another_name_is_refused_with_the_declared_one_and_reported(database, sent, reason):
    bench = Bench(database, PROBE)
    payload = json.dumps({"time": NOW.isoformat(), "depth_a0_0m5_mm": 1.0, sent: 2.0}).encode()
    result = bench.pipeline.store([BrokerMessage("slopeward/v1/bench/I1/obs", payload, bench.now, "live")])
    assert (result.rejected, len(bench.load("depth_a0_0m5"))) == (1, 1)
    [told] = list_wrong(bench, "refused")
    assert reason in told
    bench.now += 22 * DAY
    assert list_wrong(bench, "refused") == []


def test_depth_of_a_station_without_a_profile_names_the_profile_as_remedy(database):
    bench = Bench(database, PROBE)
    payload = json.dumps({"time": NOW.isoformat(), "depth_a0_3m3_mm": 2.0}).encode()
    bench.pipeline.store([BrokerMessage("slopeward/v1/bench/I2/obs", payload, bench.now, "live")])
    [row] = ask(database, load_view, "rejected_messages")
    assert "I2 has no [[profile]]: declare one in the site file" in row["reason"]


@pytest.mark.parametrize("face", ["a0", "a180"])
def test_survey_without_the_depth_at_the_fixed_end_shows_slip_elsewhere(database, face):
    """Silt fills the bottom of a casing, so that a probe does not reach the last depth any more."""
    yellow = site_text.criterion("level", series="I1.slip_rate", yellow={"over": 0.1}, author="test", reason="test")
    bench, rng = Bench(database, PROBE, criterion=yellow), random.Random(7)
    [profile] = list_profiles(bench.site)
    for week in range(5):
        values = survey(profile, rng, 6.0 * max(0, week - 2))
        if week > 2:
            del values[profile.name_quantity(face, len(profile.depths_m) - 1)]
        bench.send(7 * week, **values)
        bench.now += timedelta(hours=1)
        bench.compute()
        level = evaluate_site(database, bench.site, bench.now, "observation").decision.level
    assert [round(one.value) for one in bench.load("depth_count")] == [20, 20, 20, 19, 19]
    assert bench.load("slip_rate")[-1].value > 0.1
    assert level == 1
    assert len(list_wrong(bench, "missing")) == 1
    assert len(bench.load("displacement")) == 3, "what the free end moved is unknown without the fixed one"


def test_depth_under_another_name_in_a_file_is_reported(database, tmp_path):
    bench = Bench(database, PROBE)
    path = tmp_path / "depths.csv"
    rows = "".join(f"{NOW.isoformat()},I1,depth_a0_{depth}m0,1.0,mm\n" for depth in range(1, 10))
    path.write_text(f"time,station,quantity,value,unit\n{rows}{NOW.isoformat()},I2,depth_a0_1m0,1.0,mm\n")
    result = FileImport(path, bench.pipeline, bench.site, lambda: bench.now).run()
    assert result.rejected == 10
    told = list_wrong(bench, "refused")
    assert len(told) == 1
    assert "send depth_a0_1m instead" in told[0]
    assert "I2" not in told[0]
