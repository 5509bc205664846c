"""The command line: one line for a known error, 2 for wrong usage, never a traceback."""

import json
import os

import pytest

from monitor.cli import main as cli
from monitor.cli.sites import write_first_site
from monitor.config import find_weaknesses, parse_site


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SLOPEWARD_") and "__" in name:
            monkeypatch.delenv(name)
    (tmp_path / "configs/sites").mkdir(parents=True)


def run(capsys, *words):
    status = cli.run_verb(list(words))
    out = capsys.readouterr()
    assert "Traceback" not in out.err + out.out
    return status, out.out, out.err


def test_help_lists_every_verb(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(verb in out for verb in cli.VERBS)


def test_without_a_verb_it_is_wrong_usage(capsys):
    assert run(capsys)[0] == 2


def test_an_unknown_verb_names_the_nearest(capsys):
    status, _, err = run(capsys, "statsu")
    assert status == 2
    assert "'status'" in err


def test_an_unknown_option_is_wrong_usage(capsys):
    status, _, err = run(capsys, "check", "--nope")
    assert status == 2
    assert "--nope" in err


def test_a_known_error_is_one_line(capsys):
    status, out, err = run(capsys, "check", "--config", "nowhere.toml")
    assert (status, out) == (1, "")
    assert err == "nowhere.toml: cannot be read: No such file or directory\n"


def test_an_internal_error_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setattr("monitor.cli.check.load_service", lambda _: 1 / 0)
    status, _, err = run(capsys, "check")
    assert status == 1
    assert err.startswith("internal error: ZeroDivisionError")
    assert err.count("\n") == 1


def test_init_writes_a_file_that_passes_check_and_is_never_overwritten(capsys):
    assert run(capsys, "sites", "init", "my-slope")[0] == 0
    status, out, _ = run(capsys, "check")
    assert status == 0, out
    assert run(capsys, "sites", "init", "my-slope")[0] == 1
    assert run(capsys, "sites", "init", "My Slope")[0] == 1


def test_the_first_site_has_no_weakness():
    assert find_weaknesses(parse_site(write_first_site("a"), "a")) == []


def test_check_exits_1_for_an_unreachable_top_level_and_names_it(capsys, tmp_path):
    text = write_first_site("lonely").replace('logger = "logger-2"', 'logger = "logger-1"')
    (tmp_path / "configs/sites/lonely.toml").write_text(text)
    status, _, err = run(capsys, "check")
    assert status == 1
    assert "'red' can never be reached" in err
    assert "E1, G1" in err


def test_check_names_an_unknown_model_and_goes_on(capsys, tmp_path):
    (tmp_path / "configs/sites/a.toml").write_text(write_first_site("a").replace('["auto"]', '["autogru"]'))
    (tmp_path / "configs/sites/b.toml").write_text(write_first_site("b"))
    status, out, _ = run(capsys, "check", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert any(not one["ok"] and "autogru" in one["text"] for one in lines)
    assert any(one["ok"] and one["subject"] == "b" for one in lines)


def test_check_connect_says_what_does_not_answer(capsys, tmp_path, monkeypatch):
    run(capsys, "sites", "init", "a")
    monkeypatch.setenv("SLOPEWARD_BROKER__MODE", "external")
    monkeypatch.setenv("SLOPEWARD_BROKER__URL", "mqtt://127.0.0.1:1")
    status, _, err = run(capsys, "check", "--connect")
    assert status == 1
    assert "broker" in err
    assert "slopeward db upgrade" in err


def test_show_resolves_globs(capsys):
    run(capsys, "sites", "init", "a")
    status, out, _ = run(capsys, "sites", "show", "a", "--json")
    assert status == 0
    assert json.loads(out)["criteria"][0]["stations"] == ["G1"]
    assert run(capsys, "sites", "show", "b")[0] == 1


def test_list_says_which_file_cannot_be_used(capsys, tmp_path):
    assert run(capsys, "sites", "list")[0] == 4
    (tmp_path / "configs/sites/bad.toml").write_text("x = ")
    status, _, err = run(capsys, "sites", "list")
    assert status == 3
    assert "bad.toml" in err


def test_status_of_a_database_without_schema_says_what_to_run(capsys):
    status, _, err = run(capsys, "status")
    assert status == 1
    assert "slopeward db upgrade" in err


def test_status_is_blind_where_nothing_runs(capsys):
    run(capsys, "db", "upgrade")
    status, out, _ = run(capsys, "status", "--json")
    assert status == 6
    assert json.loads(out)["state"] == "blind"


def test_version(capsys):
    assert run(capsys, "--version")[1].startswith("slopeward 0.")
