"""Import InSAR points: store them in chunks, derive rates with their true age, and guess no unit or sign."""

import csv
import io
import json
import random
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from monitor.alerts.evaluate import evaluate_site, load_inputs
from monitor.alerts.queries.events import ChangeDetector
from monitor.alerts.queries.point_facts import load_point_facts
from monitor.alerts.replay.queries import load_news_instants
from monitor.cli.main import run_command
from monitor.decision.records import DecisionInputs
from monitor.errors import ConfigError, RefusedError
from monitor.ingest.files.egms import open_egms, open_wide_points
from monitor.ingest.files.point_rows import open_points
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import ImportOptions, PointLine, StationPlace, ValueMeaning
from monitor.ingest.recognise import choose_reader
from monitor.readings.point_tables import point_observation
from monitor.readings.queries.points import Point, PointValue
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage import views
from monitor.storage.engine import Database
from tests.data.site_text import criterion, head, series, station
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

DAY = timedelta(days=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
RADAR = {"window": "120d", "near_m": 150, "valid_for": "24d", "yellow": {"over": 0.3}}
TEXT = (
    head("bench", timezone="UTC")
    + station("G1", series("displacement", "mm", "1d", max_silence="3d"), latitude=46.0, longitude=8.0)
    + criterion("insar_rate", id="radar", role="witness", stations=["G1"], **RADAR)
)
SITE = parse_site(TEXT, "bench.toml")
DESC = ImportOptions(None, "desc", "los-towards", "mm")
COLUMNS = "time,point,latitude,longitude,value,sigma"
DATES = [T0 + 12 * k * DAY for k in range(8)]
NEWEST = DATES[-1]


def write_long(path, rate=0.5, dates=DATES, points=6, more=()):
    """Write points around G1 that move at a constant rate in mm/day, and return the file."""
    lines = [COLUMNS]
    for i in range(points):
        for at in dates:
            value = round(i + rate * (at - T0) / DAY + 0.1 * ((i * 7 + at.day) % 3 - 1), 3)
            lines.append(f"{at.isoformat()},p{i},{46.0 + 1e-4 * i},{8.0 + 1e-4 * i},{value},0.5")
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


@pytest.fixture
def bench(database):
    tell(database, save_site, SITE, "test", "points", T0)
    return database


def take(database, path, now, declared=DESC, site=SITE):
    file = PointsFile(path, site, lambda: now, database, pause=lambda _: None)
    return read_points(file, open_points(path, declared, now))


def count(database):
    return ask(database, lambda c: c.execute(select(func.count()).select_from(point_observation)).scalar_one())


def rejected(database):
    return {r["code"]: r["reason"] for r in ask(database, views.load_view, "rejected_messages")}


@ON_BOTH
def test_repeated_file_changes_nothing_and_changed_values_are_revisions(bench, tmp_path):
    changes = ChangeDetector()
    ask(bench, changes.find_changed)
    path = write_long(tmp_path / "a.csv")
    arrived = NEWEST + 3 * DAY
    result = take(bench, path, arrived)
    assert (result.points, result.rows, result.stored, result.rejected) == (6, 48, 48, 0)
    assert ask(bench, changes.find_changed) == {"bench"}, "the import was not detected as a change"
    second_import = take(bench, path, arrived + DAY)
    assert (second_import.stored, second_import.duplicates, second_import.revisions) == (0, 48, 0)
    with bench.read() as c:
        assert changes.find_changed(c) == frozenset()
        earlier_facts = load_point_facts(c, SITE, arrived)
    take(bench, write_long(tmp_path / "b.csv", rate=0.0), arrived + 2 * DAY)
    with bench.read() as c:
        assert load_point_facts(c, SITE, arrived) == earlier_facts, "facts of an earlier instant changed"
        (now,) = load_point_facts(c, SITE, arrived + 2 * DAY)
        rows = views.load_view(c, "insar_points", order_by=("pid",))
    assert abs(earlier_facts[0].rate_mm_per_day - 0.5) < 0.01
    assert abs(now.rate_mm_per_day) < 0.01
    assert (now.zone, now.newest_s, now.received_s) == ("desc", NEWEST.timestamp(), (arrived + 2 * DAY).timestamp())
    assert ([r["n"] for r in rows], {r["revision"] for r in rows}) == ([8] * 6, {1})


def test_a_rate_from_a_file_votes_with_its_true_age_and_expires(bench, tmp_path):
    arrived = NEWEST + 10 * DAY
    take(bench, write_long(tmp_path / "a.csv"), arrived)
    assert evaluate_site(bench, SITE, arrived - DAY, "tick").level == 0, "the rate was used before it was received"
    result = evaluate_site(bench, SITE, arrived, "tick")
    assert result.level == 1
    vote = result.decision.evidence["votes"]["radar|insar:G1"]
    assert vote["counted"]
    assert vote["valid_until_s"] == (NEWEST + 24 * DAY).timestamp(), (
        "validity starts at the acquisition, not at the import"
    )
    word = next(w for w in result.decision.evidence["words"] if w["station"] == "insar:G1")
    assert "received 10d later" in word["reason"]
    assert "direction of desc" in word["reason"]
    late = evaluate_site(bench, SITE, NEWEST + 25 * DAY, "tick")
    assert not late.decision.evidence["votes"]["radar|insar:G1"]["counted"]
    inputs = ask(bench, load_inputs, SITE, arrived, draining=False)[0]
    assert DecisionInputs.read(inputs.to_json()) == inputs


def test_point_sets_are_not_mixed_and_the_fastest_one_counts(bench, tmp_path):
    arrived = NEWEST + 3 * DAY
    take(bench, write_long(tmp_path / "a.csv", rate=0.0), arrived, ImportOptions(None, "asc", "los-towards", "mm"))
    assert evaluate_site(bench, SITE, arrived, "tick").level == 0
    take(bench, write_long(tmp_path / "b.csv", rate=-0.5), arrived + DAY, ImportOptions(None, "desc", "los-away", "mm"))
    rates = {f.zone: round(f.rate_mm_per_day, 1) for f in ask(bench, load_point_facts, SITE, arrived + DAY)}
    assert (rates, evaluate_site(bench, SITE, arrived + DAY, "tick").level) == ({"asc": 0.0, "desc": -0.5}, 1)


@ON_BOTH
def test_bad_rows_are_quarantined_with_a_reason_and_good_ones_stored(bench, tmp_path):
    at = NEWEST.isoformat()
    more = [",q6,46,8,1,", "2099-01-01T00:00:00Z,q4,46,8,1,", "2026-01-01T00:00:00,q5,46,8,1,"]
    more += [f"{at},q,46.0,8.0,{value}," for value in (1.0, 1.0, 2.0)]  # a duplicate and a contradiction
    odd = (
        "q1,96.0,8.0,1.0, q2,46.0,8.0,inf, q3,46,8,1,5,0.1 ,46,8,1, q7,46,8,1,-1 q8,46,8,NaN, q9,46,8,9e9, p0,46.1,8,7,"
    )
    more += [f"{at},{cells}" for cells in odd.split()]
    result = take(bench, write_long(tmp_path / "a.csv", points=1, more=more), NEWEST + DAY)
    assert (result.stored, result.duplicates, result.missing) == (10, 1, 2)
    codes = "contradiction bad_place cell_count future no_zone no_time bad_point out_of_range point_moved"
    assert result.reasons == dict.fromkeys(codes.split(), 1)
    assert (set(rejected(bench)), count(bench)) == (set(result.reasons), 10)


def test_large_value_consistent_with_its_record_is_stored(bench, tmp_path):
    more = [f"{at.isoformat()},q,46.0,8.0,{v}," for at, v in zip(DATES, (800, 850, 900, 950, 999, 999.9), strict=False)]
    result = take(bench, write_long(tmp_path / "a.csv", more=more), NEWEST)
    assert (result.stored, result.missing) == (6 * len(DATES) + 6, 0)


def test_a_point_that_jumped_away_or_contradicts_an_earlier_part_of_its_file_is_refused(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.ingest.files.points.CHUNK", 5)
    at = NEWEST.isoformat()
    path = write_long(tmp_path / "a.csv", points=1, more=[f"{at},p0,46.0,8.0,77.0,", f"{at},p0,46.5,8.0,78.0,"])
    result = take(bench, path, NEWEST + DAY)
    assert (result.stored, result.reasons) == (8, {"contradiction": 1, "point_moved": 1})


def test_broken_file_is_reported_and_its_complete_chunks_count(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("monitor.ingest.files.points.CHUNK", 5)
    path = write_long(tmp_path / "a.csv", more=['"no end', "a,b"])
    with pytest.raises(ConfigError, match="line 50"):
        take(bench, path, NEWEST + DAY)
    assert count(bench) >= 40
    instants = ask(bench, load_news_instants, "bench", NEWEST, NEWEST + 2 * DAY)
    assert instants == [NEWEST + DAY], "a replay needs this instant"
    assert evaluate_site(bench, SITE, NEWEST + DAY, "tick").level == 1


def test_another_unit_or_direction_needs_another_set(bench, tmp_path):
    path = write_long(tmp_path / "a.csv")
    take(bench, path, NEWEST + DAY)
    for declared in (ImportOptions(None, "desc", "los-away", "mm"), ImportOptions(None, "desc", "los-towards", "cm")):
        with pytest.raises(RefusedError, match="give another --set"):
            take(bench, path, NEWEST + 2 * DAY, declared)


# ---- EGMS --------------------------------------------------------------------------------------------------------
def slice_egms(source, target, most=60, keep=lambda row: True):
    """Copy the header and some points of a product into a zip file of the same layout, and return them."""
    with zipfile.ZipFile(source) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".csv"))
        with archive.open(name) as octets:
            rows = csv.reader(io.TextIOWrapper(octets))
            header = next(rows)
            chosen = [row for row in rows if keep(dict(zip(header, row, strict=True)))][:most]
    out = io.StringIO()
    csv.writer(out).writerows([header, *chosen])
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, out.getvalue())
        archive.writestr("about.xml", "<BURST/>")
    return header, chosen


