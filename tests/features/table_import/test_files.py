"""A table brought to the page: sent in parts, looked at behind walls, answered, accepted, read in, its past shown."""

import html
import os
import random
import re
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.features.table_import.upload_store import MOST_OF_ONE, UploadStore
from monitor.people.queries import users
from monitor.sites.queries.sites import load_sites_summary
from monitor.storage.audit import load_entries, verify_chain
from monitor.storage.views import load_view
from monitor.web.access.guard import LARGEST_PART_BYTES, csrf_token
from tests.data.accounts import add_account
from tests.data.filled import PASSWORD
from tests.data.store_rows import ask
from tests.data.watched_slope import SITE_TEXT, START, WatchedSlope
from tests.features.table_import.test_guess_verb import lay_nevada
from tests.web.test_door import Clock, serving
from tests.web.test_rules import enter

BEGIN = datetime(2025, 2, 3)


def german_table(count=120, scale=1.0):
    """Semicolons, decimal commas, date and clock apart."""
    rng = random.Random(5)
    rows = [(BEGIN + timedelta(hours=6 * k), scale * (0.05 * k + rng.gauss(0, 0.2))) for k in range(count)]
    lines = [f"{at:%d.%m.%Y};{at:%H:%M};{value:.2f}".replace(",", ".") for at, value in rows]
    lines = [";".join([*line.split(";")[:2], line.split(";")[2].replace(".", ",")]) for line in lines]
    return ("Datum;Zeit;Riss 1 [mm]\n" + "\n".join(lines) + "\n").encode("cp1252")


@pytest.fixture
def bench(database, tmp_path):
    """A watched slope with its file; Ada is admin, Bo an operator of this site, Cy may look, Dee is of another site."""
    slope = WatchedSlope(database)
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/bench.toml").write_text(SITE_TEXT)
    with database.write() as c:
        for name, role in (("ada", "admin"), ("bo", "operator"), ("cy", "viewer"), ("dee", "operator")):
            add_account(c, name, PASSWORD, role, START)
        for name, site in (("bo", "bench"), ("dee", "elsewhere")):
            c.execute(users.user_account.update().where(users.user_account.c.name == name).values(sites=[site]))
    return slope


@pytest.fixture
def page(bench, tmp_path):
    settings = f'[paths]\nsites = "{tmp_path}/sites"\ninbox = "{tmp_path}/inbox"\n[limits]\nupload_mb = 1\n'
    with serving(bench.database, Clock(), settings) as address:
        yield address


class Person:
    """Somebody logged in, who sends files."""

    def __init__(self, browser):
        self.browser = browser
        self.csrf = csrf_token(browser.cookies["slopeward_session"])

    def post(self, path, **form):
        return self.browser.post(path, data={"csrf": self.csrf, **form})

    def begin(self, name, size, site=""):
        return self.post("/files", name=name, size=str(size), site=site)

    def part(self, upload, at, content):
        return self.browser.post(f"/files/{upload}/part?at={at}", content=content, headers={"x-csrf-token": self.csrf})

    def send(self, name, content, site=""):
        upload = self.begin(name, len(content), site).json()["id"]
        for at in range(0, len(content), LARGEST_PART_BYTES):
            assert self.part(upload, at, content[at : at + LARGEST_PART_BYTES]).status_code == 200
        return upload

    def look(self, name, content, site=""):
        """Send a file and have it looked at; the page that follows, as text."""
        upload = self.send(name, content, site)
        answer = self.post(f"/files/{upload}/answers")
        assert answer.status_code == 303, answer.text
        return upload, self.show(answer.headers["location"])

    def show(self, path):
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", self.browser.get(path).text)).split())

    def wait(self, upload):
        """The page once nothing is at work any more."""
        until = time.monotonic() + 300  # on a busy machine
        while self.browser.get(f"/files/{upload}/state").json()["stage"] != "ended":
            assert time.monotonic() < until
            time.sleep(0.1)
        return self.show(f"/files/{upload}")


