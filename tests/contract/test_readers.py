"""Every file reader stores its example once, refuses damaged and foreign files in one line, and checks its options."""

import io
import random
import zipfile
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pytest
from scipy.io import netcdf_file
from sqlalchemy import func, select

from monitor.cli.main import run_command
from monitor.ingest.files.readers import Content, list_readers, open_points, open_readings
from monitor.readings.point_tables import point_observation
from monitor.readings.tables import observation
from monitor.storage.engine import Database
from monitor.worker import compute
from tests.data.servers.file_server import run_here

ROOT = Path(__file__).parents[2]
MAPPING = """
[table]
delimiter = ";"
[time]
column = "Date"
zone = "UTC"
[[column]]
name = "G1/mm"
station = "G1"
quantity = "displacement"
unit = "mm"
"""
EGMS = "pid,latitude,longitude,height_ortho,20250101,20250113,20250125\np1,46.0,8.0,900,0.0,-1.5,\n"


RTKLIB = (
    "%  UTC  latitude(deg) longitude(deg) height(m) Q ns sdn(m) sde(m) sdu(m) sdne(m) sdeu(m) sdun(m) age(s) ratio\n"
    "2025/03/01 06:00:00.000 46.2 8.9 1410.1 1 8 0.0003 0.0002 0.0010 0.0001 0.0001 0.0004 0.00 24.3\n"
)
ORIGIN = """
[[station]]
id = "P1"
origin = {latitude = 46.2, longitude = 8.9, height_m = 1410.0, since = 2025-01-01T00:00:00Z}
[[station]]
id = "I1"
[[profile]]
station = "I1"
kind = "in_place"
unit = "mm"
depths_m = [0.5, 1.5]
interval = "1d"
"""


def spell_grid(hours=(0.0,), since="2025-03-01"):
    """Return a classic netCDF file: global cells of 60 degrees with 1 mm at each hour."""
    out = io.BytesIO()
    with netcdf_file(out, "w") as file:
        for name, values, units in (
            ("time", hours, f"hours since {since}"),
            ("lat", [-60.0, 0.0, 60.0], "degrees_north"),
            ("lon", [-120.0, -60.0, 0.0, 60.0, 120.0], "degrees_east"),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "d", (name,))[:] = values
            file.variables[name].units = units
        file.createVariable("tp", "f", ("time", "lat", "lon"))[:] = 1.0
        file.variables["tp"].units = "mm"
        file.flush()
        return out.getvalue()


def spell_mintpy(days=("20250101", "20250113"), first_mm=1.0):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["timeseries"] = [[[0.001 * (k + first_mm)]] for k in range(len(days))]
        file["date"] = [day.encode() for day in days]
        file.attrs.update({"X_FIRST": "8.9", "Y_FIRST": "46.2", "X_STEP": "0.001", "Y_STEP": "-0.001", "UNIT": "m"})
    return out.getvalue()


def spell_licsbas(days=("20250101", "20250113"), first_mm=1.0):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["imdates"] = np.array(days, "i4")
        file["cum"] = np.array([[[k + first_mm]] for k in range(len(days))], "f4")
        place = {"corner_lat": 46.2, "corner_lon": 8.9, "post_lat": -0.001, "post_lon": 0.001}
        for key, value in place.items():
            file[key] = value
    return out.getvalue()


LOS = ("--set", "desc", "--direction", "los-towards")
# Name of the reader: the smallest file, its required options and its number of values.
EXAMPLES = MappingProxyType(
    {
        "long": ("time,station,quantity,value\n2025-03-01T06:00:00Z,G1,displacement_mm,12.4\n", (), 1),
        "wide": ("Date;G1/mm\n2025-03-01T06:00:00;12.4\n2025-03-02T06:00:00;\n", ("--mapping",), 1),
        "gnss": ("G001 26MAR01 2026.1629 61100 2408 0 0.001 0.002 -0.004 0.0 .0007 .0009 .003 0 0 0\n", (), 3),
        "rtklib": (RTKLIB, ("--station", "P1"), 3),
        "egms": (EGMS, (), 2),
        "insar-wide": (
            "CODE,LAT,LON,VEL,D20250101,D20250113,D20250125\np1,46.0,8.0,-3.1,0.0,-1.5,\n",
            (*LOS, "--unit", "mm"),
            2,
        ),
        "insar-points": (
            "time,point,latitude,longitude,value\n2025-03-01T05:12:30Z,p1,46.0,8.0,-12.4\n",
            (*LOS, "--unit", "mm"),
            1,
        ),
        "grid": (spell_grid(), ("--quantity", "rain"), 3),
        "insar-grid": (spell_grid(), LOS, 15),
        "mintpy": (spell_mintpy(), (), 2),
        "licsbas": (spell_licsbas(), ("--set", "desc"), 2),
        # A profile also stores the number of depths with a reading and the displacement of its free end.
        "profile": ("Hole;I1\nDate;2025-03-01\nUnit;mm\nDepth;A\n0,5;1,25\n1,5;0,50\n", (), 4),
    }
)
SAID = "mapping=m.toml set=a direction=up unit=mm station=G1 quantity=rain variable=tp window=5 within=5 time=utc"
OPTIONS = dict(f"--{one}".split("=") for one in f"{SAID} stamp=counter".split())
ALL = pytest.mark.parametrize("name", list_readers())


