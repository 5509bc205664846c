"""Test sources: new data is stored once and complete, and only servers that the service file allows are contacted."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import shutil
import socket
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select

from monitor.app.checks.table import run_checks
from monitor.app.self_monitoring.conditions import AlarmConditions
from monitor.cli.main import run_command
from monitor.errors import ConfigError, JobError, MissingSettingError, RefusedError
from monitor.features.sources import fetching, http, poll, sensorthings
from monitor.features.sources.addresses import find_addresses
from monitor.features.sources.checks import SourceStatus
from monitor.features.sources.download import DOWNLOAD, download
from monitor.features.sources.fetching import (
    FAILED,
    NEW,
    SKIPPED,
    FetchedFile,
    PollRequest,
    PollResult,
    ServerCredentials,
    WantedFile,
)
from monitor.features.sources.outcome import PollSummary, update_state
from monitor.features.sources.queries import find_poll, load_files, load_polls, save_file
from monitor.features.sources.store import SourceTarget
from monitor.ingest.tables import quarantine_source, rejected_message
from monitor.readings.tables import observation
from monitor.settings.secret_variables import find_secret
from monitor.settings.service import load_service
from monitor.sites.files import load_site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.storage.views import load_view
from monitor.text.message import LABELLED_TEXT
from monitor.worker import compute
from tests.data.servers.file_server import run_here, serve, sign
from tests.data.site_text import head, series, station, table
from tests.data.store_rows import ask
from tests.fixtures.soak import with_soak
from tests.fixtures.waiting import free_port, skip_missing

NOW = datetime(2026, 3, 10, tzinfo=UTC)
SITE = head("north", latitude=46.2, longitude=8.9, levels={"names": ["green", "red"]}) + station(
    "G1", series("displacement", "mm", "1d", max_silence="3d"), latitude=46.2, longitude=8.9
)
RUN_IN_WORKER = compute.run
HEAD = "time,station,quantity,value\n"
ROWS = [f"2026-03-0{k}T00:00:00Z,G1,displacement_mm,{k}.0\n" for k in range(1, 6)]


@pytest.fixture
def server():
    with serve() as file_server:
        yield file_server


@pytest.fixture
def target(tmp_path, monkeypatch, database_url):
    """Yield a site with a database. Worker tasks run in this process, unless a test restores `RUN_IN_WORKER`."""
    monkeypatch.setattr(compute, "run", run_here)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs" / "sites").mkdir(parents=True)
    (tmp_path / "configs" / "sites" / "north.toml").write_text(SITE)
    monkeypatch.setenv("SLOPEWARD_DATABASE__URL", database_url)
    write_tables()
    with Database(database_url) as database:
        upgrade(database, NOW)
        yield SourceTarget(database, load_service(), load_site("configs/sites/north.toml"), lambda: NOW, "source test")


def write_tables(*tables):
    """Write a service file with these `[[source]]` tables and return them."""
    Path("configs/slopeward.toml").write_text("".join(table("[[source]]", **keys) for keys in tables))
    return load_service().source


def make_source(server, **keys):
    base = {"name": "logger", "kind": "http", "site": "north", "url": f"{server.url}/day.csv", "private": True}
    return write_tables({**base, **keys})[0]


def run_job(target):
    return poll.run(target.db, target.config, target.site, NOW, target.clock)


def load_values(database):
    """Return day, revision and value of all observations."""
    with database.read() as c:
        rows = c.execute(select(observation.c.observed_at, observation.c.revision, observation.c.value_raw))
        return sorted((row.observed_at.day, row.revision, row.value_raw) for row in rows)


def make_request(server, tmp_path, *names, **fields):
    (tmp_path / "f").mkdir(exist_ok=True)
    wanted = tuple(WantedFile(name, f"{server.url}/{name}") for name in names)
    return replace(PollRequest("http", wanted, str(tmp_path / "f"), ("127.0.0.1",), True, 100_000), **fields)


@pytest.mark.parametrize("is_in_worker", with_soak(ordinary=False, soak=True))
def test_rows_of_a_growing_file_are_stored_once_and_changed_values_as_revisions(
    target, server, monkeypatch, is_in_worker
):
    source, db = make_source(server), target.db
    left = Path("var/sources/logger")  # by a process that was killed
    left.mkdir(parents=True)
    (left / "day.csv.part").write_text("half a file")
    server.files["/day.csv"] = (HEAD + "".join(ROWS[:2])).encode()
    with monkeypatch.context() as patch:
        if is_in_worker and db.is_sqlite:
            patch.setattr(compute, "run", RUN_IN_WORKER)  # with the sandbox
        first = poll.poll_source(source, target, {})
    assert (first.new, first.rows, first.errors) == (1, 2, [])
    again = poll.poll_source(source, target, {})
    assert (again.new, again.same, server.asked[-1][2]) == (0, 1, 304)
    server.files["/day.csv"] = (HEAD + ROWS[0] + ROWS[1].replace("2.0", "2.5") + ROWS[2]).encode()
    grown = poll.poll_source(source, target, {})
    assert (grown.rows, grown.revisions) == (2, 1)
    for k in (1, 2):  # what is wrong in a file waits once, however often it is read again
        server.files["/day.csv"] += f"2026-03-0{k},G1,displacement_mm,1\n".encode()
        assert poll.poll_source(source, target, {}).rejected == k
    with db.read() as c:
        waiting = c.execute(select(rejected_message.c.code, rejected_message.c.times)).all()
        kept = c.execute(select(quarantine_source.c.kept_rows)).scalar_one()
    assert (waiting, kept, load_values(db)) == (
        [("no_zone", 1)],
        1,
        [(1, 0, 1.0), (2, 0, 2.0), (2, 1, 2.5), (3, 0, 3.0)],
    )
    with db.read() as c:
        state, files = find_poll(c, "logger"), load_files(c, "logger")
        said = c.execute(select(observation.c.extra).where(observation.c.revision == 1)).scalar_one()
    assert (state.success_at, state.error, state.rows_new, state.rows_all) == (NOW, None, 0, 4)
    assert files["day.csv"].size == len(server.files["/day.csv"])
    assert "source test" in json.dumps(said)
    assert not list(Path("var/sources/logger").glob("*"))


def test_file_is_read_again_after_its_mapping_changed(target, server):
    mapping = Path("configs/portal.mapping.toml")

    def write(unit, at):
        mapping.write_text(
            '[time]\ncolumn = "Date"\nzone = "UTC"\n[[column]]\nname = "v"\nstation = "G1"\n'
            f'quantity = "displacement"\nunit = "{unit}"\n'
        )
        os.utime(mapping, (at.timestamp(), at.timestamp()))

    write("mm", NOW - timedelta(days=1))
    source = make_source(server, mapping=str(mapping))
    server.files["/day.csv"] = b"Date,v\n2026-03-01T00:00:00,2\n"
    assert [poll.poll_source(source, target, {}).rows for _ in range(2)] == [1, 0]
    write("cm", NOW + timedelta(hours=1))
    later = replace(target, clock=lambda: NOW + timedelta(hours=2))
    assert [poll.poll_source(source, later, {}).revisions for _ in range(2)] == [1, 0]
    assert (load_values(target.db), server.asked[-1][2]) == ([(1, 0, 2.0), (1, 1, 20.0)], 304)


def test_shorter_file_or_web_page_is_rejected_unless_allowed(target, server):
    source = make_source(server)
    server.files["/day.csv"] = (HEAD + "".join(ROWS)).encode()
    poll.poll_source(source, target, {})
    server.faults["/day.csv"] = "login"
    assert "a web page and no data" in poll.poll_source(source, target, {}).errors[0]
    del server.faults["/day.csv"]
    server.files["/day.csv"] = (HEAD + ROWS[0].replace("1.0", "1.5")).encode()
    assert "a file that shrinks is not taken" in poll.poll_source(source, target, {}).errors[0]
    state = ask(target.db, find_poll, "logger")
    assert (state.failures, state.error_since, state.success_at, len(load_values(target.db))) == (2, NOW, NOW, 5)
    assert poll.poll_source(source, target, {}, may_shrink=True).revisions == 1
    assert poll.poll_source(make_source(server, rolling=True), target, {}).errors == []


def test_unfinished_last_line_is_read_by_the_next_poll(target, server):
    """A logger that writes through a buffer leaves half a line for a while, such as -1 instead of -12.5."""
    source = make_source(server)
    whole = HEAD + ROWS[0] + ROWS[1].replace("2.0", "-12.5")
    server.files["/day.csv"] = whole[:-4].encode()
    first = poll.poll_source(source, target, {})
    assert (load_values(target.db), first.unfinished) == ([(1, 0, 1.0)], ["day.csv"])
    assert "the last line has no end yet" in first.describe()
    server.files["/day.csv"] = whole.encode()
    assert (poll.poll_source(source, target, {}).rows, load_values(target.db)[1:]) == (1, [(2, 0, -12.5)])
    server.files["/day.csv"] = (whole + ROWS[2].rstrip("\n")).encode()  # a portal that ends no last line
    rows = [poll.poll_source(source, target, {}).rows for _ in range(3)]
    assert (rows, load_values(target.db)[2:], server.asked[-1][2]) == ([0, 1, 0], [(3, 0, 3.0)], 304)


def test_unfinished_last_line_in_the_watched_folder_is_read_by_the_next_poll(target, watched):
    (watched / "day.csv").write_text(HEAD + ROWS[0] + ROWS[1].rstrip("\n"))
    counts = []
    for _ in range(3):
        run_job(target)
        counts.append(len(load_values(target.db)))
    assert counts == [1, 2, 2]
    assert ask(target.db, load_files, "inbox/north")["day.csv"].size == len(HEAD + ROWS[0] + ROWS[1]) - 1


def test_doubtful_unit_and_damaged_file_are_one_line_and_are_tried_again(target, server):
    source = make_source(server)
    server.files["/day.csv"] = b"\x00\x01\x02 no table"
    assert "day.csv" in poll.poll_source(source, target, {}).errors[0]
    server.files["/day.csv"] = gzip.compress(HEAD.encode())
    assert "day.csv: is packed by gzip" in poll.poll_source(source, target, {}).errors[0]
    doubtful = [f"2026-02-{k:02d}T00:00:00Z,G1,displacement_m,{9.0 * k}\n" for k in range(1, 29)]
    server.files["/day.csv"] = (HEAD + "".join(doubtful)).encode()
    assert "is the unit right?" in poll.poll_source(source, target, {}).errors[0]
    assert load_values(target.db) == []
    assert poll.poll_source(make_source(server, accept_units=True), replace(target, accept_units=True), {}).rows == 28


def test_failed_downloads_leave_no_file(server, tmp_path):
    server.files |= {f"/{n}.csv": b"x" * 60_000 for n in ("good", "error", "cut", "packed", "large", "elsewhere")}
    server.files["/large.csv"] = b"x" * 200_000
    server.faults |= {"/error.csv": 500, "/cut.csv": "cut", "/packed.csv": "packed"}
    server.faults["/elsewhere.csv"] = "http://127.0.0.2:1/secret"
    names = ("good.csv", "error.csv", "cut.csv", "packed.csv", "large.csv", "elsewhere.csv", "gone.csv")
    found = {one.name: one for one in download(make_request(server, tmp_path, *names)).files}
    reasons = {name: one.reason for name, one in found.items()}
    assert (found["good.csv"].state, {one.state for n, one in found.items() if n != "good.csv"}) == (NEW, {FAILED})
    assert "answered 500" in reasons["error.csv"]
    assert "answered 404" in reasons["gone.csv"]
    assert "broke off" in reasons["cut.csv"]
    assert "packs the file" in reasons["packed.csv"]
    assert "200000 bytes; at most 100000" in reasons["large.csv"]
    assert "'127.0.0.2' is not the one of url" in reasons["elsewhere.csv"]
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["good.csv"]
    server.faults["/good.csv"] = 304
    (liar,) = download(make_request(server, tmp_path, "good.csv")).files
    assert (liar.state, "no version of the file is stored" in liar.reason) == (FAILED, True)


def test_download_ends_if_the_server_stops_responding(server, tmp_path, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUT_S", 0.3)
    server.files["/slow.csv"], server.faults["/slow.csv"] = b"x" * 1000, "slow"
    (file,) = download(make_request(server, tmp_path, "slow.csv")).files
    assert "no answer for 0.3 s" in file.reason


def test_private_addresses_are_contacted_only_if_allowed(server, tmp_path):
    server.files["/day.csv"] = b"x"
    (file,) = download(make_request(server, tmp_path, "day.csv", allow_private=False)).files
    assert "private address 127.0.0.1: say private = true" in file.reason
    assert not server.asked
    with pytest.raises(RefusedError, match="private address"):
        find_addresses("localhost", 80, ("localhost",), allow_private=False)
    server.faults["/day.csv"] = f"http://localhost:{server.port}/other.csv"
    (file,) = download(make_request(server, tmp_path, "day.csv")).files
    assert "'localhost' is not the one of url" in file.reason
    server.files["/other.csv"] = b"y"
    (file,) = download(make_request(server, tmp_path, "day.csv", hosts=("127.0.0.1", "localhost"))).files
    assert file.state == NEW


def test_next_address_is_used_if_one_accepts_no_connection(server, tmp_path, monkeypatch):
    server.files["/day.csv"] = b"x"
    known = socket.getaddrinfo("127.0.0.1", server.port, type=socket.SOCK_STREAM)
    closed = [(socket.AF_INET6, *entry[1:4], ("::1", server.port, 0, 0)) for entry in known]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*closed, *known])
    (file,) = download(make_request(server, tmp_path, "day.csv")).files
    assert (file.state, file.reason) == (NEW, "")


def test_https_certificate_is_verified_against_the_name_of_the_server(tmp_path):
    for name, host in (("right", "localhost"), ("wrong", "elsewhere.example")):
        sign(tmp_path / f"{name}.crt", tmp_path / f"{name}.key", f"/CN={host}", f"DNS:{host}")
        pair = (tmp_path / f"{name}.key").read_text() + (tmp_path / f"{name}.crt").read_text()
        (tmp_path / f"{name}.pem").write_text(pair)
    for name, trusted, said in (
        ("right", "right", ""),
        ("right", "wrong", "verify failed"),
        ("wrong", "wrong", "mismatch"),
    ):
        with serve(str(tmp_path / f"{name}.pem")) as server:
            server.files["/a.csv"] = b"x"
            question = make_request(
                server, tmp_path, "a.csv", hosts=("localhost",), ca_file=str(tmp_path / f"{trusted}.crt")
            )
            url = f"https://localhost:{server.port}/a.csv"
            (file,) = download(replace(question, wanted=(WantedFile("a.csv", url),))).files
            assert (file.state == NEW, said in file.reason) == (not said, True), file.reason


def test_login_is_sent_to_the_server_of_the_source_only_and_is_in_no_message(server, tmp_path):
    server.files |= {"/a.csv": b"x", "/b.csv": b"y"}
    login = ServerCredentials(secret="hush-hush")
    download(make_request(server, tmp_path, "a.csv", login=login))
    assert server.asked[-1][1]["authorization"] == "Bearer hush-hush"
    download(make_request(server, tmp_path, "a.csv", login=replace(login, parameter="id")))
    assert server.asked[-1][0] == "/a.csv?id=hush-hush"
    server.faults["/a.csv"] = f"http://localhost:{server.port}/b.csv"
    download(
        make_request(server, tmp_path, "a.csv", login=ServerCredentials("me", "hush"), hosts=("127.0.0.1", "localhost"))
    )
    assert [("authorization" in head) for _, head, _ in server.asked[-2:]] == [True, False]
    with serve() as other:  # another port of the same host is another server
        other.files["/b.csv"] = b"y"
        server.faults["/a.csv"] = f"{other.url}/b.csv"
        download(make_request(server, tmp_path, "a.csv", login=login))
        assert [path for path, head, _ in other.asked if "authorization" not in head] == ["/b.csv"]
    server.faults["/a.csv"] = 403
    (file,) = download(make_request(server, tmp_path, "a.csv", login=replace(login, parameter="id"))).files
    assert "hush" not in file.reason
    (file,) = download(make_request(server, tmp_path, "a.csv", login=ServerCredentials(secret="hush-hush\n"))).files
    assert (file.state, "hush" in file.reason) == (FAILED, False)
    assert find_secret({"TOKEN": " hush-hush\r\n"}, "TOKEN") == "hush-hush"
    with pytest.raises(MissingSettingError, match="TOKEN: a secret is one line"):
        find_secret({"TOKEN": "hush\nhush"}, "TOKEN")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"url": "http://me:pw@host/a"}, "no login in the address"),
        ({"url": "file:///etc/passwd"}, "expected an address"),
        ({"kind": "sftp", "url": "sftp://h/a"}, "host_key"),
        ({"kind": "nevada"}, "stations"),
        ({"files": ["../a.csv"]}, "names such as day.csv"),
        ({"secret": "hunter2"}, "secret"),
        ({"url": "http://h/a", "secret": "TOKEN"}, "expected https://"),
        ({"kind": "stac"}, "assets"),
        ({"kind": "sensorthings", "url": "https://h/v1.1"}, "series"),
        ({"series": {"1": "G1.rain_mm"}}, "series"),
        ({"kind": "folder", "url": ""}, "patterns of files in the watched folder"),
    ],
)
def test_invalid_source_table_is_rejected(tmp_path, monkeypatch, table, text):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    with pytest.raises(ConfigError, match=text):
        write_tables({"name": "a", "kind": "http", "site": "north", "url": "https://h.example/a.csv", **table})
    with pytest.raises(ConfigError, match="two tables"):
        write_tables(*[{"name": "a", "kind": "http", "site": "n", "url": "https://h.example/a"}] * 2)


def test_failing_source_is_polled_less_often_and_reported_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    table = write_tables({"name": "a", "kind": "http", "site": "north", "url": "https://h.example/a"})
    bad, state, waits = PollSummary("a", errors=["no answer"]), None, []
    for k in range(8):
        at = NOW + timedelta(hours=k)
        state = update_state(state, bad, "north", "http", at, 3600.0)
        waits.append((state.next_at - at).total_seconds())
    assert all(270 * 2**k <= wait <= 330 * 2**k for k, wait in enumerate(waits[:5]))
    assert max(waits) <= 4 * 3600 * 1.1
    told = []

    class Alarms:
        open = staticmethod(lambda key, reason, level: told.append((key, reason, level)))
        clear = staticmethod(lambda key, reason: told.append((key, "", 0)))

    conditions = AlarmConditions(Alarms())
    for now in (NOW + timedelta(hours=2), NOW + timedelta(hours=4), NOW + timedelta(hours=5)):
        conditions.update(run_checks(SourceStatus(table, {"north"}, [state], now)), now.timestamp())
    well = update_state(state, PollSummary("a"), "north", "http", NOW, 3600.0)
    conditions.update(
        run_checks(SourceStatus(table, {"north"}, [well], NOW + timedelta(hours=6))), NOW.timestamp() + 6e4
    )
    assert [(key, level) for key, _, level in told] == [("source:a", 0), ("source:a", 1), ("source:a", 0)]
    assert "no answer" in told[1][1]
    (lost,) = run_checks(SourceStatus(table, set(), [], NOW))
    assert lost.is_wrong


def test_job_polls_due_sources_and_deletes_the_state_of_removed_ones(target, server, monkeypatch):
    make_source(server)
    server.files["/day.csv"] = (HEAD + ROWS[0]).encode()
    config = load_service()
    assert "1 values stored" in poll.run(target.db, config, target.site, NOW, target.clock)
    assert poll.run(target.db, config, target.site, NOW, target.clock) == "nothing is due"
    poll.run(target.db, config, target.site, NOW + timedelta(hours=2), target.clock)
    assert [status for _, _, status in server.asked] == [200, 304]
    (row,) = ask(target.db, load_view, "sources")
    assert (row["address"], row["outcome"], row["silent_since"]) == (f"{server.url}/day.csv", "ok", None)
    assert (row["new_at"], row["values_all"], row["values_new"]) == (row["polled_at"], 1, 0)
    write_tables()
    poll.run(target.db, load_service(), target.site, NOW, target.clock)
    assert ask(target.db, load_polls) == []


def test_poll_that_was_killed_keeps_complete_files_and_the_next_one_begins_with_the_others(target, server, monkeypatch):
    source = make_source(server, url=server.url, files=["a.csv", "b.csv", "c.csv"])
    orders = []

    def run_until_killed(task, request, *_, limits=None):
        if task is not DOWNLOAD:
            return run_here(task, request, 1.0, limits=limits)
        orders.append([wanted.name for wanted in request.wanted])
        first = request.wanted[0].name
        (Path(request.folder) / first).write_text(HEAD + ROWS[ord(first[0]) - ord("a")])
        (Path(request.folder) / f"{request.wanted[1].name}.part").write_text("half")
        raise JobError(LABELLED_TEXT(name=DOWNLOAD.function, text="killed after 300 s"))

    monkeypatch.setattr(compute, "run", run_until_killed)
    for count in (1, 2, 3):
        found = poll.poll_source(source, target, {})
        assert (found.rows, len(load_values(target.db))) == (1, count)
        assert found.errors == ["1 of 3 files were fetched, the others later: killed after 300 s"]
    assert orders == [["a.csv", "b.csv", "c.csv"], ["b.csv", "c.csv", "a.csv"], ["c.csv", "a.csv", "b.csv"]]


def test_nothing_is_downloaded_that_could_fill_the_disk(target, server, monkeypatch):
    source = make_source(server)
    monkeypatch.setattr(poll.shutil, "disk_usage", lambda _: SimpleNamespace(free=300 << 20))
    assert "300 MiB are free" in poll.poll_source(source, target, {}).errors[0]
    assert server.asked == []


def test_commands_print_outcome_and_faults(target, server, capsys):
    make_source(server, secret="PORTAL_TOKEN")
    server.files["/day.csv"] = (HEAD + ROWS[0]).encode()
    assert run_command(["ingest", "sources", "poll", "logger"]) == 1
    assert "PORTAL_TOKEN is not set" in capsys.readouterr().err
    make_source(server)
    assert run_command(["ingest", "sources", "poll", "logger", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stored"] == 1
    assert run_command(["ingest", "sources", "poll", "logger"]) == 4
    assert run_command(["ingest", "sources", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (listed["name"], listed["files"], listed["stored"], listed["error"]) == ("logger", 1, 1, None)
    assert listed["news"] <= listed["success"]
    assert run_command(["ingest", "sources", "list"]) == 0
    assert f"last news {listed['news'][:10]}" in capsys.readouterr().out
    assert run_command(["ingest", "sources", "poll", "nothing"]) == 1
    make_source(server, site="elsewhere", format="pdf", secret="PORTAL_TOKEN")
    capsys.readouterr()
    assert run_command(["check", "--json"]) == 1
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["state"] for one in said if one["subject"] == "sources"} == {"warn", "wrong"}
    found = " ".join(one["text"] for one in said if one["subject"] == "sources")
    assert all(line in found for line in ("'elsewhere' is not configured", "format: expected one of", "PORTAL_TOKEN"))


def test_nevada_and_egms_need_only_names_of_stations_and_products(target, server, measured, monkeypatch):
    server.files["/tenv3/NA/MXTM.NA.tenv3"] = measured("gnss-formats/MXTM.NA.tenv3").read_bytes()
    nevada = {"kind": "nevada", "url": f"{server.url}/tenv3", "stations": ["MXTM"], "frame": "NA"}
    assert poll.poll_source(make_source(server, **nevada), target, {}).rows == 3 * 548
    name = "EGMS_L3_E45N17_100km_U_2020_2024_1.zip"
    with zipfile.ZipFile(measured(f"egms/{name}")) as whole, whole.open(name.replace(".zip", ".csv")) as table:
        lines = [table.readline() for _ in range(12)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as cut:
        cut.writestr(name.replace(".zip", ".csv"), b"".join(lines))
    server.files[f"/download/{name}"] = packed.getvalue()
    egms = {"kind": "egms", "url": f"{server.url}/download", "files": [name], "secret": "EGMS_TOKEN"}
    found = poll.poll_source(make_source(server, **egms), target, {"EGMS_TOKEN": "abc"})
    assert found.errors == []
    assert found.rows > 11 * 200
    assert server.asked[-1][0].endswith("?id=abc")


@pytest.fixture
def watched(target, monkeypatch):
    """Return the watched folder of the site. Its files count as finished at once."""
    monkeypatch.setattr("monitor.features.sources.folder.SETTLED_S", -1.0)
    folder = Path("inbox/series/north")
    folder.mkdir(parents=True)
    return folder


def test_file_in_the_watched_folder_is_read_by_the_mapping_with_its_name(target, monkeypatch):
    folder = Path("inbox/series/north")
    folder.mkdir(parents=True)
    (folder / "plain.csv").write_text(HEAD + ROWS[0])
    (folder / "logger_march.csv").write_text("Date;mm\n2026-03-02T00:00:00;2\n")
    (folder / "logger.mapping.toml").write_text(
        '[table]\ndelimiter = ";"\n[time]\ncolumn = "Date"\nzone = "UTC"\n[[column]]\nname = "mm"\nstation = "G1"\n'
        'quantity = "displacement"\nunit = "mm"\n'
    )
    (folder / "grid.nc").write_text("what is it?")
    (folder / "half.csv.part").write_text(HEAD)
    (folder / "G1.txt").write_text("G001 26MAR01 2026.1629 61100 2408 0 0.001 0.002 -0.004 0 .0007 .0009 .003 0 0 0\n")
    assert run_job(target) == "nothing is due"  # they may still grow
    monkeypatch.setattr("monitor.features.sources.folder.SETTLED_S", -1.0)
    assert "3 new" in run_job(target)
    run_job(target)
    assert "put grid.mapping.toml beside it" in ask(target.db, find_poll, "inbox/north").error
    assert {(1, 0, 1.0), (2, 0, 2.0), (1, 0, -4.0)} < set(load_values(target.db)), "-4 mm is up, of positions in a .txt"
    (folder / "grid.nc").unlink()
    run_job(target)
    with target.db.read() as c:
        assert find_poll(c, "inbox/north").error is None
        assert sorted(load_files(c, "inbox/north")) == ["G1.txt", "logger_march.csv", "plain.csv"]


def test_bad_file_in_the_watched_folder_does_not_stop_the_others(target, monkeypatch, watched):
    mappings = {
        "deep": "x = " + "[" * 5000,
        "digits": "x = " + "1" * 5000,
        "dotted": "a." * 20_000 + "a = 1",
        "nul": '[table]\nencoding = "a\\u0000"',
        "packed": '[table]\nencoding = "zlib"',
    }
    for name in (*mappings, "pipe", "bad\xff", "line\nall clear", "sparse"):
        (watched / name.replace("\xff", "\udcff")).with_suffix(".csv").write_text(HEAD + ROWS[1])
    for name, text in mappings.items():
        (watched / f"{name}.mapping.toml").write_text(text)
    os.mkfifo(watched / "pipe.mapping.toml")
    os.truncate(watched / "sparse.csv", 1 << 42)
    fail = lambda path, *_, **__: 1 / (path.name != "odd.csv")  # noqa: E731
    monkeypatch.setattr("monitor.features.sources.folder.check_content", fail)
    for name in ("odd", "zz"):
        (watched / f"{name}.csv").write_text(HEAD + ROWS[0])
    assert "1 new" in run_job(target)
    assert load_values(target.db) == [(1, 0, 1.0)]
    known = ask(target.db, load_files, "inbox/north")
    assert sum(one.reason is not None for one in known.values()) == 10
    refused = "line all clear.csv: its name is no text that can be stored: rename it"
    assert (known["line\nall clear.csv"].reason, "ZeroDivisionError" in known["odd.csv"].reason) == (refused, True)


def test_headers_and_times_in_the_watched_folder_are_checked_like_those_of_all_files(target, watched):
    (watched / "logger.mapping.toml").write_text(
        '[table]\ndelimiter = ";"\nskip_rows = 2\n[time]\ncolumn = "Date"\nzone = "UTC"\n[[column]]\nname = "mm"\n'
        'station = "G1"\nquantity = "displacement"\nunit = "mm"\n'
    )
    head, row = "of north\n2026-02-01T00:00:00;5;9\nDate;mm;battery\n", "2026-0{}-02T00:00:00;{};{}\n"
    again = head + row.format(2, 1, 12) + "Date;mm;battery\n" + row.format(1, 2, 12)
    (watched / "logger_a.csv").write_text(again)
    (watched / "logger_b.csv").write_text(head + row.format(2, 1, 12) + "Date;cm;battery\n" + row.format(3, 2, 12))
    ahead = head.replace("2026-02-01T00:00:00;5;9", "") + row.format(2, 1, 12).replace("2026", "2094")
    (watched / "logger_c.csv").write_text(ahead)
    run_job(target)
    with target.db.read() as c:
        reasons = {name: file.reason for name, file in load_files(c, "inbox/north").items()}
        waiting = [row.code for row in c.execute(select(rejected_message.c.code))]
    assert reasons["logger_a.csv"] is None
    assert sorted(value for *_, value in load_values(target.db)) == [1.0, 2.0], waiting
    assert "line 5 begins another part of the file" in reasons["logger_b.csv"]
    assert "can the times be right? its times end at 2094-02-02" in reasons["logger_c.csv"]
    assert waiting == ["before_names"], "a row before the names is counted, and nobody took it for a reading"


def test_rejected_file_is_read_again_after_the_site_file_changed(target, monkeypatch, watched):
    (watched / "day.csv").write_text(HEAD + ROWS[0].replace("G1", "bad name"))
    read = []
    refuse = lambda path, *_: read.append(path.name) or (_ for _ in ()).throw(RefusedError("no origin"))  # noqa: E731
    monkeypatch.setattr("monitor.features.sources.folder.store_file", refuse)
    for version in ("a", "a", "b"):
        poll.run(target.db, target.config, replace(target.site, version=version), NOW, target.clock)
    assert read == ["day.csv", "day.csv"]


def test_files_with_one_name_in_two_folders_keep_their_own_rejected_rows(target, server):
    for year in (2025, 2026):
        server.files[f"/{year}/day.csv"] = (HEAD + ROWS[0] + ROWS[1].replace("2.0", f"x{year}")).encode()
    source = make_source(server, url=server.url, files=["2025/day.csv", "2026/day.csv"])
    assert poll.poll_source(source, target, {}).errors == []
    waiting = select(rejected_message.c.client)
    files = {row.client for row in ask(target.db, lambda c: c.execute(waiting))}
    assert files == {"file:source test/2025/day.csv", "file:source test/2026/day.csv"}
    metres = "".join(f"2026-02-{k:02}T00:00:00Z,G1,displacement_mm,{k}000000.0\n" for k in range(1, 29))
    server.files["/2026/day.csv"] = (HEAD + ROWS[0] + metres).encode()
    (error,) = poll.poll_source(source, target, {}).errors
    assert "is the unit right" in error
    assert {row.client for row in ask(target.db, lambda c: c.execute(waiting))} == files


def test_text_that_cannot_be_stored_does_not_stop_other_sources(target, server, monkeypatch):
    base = {"kind": "stac", "site": "north", "url": f"{server.url}/catalog.json", "private": True, "assets": {"g": "g"}}
    write_tables({"name": "one", **base}, {"name": "two", **base})
    files = (FetchedFile("http://h/\ud800\0", SKIPPED, modified="\ud800\0"), FetchedFile("b", FAILED, "\ud800\0"))
    monkeypatch.setattr(compute, "run", lambda *_, **__: PollResult(files))
    poll.run(target.db, load_service(), target.site, NOW, target.clock)
    assert [(state.source, state.error) for state in ask(target.db, load_polls)] == [("one", "??"), ("two", "??")]
    monkeypatch.setattr(compute, "run", lambda *_, **__: (_ for _ in ()).throw(ValueError("odd\0")))
    later = NOW + timedelta(days=9)
    poll.run(target.db, load_service(), target.site, later, target.clock)
    assert [state.error for state in ask(target.db, load_polls)] == ["ValueError: odd?"] * 2


@pytest.fixture
def sshd(tmp_path):
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if os.geteuid() != 0:
        pytest.skip("only root can start an sshd that root logs in to")
    if program is None:
        skip_missing("sshd (openssh-server)")
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "other", "me"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True, capture_output=True
        )
    port = free_port()
    shutil.copy(tmp_path / "me.pub", tmp_path / "authorized")
    options = {
        "ListenAddress": "127.0.0.1",
        "AuthorizedKeysFile": tmp_path / "authorized",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(tmp_path / "host"), *given],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "listening" in line:
            break
    yield port
    process.terminate()
    process.wait()
    process.stderr.close()


def test_sftp_downloads_only_from_the_server_with_the_pinned_key(target, sshd, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "day.csv").write_text(HEAD + ROWS[0])
    key = {name: " ".join((tmp_path / f"{name}.pub").read_text().split()[:2]) for name in ("host", "other")}
    table = {"name": "logger", "kind": "sftp", "site": "north", "private": True}
    table |= {"url": f"sftp://127.0.0.1:{sshd}/{data}"}
    table |= {"files": ["day.csv"], "username": "root", "key_file": str(tmp_path / "me"), "host_key": key["host"]}
    source = write_tables(table)[0]
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run", RUN_IN_WORKER)  # with the sandbox
        found = poll.poll_source(source, target, {})
    assert (found.rows, found.errors, poll.poll_source(source, target, {}).same) == (1, [], 1)
    (wrong,) = write_tables({**table, "host_key": key["other"]})
    assert "another key than host_key" in poll.poll_source(wrong, target, {}).errors[0]
    (foreign,) = write_tables({**table, "key_file": str(tmp_path / "other")})
    assert "refuses the login of 'root'" in poll.poll_source(foreign, target, {}).errors[0]
    with (data / "day.csv").open("a") as file:
        file.write(ROWS[1])
    (source,) = write_tables({**table, "files": ["day.csv", "gone.csv"]})
    grown = poll.poll_source(source, target, {})
    assert (grown.rows, len(grown.errors), "gone.csv" in grown.errors[0]) == (1, 1, True)


class GrowingFile:
    """A file on an SFTP server that is being written. Each `stat` returns the next of `sizes`."""

    def __init__(self, sizes, content):
        self.sizes, self.content = sizes, content

    async def stat(self, _path):
        size = self.sizes.pop(0)
        return SimpleNamespace(size=size, mtime=1_770_000_000 + size)

    @contextlib.asynccontextmanager
    async def open(self, *_):
        pieces = [self.content, b""]

        async def read(_size):
            return pieces.pop(0)

        yield SimpleNamespace(read=read)


def test_file_that_only_grew_while_it_was_downloaded_is_complete(tmp_path, monkeypatch):
    from monitor.features.sources import sftp

    monkeypatch.setattr(sftp, "PAUSE_S", 0.0)
    wanted = WantedFile("day.csv", "sftp://127.0.0.1/day.csv")
    asked = PollRequest("sftp", (wanted,), str(tmp_path), ("127.0.0.1",), True, 1000)
    grown = asyncio.run(sftp._fetch_file(GrowingFile([6, 8], b"12345678"), asked, wanted))
    assert (grown.state, grown.modified, (tmp_path / "day.csv").read_bytes()) == (NEW, "8 1770000008", b"12345678")
    always = asyncio.run(sftp._fetch_file(GrowingFile([6, 9] * 4, b"12345678"), asked, wanted))
    assert (always.state, "let its writer pause" in always.reason) == (FAILED, True)
    assert asyncio.run(sftp._fetch_file(GrowingFile([9, 8] * 4, b"12345678"), asked, wanted)).state == FAILED


WELLS = {"name": "wells", "kind": "sensorthings", "series": {"1": "G1.groundwater_level_m"}}


class SensorThings:
    """SensorThings server with a measured Datastream of groundwater levels, or an empty one."""

    def __init__(self, server, folder=None):
        self.all, self.stream = [], {"unitOfMeasurement": {"symbol": "m"}}
        if folder is not None:
            lines = (folder / "observations1.json").read_text().splitlines()
            self.all = [json.loads(line) for line in lines if line.strip()]
            self.stream = json.loads((folder / "dataStream1.json").read_text())
        self.until, self.url, self.next_host = 1500, f"{server.url}/v1.1/Datastreams(1)", server.url
        server.answers["/v1.1/Datastreams(1)"] = lambda _: {"unitOfMeasurement": self.stream["unitOfMeasurement"]}
        server.answers["/v1.1/Datastreams(1)/Observations"] = self.answer

    def answer(self, query):
        parameters = {key: value for key, (value,) in parse_qs(query).items()}
        assert parameters["$orderby"] == "phenomenonTime asc"
        after = datetime.fromisoformat(parameters.get("$filter", "phenomenonTime gt 1900-01-01T00:00:00Z").split()[-1])
        observations = [row for row in self.all[: self.until] if datetime.fromisoformat(row["phenomenonTime"]) > after]
        skip = int(parameters.get("$skip", 0))
        page = {"value": observations[skip : skip + 1000]}
        if skip + 1000 < len(observations):
            page["@iot.nextLink"] = f"{self.next_host}/v1.1/Datastreams(1)/Observations?{query}&$skip={skip + 1000}"
        return page


def test_sensorthings_observations_are_read_page_by_page_after_the_newest_stored_one(target, server, measured):
    things = SensorThings(server, measured("sensorthings-groundwater"))
    source = make_source(server, **WELLS, url=f"{server.url}/v1.1/")
    # the record itself says of its levels that they are degrees
    doubted = poll.poll_source(source, target, {})
    assert (doubted.rows, len(doubted.errors), "is in degC, series declares m" in doubted.errors[0]) == (0, 1, True)
    things.stream["unitOfMeasurement"]["symbol"] = "m"
    first = poll.poll_source(source, target, {})
    assert (first.rows, first.errors) == (1500, [])
    things.until = 1510
    assert (poll.poll_source(source, target, {}).rows, "gt%202018-10" in server.asked[-1][0]) == (10, True)
    assert (poll.poll_source(source, target, {}).new, len(load_values(target.db))) == (0, 1510)

    things.until, things.next_host = 2600, "http://elsewhere.example.org"
    stopped = poll.poll_source(source, target, {})
    assert (stopped.rows, len(stopped.errors)) == (0, 1)
    assert "host 'elsewhere.example.org' is not the one of url" in stopped.errors[0]
    things.next_host, things.all[1520] = server.url, {**things.all[0], "phenomenonTime": "2018-12-31T00:00:00Z"}
    assert "neither filters nor sorts" in poll.poll_source(source, target, {}).errors[0]
    assert len(load_values(target.db)) == 1510


def test_future_time_or_empty_page_does_not_stop_a_datastream(target, server, monkeypatch):
    things = SensorThings(server)
    source = make_source(server, **WELLS, url=f"{server.url}/v1.1/")

    def at(day, result):
        return {"phenomenonTime": f"{day}T00:00:00Z", "result": result}

    things.all = [at("2026-03-01", None), at("2026-03-02", "-"), at("2026-03-03", 1.0), at("2031-01-01", 9.0)]
    monkeypatch.setattr(sensorthings, "PAGE_SIZE", 2)
    first = poll.poll_source(source, target, {})
    assert (first.rows, first.rejected) == (2, 1), "what follows the page comes in"
    things.all.insert(3, at("2026-03-04", 2.0))
    again = poll.poll_source(source, target, {})
    assert (again.rows, again.rejected) == (1, 0)
    with target.db.write() as c:  # a stamp of the future holds nothing back
        (state,) = load_files(c, "wells").values()
        save_file(c, "wells", replace(state, modified="2031-01-01T00:00:00.000000Z"))
    things.all.insert(4, at("2026-03-05", 3.0))
    assert poll.poll_source(source, target, {}).rows == 1


def test_disk_space_is_checked_before_each_file(target, server, tmp_path, monkeypatch):
    server.files |= {"/a.csv": b"x" * 1000, "/b.csv": b"x" * 1000}
    free = iter([200_000, 100_500])
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    first, second = download(make_request(server, tmp_path, "a.csv", "b.csv", reserve_bytes=1000)).files
    assert (first.state, second.state, "fetched later" in second.reason) == (NEW, FAILED, True)


def test_new_items_of_a_catalogue_are_moved_to_the_inbox_of_scenes(target, server, monkeypatch):
    import pystac

    catalog = pystac.Catalog("archive", "scenes")
    year = pystac.Catalog("2026", "of a year")
    catalog.add_child(year)

    def add(name, day, **assets):
        item = pystac.Item(name, None, None, datetime(2026, 3, day, tzinfo=UTC), {})
        for key, href in assets.items():
            item.add_asset(key, pystac.Asset(href))
        year.add_item(item)

    def publish():
        catalog.normalize_hrefs(f"{server.url}/stac")
        for one in [catalog, year, *year.get_items()]:
            server.files[one.get_self_href().removeprefix(server.url)] = json.dumps(one.to_dict()).encode()

    add("S2:x", 1, red="B04.tif", nir="B08.tif")
    add("lacks", 2, red="B04.tif")
    add("years-ago", 1, red="B04.tif", nir="B08.tif")
    next(year.get_items("years-ago")).datetime = datetime(2019, 3, 1, tzinfo=UTC)
    publish()
    for item in year.get_items():
        for asset in item.assets.values():
            server.files[asset.get_absolute_href().removeprefix(server.url)] = b"raster of " + asset.href.encode()
    scenes = {"name": "scenes", "kind": "stac", "assets": {"B4": "red", "B8": "nir"}, "since": "2026-01-01"}
    source = make_source(server, **scenes, url=f"{server.url}/stac/catalog.json")
    monkeypatch.setattr(compute, "run", RUN_IN_WORKER)  # with the sandbox
    found = poll.poll_source(source, target, {})
    assert found.scenes == ["S2-x"], found.errors
    assert "no asset 'nir'" in found.errors[0]
    scene = Path("inbox/north/S2-x")
    assert (scene / "B8.tif").read_bytes() == b"raster of B08.tif"
    manifest = (scene / "scene.toml").read_text()
    assert "acquired_at = 2026-03-01T00:00:00+00:00" in manifest
    assert '"B4.tif" = 17' in manifest
    again = poll.poll_source(source, target, {})
    assert (again.new, again.same) == (0, 2)
    assert not [path for path, _, _ in server.asked[-4:] if "years" in path]  # it is not even looked at again
