"""Exports of a filled database as files, SensorThings, STAC and calendar, read back with other libraries."""

import csv
import io
import json
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import icalendar
import pyarrow.parquet as pq
import pyogrio
import pystac
import pytest
from sqlalchemy import text

from monitor.cli.main import run_command
from monitor.errors import RefusedError
from monitor.features.exports import routes as exports
from monitor.features.exports import tables
from monitor.features.exports.sensorthings import read_query
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.storage.engine import Database
from monitor.storage.views import stream_view
from monitor.text.instants import format_iso
from monitor.worker import compute
from tests.data.filled import NOW
from tests.fixtures.databases import STORY_ON_BOTH
from tests.web.served import serving

SITE = "/api/v1/sites/north-bench"
THINGS = f"{SITE}/sensorthings/v1.1"


@pytest.fixture
def client(filled_database):
    with serving(filled_database, NOW + timedelta(minutes=5)) as c:
        yield c


def rows_of(database, name):
    table = tables.list_tables()[name]
    with database.read() as c:
        return list(stream_view(c, table.view, order_by=table.order, site="north-bench"))


def read_parquet(content):
    return pq.read_table(io.BytesIO(content)).to_pylist()


@STORY_ON_BOTH
def test_tables_are_exported_completely_as_csv_and_as_typed_parquet(client, filled_database):
    seen = 0
    for name in tables.list_tables():
        expected = rows_of(filled_database, name)
        answers = {kind: client.get(f"{SITE}/export/{name}.{kind}") for kind in tables.FORMATS}
        assert {a.status_code for a in answers.values()} == ({200} if expected else {404}), name
        if not expected:
            continue
        seen += 1
        found = list(csv.DictReader(io.StringIO(answers["csv"].text)))
        assert [list(row) for row in found] == [[k for k in row if k != "evidence"] for row in expected], name
        for row, plain in zip(read_parquet(answers["parquet"].content), expected, strict=True):
            assert {k: format_iso(v) if hasattr(v, "isoformat") else v for k, v in row.items()} == plain, name
    assert seen >= 13


@pytest.mark.parametrize("filled_database", ["postgresql"], indirect=True)
def test_columns_have_the_types_that_postgresql_gives_them(filled_database):
    kinds = {701: "real", 20: "integer", 23: "integer", 16: "boolean", 25: "text", 1043: "text"}
    with filled_database.read() as c:
        wrong = [
            (name, column.name, kinds.get(column.type_code, column.type_code))
            for name, table in tables.list_tables().items()
            for column in c.exec_driver_sql(f"SELECT * FROM {table.view} LIMIT 0").cursor.description
            if kinds.get(column.type_code) != tables.find_column_type(column.name).replace("instant", "text")
        ]
    assert wrong == []


def test_range_excludes_its_begin_and_includes_its_end(client, filled_database):
    whole = rows_of(filled_database, "observations")
    first, last = "2026-02-01T00:00:00.000000Z", "2026-02-10T00:00:00.000000Z"
    found = client.get(f"{SITE}/export/observations.csv", params={"from": first, "to": last, "station": "G1"})
    expected = [r for r in whole if r["station"] == "G1" and first < r["observed_at"] <= last]
    assert len(list(csv.DictReader(io.StringIO(found.text)))) == len(expected) > 30


def test_invalid_requests_get_an_error_in_one_line(client, monkeypatch):
    monkeypatch.setattr(exports, "MAX_ROWS", 10)
    for path, status, word in (
        ("export/passwords.csv", 404, "there are: observations"),
        ("export/observations.xml", 404, "as geojson, gpkg"),
        ("export/observations.csv?from=yesterday", 409, "range:"),
        ("export/observations.csv?from=0001-01-01T00:00:00%2B01:00", 409, "range:"),
        ("export/instruments.csv?from=2026-01-01T00:00:00Z", 409, "has no history"),
        ("export/alerts.csv?station=G1", 409, "belongs to the whole site"),
        ("export/observations.csv", 409, "slopeward export"),
        ("stac/items/none", 404, "no scene"),
    ):
        answer = client.get(f"{SITE}/{path}")
        assert (answer.status_code, word in answer.json()["error"]) == (status, True), answer.text
    assert client.get("/api/v1/sites/nowhere/export/alerts.csv").status_code == 404


