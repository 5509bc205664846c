"""Satellite points are looked at when a file of them has come in: found, grouped, kept, made again from the rows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update

from monitor.config.service import ServiceConfig, parse_site
from monitor.errors import JobError
from monitor.ingest.files.egms import open_egms
from monitor.ingest.files.points import PointsFile, read_points
from monitor.ingest.files.reader import ImportOptions
from monitor.jobs import points
from monitor.store.alerting.sites import save_site
from monitor.store.database.engine import Database
from monitor.store.models.point_looks import load_looks
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from monitor.store.service_state import IDLE
from tests.conftest import ON_SQLITE
from tests.data.anomalies.drawn_points import HALF_WAVELENGTH_MM, draw_points
from tests.data.site_text import head, series, station

START = datetime(2022, 1, 3, tzinfo=UTC)
DATES = [START + timedelta(days=6 * k) for k in range(126)]
COUNT = 300
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
    values[200, 121:] += HALF_WAVELENGTH_MM
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
    with database.write() as c:
        save_site(c, SITE, "test", "points", START)
    return database


def test_points_that_came_in_are_looked_at_once_and_what_happened_is_one_line_each(bench, tmp_path):
    values = draw()
    first_at, then = DATES[116] + timedelta(days=3), DATES[125] + timedelta(days=3)
    take(bench, write(tmp_path / "a.csv", values, 117), first_at)
    assert "300 points looked at in 39 new acquisitions until 2023-11-30" in look(bench, first_at)
    assert look(bench, first_at) == IDLE, "the same delivery is not looked at again"
    take(bench, write(tmp_path / "b.csv", values, 126), then)
    assert "300 points looked at in 9 new acquisitions until 2024-01-23" in look(bench, then)
    with bench.read() as c:
        newest, first = load_looks(c, "bench")
        happenings = load_view(c, "point_happenings", order_by=("number",), look_id=newest.id)
        anomalies = load_view(c, "point_anomalies", look_id=newest.id)
        looks = load_view(c, "point_looks", order_by=("look_id",))
    assert first.found.alarms <= 2, "quiet points are quiet"
    assert first.request.jump_mm == pytest.approx(27.7329)
    assert (newest.request.from_at, newest.found.newest_at) == (DATES[116], DATES[125])
    assert [(r["points"], r["acquisitions"], r["reason"]) for r in looks] == [(300, 39, ""), (300, 9, "")]
    common = happenings[0]
    assert (common["common"], common["kind"], common["judged"] > 250) == (True, "phase-jump", True)
    assert common["first_at"] == common["last_at"] == "2024-01-23T00:00:00.000000Z"
    assert common["size_mm"] == pytest.approx(-27.7, abs=1.5)
    slide = happenings[1]
    assert (slide["points"], slide["kind"], slide["station"]) == (12, "step", "G1")
    assert slide["size_mm"] == pytest.approx(45.0, abs=8.0)
    assert 150.0 < slide["radius_m"] < 300.0
    of_slide = [r for r in anomalies if r["number"] == slide["number"]]
    assert {r["pid"] for r in of_slide} == {f"p{k:03}" for k in SLIDE}
    assert all(r["score"] > r["threshold"] for r in anomalies)
    kinds = {r["pid"]: (r["kind"], r["at"][:10], r["compared_with"]) for r in anomalies}
    assert kinds["p100"][0] == "acceleration"
    assert kinds["p200"] == ("phase-jump", f"{DATES[121]:%Y-%m-%d}", kinds["p200"][2])
    assert "its last" in kinds["p200"][2]
    assert "other points" in kinds["p200"][2]
    for kept in (newest, first):
        assert points.repeats(bench, CONFIG.compute, SITE, kept.id), "the same rows come again from the database"


@ON_SQLITE
def test_what_came_in_later_changes_no_look_and_another_threshold_shows(bench, tmp_path):
    values = draw()
    first_at = DATES[116] + timedelta(days=3)
    take(bench, write(tmp_path / "a.csv", values, 117, range(200)), first_at)
    look(bench, first_at)
    with bench.read() as c:
        (kept,) = load_looks(c, "bench")
    take(bench, write(tmp_path / "b.csv", values + 1.0, 126), first_at + timedelta(days=60))
    assert points.repeats(bench, CONFIG.compute, SITE, kept.id)
    said = look(bench, first_at + timedelta(days=60))
    assert "300 points looked at in 39 new acquisitions" not in said
    with bench.write() as c:
        c.execute(update(t.point_look).where(t.point_look.c.id == kept.id).values(going_on=99))
    assert not points.repeats(bench, CONFIG.compute, SITE, kept.id)


@ON_SQLITE
def test_a_record_that_is_too_short_is_said_and_not_taken_for_quiet(bench, tmp_path):
    at = DATES[30]
    take(bench, write(tmp_path / "a.csv", draw(), 30), at)
    assert look(bench, at) == "sentinel: not looked at: 30 acquisitions: at least 60 are needed"
    with bench.read() as c:
        (kept,) = load_looks(c, "bench")
    assert (kept.found.points, kept.found.newest_at) == (0, None)
    take(bench, write(tmp_path / "b.csv", draw(), 117), DATES[116])
    assert "300 points looked at in 39 new acquisitions" in look(bench, DATES[116]), "as if it were the first one"


@ON_SQLITE
def test_what_is_stored_is_bounded_and_the_rest_is_counted(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(points, "STORED", 5)
    monkeypatch.setattr(points, "AT_ONCE", 110)
    take(bench, write(tmp_path / "a.csv", draw(), 125), DATES[125])
    said = look(bench, DATES[125])
    with bench.read() as c:
        (kept,) = load_looks(c, "bench")
        stored = c.execute(select(func.count()).select_from(t.point_anomaly)).scalar_one()
    assert stored == 5
    assert kept.found.left_out == kept.found.alarms - 5 >= 9
    assert said.endswith(f"{kept.found.left_out} alarms are not stored")
    assert replace(kept.found.happenings[0], members=()).points == 12


@ON_SQLITE
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
    with pytest.raises(JobError, match="a: it needed too much memory; b: 300 points looked at"):
        look(bench, at)
    with bench.read() as c:
        assert [kept.request.name for kept in load_looks(c, "bench")] == ["b"]
