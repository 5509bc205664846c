"""Test `slopeward backtest`: files instead of a database, two site files, labels and exit codes."""

import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from monitor.cli.main import run_command
from monitor.cli.session import print_hint_if_record_is_old
from monitor.sites.parsing import parse_site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from tests.alerts.test_scorecard import SITE
from tests.data.site_text import THREE, criterion, head, series, station

START = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def files(tmp_path):
    luck, rows, value = Random(1), ["time,station,quantity,value"], 0.0
    for day in range(300):
        value += 6.0 if 250 <= day < 264 else 0.2
        at = START + timedelta(days=day)
        rows.append(f"{at:%Y-%m-%dT%H:%M:%SZ},G1,displacement_mm,{value + luck.gauss(0, 0.3):.3f}")
    rows.append("2025-11-30T00:00:00Z,G1,displacement_mm,nonsense")
    data, site = tmp_path / "long.csv", tmp_path / "slope.toml"
    data.write_text("\n".join(rows) + "\n")
    site.write_text(SITE)
    return data, site


def run_backtest(capsys, *arguments):
    status = run_command(["backtest", *map(str, arguments)])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_time_without_recent_readings_is_not_judged(files, capsys):
    """A silent series is not judged, although old readings are still in the window of its criterion."""
    data, site = files
    rows = data.read_text().splitlines()
    data.write_text("\n".join([*rows[:51], *rows[201:251]]) + "\n")  # 150 of 250 days are missing
    status, out, err = run_backtest(capsys, "--data", data, "--site-file", site, "--json")
    assert status == 0, err
    (velocity,) = [one for one in json.loads(out)["runs"][0]["criteria"] if one["criterion"] == "velocity-1"]
    assert 0.3 < velocity["judged_share"] < 0.5


def test_backtest_of_a_file_with_a_site_file_needs_no_database(files, tmp_path, capsys):
    data, site = files
    events, other = tmp_path / "events.csv", tmp_path / "b.toml"
    events.write_text("from,to,class,level,name\n2025-09-15,2025-09-20,1,yellow,<slide & co>\n")
    other.write_text(SITE.replace("over = 2.0", "over = 50.0"))
    status, out, err = run_backtest(
        capsys, "--data", data, "--site-file", site, "--config", other, "--labels", events, "--json"
    )
    assert status == 0, err
    assert "1 of 301 rows left out" in err
    card = json.loads(out)
    assert card["known"]["mode"] == "observed"
    assert card["known"]["granularity_s"] == 60.0  # hourly and slower: a minute at most
    one, two = card["runs"]
    (event,) = one["events"]
    assert 0 < event["lead_s"] < 7 * 86400.0
    assert (one["misses"], two["misses"], two["alarm_days"]) == (0, 1, 0)
    assert any(line.startswith("misses: 0 with A, 1 with B") for line in card["differences"])
    assert one["duration_matrix"]["indicators"]["hit_rate"] == 1.0
    assert {c["criterion"] for c in one["criteria"]} >= {"velocity-1"}
    assert one["sensors"][0]["raises"] == 1
    status, out, _ = run_backtest(capsys, "--data", data, "--site-file", site, "--labels", events)
    assert status == 0
    assert "misses: 0 of 1" in out
    assert "each criterion alone" in out


@pytest.mark.soak
def test_invalid_arguments_are_one_line_of_error(files, tmp_path, capsys):
    data, site = files
    base = ("--data", data, "--site-file", site)
    assert (run_backtest(capsys, "--data", data)[0], run_backtest(capsys)[0]) == (2, 2)
    for words, said in (
        ((*base, "--since", "2026-01-01", "--until", "2025-01-01"), "--since must be before --until"),
        ((*base, "--since", "soon"), "--since"),
        ((*base, "--known", "then"), "expected one of"),
        ((*base, "--labels", tmp_path / "none.csv"), "none.csv: cannot be read"),
        ((*base, "--latency", "long"), "--latency"),
        (("--data", site, "--site-file", site), "slope.toml"),
    ):
        status, out, err = run_backtest(capsys, *words)
        assert status == 1, words
        left_out, *told = err.strip().splitlines() if "left out" in err else ("", *err.strip().splitlines())
        assert len(told) == 1, (left_out, told)
        assert said in told[0]
        assert not out
    status, _, err = run_backtest(capsys, *base, "--since", "2030-01-01", "--until", "2030-02-01")
    assert (status, "no reading" in err) == (4, True)
    other = tmp_path / "other.toml"
    other.write_text(SITE.replace('id = "slope"', 'id = "elsewhere"'))
    status, _, err = run_backtest(capsys, *base, "--config", other)
    assert (status, "of site 'elsewhere'" in err) == (1, True)