def test_texts_of_people_do_not_become_formulas(client, filled_database):
    with filled_database.write() as c:
        c.exec_driver_sql("UPDATE site_event SET text = '=cmd|calc' WHERE site = 'north-bench'")
    found = list(csv.DictReader(io.StringIO(client.get(f"{SITE}/export/events.csv").text)))
    assert found
    assert {row["text"] for row in found} == {"'=cmd|calc"}


def test_maps_can_be_opened_in_a_gis(client, tmp_path):
    for name, kind in (("stations", "Point"), ("footprints", "MultiPolygon")):
        path = tmp_path / f"{name}.gpkg"
        path.write_bytes(client.get(f"{SITE}/export/{name}.gpkg").content)
        told = pyogrio.read_info(path)
        assert (told["geometry_type"], told["crs"]) == (kind, "EPSG:4326")
        assert told["features"] == len(client.get(f"{SITE}/export/{name}.geojson").json()["features"]) > 0
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    shown = client.get(f"{SITE}/stations.geojson")
    assert shown.headers["content-type"] == "application/geo+json"
    told = client.get("/api/v1/openapi.json").json()["paths"]["/api/v1/sites/{site}/stations.geojson"]["get"]
    assert list(told["responses"]["200"]["content"]) == ["application/geo+json"]
    one = next(f["properties"] for f in shown.json()["features"] if f["properties"]["station"] == "G1")
    assert (one["level_name"], one["stage"]) == ("orange", "progressive")
    assert one["velocity_mm_per_day"] > 0
    assert [f["id"] for f in client.get("/api/v1/sites.geojson").json()["features"]] == ["north-bench", "lake-slope"]


def test_scenes_are_a_stac_catalogue_that_pystac_accepts(client):
    found = pystac.Collection.from_dict(client.get(f"{SITE}/stac").json())
    found.validate()
    items = client.get(f"{SITE}/stac/items").json()["features"]
    assert [link.target for link in found.links if link.rel == "item"] == [
        f"{client.base_url}{SITE}/stac/items/{item['id']}" for item in items
    ]
    for item in items:
        pystac.Item.from_dict(item).validate()
        assert client.get(item["assets"]["footprints"]["href"]).json()["type"] == "FeatureCollection"
        assert client.get(f"{SITE}/stac/items/{item['id']}").json() == item


def test_maintenance_is_exported_as_a_calendar(client, filled_database):
    answer = client.get(f"{SITE}/maintenance.ics")
    assert answer.headers["content-type"].startswith("text/calendar")
    events = icalendar.Calendar.from_ical(answer.content).walk("VEVENT")
    expected = rows_of(filled_database, "maintenance")
    assert [e["uid"] for e in events] == [f"maintenance-{r['maintenance_id']}@north-bench.slopeward" for r in expected]
    ends = [r["ended_at"] or r["to_at"] for r in expected]
    assert [format_iso(e["dtend"].dt) for e in events] == ends
    assert events


def test_sensorthings_pages_through_observations(client, filled_database):
    root = client.get(THINGS).json()
    assert {entry["name"] for entry in root["value"]} == {
        "Things",
        "Locations",
        "Datastreams",
        "Sensors",
        "ObservedProperties",
        "Observations",
    }
    streams = client.get(f"{THINGS}/Things('G1')/Datastreams").json()["value"]
    stream = next(s for s in streams if s["@iot.id"] == "G1:displacement_east")
    assert stream["unitOfMeasurement"] == {"name": "mm", "symbol": "mm", "definition": "ucum:mm"}
    asked = "$top=40&$count=true&$filter=phenomenonTime ge 2026-02-01T00:00:00Z"
    address = f"{stream['Observations@iot.navigationLink']}?{asked}"
    got, total = [], None
    while address:
        page = client.get(address).json()
        got += page["value"]
        total = total or page["@iot.count"]
        address = page.get("@iot.nextLink")
    history = [
        r
        for r in rows_of(filled_database, "observations")
        if (r["station"], r["quantity"]) == ("G1", "displacement_east") and r["observed_at"] >= "2026-02-01"
    ]
    assert [o["phenomenonTime"] for o in got] == sorted({r["observed_at"] for r in history})
    assert len(got) == total > 80
    assert client.get(got[3]["@iot.selfLink"]).json() == got[3]
    assert client.get(got[3]["Datastream@iot.navigationLink"]).json()["@iot.id"] == "G1:displacement_east"