@pytest.fixture
def ada(page):
    with enter(page, "ada") as browser:
        yield Person(browser)


@pytest.mark.soak
def test_a_strangers_table_becomes_a_site_with_stored_readings(bench, page, ada, tmp_path):
    upload, text = ada.look("../../Hang Süd.csv", german_table())
    for words in (
        "cells separated by semicolon",
        "station Riss-1: crack opening in mm",
        "decimal mark comma",
        "Datum + Zeit",
        "Which time zone are the times in?",
        "Where is the slope?",
    ):
        assert words in text, words
    told = ada.post(f"/files/{upload}/answers", answer=["Mars/Olympus", "46.2,8.9"])
    assert "expected a name such as Europe/Zurich" in ada.show(told.headers["location"])
    ada.post(f"/files/{upload}/answers", answer=["Europe/Berlin", "47.5,10.2"])
    text = ada.show(f"/files/{upload}")
    assert "2025-02-02 23:00:00 UTC" in text, "the first row as it is read"
    assert ada.post(f"/files/{upload}/accept", site="bench", reason="try").status_code == 409, "that site exists"
    for bad in ("../x", 'x"\n[fusion]\ntop_needs = 1', "Hang Süd"):
        assert ada.post(f"/files/{upload}/accept", site=bad, reason="try").status_code == 422, bad
    assert ada.post(f"/files/{upload}/accept", site="hang", reason="as surveyed").status_code == 303
    text = ada.wait(upload)
    assert "To the page of the site" in text
    assert "could not" not in text
    with bench.database.read() as c:
        assert [s.id for s in load_sites_summary(c)] == ["bench", "hang"]
        (row,) = load_view(c, "latest_observation", site="hang")
        assert (row["station"], row["quantity"], verify_chain(c)) == ("Riss-1", "crack_opening", [])
        acts = {entry.action: entry.actor for entry in load_entries(c, 20)}
    assert acts["site.propose"] == acts["site.approve"] == acts["ingest.file"] == "ada"
    assert 'id = "Riss-1"' in (tmp_path / "sites/hang.toml").read_text()
    assert {path.name for path in tmp_path.iterdir()} <= {"sites", "inbox"} | {p.name for p in tmp_path.glob("*.db*")}
    assert ada.post(f"/files/{upload}/accept", site="hang").status_code == 409, "it is done"
    assert ada.post(f"/files/{upload}/discard").status_code == 303
    assert list((tmp_path / "inbox/.uploads").iterdir()) == []


@pytest.mark.soak
@pytest.mark.usefixtures("jobs_in_process")
def test_files_that_are_sent_together_are_asked_about_once_and_make_one_site(bench, page, ada, tmp_path):
    names = ("a.csv", "b.csv", "c.csv")
    first = ""
    uploads = []
    for name in names:
        content = german_table().replace(b"Riss 1", f"Riss {name[0]}".encode())
        upload = ada.post("/files", name=name, size=str(len(content)), site="", batch=first).json()["id"]
        ada.part(upload, 0, content)
        ada.post(f"/files/{upload}/answers")
        first = first or upload
        uploads.append(upload)
    text = ada.show(f"/files/{first}")
    assert text.count("Which time zone are the times in?") == 1
    assert "Asked for: a.csv, b.csv, c.csv" in text
    ada.post(f"/files/{first}/answers", answer=["Europe/Berlin", "47.5,10.2"])
    assert ada.post(f"/files/{first}/accept", site="cracks").status_code == 303
    for upload in uploads:
        assert "To the page of the site" in ada.wait(upload)
    with bench.database.read() as c:
        rows = load_view(c, "latest_observation", site="cracks")
    assert sorted(row["station"] for row in rows) == ["a", "b", "c"]
    assert (tmp_path / "sites/cracks.toml").read_text().count("[[station]]") == 3


