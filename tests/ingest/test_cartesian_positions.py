"""Cartesian positions given as GNSS east, north and up are refused, however many fields a line has."""

from datetime import datetime, timedelta

import pytest

from monitor.errors import ConfigError
from monitor.ingest.files.gnss import open_gnss
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.recognise import find_form

START = datetime(2023, 5, 1)
PLACES = [
    (4369812.1234, 684021.4567, 4579904.8765),
    (-2694045.2, -4266800.9, 3888310.5),
    (1112590.1, -4842959.0, 3985352.3),
]
TAILS = [
    "0.001 0.001 0.002",
    "0.001 0.001 0.002 0.1 0.2 0.3 0.083",
    "0.001 0.001 0.002 0.1 0.2 0.3 0.083 a b c d e f g",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tail", TAILS)
def test_cartesian_positions_are_refused_with_the_file_to_use_instead(tmp_path, place, tail):
    lines = []
    for day in range(30):
        date = f"{START + timedelta(days=day):%y%b%d}".upper()
        position = " ".join(f"{part + 0.0003 * day:.5f}" for part in place)
        lines.append(f"QRST {date} {2023 + (120 + day) / 365:.4f} {position} {tail}")
    file = tmp_path / "QRST.txyz2"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match=r"centre of the earth.*\.tenv3"), open_gnss(file, ImportOptions()):
        pass
    with pytest.raises(ConfigError, match=r"centre of the earth.*\.tenv3"):
        find_form(file)
