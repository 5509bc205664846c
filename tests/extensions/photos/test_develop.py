"""Photos of strangers: what comes out is a picture and nothing else; what the camera said is read before."""

import io
import struct
import zlib

import pytest
from PIL import Image

from monitor.extensions.photos.develop import DAMAGED, NO_PICTURE, ReceivedPhoto, develop

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


def test_what_the_camera_said_is_read_and_does_not_go_out(dark):
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
def test_what_telephones_send_is_taken(dark, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    said, out = dark(picture(kind))
    assert said.trouble == ""
    with Image.open(out / "photo.jpg") as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", (800, 600))
        assert shown.getpixel((400, 300))[0] > 230


def test_what_is_transparent_lies_on_white(dark):
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
def test_what_is_no_whole_picture_is_refused_in_one_line(dark, content, why, monkeypatch):
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
def test_what_a_camera_cannot_have_said_is_left_out(dark, more):
    said, _ = dark(picture(exif=exif(**more)))
    assert said.trouble == ""
    assert said.taken in {"", "2026-03-01 07:12:33", "2026-03-01 07:12:33 +01:00"}
    if "place" in more:
        assert (said.latitude, said.longitude) == (None, None)


def test_south_and_west_are_negative(dark):
    said, _ = dark(picture(exif=exif(sides=("S", "W"))))
    assert (said.latitude, said.longitude) == (-46.2, -8.91)