@pytest.mark.usefixtures("jobs_in_process")
def test_an_answer_for_one_file_of_a_batch_counts_for_this_file(page, ada):
    """The choices of the question are columns, which differ between the files."""
    first = ""
    uploads = []
    for name in ("a", "b"):
        lines = [f"Time one {name},Time two {name},Crack {name} (mm)"]
        for hour in range(48):
            one = BEGIN + timedelta(hours=hour)
            two = BEGIN + timedelta(hours=hour, minutes=7 * (hour % 5) + 1)
            lines.append(f"{one:%Y-%m-%dT%H:%M:%SZ},{two:%Y-%m-%dT%H:%M:%SZ},{hour}.5")
        content = "\n".join(lines).encode()
        upload = ada.post("/files", name=f"{name}.csv", size=str(len(content)), site="bench", batch=first).json()["id"]
        ada.part(upload, 0, content)
        ada.post(f"/files/{upload}/answers")
        first = first or upload
        uploads.append(upload)
    ada.post(f"/files/{first}/answers", answer=["Time two a", "Time two b"])
    assert "Time two a (" in ada.show(f"/files/{uploads[0]}")
    assert "Time two b (" in ada.show(f"/files/{uploads[1]}")


@pytest.mark.usefixtures("jobs_in_process")
def test_a_site_that_exists_gets_the_stations_it_lacks_and_doubtful_units_wait_for_a_word(bench, page, ada, tmp_path):
    with enter(page, "bo") as browser:
        bo = Person(browser)
        upload, _ = bo.look("risse.csv", german_table(40, 3000.0), "bench")
        bo.post(f"/files/{upload}/answers", answer="UTC")
        assert "These stations are written into the site file of bench: Riss-1" in bo.show(f"/files/{upload}")
        assert bo.post(f"/files/{upload}/accept").status_code == 303
        text = bo.wait(upload)
        assert "Is this right?" in text
        assert "Nothing of the file is stored" in text
        assert ada.browser.get(f"/files/{upload}").status_code == 404, "files are seen by who sent them alone"
        assert not ask(bench.database, load_view, "latest_observation", site="bench", station="Riss-1")
        record = next((tmp_path / "inbox/.uploads").glob("*/upload.json"))
        record.write_text(record.read_text().replace('"stage": "doubt"', '"stage": "reading"'))
        assert "Reading was cut off" in bo.show(f"/files/{upload}"), "as a page that is killed leaves it"
        assert bo.post(f"/files/{upload}/accept", units="yes").status_code == 303
        assert "What was stored" in bo.wait(upload)
    assert (tmp_path / "sites/bench.toml").read_text().startswith(SITE_TEXT.rstrip())
    with bench.database.read() as c:
        assert load_view(c, "latest_observation", site="bench", station="Riss-1")
        (entry,) = load_entries(c, 5, action="ingest.accept_units")
        assert (entry.actor, entry.detail["file"]) == ("bo", "risse.csv")


@pytest.mark.usefixtures("jobs_in_process")
def test_what_nothing_judges_is_said_before_and_after_a_table_is_accepted(page, ada):
    rows = [f"{BEGIN + timedelta(hours=3 * k):%Y-%m-%d %H:%M};{k % 7 / 10};{k % 5}.1" for k in range(60)]
    upload, text = ada.look("tilt.csv", "\n".join(["Time (UTC);T1 Tilt X (mrad);Piezo P1 (kPa)", *rows, ""]).encode())
    assert "Not judged" not in text, "where the slope is, is still open"
    ada.post(f"/files/{upload}/answers", answer=["47.5,10.2"])
    said = "Nothing judges tilt x, pore pressure yet, so no level comes from it. Write criteria into the site file"
    lines = '[[criterion]] kind = "level" series = "T1.tilt_x" yellow = {over = BOUND} # mrad'
    text = ada.show(f"/files/{upload}")
    assert said in text
    assert lines in text
    assert ada.post(f"/files/{upload}/accept", site="tilt").status_code == 303
    text = ada.wait(upload)
    assert said in text
    assert lines in text
    upload, _ = ada.look("crack.csv", german_table(40))
    ada.post(f"/files/{upload}/answers", answer=["UTC", "47.5,10.2"])
    text = ada.show(f"/files/{upload}")
    assert "Read it in as ada" in text
    assert "Not judged" not in text, "an example judges cracks"
    assert "Riss-1.crack opening" in text or "Riss-1.crack_opening" in text
    assert "What raises a level" in text
    assert "missed: steady motion of" in text
    assert "slopeward backtest --site crack" in text