def take_egms(database, path, now, site=SITE, direction=None):
    file = PointsFile(path, site, lambda: now, database, pause=lambda _: None)
    return read_points(file, open_egms(path, ImportOptions(direction=direction), now))


def test_egms_product_becomes_a_rate_with_its_true_age(database, measured, tmp_path):
    source = measured("egms/EGMS_L2b_022_0845_IW2_VV_2020_2024_1.zip")
    path = tmp_path / source.name
    header, rows = slice_egms(source, path, 40)
    first = dict(zip(header, rows[0], strict=True))
    moved = TEXT.replace("= 46.0", f"= {first['latitude']}").replace("= 8.0", f"= {first['longitude']}")
    site = parse_site(moved.replace("120d", "1825d").replace("0.3", "0.001"), "island.toml")
    tell(database, save_site, site, "test", "island", T0)
    arrived = datetime(2025, 11, 11, tzinfo=UTC)
    result = take_egms(database, path, arrived, site)
    dates = [n for n in header if len(n) == 8 and n.isdigit()]
    assert (result.points, result.stored, result.rejected) == (40, 40 * len(dates), 0)
    assert take_egms(database, path, arrived + DAY, site).stored == 0
    with database.read() as c:
        (fact,) = load_point_facts(c, site, arrived)
        assert load_point_facts(c, site, arrived - DAY) == ()
        (point,) = views.load_view(c, "insar_points", pid=first["pid"])
    newest = datetime.strptime(dates[-1], "%Y%m%d").replace(tzinfo=UTC)
    assert (fact.zone, fact.newest_s, fact.received_s) == (path.stem, newest.timestamp(), arrived.timestamp())
    # Mean velocity of the same points in mm/year, as the product states it for the same years.
    stated_rates = [float(dict(zip(header, r, strict=True))["mean_velocity"]) for r in rows]
    assert min(stated_rates) - 0.5 < fact.rate_mm_per_day * 365.25 < max(stated_rates) + 0.5
    assert (point["direction"], point["value_mm"], point["n"]) == ("los-towards", float(rows[0][-1]), len(dates))
    word = evaluate_site(database, site, arrived, "tick").decision.evidence["words"][0]
    assert f"received {(arrived - newest).days}d later" in word["reason"]


