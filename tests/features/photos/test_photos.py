"""Photos are converted into plain JPEG files, stored with an alert or report, and contained in packs and copies."""

import hashlib
import io
import json
import struct
import threading
import zlib
from datetime import timedelta

import pytest
from PIL import Image
from sqlalchemy import select, text, update

from monitor.alerts.audit.audit_pack import build_pack, check_pack
from monitor.alerts.audit.queries import list_alterations, load_material
from monitor.alerts.queries.alerts import close_alert
from monitor.alerts.tables import alert as alert_table
from monitor.features.photos import queries as kept
from monitor.features.photos import routes as photos
from monitor.features.photos.develop import DAMAGED, NO_PICTURE, ReceivedPhoto, develop
from monitor.features.photos.queries import PhotoMetadata, add_photo
from monitor.storage.actor import Actor
from monitor.storage.audit import verify_chain
from monitor.storage.audit_tables import audit_entry
from monitor.storage.engine import Database
from monitor.storage.prune import RetentionRun
from monitor.storage.retention import RetentionLimits
from monitor.storage.views import load_view
from monitor.web.routes import acts
from tests.data.filled import NOW
from tests.data.store_rows import ask, tell
from tests.web.test_door import Clock, serving, token
from tests.web.test_rules import enter, send

GPS, EXIF = 0x8825, 0x8769


def picture(kind="JPEG", size=(800, 600), colour="red", mode="RGB", **more):
    made = io.BytesIO()
    Image.new(mode, size, colour).save(made, kind, **more)
    return made.getvalue()


def exif(*, taken=b"2026:03:01 07:12:33", offset="+01:00", place=((46, 12, 0.0), (8, 54, 36.0)), sides=("N", "E")):
    said = Image.Exif()
    said[271], said[272], said[274] = "Maker", "Maker Phone 9", 6  # turned by a quarter
    said.get_ifd(EXIF)[36867], said.get_ifd(EXIF)[36881] = taken.decode(), offset
    said.get_ifd(GPS).update({1: sides[0], 2: place[0], 3: sides[1], 4: place[1]})
    return said


@pytest.fixture
def dark(tmp_path):
    (tmp_path / "out").mkdir()

    def work(content):
        (tmp_path / "came").write_bytes(content)
        return develop(ReceivedPhoto(str(tmp_path / "came"), str(tmp_path / "out"))), tmp_path / "out"

    return work


