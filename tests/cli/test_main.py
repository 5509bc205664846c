"""The command line prints one line for a known error, exits with 2 for wrong usage, and never prints a traceback."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitor import plugin_isolation
from monitor.cli import commands
from monitor.cli import main as cli
from monitor.cli.commands import CommandTable, list_commands, load_all_commands
from monitor.cli.overview import SUBJECTS
from monitor.cli.printable import make_printable
from monitor.cli.session import Commands
from monitor.cli.site.sites import write_first_site
from monitor.plugin_isolation import PluginFault
from monitor.registration import Command
from monitor.sites.parsing import find_weaknesses, parse_site
from tests.data.site_text import criterion, head, series, station, table
from tests.tables import tabulated

MODELS = '["gru", "lstm", "graph-gru"]'  # in the first site file


@pytest.fixture(autouse=True)
def empty_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SLOPEWARD_") and "__" in name:
            monkeypatch.delenv(name)
    (tmp_path / "configs/sites").mkdir(parents=True)


def run(capsys, *arguments):
    status = cli.run_command(list(arguments))
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    return status, captured.out, captured.err


EVERYDAY_COMMANDS = ["init", "check", "run", "import", "status", "evaluate", "forecast", "alerts", "ack"]


def test_help_fits_on_a_screen_and_starts_with_the_everyday_commands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(capsys, "--help")
    lines = out.splitlines()
    assert status == 0
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    start = lines.index("Everyday commands") + 1
    assert [line.split()[0] for line in lines[start : start + len(EVERYDAY_COMMANDS)]] == EVERYDAY_COMMANDS


def test_help_lists_every_command_of_the_overview_by_subject(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run(capsys, "--help")
    top_level = {name.split()[0] for name in list_commands()}
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("  ")}
    assert listed == {name: list_commands()[name].help for name in top_level if list_commands()[name].is_in_overview}
    headings = [line for line in out.splitlines() if line in SUBJECTS]
    assert headings == list(SUBJECTS)


def test_help_commands_lists_every_command_with_its_summary(capsys):
    status, out, _ = run(capsys, "help", "commands")
    assert status == 0
    assert not [name for name in load_all_commands() if not re.search(rf"^  {name} ", out, re.MULTILINE)]
    _, out, _ = run(capsys, "help", "commands", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["command"] for row in rows} == load_all_commands().keys()
    assert {row["command"]: row["short_for"] for row in rows if "short_for" in row} == {
        "init": "sites init",
        "ack": "alerts ack",
    }


@pytest.mark.parametrize("words", ["alerts ack", "ack", "db", "people users"])
def test_help_of_a_command_is_what_its_option_help_prints(words, capsys):
    status, out, _ = run(capsys, "help", *words.split())
    assert status == 0
    assert out == run(capsys, *words.split(), "--help")[1]
    assert f"Usage: slopeward {words} " in out


@pytest.mark.parametrize("group", ["people", "notify", "ingest", "sites"])
def test_help_of_a_group_lists_its_commands(group, capsys):
    names = [path.split()[1] for path in list_commands() if path.startswith(f"{group} ")]
    status, out, _ = run(capsys, group, "--help")
    assert (status, bool(names)) == (0, True)
    assert all(re.search(rf"\b{name}\b", out) for name in names)


@tabulated(
    ("words", "expected"),
    [
        ("", "slopeward"),
        ("people", "users +Manage"),
        ("people usrs", "slopeward people: .*'users'"),
        ("users list", "`slopeward people users`"),
        ("people --json", "slopeward people: no such option --json"),
        ("statsu", "`slopeward status`"),
        ("backup", "`slopeward db backup`"),
        ("alarms", "did you mean `slopeward alerts`"),
        ("acknowledge 12", "did you mean `slopeward ack`"),
        ("start", "did you mean `slopeward run`"),
        ("validate", "did you mean `slopeward check`"),
        ("outlines list", "unknown command 'outlines'; `slopeward scenes review draw` has the word in its summary"),
        ("footprint", "unknown command 'footprint'; `slopeward scenes export` has the word in its summary"),
        ("visits list", "unknown command 'visits'. See slopeward --help"),
        ("people add", "No such command 'add'; did you mean `slopeward people users add`?"),
        ("notify test", "did you mean `slopeward notify channels test`"),
        ("alerts confirm 3", "did you mean `slopeward ack`"),
        ("sites check", "did you mean `slopeward check`"),
        ("check north", "this command takes options only"),
        ("alerts --site bench", "no such option --site; did you mean `slopeward alerts list --site`?"),
        ("check --nope", "slopeward check: no such option --nope. See slopeward check --help"),
        ("alerts lst", "slopeward alerts: .*'list'"),
        ("alerts list --sit x", "did you mean --site?"),
        ("evaluate", "slopeward evaluate: Missing argument 'SITE'"),
        ("ack", "slopeward ack: Missing argument 'ALERT_ID'"),
        ("export bench alerts --site bench", "give it without the option: slopeward export SITE WHAT"),
        ("evaluate --site bench", "no such option --site; give it without the option: slopeward evaluate SITE"),
        ("scenes add ./scene --site bench", "give it without the option: slopeward scenes add SITE SCENE"),
        ("init --site bench", "give it without the option: slopeward init SITE"),
        ("offsets add --site bench --station G1", "slopeward offsets add SITE"),
        ("report list bench", "the site is an option of this command: --site SITE"),
        ("backtest --site bench --from 2026-01-01", "no such option --from; its name is --since"),
        ("events add --to 2026-01-01", "no such option --to; its name is --until"),
        ("init bench --from table.csv", "slopeward init: no such option --from; its name is --table"),
        ("alerts export 3 --to a.zip", "no such option --to; its name is --out"),
        ("report add --time 2026-01-01", "its name is --at"),
        ("people tokens add grafana --valid 3d", "its name is --for"),
        ("forecast backtest --by month", "its name is --per"),
        ("scenes detect a.tif --site a.toml", "did you mean --site-file?"),
    ],
)
def test_wrong_usage_is_status_2_and_names_the_nearest_right_spelling(words, expected, capsys):
    status, out, err = run(capsys, *words.split())
    assert status == 2
    assert re.search(expected, out + err)
    if words not in {"", "people"}:
        assert (out, err.count("\n")) == ("", 1)


def test_unknown_command_names_disabled_plugins_which_may_provide_it(monkeypatch, capsys):
    monkeypatch.setattr(
        plugin_isolation, "_faults", {("visits", "plugin"): PluginFault("visits", "plugin", "it broke")}
    )
    _, _, err = run(capsys, "visits", "list")
    assert "'visits'; commands of disabled plugins are missing (visits): see slopeward doctor. See" in err


@pytest.mark.parametrize(
    ("group", "command", "words"), [("visits", "list", "visits list"), ("patrols", "patrols", "patrols")]
)
def test_single_command_of_a_plugin_keeps_its_name_unless_it_is_that_of_the_app(
    group, command, words, monkeypatch, capsys
):
    app = Commands(help="Inspections of a slope.", no_args_is_help=True)

    @app.command(command)
    def act() -> None:
        """Do it."""
        print("done")

    registered = CommandTable({**list_commands(), group: Command(lambda: app, "Inspections of a slope")}, {})
    monkeypatch.setattr(commands, "read_command_table", lambda: registered)
    assert run(capsys, *words.split()) == (0, "done\n", "")
    assert f"Usage: slopeward {words} " in run(capsys, *words.split(), "--help")[1]


COMMANDS_WITH_OUTPUT = (("--help",), ("--version",), ("check", "--help"), ("alerts", "explain", "--help"))


@pytest.mark.parametrize("buffering", [1, -1], ids=["by lines", "at the end"])
@pytest.mark.parametrize("words", COMMANDS_WITH_OUTPUT, ids=" ".join)
def test_command_ends_silently_when_the_reader_of_its_output_has_closed(words, buffering, capsys, monkeypatch):
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with open(write_fd, "w", buffering) as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert cli.run_command(list(words)) == cli.READER_LEFT
    assert capsys.readouterr().err == ""


def test_broken_pipe_to_another_process_is_reported(capsys, monkeypatch):
    """A worker or server ended. The error is reported although the output of the command goes to a pipe as well."""

    def fail():
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("monitor.cli.service.check.read_service", fail)
    read_fd, write_fd = os.pipe()
    with open(read_fd), open(write_fd, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert cli.run_command(["check"]) == 1
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize("buffering", [1, -1], ids=["by lines", "at the end"])
@pytest.mark.parametrize("words", COMMANDS_WITH_OUTPUT, ids=" ".join)
def test_full_disk_of_the_output_is_one_line_of_error(words, buffering, capsys, monkeypatch):
    with Path("/dev/full").open("w", buffering) as full:
        monkeypatch.setattr("sys.stdout", full)
        assert cli.run_command(list(words)) == 1
    assert capsys.readouterr().err == "the output is incomplete: No space left on device\n"


@pytest.mark.parametrize("closed", ["stdout", "stderr", "stdout stderr", ""])
@pytest.mark.parametrize(("words", "status"), [("check", 1), ("nope", 2), ("--version", 0)])
def test_closed_outputs_and_a_full_disk_do_not_change_the_exit_status(words, status, closed, capsys, monkeypatch):
    """For example `slopeward backup >&-` in a crontab: Python then has no such stream."""
    with Path("/dev/full").open("w") as full, pytest.raises(SystemExit) as caught:
        for name, stream in (dict.fromkeys(closed.split()) or {"stderr": full}).items():
            monkeypatch.setattr(f"sys.{name}", stream)
        cli.main([words])
    assert caught.value.code == status


def test_output_before_an_error_is_kept(tmp_path, capsys, monkeypatch):
    def fail():
        print("the first of two rows")
        raise PermissionError(13, "Permission denied", "/root/second")

    monkeypatch.setattr("monitor.cli.service.check.read_service", fail)
    output_file = tmp_path / "said.txt"
    with output_file.open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert cli.run_command(["check"]) == 1
    assert output_file.read_text() == "the first of two rows\n"
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EACCES, "r.csv: Permission denied; give this account access to it, or name another place\n"),
        (errno.ENOENT, "r.csv: No such file or directory; check that its folder exists and the name is right\n"),
        (errno.EISDIR, "r.csv: Is a directory; it is a folder: name a file\n"),
    ],
)
def test_file_error_is_one_line_with_a_remedy(number, line, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "r.csv")

    monkeypatch.setattr("monitor.cli.service.check.read_service", fail)
    assert run(capsys, "check") == (1, "", line)


def test_known_and_internal_errors_are_one_line(capsys, monkeypatch):
    result = run(capsys, "check", "--config", "nowhere.toml")
    assert result == (1, "", "nowhere.toml: cannot be read: No such file or directory\n")
    monkeypatch.setattr("monitor.cli.service.check.read_service", lambda: 1 / 0)
    status, _, err = run(capsys, "check")
    assert (status, err.count("\n"), err.startswith("internal error: ZeroDivisionError")) == (1, 1, True)


def test_init_writes_a_site_file_without_weaknesses_and_never_overwrites_it(capsys):
    assert run(capsys, "sites", "init", "my-slope")[0] == 0
    status, out, _ = run(capsys, "check")
    assert status == 0, out
    assert run(capsys, "sites", "init", "my-slope")[0] == 1
    assert run(capsys, "sites", "init", "My Slope")[0] == 1
    site = parse_site(write_first_site("a"), "a")
    assert find_weaknesses(site) == []
    assert {"gru", "lstm", "graph-gru"} <= set(site.forecast.models)
    assert "ae" in site.anomaly.detectors
    assert site.recipients[0].digest is not None, "advice is sent once a day, in the digest"


def test_check_reports_an_unreachable_top_level_and_an_unknown_model_and_continues(capsys, tmp_path):
    text = write_first_site("lonely").replace('logger = "logger-2"', 'logger = "logger-1"')
    (tmp_path / "configs/sites/lonely.toml").write_text(text)
    status, _, err = run(capsys, "check")
    assert status == 1
    assert "fusion.top_needs: level 'red' needs 2 independent witnesses" in err
    assert "E1, G1" in err
    (tmp_path / "configs/sites/a.toml").write_text(write_first_site("a").replace(MODELS, '["autogru"]'))
    (tmp_path / "configs/sites/b.toml").write_text(write_first_site("b"))
    status, out, _ = run(capsys, "check", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert any(not result["ok"] and "autogru" in result["text"] for result in lines)
    assert any(result["ok"] and result["subject"] == "b" for result in lines)


def check_site_a(capsys, tmp_path, text):
    (tmp_path / "configs/sites/a.toml").write_text(text)
    status, out, _ = run(capsys, "check", "--json")
    return status, [(line["state"], line["text"]) for line in map(json.loads, out.splitlines())]


def test_check_reports_an_unknown_site_to_start_networks_from(capsys, tmp_path):
    text = write_first_site("a").replace(
        f"models = {MODELS}", 'models = ["lstm"]\nstart_from = "b"\nreplay = ["b", "c"]'
    )
    (tmp_path / "configs/sites/b.toml").write_text(write_first_site("b"))
    status, lines = check_site_a(capsys, tmp_path, text)
    assert status == 1
    assert [line for state, line in lines if state == "wrong"] == [
        "forecast.replay: no site is called 'c'; expected one of: a, b"
    ]


@pytest.mark.parametrize(
    ("channel", "state", "words"),
    [
        ("pager:7", "wrong", "kind of log, webhook, email, apprise, mqtt"),
        ("email:duty", "wrong", "not a mail address"),
        ("email:duty@example.org\\nBcc: b@example.org", "wrong", "not a mail address"),
        ("log:duty\\u000b", "wrong", "expected one line"),
        ("mqtt:alarms/#", "wrong", "without the wildcards + and #"),
        ("webhook:duty-url", "wrong", "in capitals"),
        ("webhook:DUTY_URL", "ok", "recipients"),
    ],
)
def test_check_accepts_only_channels_that_can_send(capsys, tmp_path, channel, state, words):
    text = write_first_site("a").replace('channels = ["log"', f'channels = ["log", "{channel}"')
    assert channel in text
    status, lines = check_site_a(capsys, tmp_path, text)
    assert status == (state == "wrong")
    assert any(line_state == state and words in line for line_state, line in lines), lines


def test_check_lists_every_mistake_of_a_file(capsys, tmp_path):
    good = write_first_site("a")
    schema = good.replace("[site]", "[site]\nnick = 1\nlatitud = 2", 1).replace("min_sigma", "min_sigmas", 1)
    schema = schema.replace('timezone = "', "timezone = 7 # ", 1)
    status, results = check_site_a(capsys, tmp_path, schema)
    lines = [line for state, line in results if state == "wrong"]
    assert status == 1
    for words in ("'nick'", "'latitud'", "site.timezone", "'min_sigmas'"):
        assert sum(words in line for line in lines) == 1, (words, lines)
    names = good.replace('stations = ["', 'stations = ["X', 1).replace('channels = ["log"', 'channels = ["pager:7"')
    status, results = check_site_a(capsys, tmp_path, names.replace(MODELS, '["autogru", "grus"]'))
    lines = [line for state, line in results if state == "wrong"]
    for words in ("'autogru'", "'grus'", "pager:7", "criterion[0].stations"):
        assert sum(words in line for line in lines) == 1, (words, lines)
    twice = good + '\n[[recipient]]\nname = "Engineer"\nchannels = ["log"]\n'
    assert "two spellings of one name" in str(check_site_a(capsys, tmp_path, twice)[1])


def test_check_validates_every_decoder(capsys, tmp_path):
    text = write_first_site("a") + '\n[[decoder]]\ntopic = "gateway/+/up"\nname = "json"\n'
    status, lines = check_site_a(capsys, tmp_path, text)
    assert status == 1
    (line,) = [line for state, line in lines if state == "wrong"]
    assert "gateway/+/up" in line
    assert "time is missing" in line
    text += 'time = "t"\nseries = {x = "G1.tilt_x_deg"}\n'
    assert check_site_a(capsys, tmp_path, text)[0] == 0


def test_check_warns_of_a_station_named_like_a_level(capsys, tmp_path):
    text = write_first_site("a")
    station = re.search(r'\[\[station\]\]\nid = "([^"]+)"', text)[1]
    status, lines = check_site_a(capsys, tmp_path, text.replace(station, "Green"))
    assert status == 0
    assert any(state == "warn" and "station Green: green is the name" in line for state, line in lines)
    assert not any("name of a level" in line for _, line in check_site_a(capsys, tmp_path, text)[1])


def find_warnings(lines):
    """Return the lines that are not "ok", without those about features that are not installed."""
    return [line for state, line in lines if state != "ok" and "is not installed" not in line]


def test_check_warns_when_the_top_level_may_reach_nobody(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("DUTY_URL", "https://example.org/hook")
    text = write_first_site("a")
    status, lines = check_site_a(capsys, tmp_path, text)
    assert status == 0
    assert any(
        state == "warn" and "reaches nobody: no recipient has a channel to a person" in line for state, line in lines
    )
    assert any(state == "warn" and "criterion rate-1: no author and no reason" in line for state, line in lines)
    text = text.replace('author = ""', "").replace('reason = ""', "")
    text = text.replace("[[criterion]]", '[[criterion]]\nauthor = "A. Rossi"\nreason = "record of four years"')
    one_way = text.replace('channels = ["log"]', 'channels = ["log", "mqtt:lamps/red", "webhook:DUTY_URL"]')
    (line,) = find_warnings(check_site_a(capsys, tmp_path, one_way)[1])
    assert "reaches people only through webhook:DUTY_URL" in line, "a log and a device do not reach a second person"
    two_ways = text.replace('channels = ["log"]', 'channels = ["email:duty@example.org", "webhook:DUTY_URL"]')
    assert find_warnings(check_site_a(capsys, tmp_path, two_ways)[1]) == []
    status, lines = check_site_a(capsys, tmp_path, two_ways.replace("[fusion]", "[fusion]\nfast_track = true"))
    assert status == 0
    assert any(state == "warn" and "fusion.fast_track" in line and "lightning" in line for state, line in lines)
    without_recipient = two_ways.replace('levels = ["yellow", "orange", "red"]', 'levels = ["yellow"]')
    status, lines = check_site_a(capsys, tmp_path, without_recipient)
    assert status == 0
    assert any(state == "warn" and "no recipient is notified of the top level 'red'" in line for state, line in lines)


def test_check_warns_of_an_expensive_site_and_rejects_one_above_the_limit(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SLOPEWARD_SMTP__HOST", "mail.example.org")
    author = {"author": "x", "reason": "x"}

    def make_text(interval):
        return (
            head("a", timezone="UTC", levels={"names": ["green", "red"]}, fusion={"top_needs": 1})
            + station("G1", series("rain", "mm", interval))
            + criterion("rain_sum", id="storm", series="G1.rain", **author, red={"over": 50, "window": "7d"})
            + table("[[recipient]]", name="duty", channels=["email:duty@example.org", "webhook:DUTY_URL"])
        )

    assert check_site_a(capsys, tmp_path, make_text("1m")) == (0, [("ok", "stations: 1, criteria: 1, recipients: 1")])
    status, lines = check_site_a(capsys, tmp_path, make_text("10s"))
    assert status == 0
    (line,) = [line for state, line in lines if state == "warn"]
    assert "more than 50,000 is slow" in line
    status, lines = check_site_a(capsys, tmp_path, make_text("2s"))
    assert status == 1
    ((state, line),) = lines
    assert state == "wrong"
    assert "Criterion 'storm' reads most at station 'G1'" in line
    assert "at most 200,000" in line


def test_check_connect_reports_unreachable_broker_and_missing_schema(capsys, tmp_path, monkeypatch):
    run(capsys, "sites", "init", "a")
    monkeypatch.setenv("SLOPEWARD_BROKER__MODE", "external")
    monkeypatch.setenv("SLOPEWARD_BROKER__URL", "mqtt://127.0.0.1:1")
    status, _, err = run(capsys, "check", "--connect")
    assert status == 1
    assert "broker" in err
    assert "slopeward db upgrade" in err


def test_check_without_a_site_file_names_the_ways_to_write_one(capsys):
    status, _, err = run(capsys, "check")
    assert status == 1
    assert "`slopeward import FILE`" in err
    assert "`slopeward import --from SOURCE --since DAY`" in err
    assert "`slopeward init NAME`" in err


@pytest.mark.parametrize(("host", "is_complete"), [(None, False), ("mail.example.org", True)])
def test_check_warns_if_no_channel_to_a_person_has_its_settings(capsys, tmp_path, monkeypatch, host, is_complete):
    run(capsys, "sites", "init", "a")
    path = tmp_path / "configs/sites/a.toml"
    path.write_text(re.sub(r"channels = \[.*\]", 'channels = ["log", "email:duty@example.org"]', path.read_text()))
    if host is not None:
        monkeypatch.setenv("SLOPEWARD_SMTP__HOST", host)
    status, _, err = run(capsys, "check")
    assert status == 0, "the service may run in another environment"
    assert ("no alert reaches a person" in err) == (not is_complete)
    assert ("SLOPEWARD_SMTP__HOST is not set" in err) == (not is_complete)


def test_list_names_unusable_files_and_show_resolves_patterns(capsys, tmp_path):
    assert run(capsys, "sites", "list")[0] == 4
    (tmp_path / "configs/sites/bad.toml").write_text("x = ")
    status, _, err = run(capsys, "sites", "list")
    assert status == 3
    assert "bad.toml" in err
    run(capsys, "sites", "init", "a")
    status, out, _ = run(capsys, "sites", "show", "a", "--json")
    assert status == 0
    assert json.loads(out)["criteria"][0]["stations"] == ["G1"]
    assert run(capsys, "sites", "show", "b")[0] == 1


def test_status_is_blind_without_schema_or_a_service(capsys):
    status, out, _ = run(capsys, "status")
    assert status == 6
    assert "slopeward db upgrade" in out
    run(capsys, "db", "upgrade")
    status, out, _ = run(capsys, "status", "--json")
    assert status == 6
    assert json.loads(out)["state"] == "blind"


@pytest.mark.parametrize(("words", "said"), [("db prune", "[retention]"), ("db", "[retention]")])
def test_help_shows_names_of_tables_in_brackets(capsys, words, said):
    """The formatter once took the brackets for markup and omitted the names."""
    status, out, _ = run(capsys, *words.split(), "--help")
    assert (status, said in out) == (0, True)


@tabulated(
    ("text", "shown"),
    [
        ("a\x1b[2J\x1b[1;1Hb", r"a\x1b[2J\x1b[1;1Hb"),
        ("\x1b[8mhidden", r"\x1b[8mhidden"),
        ("\x9b2Jx\x7f", r"\x9b2Jx\x7f"),
        ("a\rb", r"a\rb"),
        ("\rrows 5", "\rrows 5"),
        ("Hang Süd, 监测 ‑ 5\u202f°C\n", "Hang Süd, 监测 ‑ 5\u202f°C\n"),
        ("\udcff.csv", r"\udcff.csv"),
    ],
)
def test_control_characters_are_escaped_and_text_is_kept(text, shown):
    assert make_printable(text) == shown


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(tmp_path):
    name = "a\x1b]0;owned\x07\x1b[2J.csv"
    (tmp_path / name).write_text("time,station,quantity,value\nx\x1b[3J,G\x07,rain_mm,1\n")
    parent_fd, child_fd = os.openpty()
    command = [sys.executable, "-m", "monitor.cli.main", "ingest", name, "--dry-run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=child_fd, stderr=child_fd)
    os.close(child_fd)
    output = b""
    try:
        while chunk := os.read(parent_fd, 4096):
            output += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 4
    assert rb"a\x1b]0;owned\x07\x1b[2J.csv" in output
    assert not set(b"\x1b\x07") & set(output)