def test_egms_level_3_takes_direction_from_file_name_and_place_from_grid(bench, measured, tmp_path):
    source = measured("egms/EGMS_L3_E45N17_100km_U_2020_2024_1.zip")
    path = tmp_path / source.name
    slice_egms(source, path, 5)
    assert take_egms(bench, path, datetime(2026, 1, 1, tzinfo=UTC)).rejected == 0
    rows = ask(bench, views.load_view, "insar_points")
    assert {r["direction"] for r in rows} == {"up"}
    assert all(38.6 < r["latitude"] < 38.8 and 13.1 < r["longitude"] < 13.3 for r in rows)
    nameless = path.rename(tmp_path / "points.zip")
    with pytest.raises(ConfigError, match="east or up"):
        take_egms(bench, nameless, T0)
    with pytest.raises(ConfigError, match="not los-away"):
        take_egms(bench, nameless, T0, direction="los-away")


HEAD = "pid,latitude,longitude,height_ortho"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "no EGMS product"),
        ("a.csv", "time,value\n1,2\n", "no EGMS product"),
        ("a.csv", f"{HEAD}\np,46,8,1\n", "without its time series"),
        ("a.csv", f"{HEAD},20261399\np,46,8,1,2\n", "is no date"),
        ("a.csv", f"{HEAD},20990101\np,46,8,1,2\n", "in the future"),
        ("a.csv", f"{HEAD},20200101,20200101\np,46,8,1,2,3\n", "is repeated"),
        ("a.csv", f"{HEAD},20200101\n" + "x" * (1 << 20), "a line is longer"),
        ("a.zip", "no zip", "cannot be read"),
    ],
)
def test_file_that_is_no_egms_product_is_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        take_egms(None, path, T0)
    assert "\n" not in str(caught.value)


