"""Import files of RTKLIB solutions: a measured glacier, and headers as RTKLIB writes them."""

from datetime import UTC, datetime

import numpy as np
import pytest

from monitor.errors import ConfigError
from monitor.features.table_import.guess.known_format import guess_known_format
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.rtklib import find_origin, open_rtklib
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.positions import find_enu_mm
from monitor.ingest.recognise import find_form
from monitor.sites.parsing import parse_site
from monitor.sites.records import Origin
from tests.data.payloads.traps import add_nmea_checksum

SINCE = datetime(2015, 7, 7, tzinfo=UTC)
PLACE = (77.679932054, -68.607229038, 59.4639)
HEAD = "% program   : rnx2rtkp ver.2.4.2\n% ref pos   :  77.6848692  -68.50704341    86.0078\n%\n"
LLH = (
    "%  GPST                  latitude(deg) longitude(deg)  height(m)   Q  ns   sdn(m)   sde(m)   sdu(m)"
    "  sdne(m)  sdeu(m)  sdun(m) age(s)  ratio\n"
)
ENU = LLH.replace("latitude(deg)", "e-baseline(m)").replace("longitude(deg)", "n-baseline(m)")
ENU = ENU.replace("height(m)", "u-baseline(m)")


def read_rows(path, origin=None, **options):
    origins = (("B1501", origin or Origin(SINCE, PLACE)),)
    with open_rtklib(path, ImportOptions(origins=origins, **options)) as lines:
        return [row for line in lines for row in line.rows]


def test_glacier_moves_at_the_documented_rate_in_gps_time(measured):
    path = measured("bowdoin-gnss15min/B1501_15min.dat")
    with pytest.raises(ConfigError, match="GPS time or UTC"):
        read_rows(path)
    rows = read_rows(path, time="gpst")
    assert not [error for _, error in rows if error is not None]
    moved = [row for row, _ in rows if row["quantity"].endswith("north")]
    north = [(row["time"].timestamp(), row["value"], row["sigma"]) for row in moved]
    assert rows[0][0]["time"] == datetime(2015, 7, 7, 16, 3, 3, tzinfo=UTC)  # 17 leap seconds since July 2015
    assert [abs(row["value"]) < 1e-6 for row, _ in rows[:3]] == [True] * 3
    assert -1200 < np.polyfit([(t - north[0][0]) / 86400 for t, _, _ in north], [v for _, v, _ in north], 1)[0] < -800
    assert north[0][2] == pytest.approx(0.3)


def test_both_position_types_and_clocks_are_read_and_single_solutions_rejected(tmp_path):
    path = tmp_path / "B1501_day.pos"
    solution = " 0.0003 0.0002 0.0010 0.0001 0.0001 0.0004 0.00 24.3\n"
    path.write_text(
        HEAD
        + LLH
        + f"2015/07/07 16:15:00.000 77.679931954 -68.607229425 59.4815 1 8{solution}"
        + f"1852 231317.000 77.679931954 -68.607229425 59.4815 2 8{solution}"
        + f"2015/07/07 16:45:00.000 77.679931954 -68.607229425 59.4815 5 8{solution}2015/07/07 half a line\n"
    )
    rows = read_rows(path)
    assert [error.code for _, error in rows if error is not None] == ["no_fix", "cell_count"]
    enu = find_enu_mm(Origin(SINCE, PLACE), 77.679931954, -68.607229425, 59.4815)
    for first in (0, 3):
        assert [row["value"] for row, _ in rows[first : first + 3]] == pytest.approx(list(enu))
        assert [row["sigma"] for row, _ in rows[first : first + 3]] == pytest.approx([0.2, 0.3, 1.0])
    assert [rows[k][0]["time"].strftime("%d %H:%M:%S") for k in (0, 3)] == ["07 16:14:43", "07 16:15:00"]
    with pytest.raises(ConfigError, match=r"contains llh; the origin of B1501 must be \{latitude"):
        read_rows(path, Origin(SINCE, None, (0.0, 0.0, 0.0)))
    line = f"2015/07/07 16:15:00.000 10.5000 -20.2500 3.0000 1 8{solution}"
    path.write_text(HEAD + ENU.replace("GPST", "UTC ") + line)
    base = Origin(SINCE, None, (10.0, -20.0, 3.0))
    assert [(row["time"].minute, row["value"], row["sigma"]) for row, _ in read_rows(path, base)] == [
        (15, pytest.approx(v), pytest.approx(s)) for v, s in ((500.0, 0.3), (-250.0, 0.2), (0.0, 1.0))
    ]


def test_station_is_taken_from_the_option_or_the_file_name(tmp_path):
    path = tmp_path / "day.pos"
    path.write_text(HEAD + LLH)
    with pytest.raises(ConfigError, match="give --station"):
        read_rows(path)
    with pytest.raises(ConfigError, match="station G9 has no origin"):
        read_rows(path, station="G9")
    assert read_rows(path, station="B1501") == []
    path.write_text("colour,size\nred,1\n")
    with pytest.raises(ConfigError, match="no columns of RTKLIB"):
        read_rows(path, station="B1501", time="utc")