@pytest.fixture
def here(tmp_path, monkeypatch, sqlite_url):
    monkeypatch.chdir(tmp_path)
    assert run_command(["sites", "init", "bench"]) == 0
    Path("m.toml").write_text(MAPPING)
    with next(Path().rglob("bench.toml")).open("a") as site:
        site.write(ORIGIN)
    return tmp_path


def content_of(name):
    content = EXAMPLES[name][0]
    return content if isinstance(content, bytes) else content.encode()


def command(name, path, *more):
    options = EXAMPLES[name][1]
    if "--mapping" in options:
        options = ("--mapping", "m.toml")
    return ["ingest", str(path), "--site", "bench", "--format", name, *options, *more]


def stored():
    with Database("sqlite:///slopeward.db") as db, db.read() as c:
        tables = (observation, point_observation)
        return sum(c.execute(select(func.count()).select_from(table)).scalar_one() for table in tables)


def test_every_reader_has_an_example_and_a_kind_of_content():
    assert set(EXAMPLES) == set(list_readers())
    for name, reader in list_readers().items():
        opens = open_readings if reader.content is Content.READINGS else open_points
        assert callable(opens(name))


@pytest.mark.one_case_in(2)
@ALL
@pytest.mark.parametrize("is_named", [True, False])
def test_a_file_of_a_folder_is_recognised_and_stored_once(name, is_named, here, monkeypatch, capsys):
    if name != "mintpy" or is_named:  # one of the sandboxed readers runs in a real sandbox
        monkeypatch.setattr(compute, "run", run_here)
    values = EXAMPLES[name][2]
    (here / "arrived").mkdir()
    (here / "arrived" / f"a{list_readers()[name].suffixes[0]}").write_bytes(content_of(name))
    (here / "arrived" / "notes.docx").write_text("no file of any reader")
    words = command(name, here / "arrived")
    if not is_named:  # the format is recognised by the content
        del words[words.index("--format") : words.index("--format") + 2]
    for _ in range(2):  # the second import stores nothing new
        assert run_command(words) == 0, capsys.readouterr().err
        assert stored() == values


def test_two_grids_of_one_instant_in_a_folder_stop_the_import(here, monkeypatch, capsys):
    monkeypatch.setattr(compute, "run", run_here)
    (here / "arrived").mkdir()
    for name in ("a.nc", "b.nc"):
        (here / "arrived" / name).write_bytes(content_of("grid"))
    assert run_command(command("grid", here / "arrived")) == 1
    output = capsys.readouterr()
    assert "othing was stored" in output.err
    assert stored() == 0
    (here / "arrived" / "b.nc").unlink()
    assert run_command(command("grid", here / "arrived")) == 0
    assert stored() == EXAMPLES["grid"][2]


