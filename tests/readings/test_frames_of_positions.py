"""Another frame is another number: positions count from what their station counts from, or are refused.

What a station counts from is its datum, its kind of height, the place of its base or reference, and the instant. Motion
that only a change of these makes must never be stored.
"""

import json
import random
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor

import pytest

from monitor.alerts.queries.alerts import load_alerts
from monitor.errors import ConfigError
from monitor.ingest.files.reader import ImportOptions, add_places
from monitor.ingest.files.readers import open_readings
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.sites.parsing import parse_site
from monitor.storage.service_state import find_heartbeat
from tests.data.store_rows import ask
from tests.data.watched_slope import SITE_TEXT
from tests.fixtures.databases import ON_BOTH

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, 6, tzinfo=UTC)
NOW = START + 400 * DAY
ORIGIN = "origin = {latitude = 46.2, longitude = 8.9, height_m = 800.0, since = 2026-03-01T00:00:00Z}"
SERIES = '[[station.series]]\nquantity = "displacement"\nunit = "mm"\ninterval = "1d"\n'
DECODERS = (
    '[[decoder]]\ntopic = "rtk/{station}"\nname = "rtklib"\ntime = "gpst"\npositions = "llh"\n'
    '[[decoder]]\ntopic = "nmea/{station}"\nname = "nmea"\n'
)
MORE = f'[[station]]\nid = "R1"\n{ORIGIN}\n{SERIES}[[station]]\nid = "P156"\n{SERIES}\n[[criterion]]'
SITE = parse_site(SITE_TEXT.replace("[[criterion]]", MORE, 1) + DECODERS, "bench.toml")
GEODETIC = "% (lat/lon/height=WGS84/geodetic,Q=1:fix,2:float,5:single,ns=# of satellites)"
ELLIPSOIDAL = GEODETIC.replace("geodetic", "ellipsoidal")
COLUMNS = (
    "%  {clock}                  latitude(deg) longitude(deg)  height(m)   Q  ns   sdn(m)   sde(m)   sdu(m)  sdne(m)  "
    "sdeu(m)  sdun(m) age(s)  ratio"
)
BASE = "% ref pos   : 46.190000000    8.910000000  700.0000"


def spell_rtklib(days, up_m=0.0, heads=(ELLIPSOIDAL, BASE), clock="GPST", ahead_s=18):
    rows = [
        f"{START + day * DAY + timedelta(seconds=ahead_s):%Y/%m/%d %H:%M:%S}.000   46.200000000    8.900000000   "
        f"{800.0 + up_m:.4f}   1   9   0.0010   0.0010   0.0030   0.0000   0.0000   0.0000   0.00   50.0"
        for day in days
    ]
    return "\n".join([*heads, COLUMNS.format(clock=clock), *rows]) + "\n"


def spell_pbo(days, place=(40.0, 236.0, 488.9), frame="IGS08", shift_mm=0.0, rate_mm=0.1):
    head = (
        f"PBO Station Position Time Series. Reference Frame : {frame}\n4-character ID: P156\n"
        f"NEU Reference position :  {place[0]:.10f}  {place[1]:.10f} {place[2]:.5f} ({frame}/WGS84)\n"
        "*YYYYMMDD HHMMSS\n"
    )
    row = " {:%Y%m%d %H%M%S} 0 0 0 0 0 0 0 0 0 0 0 0 0 0.00000 {:.5f} 0.00000 0.001 0.001 0.003 0 0 0 final\n"
    return head + "".join(row.format(START + d * DAY, (rate_mm * d + shift_mm) / 1000.0) for d in days)


class Desk:
    def __init__(self, database, folder):
        self.database, self.folder, self.pipeline = database, folder, None
        self.count = 0

    def read(self, form, text, name, **more):
        self.count += 1
        path = self.folder / name
        path.write_text(text)
        pipeline = Pipeline(self.database, {"bench": SITE}, lambda: NOW)
        said = add_places(ImportOptions(), SITE)
        opener = open_readings(form)
        return FileImport(path, pipeline, SITE, lambda: NOW, open_lines=lambda: opener(path, said), **more).run()

    def values(self, station, quantity):
        with self.database.read() as c:
            series = find_series_id(c, "bench", station, quantity)
            return [] if series is None else [r.value_raw for r in load_readings(c, series, None, NOW, NOW)]

    def reach(self, station, quantity):
        values = self.values(station, quantity)
        return max(values) - min(values)


