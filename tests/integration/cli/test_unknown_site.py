"""A site that nobody declared is said so by every verb that takes one, also where a list would be empty."""

from pathlib import Path

import pytest

from monitor.cli.main import run_verb
from monitor.config.first_site import write_first_site

VERBS = (
    "alerts list --site {}",
    "maintenance list --site {}",
    "offsets list --site {}",
    "sites proposals --site {}",
    "forecast models --site {}",
    "forecast explain --site {}",
    "scenes export --site {}",
    "scenes review list --site {}",
    "scenes review accept abc --site {}",
    "ingest --forget-epoch0 {}/G1",
    "offsets add --site {} --station G1 --quantity tilt_x --at 2026-03-01T06:00:00Z --size 1 --unit mrad --reason dry",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("configs/sites").mkdir(parents=True)
        Path("configs/sites/north-bench.toml").write_text(write_first_site("north-bench"))
        Path("configs/slopeward.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/x.db"\n')
        assert run_verb(["db", "upgrade"]) == 0
        yield folder


@pytest.mark.parametrize("words", VERBS)
def test_an_unknown_site_is_one_line(place, words, capsys):
    status = run_verb(words.format("north-bemch").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "north-bemch" in err
    assert "did you mean north-bench?" in err or "GNSS reference" in err


@pytest.mark.parametrize("words", [w for w in VERBS if "list" in w or "models" in w or "expl" in w or "export" in w])
def test_a_declared_site_of_which_nothing_is_kept_is_said_to_have_nothing(place, words, capsys):
    status = run_verb(words.format("north-bench").split())
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (4, "", 1)


def test_status_before_the_first_run_names_the_site_that_waits(place, capsys):
    assert run_verb(["status"]) == 6
    assert "`slopeward run` takes: north-bench" in capsys.readouterr().out


def test_alerts_of_the_service_before_the_first_one_are_none_and_no_error(place, capsys):
    assert (run_verb(["alerts", "list", "--site", "status"]), capsys.readouterr().err) == (4, "no alert\n")
    assert run_verb(["alerts", "list", "--ledger", "hazards"]) == 1
    assert "hazard, health, advice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb",
    ["report add --site north-bench --kind crack --text rockfall", "level set north-bench yellow --reason works"],
)
@pytest.mark.parametrize("name", ["", "  ", "\u200b"])
def test_nobody_may_not_act(place, verb, name, capsys):
    status = run_verb([*verb.split(), "--by", name])
    err = capsys.readouterr().err
    assert (status, err.count("\n")) == (1, 1)
    assert "--by: a name is needed" in err
