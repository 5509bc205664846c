"""Damaged and hostile point clouds: one line each, before anything large is allocated."""

import struct

import numpy as np
import pytest

from detection.clouds.grid import CloudGridRequest, grid_clouds
from detection.clouds.header import CloudError, NoPointsError
from tests.data.surveys.clouds import draw, write_cloud


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    points = draw(np.random.default_rng(1), per_m2=3)[0]
    return {end: write_cloud(folder / f"a.{end}", points).read_bytes() for end in ("las", "laz")}


def put(form, at, *values):
    return lambda b: b[:at] + struct.pack("<" + form, *values) + b[at + struct.calcsize("<" + form) :]


def chunks(number):
    """A table of packed parts that says another number of them."""

    def change(content):
        begin = struct.unpack_from("<I", content, 96)[0]
        at = struct.unpack_from("<q", content, begin)[0]
        return put("I", at + 4, number)(content)

    return change


CASES = {
    "empty": ("las", lambda b: b"", "0 bytes"),
    "another format": ("las", lambda b: b"<html>" + b, "does not begin with LASF"),
    "header cut": ("las", lambda b: b[:200], "cut off"),
    "cut": ("las", lambda b: b[: len(b) // 2], "truncated"),
    "packed and cut": ("laz", lambda b: b[: len(b) // 2], "truncated"),
    "count too large": ("las", put("Q", 247, 1 << 40), "the file holds 4,800: truncated"),
    "count too small": ("las", put("Q", 247, 10), "its header is wrong"),
    "no point": ("las", put("Q", 247, 0), "there is no point"),
    "bomb": ("laz", put("Q", 247, 1 << 40), "made to fill a disk"),
    "packed count": ("laz", put("Q", 247, 9_000), "of 9,000 points it cannot be read"),
    "parts": ("laz", chunks(0xFFFFFFF0), "packed parts cannot be"),
    "records": ("las", put("I", 100, 0xFFFFFFFF), "beyond the end"),
    "records beyond": ("las", put("I", 96, 0xFFFFFFF0), "beyond the end"),
    "extended records": ("las", put("QI", 235, 1 << 50, 3), "beyond the end"),
    "record length": ("las", put("H", 105, 3), "in 3 bytes are not possible"),
    "format": ("las", put("B", 104, 60), "are not possible"),
    "scale": ("las", put("3d", 131, 0.0, 0.001, 0.001), "scale .* cannot be"),
    "scale by another": ("las", put("3d", 131, 0.01, 0.01, 0.01), "outside of the bounds"),
    "offset": ("las", put("3d", 155, float("nan"), 0, 0), "offset .* cannot be"),
    "offset by another": ("las", put("3d", 155, 0.0, 0.0, 0.0), "outside of the bounds"),
    "bounds": ("las", put("2d", 179, 1e300, -1e300), "are not a slope"),
    "bounds turned": ("las", put("2d", 179, 1.0, 2.0), "are not a slope"),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_one_line(sound, tmp_path, case):
    end, change, line = CASES[case]
    path = tmp_path / f"a.{end}"
    path.write_bytes(change(sound[end]))
    with pytest.raises(CloudError, match=line) as told:
        grid_clouds([path], tmp_path / "a.tif", CloudGridRequest(ground="all"))
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)
    assert isinstance(told.value, NoPointsError) == (case == "no point")
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name]


def test_any_damaged_octet_ends_in_a_line_or_in_heights(sound, tmp_path):
    rng = np.random.default_rng(2)
    lines = []
    for _ in range(30):
        content = bytearray(sound["laz"])
        for at in rng.integers(0, len(content) if rng.random() < 0.5 else 700, 3):
            content[at] = rng.integers(0, 256)
        (tmp_path / "a.laz").write_bytes(bytes(content))
        try:
            grid_clouds([tmp_path / "a.laz"], tmp_path / "a.tif", CloudGridRequest(ground="all"))
        except CloudError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)
