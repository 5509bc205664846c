"""`slopeward export`: whole files, known errors in one line, nothing left behind."""

import json
from pathlib import Path

import icalendar
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from monitor.cli.main import run_verb
from monitor.store.database.engine import Database

ROOT = Path(__file__).parents[3]


@pytest.fixture
def export(filled_database, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    url = filled_database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", url)
    (tmp_path / "sites").mkdir()
    monkeypatch.setenv("SLOPEWARD_PATHS__SITES", str(tmp_path / "sites"))

    def call(*words):
        status = run_verb(["export", *words])
        return status, "".join(capsys.readouterr())

    return call


def test_a_table_comes_whole_into_its_place(export, tmp_path):
    assert export("north-bench", "observations", "--out", "all.parquet", "--json")[0] == 0
    rows = pq.read_table(tmp_path / "all.parquet")
    assert rows.num_rows > 400
    assert str(rows.schema.field("observed_at").type) == "timestamp[us, tz=UTC]"
    status, said = export("north-bench", "observations", "--out", "all.parquet")
    assert (status, "--force replaces it" in said) == (1, True)
    assert export("north-bench", "alerts", "--out", "alerts.csv")[0] == 0
    head, *lines = (tmp_path / "alerts.csv").read_text(encoding="utf-8").splitlines()
    beside = [
        json.loads(line) for line in (tmp_path / "alerts-evidence.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert (len(beside), "evidence" in head.split(",")) == (len(lines), False), "a cell holds no megabyte"
    assert any(one["evidence"] for one in beside)
    assert export("north-bench", "maintenance", "--out", "work.ics")[0] == 0
    assert icalendar.Calendar.from_ical((tmp_path / "work.ics").read_bytes()).walk("VEVENT")


def test_what_cannot_be_written_is_one_line_and_leaves_no_file(export, tmp_path):
    before = [*tmp_path.glob("[!f]*")]  # filled.db comes and goes with its log
    for words, status, word in (
        (("north-bench", "alerts", "--out", "a.gpkg"), 1, "written as csv, parquet"),
        (("north-bench", "secrets", "--out", "a.csv"), 1, "there are: observations"),
        (("north-bench", "stations", "--out", "a.gpkg", "--station", "G1"), 1, "leave --station out"),
        (("north-bench", "stations", "--out", "a.gpkg", "--from", "2026-01-01T00:00Z"), 1, "as of now"),
        (("north-bench", "alerts", "--out", "a.csv", "--from", "soon"), 1, "--from, --to"),
        (("nowhere", "alerts", "--out", "a.csv"), 1, "no site 'nowhere'"),
        (("north-bench", "observations", "--from", "2031-01-01T00:00Z", "--out", "a.csv"), 4, "nothing was written"),
        (("north-bench", "alerts", "--out", "no/such/folder/a.csv"), 1, "no/such/folder"),
    ):
        got, said = export(*words)
        assert (got, word in said, said.count("\n")) == (status, True, 1), said
    assert [*tmp_path.glob("[!f]*")] == before


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_export_of_observations_comes_in_again_as_it_was(
    export, filled_database, form, tmp_path, monkeypatch, capsys
):
    assert export("north-bench", "observations", "--out", f"all.{form}")[0] == 0
    (tmp_path / "sites" / "north-bench.toml").write_text((ROOT / "configs/sites/north-bench.toml").read_text())
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///{tmp_path / 'empty.db'}")
    assert run_verb(["db", "upgrade"]) == 0
    for known in (False, True):  # once more stores nothing
        assert run_verb(["ingest", f"all.{form}", "--accept-units", "--json"]) == 0
        said = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (said["stored"] == 0) == known
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")
    kept = []
    for db in (filled_database, empty):
        with db.read() as c:
            rows = c.execute(
                text(
                    "SELECT station, quantity, observed_at, revision, value_raw, sigma, solution "
                    "FROM observation_history WHERE site = 'north-bench' "
                    "ORDER BY station, quantity, observed_at, revision"
                )
            ).all()
        kept.append([tuple(row) for row in rows])
    empty.close()
    assert kept[0] == kept[1]
    assert any(row[3] > 0 for row in kept[0]), "with revisions"
