"""Satellite points are looked at when a file of them has come in: found, grouped, kept, made again from the rows."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from monitor.cli.main import run_command
from monitor.errors import JobError
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import ImportOptions
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.storage.service_state import IDLE
from monitor.storage.views import load_view
from monitor.text.instants import epoch_s
from slopeward_earth.points import forecasts as point_forecasts
from slopeward_earth.points import looks as points
from slopeward_earth.points import map_squares as point_map
from slopeward_earth.points.store import maps as point_maps
from slopeward_earth.points.store.looks import load_looks
from slopeward_earth.points.tables import earth_anomaly, earth_forecast, earth_issue, earth_square
from tests.data.anomalies.drawn_points import HALF_WAVELENGTH_MM, draw_points
from tests.data.site_text import head, series, station
from tests.data.store_rows import ask, tell
from tests.fixtures.databases import ON_BOTH

START = datetime(2022, 1, 3, tzinfo=UTC)
DATES = [START + timedelta(days=6 * k) for k in range(126)]
COUNT = 150
SITE = parse_site(
    head("bench", timezone="UTC")
    + station("G1", series("displacement", "mm", "1d", max_silence="3d"), latitude=46.0, longitude=8.0),
    "bench.toml",
)
CONFIG = ServiceConfig.model_validate({})
SLIDE = range(40, 52)  # points that lie together


def draw() -> np.ndarray:
    """Values of points by acquisition; the last eight acquisitions hold what is to be found."""
    drawn = draw_points(11, COUNT, len(DATES))
    values = np.stack([drawn[name].values for name in sorted(drawn)])
    values[SLIDE, 122:] += 45.0  # a slope that stepped
    values[100, 120:] += 2.5 * np.arange(1.0, 7.0) ** 2
    values[106, 121:] += HALF_WAVELENGTH_MM
    values[:, 125] -= HALF_WAVELENGTH_MM  # all of them: the processing
    return values


def write(path: Path, values: np.ndarray, until: int, rows: range = range(COUNT)) -> Path:
    """A product of level 2 with the acquisitions up to one of them."""
    lines = [",".join(["pid", "latitude", "longitude", "height_ortho", *(f"{d:%Y%m%d}" for d in DATES[:until])])]
    for k in rows:
        row, column = (0, k - 40) if k in SLIDE else (10 + k // 20, k % 20)
        place = [
            f"p{k:03}",
            f"{46.0 + row * 0.004:.5f}",
            f"{8.0 + column * (0.0005 if row == 0 else 0.006):.5f}",
            "900",
        ]
        lines.append(",".join([*place, *("" if np.isnan(v) else f"{v:.1f}" for v in values[k, :until])]))
    path.write_text("\n".join(lines) + "\n")
    return path


def take(db: Database, path: Path, at: datetime) -> None:
    declared = open_egms(path, ImportOptions(None, "sentinel"), at)
    assert read_points(PointsFile(path, SITE, lambda: at, db, pause=lambda _: None), declared).rejected == 0


def look(db: Database, at: datetime) -> str:
    return points.run(db, CONFIG, SITE, at)


@pytest.fixture
def bench(database):
    tell(database, save_site, SITE, "test", "points", START)
    return database


@pytest.mark.soak
def test_points_that_came_in_are_looked_at_once_and_what_happened_is_one_line_each(bench, tmp_path):
    values = draw()
    first_at, then = DATES[116] + timedelta(days=3), DATES[125] + timedelta(days=3)
    take(bench, write(tmp_path / "a.csv", values, 117), first_at)
    assert f"{COUNT} points looked at in 39 new acquisitions until 2023-11-30" in look(bench, first_at)
    assert look(bench, first_at) == IDLE, "the same delivery is not looked at again"
    take(bench, write(tmp_path / "b.csv", values, 126), then)
    assert f"{COUNT} points looked at in 9 new acquisitions until 2024-01-23" in look(bench, then)
    with bench.read() as c:
        newest, first = load_looks(c, "bench")
        happenings = load_view(c, "point_happenings", order_by=("number",), look_id=newest.id)
        anomalies = load_view(c, "point_anomalies", look_id=newest.id)
        looks = load_view(c, "point_looks", order_by=("look_id",))
    assert first.found.alarms <= 2, "quiet points are quiet"
    assert first.request.jump_mm == pytest.approx(27.7329)
    assert (newest.request.from_at, newest.found.newest_at) == (DATES[116], DATES[125])
    assert [(r["points"], r["acquisitions"], r["reason"]) for r in looks] == [(COUNT, 39, ""), (COUNT, 9, "")]
    common = happenings[0]
    assert (common["common"], common["kind"], common["judged"] > 0.8 * COUNT) == (True, "phase-jump", True)
    assert common["first_at"] == common["last_at"] == "2024-01-23T00:00:00.000000Z"
    assert common["size_mm"] == pytest.approx(-27.7, abs=1.5)
    slide = happenings[1]
    assert (slide["points"], slide["kind"], slide["station"]) == (12, "step", "G1")
    assert slide["size_mm"] == pytest.approx(45.0, abs=8.0)
    assert 150.0 < slide["radius_m"] < 300.0
    assert {r["pid"] for r in [r for r in anomalies if r["number"] == slide["number"]]} == {f"p{k:03}" for k in SLIDE}
    assert all(r["score"] > r["threshold"] for r in anomalies)
    kinds = {r["pid"]: (r["kind"], r["at"][:10], r["compared_with"]) for r in anomalies}
    assert kinds["p100"][0] == "acceleration"
    assert kinds["p106"] == ("phase-jump", f"{DATES[121]:%Y-%m-%d}", kinds["p106"][2])
    assert "its last" in kinds["p106"][2]
    assert "other points" in kinds["p106"][2]
    for kept in (newest, first):
        again = points.detect_alarms(bench, CONFIG.compute, SITE, kept.request)
        assert again == kept.found, "the same rows come again from the database"


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_a_record_that_is_too_short_is_said_and_not_taken_for_quiet(bench, tmp_path):
    at = DATES[30]
    take(bench, write(tmp_path / "a.csv", draw(), 30), at)
    assert look(bench, at) == "sentinel: not looked at: 30 acquisitions: at least 60 are needed"
    (kept,) = ask(bench, load_looks, "bench")
    assert (kept.found.points, kept.found.newest_at) == (0, None)
    take(bench, write(tmp_path / "b.csv", draw(), 117), DATES[116])
    assert f"{COUNT} points looked at in 39 new acquisitions" in look(bench, DATES[116]), "as if it were the first one"


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_what_is_stored_is_bounded_and_the_rest_is_counted(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(points, "STORED", 5)
    monkeypatch.setattr(points, "AT_ONCE", 60)
    take(bench, write(tmp_path / "a.csv", draw(), 125), DATES[125])
    said = look(bench, DATES[125])
    with bench.read() as c:
        (kept,) = load_looks(c, "bench")
        stored = c.execute(select(func.count()).select_from(earth_anomaly)).scalar_one()
    assert stored == 5
    assert kept.found.left_out == kept.found.alarms - 5 >= 9
    assert said.endswith(f"{kept.found.left_out} alarms are not stored")
    assert replace(kept.found.happenings[0], members=()).points == 12


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_a_set_at_which_workers_fail_keeps_no_other_set_waiting(bench, tmp_path, monkeypatch):
    at, right = DATES[116], points.detect_alarms
    for name in ("a", "b"):
        declared = open_egms(path := write(tmp_path / f"{name}.csv", draw(), 117), ImportOptions(None, name), at)
        read_points(PointsFile(path, SITE, lambda: at, bench, pause=lambda _: None), declared)

    def fail_at_a(db, plan, site, asked):
        if asked.name == "a":
            raise JobError("it needed too much memory")
        return right(db, plan, site, asked)

    monkeypatch.setattr(points, "detect_alarms", fail_at_a)
    with pytest.raises(JobError, match=f"a: it needed too much memory; b: {COUNT} points looked at"):
        look(bench, at)
    assert [kept.request.name for kept in ask(bench, load_looks, "bench")] == ["b"]


TEXT = head("bench", timezone="UTC") + station(
    "G1", series("displacement", "mm", "1d", max_silence="3d"), latitude=46.0, longitude=8.0
)
AT = DATES[119] + timedelta(days=3)


def issue(db, at):
    return point_forecasts.run(db, CONFIG, _Site, at)


class _Site:
    id = "bench"


def test_points_that_came_in_are_forecast_once(bench, tmp_path):
    values = draw()
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    assert issue(bench, AT) == f"sentinel: {COUNT} points forecast from {DATES[119]:%Y-%m-%d}"
    assert issue(bench, AT) == IDLE, "the same delivery is not forecast again"
    with bench.read() as c:
        issues = load_view(c, "point_forecast_issues", order_by=("horizon",))
        rows = load_view(c, "point_forecasts", order_by=("pid", "horizon"))
    assert [(i["horizon_s"] / 86400.0, i["points"], i["withheld"], i["reason"]) for i in issues] == [
        (6.0, COUNT, 0, ""),
        (30.0, COUNT, 0, ""),
        (90.0, COUNT, 0, ""),
    ]
    assert all(0.7 <= i["held_out_inside_80"] <= 0.95 for i in issues)
    assert all(i["held_out_error_mm"] <= i["held_out_persistence_mm"] for i in issues)
    assert len(rows) == 3 * COUNT
    assert all(r["q10"] < r["q50"] < r["q90"] and r["reason"] == "" for r in rows)
    assert rows[0]["target_at"][:10] == f"{DATES[120]:%Y-%m-%d}"
    of_first = [r for r in rows if r["pid"] == "p000"]
    assert of_first[0]["value_mm"] == pytest.approx(values[0, :120][np.isfinite(values[0, :120])][-1])
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    issue(bench, AT + timedelta(days=60))
    with bench.read() as c:
        kept = c.execute(select(func.count()).select_from(earth_forecast)).scalar_one()
        assert len(load_view(c, "point_forecast_issues")) == 6
    assert kept == COUNT, "one row per point, the newest"


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_pieces_give_what_the_whole_gives_to_the_last_bit(bench, tmp_path, monkeypatch):
    take(bench, write(tmp_path / "a.csv", draw(), 120), AT)
    issue(bench, AT)
    monkeypatch.setattr(point_forecasts, "AT_ONCE", 70)
    monkeypatch.setattr(point_forecasts, "TABLES", 2)
    with bench.write() as c:
        (whole,) = c.execute(select(earth_issue.c.digest)).scalars()
        c.execute(update(earth_issue).values(ended_at=None))
    issue(bench, AT)
    assert list(ask(bench, lambda c: c.execute(select(earth_issue.c.digest)).scalars())) == [whole]


@pytest.mark.usefixtures("jobs_in_process")
def test_what_is_too_short_stale_or_noisy_is_withheld_with_the_reason(bench, tmp_path):
    values = draw()
    values[7, 110:] = np.nan
    values[8, :100] = np.nan
    values[9] = 60.0 * np.random.default_rng(5).normal(size=values.shape[1])
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    assert f"{COUNT - 3} points forecast from {DATES[119]:%Y-%m-%d}; 3 points without" in issue(bench, AT)
    rows = ask(bench, load_view, "point_forecasts", order_by=("pid",), horizon=1)
    reasons = {r["pid"]: r["reason"] for r in rows if r["q50"] is None}
    assert reasons["p007"] == "the newest reading is older than 3 intervals"
    assert reasons["p008"].startswith("record too short: ")
    assert reasons["p009"].startswith("noise: 80 % of past errors one acquisition ahead reach ")
    assert set(reasons) == {"p007", "p008", "p009"}


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_a_set_that_is_too_short_says_so_and_takes_earlier_forecasts_away(bench, tmp_path, monkeypatch):
    take(bench, write(tmp_path / "a.csv", draw(), 40), DATES[40])
    assert issue(bench, DATES[40]) == "sentinel: not forecast: 40 acquisitions: at least 42 are needed"
    take(bench, write(tmp_path / "b.csv", draw(), 120), AT)
    issue(bench, AT)
    take(bench, write(tmp_path / "c.csv", draw(), 126), AT + timedelta(days=60))
    right = point_forecasts.run_in_worker

    def doubt(plan, task, asked):
        return replace(right(plan, task, asked), horizons=(), reason="nothing holds")

    monkeypatch.setattr(point_forecasts, "run_in_worker", doubt)
    assert issue(bench, AT + timedelta(days=60)) == "sentinel: not forecast: nothing holds"
    with bench.read() as c:
        assert load_view(c, "point_forecasts") == []
        newest = load_view(c, "point_forecast_issues", order_by=("-issue_id",))[0]
    assert newest["reason"] == "nothing holds"


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_an_issue_that_broke_off_is_made_to_its_end(bench, tmp_path, monkeypatch):
    take(bench, write(tmp_path / "a.csv", draw(), 120), AT)
    monkeypatch.setattr(point_forecasts, "AT_ONCE", 100)
    right, calls = point_forecasts.save_forecasts, []

    def break_off(*args):
        calls.append(1)
        if len(calls) == 2:
            raise JobError("the worker was killed")
        right(*args)

    monkeypatch.setattr(point_forecasts, "save_forecasts", break_off)
    with pytest.raises(JobError, match="sentinel: the worker was killed"):
        issue(bench, AT)
    monkeypatch.setattr(point_forecasts, "save_forecasts", right)
    assert issue(bench, AT).startswith(f"sentinel: {COUNT} points forecast")
    with bench.read() as c:
        assert (len(load_view(c, "point_forecasts")), len(load_view(c, "point_forecast_issues"))) == (3 * COUNT, 3)


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_the_command_forecasts_and_lists(bench, tmp_path, monkeypatch, database_url, capsys):
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "bench.toml").write_text(TEXT)
    (tmp_path / "configs" / "slopeward.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)

    def call(*words):
        status = run_command(["forecast", "points", "bench", *words])
        out, err = capsys.readouterr()
        return status, out, err

    assert call()[0] == 4
    values = draw()
    values[30, :120] += 0.5 * np.arange(120)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    status, out, err = call("--now", "--limit", "3")
    assert status == 0, err
    assert f"{COUNT} points forecast" in err
    lines = out.splitlines()
    assert [line.startswith("issue 1, sentinel, known ") for line in lines] == [True] * 3 + [False] * 3
    assert "% inside the interval of 80 %, error " in lines[0]
    assert lines[3].startswith("  p030 at "), "what moves most comes first"
    status, out, _ = call("--pid", "p030", "--limit", "0", "--json")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()][3:]
    assert [r["horizon"] for r in rows] == [1, 2, 3]
    assert rows[2]["model"] == "trend", "a point that moves steadily follows its line"
    assert rows[2]["q10"] < values[30, 119] + 15 * 0.5 < rows[2]["q90"]
    assert call("--pid", "nobody")[0] == 4
    target = tmp_path / "ahead.csv"
    assert run_command(["export", "bench", "point-forecasts", "--out", str(target)]) == 0
    assert len(target.read_text().splitlines()) == 3 * COUNT + 1


ALL = (-180.0, -90.0, 180.0, 90.0)


def make(db, at):
    return point_map.run(db, CONFIG, SITE, at)


def look_map(db, box=ALL):
    with db.read() as c:
        one = point_maps.list_sets(c, "bench")["sentinel"]
        return one, point_maps.load_view(c, one, box)


@pytest.mark.soak
@ON_BOTH
@pytest.mark.usefixtures("jobs_in_process")
def test_every_point_has_its_line_once_a_delivery_is_through(bench, tmp_path):
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    assert make(bench, AT) == f"sentinel: {COUNT} points, 0 squares"
    assert make(bench, AT) == IDLE, "the same delivery is not gone through again"
    one, view = look_map(bench)
    assert (view.inside, len(view.points), view.squares) == (COUNT, COUNT, ())
    assert (one.from_at, one.newest_at) == (DATES[0], DATES[119])
    from scipy.stats import linregress  # half a second: not for every worker

    days = np.array([epoch_s(at) for at in DATES[:120]]) / 86400.0
    for k, point in enumerate(sorted(view.points, key=lambda p: p.pid)):
        known = np.isfinite(values[k, :120])
        asked = linregress(days[known], values[k, :120][known])
        assert point.line.rate_mm_per_year == pytest.approx(asked.slope * 365.25, rel=1e-6, abs=1e-6)
        assert point.line.error_mm_per_year == pytest.approx(asked.stderr * 365.25, rel=1e-5)
        assert point.line.epochs == known.sum()
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    assert make(bench, AT + timedelta(days=60)).endswith(f"{COUNT} points, 0 squares")
    rows = ask(bench, load_view, "insar_points", order_by=["pid"], site="bench")
    assert rows[12]["rate_mm_per_year"] == pytest.approx(
        linregress(
            np.array([epoch_s(at) for at in DATES])[np.isfinite(values[12])] / 86400.0,
            values[12][np.isfinite(values[12])],
        ).slope
        * 365.25,
        rel=1e-6,
        abs=1e-6,
    )
    assert all(row["rate_until_at"] == row["newest_at"] for row in rows)
    assert max(row["rate_until_at"][:10] for row in rows) == f"{DATES[125]:%Y-%m-%d}"


@pytest.mark.soak
@ON_BOTH
@pytest.mark.usefixtures("jobs_in_process")
def test_squares_hold_each_point_once_and_tell_median_and_both_ends(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(point_map, "POINTS_MOST", 40)
    monkeypatch.setattr(point_maps, "POINTS_MOST", 40)
    monkeypatch.setattr(point_map, "FEW", 10)
    monkeypatch.setattr(point_map, "BLOCK", 7)
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    make(bench, AT)
    one, view = look_map(bench)
    assert (view.points, view.inside) == ((), COUNT)
    with bench.read() as c:
        rates = {r["pid"]: r for r in load_view(c, "insar_points", site="bench")}
        levels = c.execute(select(earth_square.c.level, func.sum(earth_square.c.points)).group_by("level")).all()
    assert len(levels) > 1
    assert {total for _, total in levels} == {COUNT}, "at each level every point is in one square"
    for square in view.squares:
        wide, high = point_maps.find_sides(square.level, one.squash)
        mine = [
            r["rate_mm_per_year"]
            for r in rates.values()
            if square.x * wide <= r["longitude"] < (square.x + 1) * wide
            and square.y * high <= r["latitude"] < (square.y + 1) * high
        ]
        assert (square.points, square.rated) == (len(mine), len(mine))
        told = (square.median_mm_per_year, square.least_mm_per_year, square.most_mm_per_year)
        assert told == pytest.approx((np.median(mine), min(mine), max(mine)), abs=1e-4)
    _, near = look_map(bench, (7.999, 45.999, 8.012, 46.001))
    assert {p.pid for p in near.points} == {f"p{k:03}" for k in range(40, 52)}, "near by each point is shown"
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    make(bench, AT + timedelta(days=60))
    left = ask(bench, lambda c: c.execute(select(earth_square.c.delivery_id).distinct()).scalars().all())
    assert left == [look_map(bench)[0].delivery_id], "squares of the delivery before are gone"


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_a_run_that_broke_off_leaves_the_map_that_stood(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(point_map, "POINTS_MOST", 40)
    monkeypatch.setattr(point_maps, "POINTS_MOST", 40)
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    make(bench, AT)
    _, before = look_map(bench)
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    with monkeypatch.context() as broken:
        broken.setattr(point_map, "save_map", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(bench, AT + timedelta(days=60))
    assert look_map(bench)[1] == before
    make(bench, AT + timedelta(days=60))
    assert look_map(bench)[1] != before


def test_squares_lie_right_on_every_side_of_the_world():
    chance = np.random.default_rng(5)
    table = np.column_stack([chance.uniform(-60, 60, 500), chance.uniform(-170, 170, 500), chance.normal(size=500)])
    table[::7, 2] = np.nan
    for level, squares in point_map.make_squares(table, 0.7):
        wide, high = point_maps.find_sides(level, 0.7)
        expected = {}
        for latitude, longitude, rate in table:
            expected.setdefault((np.floor(latitude / high), np.floor(longitude / wide)), []).append(rate)
        assert {(s.y, s.x): (s.points, s.rated) for s in squares} == {
            key: (len(rates), int(np.isfinite(rates).sum())) for key, rates in expected.items()
        }
        for s in squares:
            known = [r for r in expected[s.y, s.x] if np.isfinite(r)]
            assert s.median_mm_per_year == (pytest.approx(np.median(known), abs=1e-4) if known else None)