def test_sensorthings_result_is_the_revision_that_counts(client, filled_database):
    at = NOW - timedelta(days=3)
    for value, solution in ((1.0, "final"), (2.0, "rapid"), (3.0, "corrected")):
        with filled_database.write() as c:
            seen = Observation("north-bench", "G9", "rain", "mm", at, NOW, value, solution=solution)
            add_observations(c, [seen], NOW + timedelta(seconds=value))
        newest = client.get(f"{THINGS}/Datastreams('G9:rain')/Observations?$orderby=phenomenonTime desc&$top=1").json()
        assert newest["value"][0]["result"] == {1.0: 1.0, 2.0: 1.0, 3.0: 3.0}[value]


def test_sensorthings_follows_one_step_and_refuses_unsupported_options(client):
    assert client.get(f"{THINGS}/Things('G1')/Locations").json()["value"][0]["location"]["type"] == "Point"
    assert client.get(f"{THINGS}/Locations('G1')/Things").json()["value"][0]["@iot.id"] == "G1"
    assert client.get(f"{THINGS}/Datastreams('G1:displacement_up')/Thing").json()["name"] == "G1"
    assert client.get(f"{THINGS}/").json() == client.get(THINGS).json()
    assert "@iot.nextLink" not in client.get(f"{THINGS}/Things?$top=0").json()
    assert client.get(f"{THINGS}/ObservedProperties?$top=1").json()["@iot.nextLink"].endswith("$top=1&$skip=1")
    for path, status in (
        ("Observations", 409),
        ("Things/Datastreams", 404),
        ("Things('G1')/Observations", 404),
        ("Wings", 404),
        ("Things('no')", 404),
        ("Things?$select=name", 409),
        ("Things?$top=-1", 409),
        ("Things('G1", 404),
        ("Datastreams('G1:displacement_up')/Observations?$filter=result gt 3", 409),
        ("Things('no')/Datastreams", 404),
        ("Things('G1')/Locations('G1')", 404),
        ("Datastreams('no')/Observations", 404),
        ("Datastreams('G1:displacement_up')/Observations?$filter=phenomenonTime le 9999-12-31T23:59:59.999999Z", 409),
        ("Datastreams?$orderby=name", 409),
        ("Things?$filter=phenomenonTime gt 2026-01-01T00:00:00Z", 409),
        ("Datastreams?$orderby=phenomenonTime", 409),
        ("Things?$expand=Datastreams", 409),
    ):
        answer = client.get(f"{THINGS}/{path}")
        assert (answer.status_code, "\n" in answer.json()["error"]) == (status, False), (path, answer.text)


def test_sensorthings_filter_with_two_bounds_selects_the_span_between_them():
    query = read_query({"$filter": "phenomenonTime gt 2026-03-01T00:00:00Z and phenomenonTime le 2026-03-02T00:00:00Z"})
    assert format_iso(query.from_at) == "2026-03-01T00:00:00.000001Z"
    assert format_iso(query.until) == "2026-03-02T00:00:00.000001Z"
    with pytest.raises(RefusedError, match=r"\$skip takes a whole number"):
        read_query({"$skip": "1; DROP TABLE site"})


def test_sent_files_are_deleted_and_few_are_written_at_once(client, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))
    assert client.get(f"{SITE}/export/alerts.parquet").status_code == 200
    assert client.get(f"{SITE}/export/alerts.xml").status_code == 404
    assert client.get(f"{SITE}/export/alerts.csv", headers={"Range": "bytes=x"}).status_code == 200
    left = tmp_path / "work" / f"{compute.FOLDER_PREFIX}old"
    left.mkdir()
    os.utime(left, (0, 0))
    assert (client.get(f"{SITE}/export/alerts.csv").status_code, list((tmp_path / "work").iterdir())) == (200, [])
    slots = [exports._SLOTS.acquire(blocking=False) for _ in range(exports.MAX_CONCURRENT)]
    busy = client.get(f"{SITE}/export/alerts.csv")
    for _ in slots:
        exports._SLOTS.release()
    assert busy.status_code == 503
    assert busy.headers["retry-after"]


