"""Without the extension: what needs it is refused in one line, at every verb that reads the service file."""

from datetime import UTC, datetime

import pytest

from monitor.checks.table import check_parts
from monitor.cli.main import run_verb
from monitor.config.service import parse_service
from monitor.domain import extension
from monitor.domain.errors import ConfigError

ASKS = {
    "compute.dask": '[compute]\ndask = "tcp://127.0.0.1:8786"\n',
    "ingest.processes": '[database]\nurl = "postgresql://h/d"\n[ingest]\nprocesses = 2\n',
    "standby.enabled": '[database]\nurl = "postgresql://h/d"\n[broker]\nmode = "external"\n[standby]\nenabled = true\n',
}


@pytest.fixture
def without(monkeypatch):
    """Where the folder and its line are gone."""
    others = tuple(one for one in extension.list_extensions() if one.name != "scale_out")
    monkeypatch.setattr(extension, "list_extensions", lambda: others)


@pytest.mark.parametrize("key", ASKS)
@pytest.mark.parametrize("verb", ["run", "check", "status"])
def test_what_needs_it_is_one_line_and_the_exit_code_of_a_configuration_that_is_wrong(
    without, tmp_path, monkeypatch, capsys, key, verb
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slopeward.toml").write_text("[compute]\njobs_at_once = 0\n")
    status = run_verb([verb, "--config", "slopeward.toml"])
    assert capsys.readouterr().err.startswith("slopeward.toml: compute.jobs_at_once: ")
    (tmp_path / "slopeward.toml").write_text(ASKS[key])
    assert run_verb([verb, "--config", "slopeward.toml"]) == status > 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"slopeward.toml: {key}: expected the extension scale_out, which this installation does not have"]


def test_messages_that_wait_for_processes_that_are_gone_are_named(without):
    at = datetime(2026, 3, 1, tzinfo=UTC)
    stamps = {"core": (at, {}), "ingest.division": (at, {"processes": 2})}
    assert check_parts(stamps, at)[1] == [
        "processes of ingest that an extension had are gone; what the broker holds for them is not stored"
    ]


def test_what_does_not_need_it_is_taken(without):
    assert parse_service("[compute]\njobs_at_once = 2\n", "x").compute.jobs_at_once == 2
    with pytest.raises(ConfigError, match=r"compute\.dask: expected the extension scale_out"):
        parse_service("", "x", {"SLOPEWARD_COMPUTE__DASK": "tcp://h:1"})
