"""The map of satellite points: lines as least squares say, squares that hold every point once, after each delivery."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import linregress
from sqlalchemy import func, select

from monitor.domain.instants import epoch_s
from monitor.jobs import point_map
from monitor.store.models import point_maps
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from monitor.store.service_state import IDLE
from tests.conftest import ON_SQLITE
from tests.integration.ingest.test_point_looks import (
    CONFIG,
    COUNT,
    DATES,
    SITE,
    bench,  # noqa: F401
    draw,
    take,
    write,
)

AT = DATES[119] + timedelta(days=3)
ALL = (-180.0, -90.0, 180.0, 90.0)


def make(db, at):
    return point_map.run(db, CONFIG, SITE, at)


def look(db, box=ALL):
    with db.read() as c:
        one = point_maps.list_sets(c, "bench")["sentinel"]
        return one, point_maps.load_view(c, one, box)


def test_every_point_has_its_line_once_a_delivery_is_through(bench, tmp_path):  # noqa: F811
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    assert make(bench, AT) == f"sentinel: {COUNT} points, 0 squares"
    assert make(bench, AT) == IDLE, "the same delivery is not gone through again"
    one, view = look(bench)
    assert (view.inside, len(view.points), view.squares) == (COUNT, COUNT, ())
    assert (one.from_at, one.newest_at) == (DATES[0], DATES[119])
    days = np.array([epoch_s(at) for at in DATES[:120]]) / 86400.0
    for k, point in enumerate(sorted(view.points, key=lambda p: p.pid)):
        known = np.isfinite(values[k, :120])
        asked = linregress(days[known], values[k, :120][known])
        assert point.line.rate_mm_per_year == pytest.approx(asked.slope * 365.25, rel=1e-6, abs=1e-6)
        assert point.line.error_mm_per_year == pytest.approx(asked.stderr * 365.25, rel=1e-5)
        assert point.line.epochs == known.sum()
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    assert make(bench, AT + timedelta(days=60)).endswith(f"{COUNT} points, 0 squares")
    with bench.read() as c:
        rows = load_view(c, "insar_points", order_by=["pid"], site="bench")
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


def test_squares_hold_each_point_once_and_tell_median_and_both_ends(bench, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(point_map, "POINTS_MOST", 50)
    monkeypatch.setattr(point_maps, "POINTS_MOST", 50)
    monkeypatch.setattr(point_map, "FEW", 20)
    monkeypatch.setattr(point_map, "BLOCK", 7)
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    make(bench, AT)
    one, view = look(bench)
    assert view.points == ()
    assert view.inside == COUNT
    with bench.read() as c:
        rates = {r["pid"]: r for r in load_view(c, "insar_points", site="bench")}
        levels = c.execute(select(t.point_square.c.level, func.sum(t.point_square.c.points)).group_by("level")).all()
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
    _, near = look(bench, (7.999, 45.999, 8.012, 46.001))
    assert {p.pid for p in near.points} == {f"p{k:03}" for k in range(40, 52)}, "near by each point is shown"
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    make(bench, AT + timedelta(days=60))
    with bench.read() as c:
        left = c.execute(select(t.point_square.c.delivery_id).distinct()).scalars().all()
    assert left == [look(bench)[0].delivery_id], "squares of the delivery before are gone"


@ON_SQLITE
def test_a_run_that_broke_off_leaves_the_map_that_stood(bench, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(point_map, "POINTS_MOST", 50)
    monkeypatch.setattr(point_maps, "POINTS_MOST", 50)
    values = np.round(draw(), 1)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    make(bench, AT)
    _, before = look(bench)
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    with monkeypatch.context() as broken:
        broken.setattr(point_map, "save_map", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(bench, AT + timedelta(days=60))
    assert look(bench)[1] == before
    make(bench, AT + timedelta(days=60))
    assert look(bench)[1] != before


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