def test_commands_suggest_a_backtest_for_an_old_record(files, tmp_path, capsys, monkeypatch):
    data, site_file = files
    (tmp_path / "configs/sites").mkdir(parents=True)
    (tmp_path / "configs/sites/slope.toml").write_text(site_file.read_text())
    (tmp_path / "configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{tmp_path}/x.db"\n')
    monkeypatch.chdir(tmp_path)
    name = parse_site(SITE, "slope").id
    kept = [line for line in data.read_text().splitlines() if "nonsense" not in line]
    kept = [line.replace("2025-", "2011-", 1) for line in kept]  # an old record
    data.write_text("\n".join(kept) + "\n")
    assert run_command(["db", "upgrade"]) == 0
    assert run_command(["ingest", str(data), "--site", name]) in {0, 3}
    capsys.readouterr()
    looks = (
        ["evaluate", name, "--dry-run"],
        ["forecast", "run", name],
        ["anomalies", "score", name],
    )
    for words in looks:
        assert run_command(words) == 0
        told = capsys.readouterr().err
        assert "the last reading of" in told
        assert f"slopeward backtest --site {name}" in told
        (line,) = [line for line in told.splitlines() if "slopeward evaluate" in line]
    then = line.partition("slopeward ")[2].split()
    assert run_command([*then, "--json"]) == 0  # the suggested command works
    told = capsys.readouterr()
    assert told.err == ""
    words = {w["criterion"]: w for w in json.loads(told.out)["evidence"]["words"]}
    assert words["velocity-1"]["heard"]
    at = ["evaluate", name, "--at", "2011-09-18T00:00:00Z"]
    assert run_command([*at, "--json"]) == 0
    told = capsys.readouterr()
    assert "--known observed" in told.err  # the readings arrived later
    assert (json.loads(told.out)["level"], run_command([*at, "--known", "observed", "--json"])) == (0, 0)
    assert json.loads(capsys.readouterr().out)["level"] > 0
    assert run_command([*at, "--known", "never"]) == 1
    without_at = [word for word in at if word not in {"--at", at[at.index("--at") + 1]}]
    assert run_command([*without_at, "--known", "observed"]) == 2, "--known without --at has no effect"


def test_no_backtest_is_suggested_for_a_recent_record(capsys, tmp_path):
    site = parse_site(SITE, "slope")
    with Database(f"sqlite:///{tmp_path}/y.db") as db:
        upgrade(db)
        print_hint_if_record_is_old(db, site, datetime.now(UTC))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("stamp", "status"), [("counter", 0), ("interval_end", 1)])
def test_counter_declared_as_sums_is_rejected(tmp_path, capsys, stamp, status):
    at = [START + timedelta(minutes=10 * k) for k in range(60)]
    rows = [f"{one:%Y-%m-%dT%H:%M:%SZ},R1,rain_mm,{100 + 0.2 * (k // 2):.1f}" for k, one in enumerate(at)]
    data, site = tmp_path / "rain.csv", tmp_path / "rain.toml"
    data.write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    rule = criterion("rain_sum", series="R1.rain", yellow={"over": 30.0, "window": "1h"})
    site.write_text(head("slope", levels=THREE) + station("R1", series("rain", "mm", "10m", stamp=stamp)) + rule)
    found, _, err = run_backtest(capsys, "--data", data, "--site-file", site, "--accept-units")
    assert (found, "is its rain what the site file says?" in err) == (status, bool(status)), err


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize(("names", "status"), [(("G1",), 0), (("G1", "g1"), 0), (("g1",), 1), (("G2", "g1"), 1)])
def test_readings_of_undeclared_stations_are_reported(tmp_path, capsys, names, status):
    at = [START + timedelta(days=k) for k in range(40)]
    rows = [f"{one:%Y-%m-%dT%H:%M:%SZ},{name},displacement_mm,{k}.5" for k, one in enumerate(at) for name in names]
    data, site = tmp_path / "a.csv", tmp_path / "slope.toml"
    data.write_text("\n".join(["time,station,quantity,value", *rows, ""]))
    site.write_text(SITE)
    found, _, err = run_backtest(capsys, "--data", data, "--site-file", site)
    assert found == status, err
    assert ("names none of its series" in err) == bool(status)
    assert ("does not name: g1.displacement" in err) == (names == ("G1", "g1"))