def test_grid_without_time_units_is_refused_with_an_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compute, "run", run_here)
    (tmp_path / "a.nc").write_bytes(spell_grid().replace(b"hours since 2025-03-01", b"hours after 2025-03-01"))
    assert run_command(["ingest", "a.nc", "--site", "bench", "--quantity", "rain", "--dry-run"]) == 1
    assert "a time has units such as 'hours since 2026-01-01'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.nc", spell_grid(), "this is a grid: give --quantity"),
        ("a.csv", b"time,point,latitude,longitude,value\n", "these are InSAR points: give --set"),
        ("a.csv", "Date;G1/mm\n2025-03-01;1\n".encode("utf-16"), "import it with slopeward ingest"),
        ("a.csv", b"time;station;quantity;value\n", "import it with slopeward ingest"),
        ("a b;$(id).csv", b"time;station;quantity;value\n", "slopeward ingest 'a b;$(id).csv' --guess"),
        (
            "a.csv",
            "time,station,quantity,value\n2025-03-01,Süd,rain_mm,1".encode("cp1252"),
            "import it with slopeward ingest",
        ),
        ("a.csv", b"time,quantity,value\n2025-03-01T00:00:00Z,rain_mm,1\n", "column 'station' is missing"),
        ("a.bin", b"PAR1" + bytes(40), "this is Parquet: let its name end in .parquet"),
        ("a.csv", b"PK\x03\x04" + bytes(22) + b"\x0f\0\0\0xl/workbook.xml.", "let its name end in .xlsx"),
        ("a.zip", b"PK\x03\x04" + bytes(22) + b"\x05\0\0\0a.txt", "a zip of other files"),
        ("a.csv.gz", b"\x1f\x8b\x08" + bytes(40), "the file is compressed: unpack it"),
        ("a.json", b'\n {"time": 1}', "this is JSON"),
        ("a.dat", b"\x01\0\x02\0\x03", "neither text nor a known format"),
        (
            "a.neu",
            b"2015.5000 2014 183 1 2 3 4 5 6\n",
            "import it with slopeward ingest",
        ),  # the year 2014 contradicts 2015.5, so this is no .neu file
        ("a.csv", b"", "the file is empty"),
    ],
)
def test_unreadable_file_is_refused_with_a_remedy(name, content, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert run_command(["ingest", name, "--site", "bench", "--dry-run"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


@ALL
def test_damaged_file_gives_one_line_and_no_traceback(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.toml").write_text(MAPPING)
    monkeypatch.setattr(compute, "run", run_here)
    valid_content = content_of(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", valid_content * 20)
    rng = random.Random(name)
    for k, suffix in enumerate(list_readers()[name].suffixes * (4 if list_readers()[name].in_worker else 8)):
        content = bytearray(
            valid_content if list_readers()[name].in_worker or suffix in {".csv", ".txt"} else packed.getvalue()
        )
        for _ in range(rng.randint(0, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path = tmp_path / f"{k}{suffix}"
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
        status = run_command(command(name, path, "--dry-run"))
        output = capsys.readouterr()
        assert status in {0, 1, 3, 4}
        assert "Traceback" not in output.err
        assert status in {0, 3} or len(output.err.strip().splitlines()) == 1, output.err


@ALL
def test_foreign_file_is_refused_with_the_missing_part(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.toml").write_text(MAPPING)
    monkeypatch.setattr(compute, "run", run_here)
    path = tmp_path / "a.csv"
    path.write_text("colour,size\nred,1\n")
    assert run_command(command(name, path, "--dry-run")) == 1
    error = capsys.readouterr().err
    reasons = (
        ("not a raster", "cannot be read as", "no origin")
        if name == "rtklib" or list_readers()[name].in_worker
        else ("column",)
    )
    assert any(line in error for line in reasons)


@ALL
@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_required_accepted_or_refused_as_declared(name, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.toml").write_text(MAPPING)
    monkeypatch.setattr(compute, "run", run_here)
    (tmp_path / "EGMS_L3_E45N17_100km_U_2020_2024_1.csv").write_bytes(content_of(name))
    words = command(name, tmp_path / "EGMS_L3_E45N17_100km_U_2020_2024_1.csv", "--dry-run")
    reader = list_readers()[name]
    if option in reader.needs:
        at = words.index(option)
        del words[at : at + 2]
    elif option not in words:
        words += [option, OPTIONS[option]]
    status, error = run_command(words), capsys.readouterr().err
    if option in reader.takes or (name, option) == ("long", "--mapping"):  # a mapping turns the table into a wide one
        assert status != 2, error
    else:
        assert status == 2
        assert option in error


@ALL
def test_help_and_reference_page_name_the_reader(name, capsys):
    assert run_command(["ingest", "--help"]) == 0
    words = "".join(c for c in capsys.readouterr().out if c.isalnum())
    for part in (name, list_readers()[name].help):
        assert "".join(c for c in part if c.isalnum()) in words
    page = (ROOT / "docs/reference/file-formats.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {list_readers()[name].help} |" in page