def test_damaged_zip_is_refused_in_one_line(bench, tmp_path):
    path = tmp_path / "EGMS_L2b_1.zip"
    rows = "".join(f"p{i},46,8,1,{i % 7}.5\n" for i in range(5000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", f"{HEAD},20250101\n{rows}")
    octets = bytearray(path.read_bytes())
    for k in range(len(octets) // 2, len(octets) // 2 + 40):
        octets[k] ^= 0x5A
    path.write_bytes(octets)
    with pytest.raises(ConfigError, match="cannot be read as a table of points") as caught:
        take_egms(bench, path, T0)
    assert "\n" not in str(caught.value)


def test_product_with_bad_values_stores_the_good_ones(bench, tmp_path):
    path = tmp_path / "EGMS_L2b_1.csv"
    path.write_text(
        f"{HEAD},20250101,20250107\na,46,8,1,1.0,2.0\nb,46,8,1,,NaN\nc,46,8,1,x,inf\nd,46,8,1,1\ne,north,8,1,1,2\n"
        "a,46,8,1,1.0,9.0\n"
    )
    result = take_egms(bench, path, T0)
    assert (result.rows, result.stored, result.duplicates, result.missing) == (6, 2, 1, 3)
    assert (result.reasons, result.rejected) == ({"not_number": 3, "cell_count": 2, "contradiction": 1}, 6)


# ---- the command -------------------------------------------------------------------------------------------------
@pytest.fixture
def run(tmp_path, monkeypatch, database_url, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "bench.toml").write_text(TEXT)
    (tmp_path / "configs" / "slopeward.toml").write_text("")
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)

    def call(*words):
        status = run_command([str(w) for w in words])
        out, err = capsys.readouterr()
        return status, out, err

    return call


def test_command_requires_set_direction_and_unit(run, tmp_path, database_url):
    path = write_long(tmp_path / "a.csv", more=[f"{NEWEST.isoformat()},q,46,8,x,"])
    words = ("ingest", path, "--site", "bench", "--format", "insar-points")
    declared = ("--set", "desc", "--direction", "los-towards", "--unit", "mm")
    for left_out in range(0, 6, 2):
        status, _, err = run(*words, *declared[:left_out], *declared[left_out + 2 :])
        assert status == 2
        assert declared[left_out] in err
    assert run(*words, "--dry-run", "--json", *declared)[0] == 3
    status, out, err = run(*words, "--json", *declared)
    assert status == 3, err
    summary = json.loads(out)
    assert (summary["points"], summary["stored"], summary["rejected"], summary["revisions"]) == (6, 48, 1, 0)
    assert "correct the file" in err
    status, out, _ = run("ingest", "--rejected", "--json")
    assert status == 4, "a row of points is replayed although only a corrected file can help"
    assert json.loads(out)["reasons"] == {"not_number": 1}
    status, _, err = run("ingest", path, "--site", "bench", "--unit", "mm")
    assert (status, "give --set, --direction and --unit for the meaning of their values" in err) == (1, True)
    status, out, err = run("ingest", path, "--site", "bench", "--json", *declared)
    assert (json.loads(out)["stored"], json.loads(out)["duplicates"]) == (0, 48), "the format was not recognised"
    egms = tmp_path / "EGMS_L2b_1.csv"
    egms.write_text(f"{HEAD},20250101\na,46,8,1,1.0\n")
    assert run("ingest", egms, "--site", "bench", "--format", "egms", "--unit", "cm")[0] == 2
    assert run("ingest", egms, "--site", "bench", "--format", "egms")[0] == 0
    database = Database(database_url)
    assert ask(database, lambda c: c.execute(text("SELECT count(*) FROM insar_points")).scalar_one()) == 7
    database.close()


# ---- reference date of displacements ----------------------------------------------------------------
def deliver(database, values, reference_at, *, point=None, now=NEWEST + 30 * DAY):
    """Import one delivery: values of p1 by date, relative to a reference date."""
    declared = ValueMeaning("moving", "los-towards", "mm", None, reference_at, point)
    place = Point("p1", 46.0, 8.0)
    pieces = iter([PointLine(place, tuple(PointValue("p1", at, value) for at, value in values.items()))])
    file = PointsFile(Path("a.nc"), SITE, lambda: now, database, pause=lambda _: None)
    return read_points(file, nullcontext((declared, pieces)))


def stored(database):
    with database.read() as c:
        o = point_observation.c
        rows = c.execute(select(o.observed_at, o.value_raw).order_by(o.observed_at, o.revision))
        return {row.observed_at: row.value_raw for row in rows}


@pytest.mark.parametrize("seed", range(4))
def test_changed_reference_date_adds_no_movement(bench, seed):
    """Stored values are relative to the reference of the first delivery, whatever references the later ones have."""
    rng = random.Random(seed)
    truth = [round(rng.uniform(-500, 500), 2) for _ in DATES]
    moves = sorted(rng.sample(range(1, 7), 2))
    for k in range(1, 8):
        reference = max([0, *(move for move in moves if move < k)])
        deliver(bench, {DATES[k]: truth[k] - truth[reference]}, DATES[reference])
    assert stored(bench) == {DATES[k]: pytest.approx(truth[k] - truth[0], abs=1e-6) for k in range(1, 8)}
    late = deliver(bench, {DATES[7]: truth[7] - truth[moves[1]]}, DATES[moves[1]])
    assert (late.duplicates, late.revisions) == (1, 0)  # an unchanged value


@ON_BOTH
def test_untied_delivery_is_quarantined_and_another_reference_point_refused(bench):
    deliver(bench, {DATES[1]: 1.0}, DATES[0], point="46.2, 8.9")
    result = deliver(bench, {DATES[5]: 1.0}, DATES[3])
    assert (result.stored, result.reasons) == (0, {"untied": 1})
    assert "read the file of that day first" in rejected(bench)["untied"]
    with pytest.raises(RefusedError, match="another --set"):
        deliver(bench, {DATES[6]: 1.0}, DATES[0], point="46.3, 8.9")


# ---- tables with one column per date -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("CODE,LAT,LON,HEIGHT,VEL,D20250101,D20250113,D20250125", "A1,46.0,8.0,812,-3,0.0,-1.5,"),
        ("lon,lat,v,01-Jan-2025,13-Jan-2025,25-Jan-2025", "8.0,46.0,-3,0.0,-1.5,"),
        ("id,latitude,longitude,2025-01-01,2025-01-13,2025-01-25", "A1,46.0,8.0,0.0,-1.5,nan"),
        ("pid,lat,lon,20250101,20250113,20250125", "A1,46.0,-352.0,0.0,-1.5,"),
        ("CODE,LAT,LON,X2025.01.01,X2025.01.13,X2025.01.25", "A1,46.0,8.0,0.0,-1.5,NA"),
        ("id,lat,lon,TS_20250101,TS_20250113,TS_20250125", "A1,46.0,8.0,0.0,-1.5,"),
        ("id,lat,lon,date_2025_01_01,date_2025_01_13,date_2025_01_25", "A1,46.0,8.0,0.0,-1.5,"),
        ("id;lat;lon;01.01.2025;13.01.2025;25.01.2025", "A1;46,0;8,0;0,0;-1,5;"),
        ("id,lat,lon,2025-01-01T05:33:12,2025-01-13T05:33:12,2025-01-25T05:33:12", "A1,46.0,8.0,0.0,-1.5,"),
    ],
)
def test_wide_tables_of_other_programs_are_recognised_and_need_unit_and_sign(tmp_path, head, row):
    path = tmp_path / "a.csv"
    path.write_text(f"{head}\n{row}\n")
    assert choose_reader(path, ("--set", "--direction", "--unit")) == "insar-wide"
    with pytest.raises(ConfigError, match="--set, --direction and --unit"):
        choose_reader(path)
    with (
        pytest.raises(ConfigError, match="unit and sign are never guessed"),
        open_wide_points(path, ImportOptions(), NEWEST),
    ):
        pass
    with open_wide_points(path, DESC, NEWEST) as (declared, pieces):
        (piece,) = pieces
    assert (declared.direction, declared.unit) == ("los-towards", "mm")
    assert (piece.point.latitude, piece.point.longitude) == (46.0, pytest.approx(8.0))
    assert ([(v.observed_at.day, v.value) for v in piece.values], piece.missing) == ([(1, 0.0), (13, -1.5)], 1)
    with pytest.raises(ConfigError, match="no EGMS product"), open_egms(path, ImportOptions(), NEWEST):
        pass