@pytest.mark.usefixtures("jobs_in_process")
def test_bounds_that_are_given_with_a_table_stand_in_the_site_file(page, ada, tmp_path):
    rows = [f"{BEGIN + timedelta(hours=3 * k):%Y-%m-%d %H:%M};{k / 10};{k}.1" for k in range(60)]
    upload, _ = ada.look("tilt.csv", "\n".join(["Time (UTC);T1 Tilt X (mrad);Piezo P1 (kPa)", *rows, ""]).encode())
    ada.post(f"/files/{upload}/answers", answer=["47.5,10.2"])
    assert "Bounds of tilt x in mrad: a number for each level" in ada.show(f"/files/{upload}")
    for bad in ("5,5", "9 5", "5 mm"):
        told = ada.post(f"/files/{upload}/accept", site="tilt", bound=["", bad])
        assert "Bound of pore pressure" in ada.show(told.headers["location"]) or "bound of" in ada.show(
            told.headers["location"]
        )
    assert ada.post(f"/files/{upload}/accept", site="tilt", bound=["1 2 4", ""]).status_code == 303
    text = ada.wait(upload)
    assert "red = {over = 4.0}" in (tmp_path / "sites/tilt.toml").read_text()
    assert "Nothing judges pore pressure yet" in text


def test_upload_follows_the_access_rules_of_accounts(page, ada):
    for name, site, status in (("cy", "bench", 403), ("dee", "bench", 403), ("bo", "bench", 201), ("bo", "", 409)):
        with enter(page, name) as browser:
            assert Person(browser).begin("a.csv", 10, site).status_code == status, (name, site)
    upload = ada.begin("a.csv", 10).json()["id"]
    for other in (f"/files/{upload}/part?at=0", "/files"):
        assert ada.browser.post(other, content=b"x", headers={"x-csrf-token": "no"}).status_code in {403, 422}
    with enter(page, "bo") as browser:
        assert Person(browser).part(upload, 0, b"x").status_code == 404


def test_truncated_huge_or_foreign_upload_is_one_line_of_error(page, ada, tmp_path):
    assert "larger than 1 MiB" in ada.begin("big.csv", (1 << 20) + 1).text
    assert ada.begin("none.csv", 0).status_code == 409
    upload = ada.begin("a.csv", 20).json()["id"]
    assert ada.part(upload, 5, b"late").status_code == 409, "a hole"
    assert ada.part(upload, 0, b"Datum;Riss").status_code == 200
    assert ada.part(upload, 0, b"Datum;Riss").status_code == 409, "twice"
    assert ada.part(upload, 10, b"x" * 20).status_code == 409, "more than was announced"
    assert ada.part(upload, 10, b"x" * (LARGEST_PART_BYTES + 1)).status_code == 413
    assert "upload is incomplete" in ada.post(f"/files/{upload}/answers").text
    assert "Not all of this file came" in ada.show(f"/files/{upload}")
    assert ada.post(f"/files/{upload}/accept", site="x").status_code == 409
    for strange in ("a..b", "%2e%2e%5c", "0" * 16, upload.upper() + "A"):
        assert ada.browser.get(f"/files/{strange}").status_code == 404, strange
    for _ in range(MOST_OF_ONE - 1):
        ada.begin("a.csv", 20)
    assert "finish or discard one first" in ada.begin("a.csv", 20).text
    assert len(list((tmp_path / "inbox/.uploads").iterdir())) == MOST_OF_ONE


HOSTILE = {
    "words.csv": b"There is no table here.\nNot a row.\n" * 20,
    "torn.xlsx": b"PK\x03\x04" + bytes(200),
    "noise.parquet": bytes(range(256)) * 20,
    "<script>alert(1)</script>.csv": b"\x00\x01\x02" * 50,
    "deep.xml": b'<?xml version="1.0"?><csixml><!DOCTYPE a [<!ENTITY b "bb">]>' + b"<head>" * 500,
}


