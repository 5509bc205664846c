"""Test sources that read an InfluxDB server, against a server that answers as the documentation describes.

The forms of the answers are from https://docs.influxdata.com/influxdb/v1/tools/api/#query-http-endpoint (series,
columns, values, errors) and https://docs.influxdata.com/influxdb/v1/query_language/explore-schema/ (field keys).
Versions 2 and 3 answer `/query` in the same form:
https://docs.influxdata.com/influxdb/v2/api-guide/influxdb-1x/query/ and
https://docs.influxdata.com/influxdb3/core/query-data/execute-queries/influxdb-v1-api/.
"""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select

from monitor.errors import ConfigError
from monitor.features.sources import poll, rows
from monitor.features.sources.queries import find_poll, load_files
from monitor.features.sources.store import SourceTarget
from monitor.readings.tables import observation
from monitor.settings.service import load_service
from monitor.sites.files import load_site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.worker import compute
from tests.data.servers.file_server import run_here, serve
from tests.data.site_text import head, series, station, table
from tests.data.store_rows import ask

NOW = datetime(2026, 3, 10, tzinfo=UTC)
SITE = head("north", latitude=46.2, longitude=8.9, levels={"names": ["green", "red"]}) + "".join(
    station(
        name,
        series("displacement", "mm", "1h", max_silence="1d"),
        series("temperature", "degC", "1h", max_silence="1d"),
        latitude=46.2,
        longitude=8.9,
    )
    for name in ("P1", "P2")
)
TOKEN = "hush-hush"
SELECT = re.compile(
    r'SELECT (?P<names>.+?) FROM "(?P<table>.+?)"(?: WHERE time >= \'(?P<start>.+?)\')? '
    r"ORDER BY time (?P<order>ASC|DESC) LIMIT (?P<limit>\d+)"
)


class InfluxServer:
    """Measurement `gnss` with the fields `dE` and `temp` and the tag `point`."""

    def __init__(self, server):
        self.server = server
        self.points = []  # time, point, values of fields
        self.fields = ["dE", "temp"]
        server.answers["/query"] = self.answer

    def add(self, hours, point, **fields):
        self.points.append(((NOW - timedelta(hours=hours)).isoformat().replace("+00:00", "Z"), point, fields))
        self.points.sort()

    def answer(self, query):
        parameters = {key: value for key, (value,) in parse_qs(query).items()}
        if parameters["db"] != "slopes":
            return {"results": [{"statement_id": 0, "error": f"database not found: {parameters['db']}"}]}
        if parameters["q"].startswith("SHOW FIELD KEYS"):
            values = [[name, "float"] for name in self.fields] if '"gnss"' in parameters["q"] else []
            found = [{"name": "gnss", "columns": ["fieldKey", "fieldType"], "values": values}]
            return {"results": [{"statement_id": 0, **({"series": found} if values else {})}]}
        asked = SELECT.fullmatch(parameters["q"])
        names = re.findall(r'"(.+?)"', asked["names"])
        start = datetime.fromisoformat(asked["start"] or "1900-01-01T00:00:00Z")
        values = [
            [at, *(point if name == "point" else fields.get(name) for name in names)]
            for at, point, fields in self.points
            if datetime.fromisoformat(at) >= start and asked["table"] == "gnss" and fields.keys() & set(names)
        ]
        if asked["order"] == "DESC":
            values.reverse()
        values = values[: int(asked["limit"])]
        found = [{"name": "gnss", "columns": ["time", *names], "values": values}]
        return {"results": [{"statement_id": 0, **({"series": found} if values else {})}]}


@pytest.fixture
def influx():
    with serve() as server:
        yield InfluxServer(server)


@pytest.fixture
def target(tmp_path, monkeypatch, sqlite_url):
    """Yield a site with an empty database. Worker tasks run in this process."""
    monkeypatch.setattr(compute, "run", run_here)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "north.toml").write_text(SITE)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", sqlite_url)
    (tmp_path / "configs" / "slopeward.toml").write_text("")
    with Database(sqlite_url) as database:
        upgrade(database, NOW)
        yield SourceTarget(
            database, load_service(), load_site("configs/sites/north.toml"), lambda: NOW, "source influx"
        )