SOLUTION = "2015/07/07 16:15:00.000 77.679931954 -68.607229425 59.4815 1 8 0.0003 0.0002 0.001 0 0 0 0.00 24.3\n"
KINDS = {"ellipsoid": "ellipsoidal", "geoid": "geodetic"}


def make_header(kind, datum="WGS84"):
    return f"{HEAD}% (lat/lon/height={datum}/{KINDS[kind]},Q=1:fix,2:float,ns=# of satellites)\n{LLH}"


@pytest.mark.parametrize("of_file", KINDS)
@pytest.mark.parametrize("of_origin", KINDS)
def test_heights_of_another_type_than_the_origin_are_refused(tmp_path, of_file, of_origin):
    path = tmp_path / "B1501.pos"
    path.write_text(make_header(of_file) + SOLUTION)
    origin = Origin(SINCE, PLACE, height=of_origin)
    if of_file == of_origin:
        assert len(read_rows(path, origin)) == 3
        assert find_origin(path, None).height == of_file  # origin of a new station
    else:
        with pytest.raises(ConfigError, match=f"heights above the {of_file}.*out-height = {KINDS[of_origin]}"):
            read_rows(path, origin)
    path.write_text(make_header(of_origin) + SOLUTION + make_header(of_file) + SOLUTION.replace("16:15", "16:30"))
    if of_file == of_origin:
        assert len(read_rows(path, origin)) == 6
    else:
        with pytest.raises(ConfigError, match="line 10"):
            read_rows(path, origin)
    path.write_text(HEAD + LLH + SOLUTION)  # without a header line the height type of the origin applies
    assert len(read_rows(path, origin)) == 3
    path.write_text(make_header(of_file, "Tokyo") + SOLUTION)
    with pytest.raises(ConfigError, match="datum Tokyo"):
        read_rows(path, origin)


UNSUPPORTED_HEADERS = [HEAD + LLH.replace("latitude(deg)", name) for name in ("latitude(d'\")", "x-ecef(m)")]


@pytest.mark.parametrize("head", [make_header("ellipsoid", "Tokyo"), *UNSUPPORTED_HEADERS])
def test_unsupported_solution_format_is_refused(tmp_path, head):
    path = tmp_path / "B1501_a.pos"
    path.write_text(head + SOLUTION)
    with pytest.raises(ConfigError, match="set out-"):
        guess_known_format(path, find_form(path), {"station": "B1501"}, ImportOptions())


@pytest.mark.parametrize("mark", [",", ";", "  "])
def test_solutions_are_read_with_any_field_separator(tmp_path, mark):
    path = tmp_path / "B1501_a.pos"
    path.write_text(HEAD + LLH + mark.join(SOLUTION.split()) + "\n")
    assert len(read_rows(path)) == 3


@pytest.mark.parametrize("of_stream", [*KINDS, "nmea"])
@pytest.mark.parametrize("of_origin", KINDS)
def test_messages_with_another_height_type_are_rejected(of_stream, of_origin):
    site = parse_site(
        '[site]\nid = "north"\nname = "North"\nlatitude = 77.6\nlongitude = -68.6\n[[station]]\nid = "B1501"\norigin = '
        f'{{latitude = {PLACE[0]}, longitude = {PLACE[1]}, height_m = {PLACE[2]}, height = "{of_origin}", '
        'since = 2015-07-07T00:00:00Z}\nseries = [{quantity = "displacement", unit = "mm", interval = "1h"}]\n'
        '[[decoder]]\ntopic = "r/{station}"\nname = "rtklib"\n[[decoder]]\ntopic = "n/{station}"\nname = "nmea"\n',
        "north.toml",
    )
    now = datetime(2015, 7, 7, 17, tzinfo=UTC)
    pipeline = Pipeline(None, {site.id: site}, lambda: now)
    if of_stream == "nmea":  # altitude plus geoid separation is the height above the ellipsoid
        lines = (
            "GPRMC,161500.00,A,7740.7959172,N,06836.4337655,W,0.0,0.0,070715,,",
            "GPGGA,161500.00,7740.7959172,N,06836.4337655,W,4,14,0.6,29.4815,M,30.0000,M,1.0,0001",
        )
        topic, payload, is_same = (
            "n/B1501",
            "\r\n".join(map(add_nmea_checksum, lines)).encode(),
            of_origin == "ellipsoid",
        )
    else:
        topic, payload, is_same = "r/B1501", (make_header(of_stream) + SOLUTION).encode(), of_stream == of_origin
    decoded = pipeline.decode(BrokerMessage(topic, payload, now, "live"))
    assert [f.code for f in decoded.faults] == ([] if is_same else ["other_frame"])
    assert len(decoded.observations) == (3 if is_same else 0)
    assert all(abs(o.value) < 1000.0 for o in decoded.observations)