@pytest.mark.soak
def test_hostile_file_is_one_line_of_error_and_leaves_nothing(page, ada, tmp_path, request):
    for name, content in HOSTILE.items():
        answer = ada.post(f"/files/{ada.send(name, content)}/answers")
        assert answer.headers["location"].startswith("/files?told="), "nothing was understood"
        text = ada.browser.get(answer.headers["location"]).text
        told = html.unescape(re.search(r'class="told" role="status">([^<]*)', text)[1].strip())
        assert "<script>alert" not in text
        assert 20 < len(told) < 400
        assert not [word for word in (str(tmp_path), "Traceback", "monitor.") if word in told], told
        request.getfixturevalue("jobs_in_process")  # the first of them was read by a process of its own
    assert list((tmp_path / "inbox/.uploads").iterdir()) == []


def test_a_workbook_is_understood_behind_walls(page, ada, tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    times = [BEGIN + timedelta(days=k) for k in range(30)]
    pd.DataFrame({"Date": times, "Extensometer E1 [mm]": [0.1 * k for k in range(30)]}).to_excel(
        tmp_path / "b.xlsx", index=False
    )
    _, text = ada.look("b.xlsx", (tmp_path / "b.xlsx").read_bytes())
    assert "station E1: crack opening in mm" in text, text[100:900]


@pytest.mark.usefixtures("jobs_in_process")
def test_positions_of_a_network_make_a_site_by_the_page(page, ada, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upload, text = ada.look("CHAN.tenv3", Path(lay_nevada()).read_bytes())
    for words in (
        "360 values of 3 series",
        "CHAN: 43.79069, 125.44420",
        "CHAN: displacement east in m",
        "2024-02-03 12:00",
    ):
        assert words in text, words
    assert "What the file does not say" not in text
    assert ada.post(f"/files/{upload}/accept", site="chan", reason="as published").status_code == 303
    text = ada.wait(upload)
    assert "360" in text
    assert "height_m = 273.2581" in (tmp_path / "sites/chan.toml").read_text()


@pytest.mark.usefixtures("jobs_in_process")
def test_distances_and_angles_make_a_site_with_a_total_station_by_the_page(page, ada, tmp_path):
    rows = [
        f"P{n};{day:02}.03.2025 08:00;{100 + 5 * n + day / 500:.4f};{100 + n:.4f};95.0000"
        for day in range(1, 29)
        for n in (1, 2)
    ]
    content = "\n".join(["Point;Date;Slope distance [m];Hz [gon];V [gon]", *rows, ""]).encode()
    upload, text = ada.look("prisms.csv", content)
    assert "the slope distance and the angles of a total station?" in text
    ada.post(f"/files/{upload}/answers", answer=["UTC", "total station", "46.2,8.9"])
    ada.post(f"/files/{upload}/answers", answer=["first"])
    assert "origin of a local grid" in ada.show(f"/files/{upload}")
    assert ada.post(f"/files/{upload}/accept", site="prisms", reason="as surveyed").status_code == 303
    assert "could not" not in ada.wait(upload)
    site = (tmp_path / "sites/prisms.toml").read_text()
    assert "[[total_station]]" in site
    assert site.count("origin = {east_m") == 2


def test_an_upload_whose_folder_is_empty_stops_no_sweep(tmp_path):
    store = UploadStore(tmp_path, 1, 0)
    store.folder("torn").mkdir(parents=True)
    os.utime(store.folder("torn"), (0, 0))
    store.sweep()
    assert not store.folder("torn").exists()


@pytest.mark.soak
def test_satellite_points_are_sent_to_the_command_that_reads_them(page, ada):
    row = b"time,point,latitude,longitude,value\n2024-01-01T00:00:00Z,p,46,8,1.0\n"
    _, text = ada.look("points.csv", row, "bench")
    assert "satellite points come in by" in text