def make_source(influx, **keys):
    base = {"name": "influx", "kind": "influxdb", "site": "north", "url": influx.server.url, "private": True}
    base |= {"database": "slopes", "table": "gnss", "columns": {"time": "time", "station": "point"}}
    base |= {"series": {"dE": "displacement_mm", "P2/temp": "P2.temperature_degC"}, "secret": "INFLUX_TOKEN"}
    keys = {**base, **keys}
    keys["series"] = {json.dumps(name): target for name, target in keys["series"].items()}
    Path("configs/slopeward.toml").write_text(table("[[source]]", **keys))
    return load_service().source[0]


def poll_now(source, target, at=NOW):
    return poll.poll_source(source, replace(target, clock=lambda: at), {"INFLUX_TOKEN": TOKEN})


def count_values(target):
    return ask(target.db, lambda c: len(c.execute(select(observation.c.revision)).all()))


def test_points_are_read_page_by_page_and_late_ones_are_seen(influx, target, monkeypatch):
    monkeypatch.setattr(rows, "PAGE_ROWS", 30)
    for hour in range(100, 0, -1):
        influx.add(hour, "P1", dE=hour / 10, temp=5.0)
    influx.add(5, "P2", temp=7.0)
    source = make_source(influx, since="2026-03-01")
    first = poll_now(source, target)
    assert (first.rows, first.errors, first.has_more) == (101, [], False), first.describe()
    influx.add(5.5, "P1", dE=0.5)
    influx.add(0, "P1", dE=0.1)
    assert poll_now(source, target).rows == 2
    again = poll_now(source, target)
    assert (again.rows, again.errors, count_values(target)) == (0, [], 103)
    assert influx.server.asked[-1][1]["authorization"] == f"Token {TOKEN}"
    assert TOKEN not in str(ask(target.db, find_poll, "influx")) + str(ask(target.db, load_files, "influx"))


def test_value_and_quantity_may_be_in_one_field_and_one_tag(influx, target):
    influx.add(1, "P1", value=3.0, kind="disp")
    influx.add(2, "P1", value=4.0, kind="other")
    columns = {"time": "time", "station": "point", "quantity": "kind", "value": "value"}
    found = poll_now(make_source(influx, columns=columns, series={"disp": "displacement_mm"}), target)
    assert (found.rows, found.errors) == (1, [])
    assert "P1/other (1)" in found.notes[0]


def test_missing_database_measurement_and_field_are_one_line(influx, target):
    influx.add(1, "P1", dE=3.0)
    (error,) = poll_now(make_source(influx, database="nothing"), target).errors
    assert error.endswith("/query: the server rejects the request: database not found: nothing")
    (error,) = poll_now(make_source(influx, table="gps"), target).errors
    assert "table: database 'slopes' has no measurement 'gps'" in error
    (error,) = poll_now(make_source(influx, series={"dX": "displacement_mm"}), target).errors
    assert "series: measurement 'gnss' has no field 'dX'; it has: dE, temp. Was the field renamed?" in error


def test_errors_of_the_server_contain_its_reason_and_no_token(influx, target, monkeypatch):
    source = make_source(influx)
    influx.server.faults["/query"] = 401
    (error,) = poll_now(source, target).errors
    assert "the server answered 401" in error
    monkeypatch.setattr(influx.server, "answer", answer_with_reason)
    (error,) = poll_now(source, target).errors
    assert "the server answered 401 (authorization failed)" in error
    assert TOKEN not in error
    assert ask(target.db, find_poll, "influx").failures == 2


def answer_with_reason(request):
    body = json.dumps({"error": "authorization failed"}).encode()
    request.send_response(401)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@pytest.mark.parametrize(
    "answer",
    [{"other": 1}, {"results": 7}, {"results": [7]}, {"results": [{"series": [{"columns": 1}]}]}, {"results": [{}]}],
)
def test_answers_in_another_form_are_one_line(influx, target, answer):
    influx.server.answers["/query"] = lambda _: answer
    (error,) = poll_now(make_source(influx), target).errors
    assert "\n" not in error
    assert "Error:" not in error


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"database": ""}, "database: this key is required"),
        ({"columns": {"time": "ts"}}, 'columns.time is "time"'),
        ({"position": "id"}, "in the order of its time"),
        ({"url": "http://h.example", "private": False}, "expected https://"),
    ],
)
def test_invalid_source_table_is_rejected(influx, tmp_path, monkeypatch, keys, message):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_source(influx, **keys)
