"""The table of alarms of another system is read completely or refused with a remedy, and can be imported again."""

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select

from monitor.alerts.replay.other_alarms import Episode, SystemAlarm, Verdict, group_alarms
from monitor.cli.main import run_command
from monitor.errors import ConfigError, RefusedError
from monitor.features.second_opinion import reading
from monitor.features.second_opinion.reading import read_alarms, read_columns_option
from monitor.features.second_opinion.report import ReportOptions, SecondOpinion, write_text
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.audit_tables import audit_entry
from tests.data.watched_slope import SITE_TEXT, START, write_service

HEAD = "time,until,station,level,text,outcome\n"
GOOD = "2026-03-01T10:00Z,2026-03-01T12:00Z,P1,2,limit exceeded,"


def write(folder, text, encoding="utf-8"):
    path = folder / "alarms.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,text\n", "there is no column 'time'; the columns are: when, text"),
        ("", "the columns are: none"),
        ("time;text\n2026-03-01T10:00Z;x\n", "or the sign between columns with --delimiter"),
        (f"{HEAD}2026-03-01 10:00,,,,,", "line 2: .*--zone Europe/Zurich"),
        (f"{HEAD}{GOOD}\nyesterday,,,,,", "line 3: "),
        (f"{HEAD}2026-03-01T10:00Z,2026-03-01T09:00Z,,,,", "ends before it starts"),
        (f"{HEAD}2026-03-01T10:00Z,,,,,wrong", "outcome 'wrong': expected one of true, false_instrument"),
        (f"{HEAD}2026-03-01T10:00Z,,,,,drill", "outcome 'drill'"),
        (f"{HEAD}2026-03-01T10:00Z,,P1,1,limit, exceeded,", "line 2: more cells than columns"),
        (f"{HEAD}2026-03-01T10:00Z,,P1,1,{'x' * 1001},", "text: expected at most 1000 characters"),
        (f"{HEAD}2026-03-01T10:00Z,,P\x071,1,x,", "station: expected one line"),
        (HEAD + "?,,,,,\n" * 8, "3 more lines are wrong"),
    ],
)
def test_wrong_table_is_refused_with_line_and_remedy(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_alarms(write(tmp_path, text))


def test_table_in_local_time_and_another_encoding_is_read_if_both_are_named(tmp_path):
    path = write(tmp_path, "Zeit;Text\n2026-07-01 10:00;Grenze überschritten\n", "cp1252")
    with pytest.raises(ConfigError, match="--encoding cp1252"):
        read_alarms(path, delimiter=";")
    (row,) = read_alarms(
        path, names={"time": "Zeit", "text": "Text"}, delimiter=";", encoding="cp1252", zone="Europe/Zurich"
    )
    assert (row.at, row.to_at, row.text) == (
        datetime(2026, 7, 1, 8, tzinfo=UTC),
        datetime(2026, 7, 1, 8, tzinfo=UTC),
        "Grenze überschritten",
    )


def test_time_that_the_clock_shows_twice_is_refused(tmp_path):
    path = write(tmp_path, "time\n2026-10-25 02:30\n")
    with pytest.raises(ConfigError, match="02:30"):
        read_alarms(path, zone="Europe/Zurich")


def test_tables_of_readings_are_refused_by_their_size(tmp_path, monkeypatch):
    path = write(tmp_path, f"{HEAD}{GOOD}\n{GOOD}\n")
    monkeypatch.setattr(reading, "MAX_ROWS", 1)
    with pytest.raises(ConfigError, match="at most 1 alarms"):
        read_alarms(path)
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="not of readings"):
        read_alarms(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_alarms(tmp_path / "none.csv")


@pytest.mark.parametrize("pair", ["time", "when=Zeit", "time="])
def test_columns_are_named_in_pairs(pair):
    with pytest.raises(RefusedError, match="expected COLUMN=NAME"):
        read_columns_option([pair])


@pytest.fixture
def service(database, tmp_path, monkeypatch):
    with database.write() as c:
        save_site(c, parse_site(SITE_TEXT, "bench.toml"), "test", "test", START)
    monkeypatch.setenv("SLOPEWARD_CONFIG", str(write_service(tmp_path, database)))
    return tmp_path


def test_second_import_adds_new_alarms_and_takes_new_outcomes(service, database, capsys):
    def run(text):
        assert (
            run_command(["second-opinion", "import", "bench", str(write(service, text)), "--by", "Ada", "--json"]) == 0
        )
        result = json.loads(capsys.readouterr().out)
        return result["rows"], result["added"], result["outcomes"]

    other = "2026-03-02T10:00Z,,,,prism lost,"
    assert run(f"{HEAD}{GOOD}\n") == (1, 1, 0)
    assert run(f"{HEAD}{GOOD}\n{other}\n") == (2, 1, 0)
    assert run(f"{HEAD}{GOOD}false_weather\n{other}\n") == (2, 0, 1)
    assert run(f"{HEAD}{GOOD}\n{other}\n") == (2, 0, 0), "an empty cell withdraws nothing"
    assert run_command(["second-opinion", "list", "--site", "bench"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "    2 bench 2026-03-02T10:00Z prism lost (not recorded)",
        "    1 bench 2026-03-01T10:00Z 2 P1 limit exceeded (false_weather)",
    ]
    with database.read() as c:
        acts = c.execute(select(audit_entry.c.actor).where(audit_entry.c.action == "other_alarms.import")).scalars()
        assert list(acts) == ["Ada"] * 3


def test_import_needs_a_known_site_and_rows(service, capsys):
    path = write(service, HEAD)
    assert run_command(["second-opinion", "import", "bench", str(path), "--by", "Ada"]) == 4
    path = write(service, f"{HEAD}{GOOD}\n")
    assert run_command(["second-opinion", "import", "north", str(path), "--by", "Ada"]) == 1
    assert run_command(["second-opinion", "import", "bench", str(path), "--delimiter", "::", "--by", "Ada"]) == 1
    assert "--delimiter" in capsys.readouterr().err


def test_report_without_alarms_invents_nothing(service, capsys):
    assert run_command(["second-opinion", "report", "bench"]) == 0
    text = capsys.readouterr().out
    assert "Neither system raised an alarm that is stored here" in text
    assert "No alarm of the other system was ever imported" in text
    assert "**Agreement**: no episode" in text
    limit = text.index("**Limit**: Slopeward evaluated the site in 0.0 of 720.0 h")
    assert limit < text.index("**Agreement**"), "the reader sees first how little was seen"
    assert text.count("Slopeward evaluated the site in") == 1
    for options in (["--level", "green"], ["--other-level", "9"], ["--out", "report.pdf"]):
        assert run_command(["second-opinion", "report", "bench", *options]) == 1
        assert options[0] in capsys.readouterr().err


def alarm(hour, length_h=0, outcome=None):
    at = START + timedelta(hours=hour)
    return SystemAlarm(at, None if length_h is None else at + timedelta(hours=length_h), hour, outcome=outcome)


def draw_alarms(rng):
    alarms = [alarm(rng.randrange(500), rng.choice([0, 5, 40])) for _ in range(rng.randrange(8))]
    return sorted(alarms, key=lambda drawn: drawn.at)


def test_every_alarm_is_in_one_episode_and_episodes_are_a_window_apart():
    for seed in range(200):
        rng = random.Random(seed)
        own, other = (draw_alarms(rng) for _ in range(2))
        window_h = rng.choice([1, 12, 48])
        episodes = group_alarms(own, other, window_h * 3600.0)
        assert [a for e in episodes for a in e.own] == own
        assert [a for e in episodes for a in e.other] == other
        swapped = group_alarms(other, own, window_h * 3600.0)
        assert [(e.other, e.own) for e in swapped] == [(e.own, e.other) for e in episodes], "symmetrical"
        for before, after in pairwise(episodes):
            end = max(a.to_at for a in (*before.own, *before.other))
            assert after.from_at - end > timedelta(hours=window_h)


def test_alarm_that_lasts_takes_all_later_ones():
    (episode,) = group_alarms([alarm(0, None)], [alarm(400)])
    assert episode.lead_s == 400 * 3600.0


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((None, None), Verdict.NOT_RECORDED),
        (("unknown", None), Verdict.NOT_RECORDED),
        (("true", "unknown"), Verdict.TRUE),
        ((None, "false_work"), Verdict.FALSE),
        (("true", "false_work"), Verdict.CONTRADICTORY),
    ],
)
def test_episode_is_false_only_if_people_recorded_it(outcomes, verdict):
    own, other = (alarm(0, outcome=outcome) for outcome in outcomes)
    (episode,) = group_alarms([own], [other])
    assert episode.verdict == verdict


def test_agreement_is_not_known_without_an_imported_alarm():
    end = datetime(2026, 4, 1, tzinfo=UTC)
    options = ReportOptions(end - timedelta(days=30), end, 86400.0, 1)
    own = SystemAlarm(end - timedelta(days=3), end, 7, "orange")
    opinion = SecondOpinion("bench", "Bench", options, "yellow", (Episode([own]),), None, 2592000.0, 0.0, True)
    assert opinion.to_json()["agreement"] is None
    text = write_text(opinion)
    assert "**Agreement**: not known" in text
    assert "| of these, of this system alone | not known | not imported |" in text