@pytest.mark.parametrize("seed", range(6))
def test_date_columns_are_read_exactly_or_refused(tmp_path, seed):
    rng, path = random.Random(seed), tmp_path / "a.csv"
    days = sorted(datetime(2015, 1, 1, tzinfo=UTC) + timedelta(days=k) for k in rng.sample(range(3600), 6))
    row = "A1,46.0,8.0," + ",".join(str(k) for k in range(6)) + "\n"
    for form in ("%Y%m%d", "D%Y%m%d", "%y%m%d", "D%y%m%d"):
        path.write_text("CODE,LAT,LON," + ",".join(f"{day:{form}}" for day in days) + "\n" + row)
        if "%y" in form:
            with pytest.raises(ConfigError, match="each date such as"), open_wide_points(path, DESC, NEWEST):
                pass
            continue
        with open_wide_points(path, DESC, NEWEST) as (_, pieces):
            (piece,) = pieces
        assert [(v.observed_at, v.value) for v in piece.values] == list(zip(days, range(6), strict=True))
    for odd in ("20250230", "D250113"):
        path.write_text(f"CODE,LAT,LON,20250101,20250102,20250103,{odd}\nA1,46.0,8.0,0,1,2,3\n")
        with pytest.raises(ConfigError, match=f"column '{odd}' is no date"), open_wide_points(path, DESC, NEWEST):
            pass


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("factor", "is_asked"), [(1.0, False), (0.8, False), (1e-3, True), (0.1, True), (-1.0, True)])
def test_unit_or_sign_that_contradicts_the_velocity_column_is_refused(tmp_path, seed, factor, is_asked):
    draw, path = random.Random(seed), tmp_path / "a.csv"
    days = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=12 * k) for k in range(20)]
    lines = ["CODE,LAT,LON,VEL," + ",".join(f"D{day:%Y%m%d}" for day in days)]
    for k in range(9):
        rate = draw.choice([-1, 1]) * draw.uniform(5.0, 60.0)  # mm/year
        values = (factor * (rate * 12 * n / 365.25 + draw.gauss(0.0, 0.3)) for n in range(len(days)))
        lines.append(f"A{k},46.0,8.0,{rate:.2f}," + ",".join(f"{value:.5f}" for value in values))
    path.write_text("\n".join(lines) + "\n")
    if is_asked:
        with pytest.raises(ConfigError, match="check unit and sign"), open_wide_points(path, DESC, NEWEST):
            pass
        path.write_text(path.read_text().replace(",VEL,", ",other,"))
    with open_wide_points(path, DESC, NEWEST) as (_, pieces):
        assert len(list(pieces)) == 9