def test_metadata_is_read_and_not_kept_in_the_file(dark):
    said, out = dark(picture(exif=exif(), size=(3000, 2000)) + b"PK\x03\x04 a second file <script>")
    assert (said.trouble, said.taken, said.camera) == ("", "2026-03-01 07:12:33 +01:00", "Maker Phone 9")
    assert (said.latitude, said.longitude) == (46.2, 8.91)
    for name, longest in (("photo.jpg", 2048), ("small.jpg", 360)):
        content = (out / name).read_bytes()
        for trace in (b"Exif", b"Maker", b"PK\x03\x04", b"script", b"2026"):
            assert trace not in content
        with Image.open(io.BytesIO(content)) as shown:
            assert max(shown.size) == longest
            assert shown.size[1] > shown.size[0], "turned upright"
            assert not shown.getexif()
    assert (said.width, said.height) == (1365, 2048)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_formats_of_phones_are_accepted(dark, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    said, out = dark(picture(kind))
    assert said.trouble == ""
    with Image.open(out / "photo.jpg") as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", (800, 600))
        assert shown.getpixel((400, 300))[0] > 230


def test_transparent_parts_become_white(dark):
    _, out = dark(picture("PNG", mode="RGBA", colour=(0, 0, 0, 0)))
    with Image.open(out / "photo.jpg") as shown:
        assert min(shown.getpixel((10, 10))) > 250


def bomb():
    """A PNG of a few bytes that claims 40,000 times 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', NO_PICTURE),
        (b"<html>\xff\xd8\xff", NO_PICTURE),
        (b"GIF89a" + b"\0" * 50, NO_PICTURE),
        (b"%PDF-1.7", NO_PICTURE),
        (b"\xff\xd8\xff" + b"\0" * 5000, NO_PICTURE),
        (b"RIFF\0\0\0\0WEBP" + b"\0" * 50, NO_PICTURE),
        (picture()[:2000], DAMAGED),
        (picture("PNG", size=(500, 500))[:300], DAMAGED),
        (bomb(), "million pixels"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 100, ""),
    ],
    ids=["svg", "html", "gif", "pdf", "zeros", "webp", "cut", "cut png", "bomb", "heic"],
)
def test_invalid_file_is_refused_with_one_line(dark, content, why, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)  # as the library of reports leaves it
    said, out = dark(content)
    assert said.trouble
    assert getattr(why, "english", why) in said.trouble
    assert "\n" not in said.trouble
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "more",
    [
        {"taken": b"yesterday"},
        {"place": ((200, 0, 0), (8, 0, 0))},
        {"place": ((1, 2, 3), (400, 0, 0))},
        {"sides": ("\0\0", "<b>")},
        {"offset": "+99999"},
    ],
)
def test_impossible_metadata_is_left_out(dark, more):
    said, _ = dark(picture(exif=exif(**more)))
    assert said.trouble == ""
    assert said.taken in {"", "2026-03-01 07:12:33", "2026-03-01 07:12:33 +01:00"}
    if "place" in more:
        assert (said.latitude, said.longitude) == (None, None)


def test_south_and_west_are_negative(dark):
    said, _ = dark(picture(exif=exif(sides=("S", "W"))))
    assert (said.latitude, said.longitude) == (-46.2, -8.91)


def jpeg(colour="orange", size=(1200, 900)):
    said = Image.Exif()
    said.get_ifd(0x8769)[36867] = "2026:03:01 06:58:00"
    said.get_ifd(0x8825).update({1: "N", 2: (46, 12, 0.0), 3: "E", 4: (8, 54, 36.0)})
    made = io.BytesIO()
    Image.new("RGB", size, colour).save(made, "JPEG", exif=said)
    return made.getvalue()


def take(browser, path, content, csrf=None):
    headers = {"x-csrf-token": token(browser) if csrf is None else csrf, "content-type": "application/octet-stream"}
    return browser.post(path, content=content, headers=headers)


def test_photo_is_shown_with_its_alert(filled_database):
    alert = find_open(filled_database)
    with serving(filled_database, Clock()) as address, enter(address, "bo") as bo, enter(address, "cy") as viewer:
        way = f"/alerts/{alert}/photos"
        assert (take(viewer, way, jpeg()).status_code, take(bo, way, jpeg(), csrf="0" * 64).status_code) == (403, 403)
        for content, why in ((b"<svg/>", "cannot be shown"), (b"", "empty")):
            answer = take(bo, way, content)
            assert answer.status_code == 409
            assert why in answer.text
        assert take(bo, way, b"\xff" * ((16 << 20) + 1)).status_code == 413
        assert take(bo, f"/alerts/{alert}/note", b"x" * 70_000).status_code == 413, "only photos may have a large body"
        made = take(bo, f"{way}?note=crack%20at%20the%20%3Cb%3Etoe", jpeg())
        assert made.status_code == 201, made.text
        number = made.json()["photo"]
        page = bo.get(f"/alerts/{alert}").text
        small = f"/sites/north-bench/photos/{number}/small.jpg"
        assert f'src="{small}"' in page
        assert "crack at the &lt;b&gt;toe" in page
        assert "taken 2026-03-01 06:58:00 according to the camera" in page
        assert "at 46.20000°, 8.91000° according to the camera" in page
        assert small in bo.get("/sites/north-bench").text
        shown = viewer.get(small)
        assert (shown.headers["content-type"], shown.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
        assert b"Exif" not in shown.content
        assert viewer.get(f"/sites/lake-slope/photos/{number}/small.jpg").status_code == 404
        assert viewer.get(f"/sites/north-bench/photos/{number}/../../x").status_code == 404
        # a report may bring one as well
        said = {"kind": "crack", "text": "a crack of two fingers", "csrf": token(bo)}
        report = bo.post("/sites/north-bench/report", data=said, headers={"Accept": "application/json"}).json()[
            "report"
        ]
        assert take(bo, f"/sites/lake-slope/reports/{report}/photos", jpeg()).status_code == 404
        made = take(bo, f"/sites/north-bench/reports/{report}/photos", jpeg()).json()["photo"]
        assert f"/sites/north-bench/photos/{made}/small.jpg" in bo.get("/sites/north-bench").text
        # a note without a photo
        assert send(bo, f"/alerts/{alert}/note", note="two rocks on the road").status_code == 303
        assert "two rocks on the road" in bo.get(f"/alerts/{alert}").text
        with filled_database.read() as c:
            [row] = load_view(c, "photos", alert_id=alert)
            assert (row["by"], row["latitude"], row["taken"]) == ("bo", 46.2, "2026-03-01 06:58:00")
            e = audit_entry.c
            added = select(e.detail).where(e.action == "photo.add", e.subject == f"alert:{alert}")
            assert (json.loads(c.execute(added).scalar_one())["sha256"], verify_chain(c)) == (row["sha256"], [])
            assert list_alterations(c, alert, "north-bench") == []
            files = build_pack(load_material(c, alert))
        assert (hashlib.sha256(files[f"photos/{number}.jpg"]).hexdigest(), check_pack(files)) == (row["sha256"], [])
        # who changes the picture behind the back of the service shows none
        with filled_database.engine.begin() as raw:
            raw.execute(text("UPDATE photo SET picture = :other"), {"other": b"\xff\xd8\xffanother"})
        assert viewer.get(f"/sites/north-bench/photos/{number}/photo.jpg").status_code == 404
        with filled_database.engine.begin() as raw:
            raw.execute(text("UPDATE photo SET note = 'nothing'"))
        found = ask(filled_database, list_alterations, alert, "north-bench")
        assert any(line.startswith(f"photo {number}: the row was altered") for line in found)


def test_photos_are_limited_and_leave_disk_space_for_decisions(filled_sqlite, monkeypatch):
    alert, way = find_open(filled_sqlite), f"/alerts/{find_open(filled_sqlite)}/photos"
    with filled_sqlite.write() as c:
        for _ in range(2):
            add_photo(c, "north-bench", Actor("bo"), "", b"x", b"x", PhotoMetadata(8, 6), NOW, alert_id=alert)
    with serving(filled_sqlite, Clock()) as address, enter(address, "bo") as bo:
        limits = {"MAX_PER_SUBJECT": "there are 2 photos already", "MAX_PER_DAY": "you sent 2 photos within"}
        for limit, message in limits.items():
            with monkeypatch.context() as m:
                m.setattr(kept, limit, 2)
                answer = take(bo, way, jpeg())
                assert (answer.status_code, message in answer.text) == (409, True), answer.text
        with monkeypatch.context() as m:
            m.setattr("monitor.features.photos.routes.MEGABYTE", 1 << 60)
            assert "the disk of the service is too full for photos" in take(bo, way, jpeg()).text
        monkeypatch.setattr(photos, "_uploads", threading.Semaphore(0))
        monkeypatch.setattr(acts, "_recomputing", threading.Semaphore(0))
        assert take(bo, way, jpeg()).status_code == 503, "at once"
        assert send(bo, f"/alerts/{alert}/recompute").status_code == 503, "at once"


def test_retention_keeps_photos_of_open_alerts(filled_sqlite):
    alert = find_open(filled_sqlite)
    tell(filled_sqlite, add_photo, "north-bench", Actor("bo"), "", b"x", b"x", PhotoMetadata(8, 6), NOW, alert_id=alert)
    later = NOW + timedelta(days=400)

    def sweep():
        RetentionRun(filled_sqlite, RetentionLimits({"photos": later - timedelta(days=365)}), later).run()
        return len(ask(filled_sqlite, load_view, "photos"))

    assert sweep() == 1
    with filled_sqlite.write() as c:
        c.execute(update(alert_table).where(alert_table.c.id == alert).values(level=0))
        close_alert(c, alert, Actor("bo"), "over", NOW)
    assert sweep() == 0
    assert not [line for line in ask(filled_sqlite, list_alterations, alert, "north-bench") if line.startswith("photo")]


def find_open(database):
    """The open hazard alert of north-bench."""
    with database.read() as c:
        a = alert_table.c
        return c.execute(
            select(a.id).where(a.site == "north-bench", a.ledger == "hazard", a.closed_at.is_(None))
        ).scalar_one()


@pytest.fixture
def filled_sqlite(filled_sqlite_url):
    with Database(filled_sqlite_url) as db:
        yield db
