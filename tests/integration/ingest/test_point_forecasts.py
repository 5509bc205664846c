"""Satellite points are forecast when a file of them has come in: kept, made again, withheld with a reason."""

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select, update

from monitor.cli.main import run_verb
from monitor.errors import JobError
from monitor.jobs import point_forecasts
from monitor.store.schema import tables as t
from monitor.store.schema.views import load_view
from monitor.store.service_state import IDLE
from tests.conftest import ON_SQLITE
from tests.data.site_text import head, series, station
from tests.integration.ingest.test_point_looks import CONFIG, COUNT, DATES, bench, draw, take, write  # noqa: F401

TEXT = head("bench", timezone="UTC") + station(
    "G1", series("displacement", "mm", "1d", max_silence="3d"), latitude=46.0, longitude=8.0
)
AT = DATES[119] + timedelta(days=3)


def issue(db, at):
    return point_forecasts.run(db, CONFIG, _Site, at)


class _Site:
    id = "bench"


def test_points_that_came_in_are_forecast_once_and_each_again_bit_for_bit(bench, tmp_path):  # noqa: F811
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
    assert point_forecasts.repeats(bench, CONFIG.compute, issues[0]["issue_id"])
    take(bench, write(tmp_path / "b.csv", values, 126), AT + timedelta(days=60))
    issue(bench, AT + timedelta(days=60))
    with bench.read() as c:
        kept = c.execute(select(func.count()).select_from(t.point_forecast)).scalar_one()
        assert len(load_view(c, "point_forecast_issues")) == 6
    assert kept == COUNT, "one row per point, the newest"
    assert point_forecasts.repeats(bench, CONFIG.compute, issues[0]["issue_id"]), "as it was known then"
    with bench.write() as c:
        c.execute(update(t.point_issue).values(digest="00"))
    assert not point_forecasts.repeats(bench, CONFIG.compute, issues[0]["issue_id"])


@ON_SQLITE
def test_pieces_give_what_the_whole_gives_to_the_last_bit(bench, tmp_path, monkeypatch):  # noqa: F811
    take(bench, write(tmp_path / "a.csv", draw(), 120), AT)
    issue(bench, AT)
    monkeypatch.setattr(point_forecasts, "AT_ONCE", 70)
    monkeypatch.setattr(point_forecasts, "TABLES", 2)
    with bench.read() as c:
        (issue_id,) = c.execute(select(t.point_issue.c.id)).scalars()
    assert point_forecasts.repeats(bench, CONFIG.compute, issue_id)


@ON_SQLITE
def test_what_is_too_short_stale_or_noisy_is_withheld_with_the_reason(bench, tmp_path):  # noqa: F811
    values = draw()
    values[7, 110:] = np.nan
    values[8, :100] = np.nan
    values[9] = 60.0 * np.random.default_rng(5).normal(size=values.shape[1])
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    assert f"{COUNT - 3} points forecast from {DATES[119]:%Y-%m-%d}; 3 points without" in issue(bench, AT)
    with bench.read() as c:
        rows = load_view(c, "point_forecasts", order_by=("pid",), horizon=1)
    reasons = {r["pid"]: r["reason"] for r in rows if r["q50"] is None}
    assert reasons["p007"] == "stale: newest observation is older than 3 intervals"
    assert reasons["p008"].startswith("record too short: ")
    assert reasons["p009"].startswith("noise: 80 % of past errors one acquisition ahead reach ")
    assert set(reasons) == {"p007", "p008", "p009"}


@ON_SQLITE
def test_a_set_that_is_too_short_says_so_and_takes_earlier_forecasts_away(bench, tmp_path, monkeypatch):  # noqa: F811
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


@ON_SQLITE
def test_an_issue_that_broke_off_is_made_to_its_end(bench, tmp_path, monkeypatch):  # noqa: F811
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
        assert len(load_view(c, "point_forecasts")) == 3 * COUNT
        assert len(load_view(c, "point_forecast_issues")) == 3


@ON_SQLITE
def test_the_command_forecasts_lists_and_makes_again(bench, tmp_path, monkeypatch, database_url, capsys):  # noqa: F811
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "bench.toml").write_text(TEXT)
    (tmp_path / "configs" / "slopeward.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)

    def call(*words):
        status = run_verb(["forecast", "points", "--site", "bench", *words])
        out, err = capsys.readouterr()
        return status, out, err

    assert call()[0] == 4
    values = draw()
    values[30, :120] += 0.5 * np.arange(120)
    take(bench, write(tmp_path / "a.csv", values, 120), AT)
    status, out, err = call("--now", "--recompute", "--most", "3")
    assert status == 0, err
    assert f"{COUNT} points forecast" in err
    lines = out.splitlines()
    assert [line.startswith("issue 1, sentinel, known ") for line in lines] == [True] * 3 + [False] * 3
    assert "% inside the interval of 80 %, error " in lines[0]
    assert lines[3].startswith("  p030 at "), "what moves most comes first"
    status, out, _ = call("--pid", "p030", "--most", "0", "--json")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()][3:]
    assert [r["horizon"] for r in rows] == [1, 2, 3]
    assert rows[2]["model"] == "trend", "a point that moves steadily follows its line"
    assert rows[2]["q10"] < values[30, 119] + 15 * 0.5 < rows[2]["q90"]
    assert call("--pid", "nobody")[0] == 4
    with bench.write() as c:
        c.execute(update(t.point_issue).values(digest="00"))
    status, out, _ = call("--recompute")
    assert status == 1
    assert "DIFFERS when made again" in out
    target = tmp_path / "ahead.csv"
    assert run_verb(["export", "bench", "point-forecasts", "--out", str(target)]) == 0
    assert len(target.read_text().splitlines()) == 3 * COUNT + 1