@pytest.mark.parametrize("form", ["wide", "long"])
def test_exchanged_latitude_and_longitude_are_refused(tmp_path, form):
    draw, path = random.Random(form), tmp_path / "a.csv"
    options = replace(DESC, places=(StationPlace("G1", 46.2, 8.9),))
    opens = open_wide_points if form == "wide" else open_points
    head = "id,{},{},20240101,20240113,20240125" if form == "wide" else "point,{},{},time,value"
    cells = ",1,2,3" if form == "wide" else ",2024-01-01T00:00:00Z,1.0"
    rows = [f"A{k},{46.2 + draw.uniform(-0.2, 0.2)},{8.9 + draw.uniform(-0.2, 0.2)}{cells}\n" for k in range(5)]
    for names in (("latitude", "longitude"), ("longitude", "latitude")):
        path.write_text(head.format(*names) + "\n" + "".join(rows))
        if names[0] == "latitude":
            with opens(path, options, NEWEST) as (_, pieces):
                assert len(list(pieces)) == 5
            continue
        with pytest.raises(ConfigError, match="latitude and longitude exchanged"), opens(path, options, NEWEST):
            pass
        with opens(path, DESC, NEWEST) as (_, pieces):  # without places of stations the order cannot be checked
            assert len(list(pieces)) == 5