def test_list_of_exports_contains_working_addresses(client):
    listed = client.get(f"{SITE}/export").json()
    assert (set(listed["tables"]), client.get(listed["maps"]["stations"][0]).status_code) == (
        set(tables.list_tables()),
        200,
    )


ROOT = Path(__file__).parents[3]


@pytest.fixture
def export(filled_database, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", filled_database.url.render_as_string(hide_password=False))
    (tmp_path / "sites").mkdir()
    monkeypatch.setenv("SLOPEWARD_PATHS__SITES", str(tmp_path / "sites"))

    def call(*words):
        return run_command(["export", *words]), "".join(capsys.readouterr())

    return call


def test_export_replaces_a_file_only_when_it_is_complete(export, tmp_path):
    assert export("north-bench", "observations", "--out", "all.parquet", "--json")[0] == 0
    rows = pq.read_table(tmp_path / "all.parquet")
    assert rows.num_rows > 400
    assert str(rows.schema.field("observed_at").type) == "timestamp[us, tz=UTC]"
    status, said = export("north-bench", "observations", "--out", "all.parquet")
    assert (status, "use --force to replace it" in said) == (1, True)
    assert export("north-bench", "alerts", "--out", "alerts.csv")[0] == 0
    head, *lines = (tmp_path / "alerts.csv").read_text(encoding="utf-8").splitlines()
    beside = [
        json.loads(line) for line in (tmp_path / "alerts-evidence.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert (len(beside), "evidence" in head.split(",")) == (len(lines), False), "a cell holds no megabyte"
    assert any(one["evidence"] for one in beside)
    assert export("north-bench", "maintenance", "--out", "work.ics")[0] == 0
    assert icalendar.Calendar.from_ical((tmp_path / "work.ics").read_bytes()).walk("VEVENT")


def test_failed_export_prints_one_line_and_leaves_no_file(export, tmp_path):
    before = [*tmp_path.glob("[!f]*")]  # filled.db comes and goes with its log
    for words, status, word in (
        (("north-bench", "alerts", "--out", "a.gpkg"), 1, "written as csv, parquet"),
        (("north-bench", "secrets", "--out", "a.csv"), 1, "there are: observations"),
        (("north-bench", "stations", "--out", "a.gpkg", "--station", "G1"), 1, "omit --station"),
        (("north-bench", "stations", "--out", "a.gpkg", "--since", "2026-01-01T00:00Z"), 1, "have no history"),
        (("north-bench", "alerts", "--out", "a.csv", "--since", "soon"), 1, "--since: "),
        (("nowhere", "alerts", "--out", "a.csv"), 1, "no site 'nowhere'"),
        (("north-bench", "observations", "--since", "2031-01-01T00:00Z", "--out", "a.csv"), 4, "nothing was written"),
        (("north-bench", "alerts", "--out", "no/such/folder/a.csv"), 1, "no/such/folder"),
    ):
        got, said = export(*words)
        assert (got, word in said, said.count("\n")) == (status, True, 1), said
    assert [*tmp_path.glob("[!f]*")] == before


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exported_observations_can_be_imported_unchanged(export, filled_database, form, tmp_path, monkeypatch, capsys):
    assert export("north-bench", "observations", "--out", f"all.{form}")[0] == 0
    (tmp_path / "sites" / "north-bench.toml").write_text((ROOT / "configs/sites/north-bench.toml").read_text())
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", f"sqlite:///{tmp_path / 'empty.db'}")
    assert run_command(["db", "upgrade"]) == 0
    for known in (False, True):  # once more stores nothing
        assert run_command(["ingest", f"all.{form}", "--accept-units", "--json"]) == 0
        assert (json.loads(capsys.readouterr().out.splitlines()[-1])["stored"] == 0) == known
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