@pytest.fixture
def desk(database, tmp_path):
    return Desk(database, tmp_path)


OTHER = "nothing of it was stored"
OTHER_HEADS = {
    "another base": (ELLIPSOIDAL, BASE.replace("700.0000", "700.0480")),
    "a base a metre east": (ELLIPSOIDAL, BASE.replace("8.910000000", "8.910013000")),
}


@pytest.mark.parametrize("what", OTHER_HEADS)
def test_file_in_another_frame_is_refused(desk, what):
    heads = OTHER_HEADS[what]
    assert desk.read("rtklib", spell_rtklib(range(10)), "R1_a.pos").stored == 30
    later = spell_rtklib(range(10, 20), 48.0, heads)
    with pytest.raises(ConfigError, match=OTHER) as caught:
        desk.read("rtklib", later, "R1_b.pos")
    assert "\n" not in str(caught.value)
    assert "--forget-epoch0 bench/R1" in str(caught.value)
    assert desk.read("rtklib", spell_rtklib(range(10, 12)), "R1_e.pos").stored == 6
    assert desk.reach("R1", "displacement_up") < 1.0


def test_same_frame_written_differently_is_accepted(desk):
    assert desk.read("rtklib", spell_rtklib(range(5)), "R1_a.pos").stored == 15
    spelled = BASE.replace("46.190000000", "46.19").replace("700.0000", "700.00000")
    assert desk.read("rtklib", spell_rtklib(range(5, 8), heads=(ELLIPSOIDAL, spelled)), "R1_b.pos").stored == 9
    assert desk.read("rtklib", spell_rtklib(range(8, 9), heads=()), "R1_c.pos").stored == 3  # it says nothing of it
    assert desk.read("rtklib", spell_rtklib(range(9, 10), clock="UTC", ahead_s=0), "R1_d.pos").stored == 3
    again = desk.read("rtklib", spell_rtklib(range(5)), "R1_a.pos")
    assert (again.stored, again.duplicates) == (0, 15)


@pytest.mark.parametrize("line", [GEODETIC, BASE.replace("700.0000", "700.0480"), COLUMNS.format(clock="UTC")])
def test_header_that_changes_within_a_file_ends_the_import(desk, line):
    lines = spell_rtklib(range(10)).splitlines()
    with pytest.raises(ConfigError) as caught:
        desk.read("rtklib", "\n".join([*lines[:8], line, *lines[8:]]) + "\n", "R1_a.pos")
    assert "9" in str(caught.value)
    assert desk.values("R1", "displacement_up") == []


@pytest.mark.parametrize(
    "other", [{"place": (40.0, 236.0, 488.948)}, {"frame": "IGS14"}, {"place": (40.0, 236.0000001, 488.9)}]
)
def test_another_reference_position_of_a_network_is_no_motion(desk, other):
    assert desk.read("gnss", spell_pbo(range(30)), "P156.pos").stored == 90
    with pytest.raises(ConfigError, match=OTHER):
        desk.read("gnss", spell_pbo(range(20, 50), shift_mm=-37.0, **other), "P156.pos")
    assert len(desk.values("P156", "displacement_east")) == 30


def test_two_formats_of_one_network_have_different_reference_positions(desk):
    """tenv counts from its first day, tenv3 from whole metres: a later file in the other form is no motion."""
    head = (
        "site YYMMMDD yyyy.yyyy __MJD week d reflon _e0(m) __east(m) ____n0(m) _north(m) u0(m) ____up(m) _ant(m) "
        "sig_e(m) sig_n(m) sig_u(m)\n"
    )
    short = "P156 {:%y%b%d} 2026.1 61100 2400 0 {:.6f} 0.000000 0.000000 0.0000 0.001 0.001 0.003\n"
    long = "P156 {:%y%b%d} 2026.1 61100 2400 0 104.3 1105 {:.6f} 5787713 0.876094 502 0.037682 0.0 0.001 0.001 0.003\n"

    def write(row, days, first):
        return "".join(row.format(START + d * DAY, first + 0.0001 * d).upper() for d in days)

    assert desk.read("gnss", write(short, range(10), 0.0), "P156.tenv").stored == 30
    for name in ("P156.tenv3", "P156.NA.tenv3"):  # against a plate, by the name of the file
        with pytest.raises(ConfigError, match=OTHER):
            desk.read("gnss", head + write(long, range(10, 20), 0.850890), name)