@pytest.mark.parametrize(("unit", "stored"), [("mm", 1), ("", 1), ("m", 0), ("cm", 0)])
def test_unit_column_that_contradicts_the_option_is_refused(bench, tmp_path, unit, stored):
    path = tmp_path / "a.csv"
    path.write_text(f"time,point,latitude,longitude,value,unit\n{NEWEST.isoformat()},q,46.0,8.0,1.0,{unit}\n")
    result = take(bench, path, NEWEST + DAY)
    assert (result.stored, result.reasons) == (stored, {} if stored else {"unit_mismatch": 1})


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("comma", [False, True])
def test_delimiter_is_that_of_the_header_and_all_zero_points_are_missing(tmp_path, sign, comma):
    rng, rows = random.Random(5), []
    values = {f"P{k}": [rng.uniform(-9, 9) * (k % 3 > 0) for _ in range(6)] for k in range(12)}
    values["P1"][0] = 0.0  # a zero only at the reference date
    for name, point_values in values.items():
        cells = [name, "46.0001", "8.0002", *(f"{v:.3f}" for v in point_values)]
        rows.append(sign.join(cell.replace(".", ",") if comma and sign == ";" else cell for cell in cells))
    path = tmp_path / "a.csv"
    head = sign.join(["CODE", "LAT", "LON", *(f"D2025010{k}" for k in range(1, 7))])
    path.write_text("\n".join([head, *rows]) + "\n")
    assert choose_reader(path, ("--set", "--direction", "--unit")) == "insar-wide"
    with open_wide_points(path, DESC, NEWEST) as (_, pieces):
        points = {piece.point.pid: ([v.value for v in piece.values], piece.missing, piece.bad) for piece in pieces}
    expected = {name: (pytest.approx(point_values, abs=5e-4), 0, ()) for name, point_values in values.items()}
    assert points == expected | {name: ([], 6, ()) for name, point_values in values.items() if not any(point_values)}
