"""Files of probes and tables by depth give the numbers that JSON gives; what they leave open is asked."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import ConfigError
from monitor.features.profiles.declare import list_profiles
from monitor.ingest.files.reader import ImportOptions, add_places
from monitor.ingest.files.readers import open_readings
from monitor.ingest.files.reading import FileImport
from monitor.ingest.files.temporary import open_empty_database
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.recognise import choose_reader
from monitor.sites.parsing import parse_site
from tests.data import site_text
from tests.tables import tabulated

ZONE = ZoneInfo("Europe/Zurich")
AT = datetime(2026, 3, 24, 8, 30, tzinfo=ZONE)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PROBE = {
    "kind": "probe",
    "unit": "digit",
    "constant": 25000,
    "axes": 2,
    "depths_m": [0.5, 1.0, 12.5],
    "interval": "14d",
}
IN_MM = PROBE | {"unit": "mm", "constant": 0}
IN_PLACE = {"kind": "in_place", "unit": "mm", "axes": 2, "depths_m": [0.5, 1.0, 12.5], "interval": "1h"}
FEET = IN_MM | {"depths_m": [0.61, 1.22, 3.66]}


def declare(profile):
    head = site_text.head("bench", timezone="Europe/Zurich", levels=site_text.THREE)
    stations = "".join(site_text.station(name, latitude=46.0, longitude=8.0) for name in ("I1", "I2"))
    both = (site_text.table("[[profile]]", station=name, **profile) for name in ("I1", "I2"))
    return parse_site(head + stations + "".join(both), "bench.toml")


def rows_of(values, mark, spell=str, depth=str):
    return "".join(mark.join([depth(d), *(spell(v) for v in row)]) + "\n" for d, row in values.items())


def comma(number):
    return str(number).replace(".", ",")


def din(at, values):
    head = f"Bohrloch;I1\nDatum;{at:%d.%m.%Y}\nUhrzeit;{at:%H:%M}\nEinheit;25000 sin\n\nTiefe [m];A0;A180;B0;B180\n"
    return head + rows_of(values, ";", comma, comma)


def gkn(at, values):
    head = f"***\nGK 604M(v1.3.0.10,02/25);2.0;FORMAT II\nPROJECT  :x\nHOLE NO. :I1\nDATE     :{at.month}/{at:%d/%y}\n"
    head += f"TIME     :{at:%H:%M:%S}\nPROBE NO.:7\n#READINGS:{len(values)}\nFLEVEL,    A+,    A-,    B+,    B-\n"
    return head + rows_of(values, ",  ")


def rst(at, values, unit="meters", depth_unit="meters", spell=lambda v: f"{v / 1000:.6f}"):
    head = f"RST Digital Inclinometer Data,\nSite,x\nBorehole,I1\nReading Date(m/d/y),{at:%m/%d/%Y},{at:%H:%M:%S},,\n"
    head += f"Depth Units,{depth_unit},,,\nReading Units,{unit},,,\n\nDepth,Face A+,Face A-,Face B+,Face B-\n"
    return head + rows_of(values, ",", spell, lambda d: f"-{d}")


def soil(at, values):
    head = "Headings;Site;Installation;Units\nInstallation v1;x;I1;digits\nHeadings;DateTime;Passes\n"
    return head + f"Survey v2;{at:%Y/%m/%d %H:%M:%S};2\nDepth;A0;A180;B0;B180\n" + rows_of(values, ";")


def rpp(at, values):
    head = f"TIME = {at:%H:%M:%S}   {at:%d %b %Y}   \nENGLISH/METRIC = M\nHOLE # = I1\nINCREMENT = 0.5\n"
    pair = "{:<6}   A0 {:<8}   B0 {:<8}\n       A180 {:<8} B180 {:<8}\n"
    return (
        head + "INSTR CONST = 25000\n\n \n" + "".join(pair.format(d, a, b, c, e) for d, (a, c, b, e) in values.items())
    )


def wide(at, values, name="{face}_{depth} [digit]", mark=";", time="Time", when="{:%Y-%m-%dT%H:%M:%S%z}"):
    faces = {
        f"{d}{f}": (name.format(face=f, depth=d), v)
        for d, row in values.items()
        for f, v in zip(("A0", "A180", "B0", "B180"), row, strict=True)
    }
    names, numbers = zip(*faces.values(), strict=True)
    return mark.join([time, *names]) + "\n" + mark.join([when.format(at), *map(str, numbers)]) + "\n"


def by_rows(at, values):
    lines = (f"{at:%d.%m.%Y %H:%M},{d},{','.join(map(str, row))}\n" for d, row in values.items())
    return "Hole,I1\nUnits,digit\nDate,Depth (m),A0,A180,B0,B180\n" + "".join(lines)


FORMS = MappingProxyType(
    {
        "din.csv": (din, PROBE),
        "a.gkn": (gkn, PROBE),
        "rst.csv": (rst, IN_MM),
        "inches.csv": (partial(rst, unit="inches", spell=lambda v: repr(v / 25.4)), IN_MM),
        "soil.csv": (soil, PROBE),
        "a.rpp": (rpp, PROBE),
        "I1_wide.csv": (wide, PROBE),
        "I1_turned.csv": (
            partial(
                wide, name="{depth}m {face} (digit)", mark="\t", time="Date\tClock time", when="{:%d.%m.%Y\t%H:%M}"
            ),
            PROBE,
        ),
        "rows.csv": (by_rows, PROBE),
    }
)
READINGS = st.lists(st.lists(st.integers(-9000, 9000), min_size=4, max_size=4), min_size=3, max_size=3)


def read(content, profile, name="a.csv", **said):
    """(quantity, unit, instant) -> value of the rows that are good, and what is said of the others."""
    path = Path(name)
    path.write_text(content)
    options = add_places(ImportOptions(**said), declare(profile))
    with open_readings("profile")(path, options) as lines:
        rows = [row for line in lines for row in line.rows]
    bad = [str(error) for _, error in rows if error is not None]
    return {(r["quantity"], r["time"]): (float(r["value"]), r["unit"]) for r, error in rows if error is None}, bad


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=READINGS)
def test_a_survey_of_each_form_gives_the_numbers_that_were_drawn(name, drawn):
    write, profile = FORMS[name]
    (one, *_) = list_profiles(declare(profile))
    values = dict(zip(one.depths_m, drawn, strict=True))
    found, bad = read(write(AT, values), profile, name)
    wanted = {one.name_quantity(f, i): v for i, row in enumerate(drawn) for f, v in zip(one.faces, row, strict=True)}
    scale = {"m": 1000.0, "in": 25.4}
    assert bad == []
    assert {q: v * scale.get(unit, 1.0) for (q, _), (v, unit) in found.items()} == pytest.approx(wanted)
    assert {at for _, at in found} == {AT}
    assert choose_reader(Path(name)) == "profile"


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("name", FORMS)
def test_a_file_stores_what_json_stores_and_the_same_again_nothing(name):
    write, profile = FORMS[name]
    site = declare(profile)
    (one, *_) = list_profiles(site)
    values = {d: [round(1000 * d) + 10 * k for k in range(4)] for d in one.depths_m}
    values[0.5][1] = -99 if profile["unit"] == "digit" else 7  # a count like any other
    Path(name).write_text(write(AT, values))
    numbers = {
        one.name_quantity(f, i): {"value": v, "unit": profile["unit"]}
        for i, row in enumerate(values.values())
        for f, v in zip(one.faces, row, strict=True)
    }
    found = []
    for by_file in (True, False):
        with open_empty_database(site) as db:
            pipeline = Pipeline(db, {site.id: site}, lambda: NOW)
            opened = partial(open_readings("profile"), Path(name), add_places(ImportOptions(), site))
            if by_file:
                results = [
                    FileImport(Path(name), pipeline, site, lambda: NOW, open_lines=opened).run() for _ in range(2)
                ]
                assert [(r.stored, r.rejected, r.revisions) for r in results] == [(12, 0, 0), (0, 0, 0)]
            else:
                payload = json.dumps({"time": AT.isoformat(), **numbers}).encode()
                assert pipeline.store([BrokerMessage("slopeward/v1/bench/I1/obs", payload, NOW, "live")]).rejected == 0
                pipeline.complete()
            with db.read() as c:
                query = (
                    "SELECT s.quantity, o.value_raw, o.observed_at, o.revision, o.flags "
                    "FROM observation o JOIN series s ON s.id = o.series_id"
                )
                found.append({row[0]: row[1:] for row in c.exec_driver_sql(query)})
    assert found[0].keys() == found[1].keys()
    assert "depth_count" in found[0]
    assert not any(flags for *_, flags in found[0].values())
    for quantity, (value, *rest) in found[1].items():
        assert found[0][quantity] == (pytest.approx(value), *rest)


GOOD = {0.5: [100, -90, 5, 6], 1.0: [110, -80, 7, 8], 12.5: [120, -70, 9, 9]}


def test_surveys_that_follow_each_other_and_english_probes():
    later = AT + timedelta(days=14)
    second = {d: [v + 1 for v in row] for d, row in GOOD.items()}
    found, bad = read(din(AT, GOOD) + "\n" + din(later, second).removeprefix("Bohrloch;I1\n"), PROBE)
    assert (bad, found["depth_a180_12m5", later][0], len(found)) == ([], -69.0, 24)
    feet = {2.0: GOOD[0.5], 4.0: GOOD[1.0], 12.0: GOOD[12.5]}
    found, bad = read(rst(AT, feet, "inches", "feet", str), FEET)
    assert (bad, found["depth_a0_1m22", AT]) == ([], (110.0, "in"))
    table = "SITECODE,BOREHOLEID,MAXDEPTH,DATE,TIME,A -0.5,A -1.0,B -0.5,B -1.0,A -0.0\n"
    found, bad = read(
        f"ER DIV1.0 Borehole Data File\n{table}x,I2,-1.0,24/03/2026,08:30:00,1,2,3,4,5\n", IN_PLACE, unit="mm"
    )
    assert found["depth_b_1m", AT] == (4.0, "mm")
    assert bad == ["I2 has no depth 0 in its [[profile]]"]
    found, _ = read("Date,0.5 m,1.0 m,12.5 m\n2026-03-24 08:30,1,2,3\n", IN_PLACE | {"axes": 1}, "I2.csv", unit="cm")
    assert found["depth_a_1m", AT] == (2.0, "cm")


SURVEY = din(AT, GOOD)
IN_MARCH = datetime(2026, 4, 3, 8, 30, tzinfo=ZONE)


@tabulated(
    ("content", "said", "why"),
    [
        (SURVEY.replace("Datum;24.03.2026\n", "").replace("Uhrzeit;08:30\n", ""), {}, "the survey has no date"),
        (SURVEY.replace("Einheit;25000 sin\n", ""), {}, "the unit of the readings is unknown: give --unit"),
        (SURVEY.replace("25000", "20000"), {}, "the constant is 20000 in the file, and 25000 in the [[profile]] of I1"),
        (SURVEY.replace("25000 sin", "mm"), {}, "in mm, and the unit of the [[profile]] of I1 is digit"),
        (SURVEY, {"unit": "deg"}, "and --unit must agree"),
        (SURVEY.replace(";A180", ";C180"), {}, "no column A180: the profile of I1 needs A0, A180, B0, B180"),
        (SURVEY.replace(";A180", ";A0"), {}, "A0 has two columns"),
        (SURVEY.replace("\n1,0;", "\n0,5;"), {}, "the survey of 2026-03-24T08:30:00 has the depth 0,5 twice"),
        (SURVEY.replace("Bohrloch;I1", "Bohrloch;X9"), {}, "the head names 'X9'; give --station"),
        (SURVEY, {"station": "I2"}, "the head names 'I1'; give --station"),
        (rst(AT, {2.0: GOOD[0.5], 4.0: GOOD[1.0]}, "digit"), {}, "if they are in feet"),
        (
            gkn(AT, GOOD).replace("#READINGS:3", "#READINGS:57"),
            {},
            "57 depths, the file has 3: check whether it is complete",
        ),
        (SURVEY.replace("24.03.2026", "03/04/2026"), {}, "day or month may be first in 03/04/2026"),
        (
            SURVEY.replace(",5;", ".5;").replace("100;-90", "1,250;-2,500"),
            {},
            "the comma of 1,250 may be a decimal mark",
        ),
        (SURVEY.replace("100;-90", "100.5;-90,5"), {}, "may be a decimal mark"),
        (wide(AT, GOOD).replace("A0_1.0", "A0_0.50"), {"station": "I1"}, "depth_a0_0m5 has two columns"),
        ("Time,A_0.5,A_1.0\n2026-03-24,1,2\n", {"station": "I1", "unit": "digit"}, "no column A0"),
        ("Date,Depth\n2026-03-24,1\n", {}, "no column of depths"),
    ],
)
def test_what_a_file_leaves_open_is_asked_and_nothing_of_it_is_read(content, said, why):
    with pytest.raises(ConfigError) as caught:
        read(content, PROBE, **said)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@tabulated(
    ("content", "count", "why"),
    [
        (SURVEY.replace("\n12,5;120;-70;9;9\n", "\n12,5;120;-70"), 8, "has 3 cells"),
        (SURVEY.replace("\n12,5;120;-70;9;9\n", ""), 4, "and lacks depths: check whether it is complete"),
        (SURVEY.replace("\n1,0;", "\n1,7;").replace("\n0,5;", "\n0,7;"), 4, "I1 has no depth 1.7 in its [[profile]]"),
        (SURVEY.replace("\n1,0;", "\nx,0;"), 8, "could not convert"),
        (rpp(AT, GOOD)[:-20], 8, "and lacks depths"),
        (SURVEY.replace("24.03.2026", "31.04.2026"), 0, "is not of the form"),
        (
            SURVEY.replace("24.03.2026", "29.03.2026").replace("08:30", "02:30"),
            0,
            "is ambiguous or skipped at a clock change",
        ),
        (SURVEY.replace("110;-80", ";"), 10, ""),
        (rpp(AT, GOOD).replace("12.5     A0 120        B0 9       \n", ""), 8, "could not convert"),
    ],
)
def test_what_is_wrong_in_a_row_keeps_that_row_out_alone(content, count, why):
    found, bad = read(content, PROBE)
    assert len(found) == count
    assert why in " ".join(bad)


def test_what_stands_in_a_profile_is_no_word_of_any_table():
    for text in (
        "Date;A 1;A 2;B 1\n",
        "Time,0.5 m,1.0 m\n",
        "Depth,Temperature\n",
        "Date,LEVEL,TEMPERATURE\n",
        "Time,Temperature 0.5m,Temperature 1.5m\n",
        "time,a0,a180\n",
        "Date,Depth,A\n",
    ):
        Path("t.csv").write_text(text)
        with pytest.raises(ConfigError, match=r"--guess"):
            choose_reader(Path("t.csv"))


ONE = PROBE | {"axes": 1}
ENGLISH = PROBE | {"constant": 20000, "depths_m": [0.61, 1.22, 3.66]}
TILTS = {"kind": "in_place", "unit": "deg", "depths_m": [0.5, 1.0, 12.5], "interval": "1h"}
WARMTH = TILTS | {"kind": "thermistor", "unit": "degC"}
GKN = "***\r\nGK 604M(v1.3.0.10,02/25);2.0;FORMAT II\r\nHOLE NO. :I1\r\nDATE     :03/24/26\r\nTIME     :08:30:00\r\n"
RST = "Borehole,{}\nReading Date(m/d/y),03/24/2026,08:30:00\nDepth Units,feet\nReading Units,English digit\n"
OTHER_HOLE = "I2;24.03.2026 08:30;1,0;1;-1;2;-2\nI9;24.03.2026 08:30;0,5;1;1;1;1\n"


@tabulated(
    ("content", "profile", "given", "wanted", "count"),
    [
        (  # the deepest first, one missing, ended by CR LF
            GKN + "#READINGS:2\r\nFLEVEL,    A+,    A-,    B+,    B-\r\n  12.5,   120,   -70,     9,     8\r\n"
            "   0.5,   100,   -90,     5,     6\r\n",
            PROBE,
            {},
            {"a180_12m5": -70, "b0_0m5": 5},
            8,
        ),
        (  # two boreholes, each with its head, in feet
            "\n".join(
                RST.format(hole) + f"Depth,Face A+,Face A-,Face B+,Face B-\n2.0,{a},-90,5,6\n12.0,1,-70,9,9\n"
                for hole, a in (("I1", 100), ("I2", 7))
            ),
            ENGLISH,
            {},
            {"a0_0m61": 100, "I2 a0_0m61": 7, "b180_3m66": 9},
            16,
        ),
        (  # boreholes in a column, one of them unknown
            (
                "Borehole;Date;Depth [m];A0 [digit];A180 [digit];B0 [digit];B180 [digit]\n"
                f"I1;24.03.2026 08:30;12,5;120;-70;9;9\n{OTHER_HOLE}I1;24.03.2026 08:30;0,5;100;-90;5;6\n"
            ),
            PROBE,
            {},
            {"a0_12m5": 120, "a0_0m5": 100, "I2 a180_1m": -1},
            12,
        ),
        (  # units below the names, decimal commas, a line without anything
            (
                "Bohrung: I1\nMessdatum: 24.03.2026 08:30\nTiefe;A0;A180;B0;B180\n[m];[mm];[mm];[mm];[mm]\n"
                "0,5;1,25;-1,2;0,5;-0,6\n\n12,5;3,5;-3,4;0,1;-0,2\n"
            ),
            IN_MM,
            {},
            {"a0_0m5": 1.25, "b180_12m5": -0.2},
            8,
        ),
        (
            "Datum;0,5 m (degC);1,0 m (degC);12,5 m (degC)\n24.03.2026 08:30;1,5;;3,5\n",
            WARMTH,
            {"station": "I1"},
            {"temperature_0m5": 1.5, "temperature_12m5": 3.5},
            2,
        ),
        (
            "Timestamp,A 12.5,A 1.0,A 0.5\n3/24/2026 8:30:00 AM,0.3,NaN,0.1\n",
            TILTS,
            {"station": "I1", "unit": "deg"},
            {"a_12m5": 0.3, "a_0m5": 0.1},
            2,
        ),
        (
            (
                "# Borehole: I1\n# Date: 2026-03-24 08:30\n# Units: digits\n  Depth      A0    A180\n"
                "    0.5     100     -90\n   12.5     120     -70\n"
            ),
            ONE,
            {},
            {"a0_0m5": 100, "a180_12m5": -70},
            4,
        ),
        (  # the newest survey first
            soil(AT + timedelta(days=14), {d: [0, 0, 0, 0] for d in GOOD}) + soil(AT, GOOD).split("\n", 2)[2],
            PROBE,
            {},
            {"a0_0m5": 100, "b180_12m5": 9},
            24,
        ),
        (
            (
                "TIME = 08:30:00   24 Mar 2026   \nENGLISH/METRIC = E\nHOLE # = I1\nINSTR CONST = 20000\n\n"
                "  2.0   A0 100   B0 5\n       A180 -90 B180 6\n 12.0   A0 110   B0 7\n       A180 -80 B180 8\n"
            ),
            ENGLISH,
            {},
            {"a180_0m61": -90, "b0_3m66": 7},
            8,
        ),
        (
            "Date;2026-03-24 08:30\nDepth (cm);A0°;A180°;Sum A\n50;100;-90;10\n1250;120;-70;50\n",
            ONE,
            {"station": "I1", "unit": "digit"},
            {"a0_0m5": 100, "a180_12m5": -70},
            4,
        ),
        (
            "Hole;I1\nDate;24.03.2026 08:30\nUnit;digit\nDepth;B180;B0;A180;A0\n0.5;6;5;-90;100\n",
            PROBE,
            {},
            {"a0_0m5": 100, "a180_0m5": -90, "b0_0m5": 5, "b180_0m5": 6},
            4,
        ),
        (
            "Borehole\tI1\nDate\t2026/03/24 08:30\nDepth(m)\tA+(digits)\tA-(digits)\n0.5\t100\t-90\n",
            ONE,
            {},
            {"a0_0m5": 100, "a180_0m5": -90},
            2,
        ),
    ],
)
def test_files_as_software_and_people_write_them(content, profile, given, wanted, count):
    path = Path("f.csv")
    path.write_bytes(content.encode())
    with open_readings("profile")(path, add_places(ImportOptions(**given), declare(profile))) as lines:
        rows = [row for line in lines for row, error in line.rows if error is None]
    found = {(row["station"], row["quantity"]): float(row["value"]) for row in rows if row["time"] == AT}
    assert len(rows) == count
    for name, value in wanted.items():
        *station, place = name.split()
        assert found["".join(station) or "I1", f"depth_{place}"] == value


@tabulated(
    ("content", "why"),
    [
        (
            "Date;2026-03-24\nDepth;A0;A180\n0,5;1;-1\n1,0;1;-1\n1,0;2;-2\n",
            "line 5: the survey of 2026-03-24T00:00:00 has the depth 1,0 twice",
        ),
        ("Hole;Date;Depth;A0;A180\nI1;04/03/2026;0.5;1;-1\n", "day or month may be first"),
        ("Depth;2026-03-01;2026-03-15\n0,5;1,0;1,2\n", "no column of depths"),
        ("Date;2026-03-24\nElevation;A0;A180\n411,5;1;-1\n", "no column of depths"),
        ("Date;2026-03-24\nDepth;A0;A180\n0,5;1;-1\nDate;2026-03-25\n0,5;2;-2\n", "line 5: readings below a"),
        ("Hole;Date;Depth;A0;A180\nI8;2026-03-24;0.5;1;-1\nI9;2026-03-24;0.5;1;-1\n", "none of I8, I9 is a station"),
    ],
)
def test_what_would_be_read_wrongly_is_asked(content, why):
    with pytest.raises(ConfigError) as caught:
        read(content, ONE, "I1.csv" if "I8" not in content else "f.csv", unit="digit")
    assert why in str(caught.value)