@ON_BOTH
def test_random_changes_of_a_frame_are_never_motion(desk):
    draw, day = random.Random(8), 0
    frames = [((ELLIPSOIDAL, BASE), 0.0)]
    for _ in range(14):
        if draw.random() < 0.4:
            base = BASE.replace("700.0000", f"{700.0 + draw.uniform(-1, 1):.4f}")
            frames.append(((draw.choice((GEODETIC, ELLIPSOIDAL)), base), draw.uniform(-50.0, 50.0)))
        heads, up_m = draw.choice(frames)
        back, ahead = draw.randrange(0, 6), draw.randrange(1, 6)
        try:
            desk.read("rtklib", spell_rtklib(range(max(0, day - back), day + ahead), up_m, heads), f"R1_{day}.pos")
        except ConfigError as error:
            assert any(why in str(error) for why in (OTHER, "heights above the geoid"))  # noqa: PT017
        else:
            day += ahead
        assert desk.reach("R1", "displacement_up") < 1.0


# ---- messages --------------------------------------------------------------------------------------------------------
def gga(at, altitude, separation):
    place = "4612.00000000,N,00854.00000000,E"
    body = f"GPGGA,{at:%H%M%S}.00,{place},4,12,0.7,{altitude:.4f},M,{separation:.4f},M,1.0,0001"
    date = f"GPZDA,{at:%H%M%S}.00,{at:%d,%m,%Y},00,00"
    return "\r\n".join(f"${x}*{checksum(x)}" for x in (date, body)).encode()


def checksum(text):
    return f"{reduce(xor, text.encode()):02X}"


def send(database, topic, payload, at):
    return Pipeline(database, {"bench": SITE}, lambda: at).store([BrokerMessage(topic, payload, at, "live")])


def test_receiver_that_starts_to_send_its_geoid_separation_is_a_question(desk):
    """The height of a receiver without a model of the geoid is any; with one it is another."""
    assert send(desk.database, "nmea/R1", gga(START, 752.0, 0.0), START).added.stored == 3
    found = send(desk.database, "nmea/R1", gga(START + DAY, 752.0, 48.0), START + DAY)
    assert (found.added.stored, found.rejected) == (0, 1)
    assert [a.key for a in ask(desk.database, load_alerts)] == ["health:epoch0:bench/R1"]


def test_another_geoid_model_changes_no_height_above_the_ellipsoid(desk):
    for k, (altitude, separation) in enumerate(((752.0, 48.0), (751.2, 48.8), (752.5, 47.5))):
        at = START + k * DAY
        assert send(desk.database, "nmea/R1", gga(at, altitude, separation), at).added.stored == 3
    assert desk.reach("R1", "displacement_up") < 1e-3


def test_messages_and_files_of_a_station_share_one_reference(desk):
    at = START + 30 * DAY
    desk.read("rtklib", spell_rtklib(range(10)), "R1_a.pos")
    found = send(desk.database, "rtk/R1", spell_rtklib([30]).encode(), at)
    assert (found.added.stored, found.rejected) == (3, 0)
    found = send(desk.database, "rtk/R1", spell_rtklib([31], 48.0, (GEODETIC, BASE)).encode(), at + DAY)
    assert (found.added.stored, found.rejected) == (0, 1)
    assert "asked" in ask(desk.database, find_heartbeat, "epoch0:bench/R1")[1]
    assert desk.reach("R1", "displacement_up") < 1.0


@pytest.mark.parametrize(
    ("first", "then", "is_same"),
    [
        ("WGS84", "wgs-84", True),
        ("ITRF 2014", "itrf14", True),
        ("WGS84", "ITRF2014", False),
        ("ITRF2014", "ITRF2020", False),
    ],
)
def test_names_of_frames_are_compared_as_names(desk, first, then, is_same):
    for k, (frame, stored) in enumerate(((first, 3), (then, 3 * is_same))):
        at = START + k * DAY
        gnss = {"enu_mm": [1.0, 2.0, 3.0], "frame": frame, "epoch0": "2026-01-01T00:00:00Z"}
        body = json.dumps({"time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "gnss": gnss}).encode()
        assert send(desk.database, "slopeward/v1/bench/R1/obs", body, at).added.stored == stored
