"""Decompression bombs: every reader of external files refuses a small file that unpacks to more than its limit.

The tests lower the limits and use files slightly above them, which a reader without a limit would read.
"""

import gzip
import io
import json
import struct
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio

from detection.imagery.data import catalogue, files, landslide4sense
from detection.imagery.data.folder import read_whole
from detection.imagery.errors import AoiError, DataError, ImageryError, TooLargeError
from detection.imagery.raster import aoi, raster
from detection.imagery.raster.untrusted import RasterLimits, open_raster
from forecasting.data import bounds, sources, workbook
from forecasting.errors import ForecastingError
from monitor.alerts.audit import audit_pack
from monitor.cli import acts
from monitor.errors import ConfigError, RefusedError, SlopewardError
from monitor.features.forecasts.cli.curve_file import read_curve
from monitor.features.profiles.files import open_profile
from monitor.features.scenes.outline_files import read_geometry
from monitor.ingest.decoders.table import list_decoders
from monitor.ingest.files import sandboxed_conversion, tables
from monitor.ingest.files.egms import open_egms, open_wide_points
from monitor.ingest.files.gnss import open_gnss
from monitor.ingest.files.mapping import load_mapping
from monitor.ingest.files.reader import ImportOptions
from monitor.ingest.files.readers import list_readers
from monitor.ingest.files.rtklib import open_rtklib
from monitor.ingest.grids.read import open_grid, open_licsbas_points, open_mintpy_points, open_pixels
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sections import read_text
from monitor.settings.service import ComputeSection
from monitor.sites.records import Origin
from tests.data.described_errors import raises_text
from tests.data.payloads import published

NOW = datetime(2026, 3, 1, 7, tzinfo=UTC)


def make_png(width, height):
    """Return a PNG file that consists of a header without pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)

    def part(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"")) + part(b"IEND", b"")


def write_zip(path, **parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


# ---- images ----------------------------------------------------------------------------------------------------
def test_png_above_the_pixel_limit_is_refused_before_decoding():
    with pytest.raises(TooLargeError, match="50000 x 50000 pixels"):
        raster.decode_png(make_png(50_000, 50_000))


def write_landslide4sense_png(root):
    return write_zip(
        root / "train.zip", **{"images/image_1.png": make_png(50_000, 50_000), "masks/mask_1.png": make_png(4, 4)}
    )


def write_landslide4sense(root):
    h5py = pytest.importorskip("h5py")
    content = io.BytesIO()
    with h5py.File(content, "w") as out:
        out.create_dataset(
            "img", (2000, 2000, 14), "f8", chunks=True, compression="gzip"
        )  # no chunk is written, so the file has 3 kB
    for name in ("img/image_1.h5", "mask/mask_1.h5"):
        (root / "train" / name).parent.mkdir(parents=True)
        (root / "train" / name).write_bytes(content.getvalue())


def write_bijie(root):
    for name, content in {"image": make_png(50_000, 50_000), "mask": make_png(4, 4)}.items():
        (root / "landslide" / name).mkdir(parents=True)
        (root / "landslide" / name / "a.png").write_bytes(content)


def write_tif(root, folder="."):
    for name in ("img", "mask"):
        path = root / folder / name / "a.tif"
        path.parent.mkdir(parents=True)
        size = {"width": 12_000, "height": 12_000, "count": 1, "dtype": "uint8", "tiled": True, "sparse_ok": True}
        size |= {"transform": rasterio.Affine(1.0, 0.0, 5.0, 0.0, -1.0, 5.0)}
        with rasterio.open(path, "w", driver="GTiff", **size):
            pass


IMAGE_BOMBS = {
    "generated": None,  # this source draws its images
    "landslide4sense-rgb": write_landslide4sense_png,
    "landslide4sense": write_landslide4sense,
    "bijie": write_bijie,
    "folder": None,
}


def test_every_image_source_has_a_bomb():
    assert set(IMAGE_BOMBS) == set(catalogue.SOURCES)


@pytest.mark.parametrize("name", [name for name, lay in IMAGE_BOMBS.items() if lay])
def test_image_source_refuses_a_file_above_its_limit(name, tmp_path, monkeypatch):
    monkeypatch.setattr(landslide4sense, "FILE_BYTES_MOST", 1 << 20)
    IMAGE_BOMBS[name](tmp_path)
    with pytest.raises(ImageryError, match=r"pixels|MiB|plain numpy"):
        catalogue.SOURCES[name].read(tmp_path, "train", {}).load(0)


def test_files_of_a_user_have_the_same_limits(tmp_path):
    (tmp_path / "a.png").write_bytes(make_png(50_000, 50_000))
    with pytest.raises(DataError, match="50000 x 50000"):
        read_whole(tmp_path / "a.png")
    write_tif(tmp_path)
    with pytest.raises(TooLargeError, match="144,000,000 pixels"):
        read_whole(tmp_path / "img" / "a.tif")
    with pytest.raises(TooLargeError), open_raster(tmp_path / "img" / "a.tif", RasterLimits(side=1000)):
        pass


def test_member_of_a_zip_above_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FILE_BYTES_MOST", 1 << 20)
    archive = files.open_files(write_zip(tmp_path / "a.zip", **{"a.bin": bytes(2 << 20), "b.bin": b"small"}))
    assert archive.read("b.bin") == b"small"
    with pytest.raises(DataError, match="unpacks to 2 MiB; at most 1"):
        archive.read("a.bin")


@pytest.mark.parametrize("content", ["[" * 200_000, '{"type": "Polygon", "coordinates": ' + "[" * 200_000])
def test_deeply_nested_outline_is_refused(tmp_path, content):
    path = tmp_path / "aoi.geojson"
    path.write_text(content)
    with raises_text(AoiError, "neither GeoJSON|not GeoJSON"):
        aoi.read_outlines(path)
    with pytest.raises(RefusedError, match="not GeoJSON"):
        read_geometry(content)


def test_outline_above_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(aoi, "MOST_BYTES", 1000)
    path = tmp_path / "aoi.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [[[0.0, 0.0]] * 500]}))
    with pytest.raises(AoiError, match="more than"):
        aoi.read_outlines(path)
    assert (
        len(acts._read_text(str(path), 1000)) == 1001
    )  # one character more than the limit, so that the text is refused


# ---- tables of readings ----------------------------------------------------------------------------------------
def write_long_line(tmp_path, suffix=".csv"):
    path = tmp_path / f"line{suffix}"
    path.write_text("time,station,quantity,value\n" * (suffix == ".csv") + "1," * tables.LINE_LIMIT)
    return path


def write_parquet(tmp_path):
    """Write a table of a hundred rows that refer to one long text, which is stored once."""
    word = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), ["x" * 20_000])
    path = tmp_path / "word.parquet"
    pq.write_table(pa.table({"time": word.cast(pa.string())}), path, compression="zstd")
    assert path.stat().st_size < 5_000
    return path


def write_zipped_line(tmp_path):
    return write_zip(tmp_path / "a.zip", **{"a.csv": b"1," * tables.LINE_LIMIT})


def read_rows(path):
    with tables.open_rows(path) as (_, rows):
        return sum(1 for _ in rows)


def read_points(path):
    with open_egms(path, ImportOptions(), NOW) as (_, pieces):
        return sum(1 for _ in pieces)


def read_wide_points(path):
    with open_wide_points(path, ImportOptions(point_set="a", direction="up", unit="mm"), NOW) as (_, pieces):
        return sum(1 for _ in pieces)


def read_gnss(path):
    with open_gnss(path, ImportOptions()) as lines:
        return sum(1 for _ in lines)


def read_rtklib(path):
    origin = Origin(NOW, (46.0, 9.0, 900.0))
    with open_rtklib(path, ImportOptions(station="P1", time="utc", origins=(("P1", origin),))) as lines:
        return sum(1 for _ in lines)


def write_large_chunks(tmp_path, dataset, **others):
    """Write a file of a few kB whose header declares chunks of half a gigabyte. No chunk is written."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as out:
        values = out.create_dataset(dataset, (1, 8192, 8192), "f8", chunks=(1, 8192, 8192), compression="gzip")
        for k, name in enumerate(("time", "y", "x")):
            axis = out.create_dataset(name, (values.shape[k],), "f8")
            axis.make_scale(name)
            values.dims[k].attach_scale(axis)
        out.update(others)
    assert path.stat().st_size < 1_000_000
    return path


def read_stack(opens):
    def read(path):
        options = ImportOptions(point_set="a", direction="up", unit="mm", quantity="rain")
        with opens(path, options, *((NOW,) if opens is not open_grid else ())):
            pass

    return read


def read_profile(path):
    with open_profile(path, ImportOptions()) as lines:
        return sum(1 for _ in lines)


GRID_BOMBS = (lambda t: write_large_chunks(t, "tp"),)
# Format of `slopeward ingest`: function that reads it, and functions that write bombs in this format.
INGEST_BOMBS = {
    "long": (read_rows, (write_long_line, write_parquet)),
    "wide": (read_rows, (write_long_line, write_parquet)),
    "insar-points": (read_rows, (write_long_line, write_parquet)),
    "gnss": (read_gnss, (lambda t: write_long_line(t, ".neu"),)),
    "rtklib": (read_rtklib, (lambda t: write_long_line(t, ".pos"),)),
    "profile": (read_profile, (lambda t: write_long_line(t, ".gkn"),)),
    "egms": (read_points, (lambda t: write_long_line(t, ".txt"), write_zipped_line)),
    "insar-wide": (read_wide_points, (lambda t: write_long_line(t, ".txt"), write_zipped_line)),
    "grid": (read_stack(open_grid), GRID_BOMBS),
    "insar-grid": (read_stack(open_pixels), GRID_BOMBS),
    "mintpy": (
        read_stack(lambda path, _, now: open_mintpy_points(path, ImportOptions(), now)),
        (lambda t: write_large_chunks(t, "timeseries", date=[b"20250101"]),),
    ),
    "licsbas": (
        read_stack(lambda path, _, now: open_licsbas_points(path, ImportOptions(point_set="s"), now)),
        (lambda t: write_large_chunks(t, "cum", imdates=[20250101]),),
    ),
}


def test_every_format_of_ingest_has_a_bomb():
    assert set(INGEST_BOMBS) == set(list_readers())


@pytest.mark.parametrize(
    ("form", "number"), [(form, n) for form, (_, lay) in INGEST_BOMBS.items() for n in range(len(lay))]
)
def test_line_or_batch_above_the_limit_is_refused(form, number, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(tables, "LINE_LIMIT", 1 << 16)
    read, lay = INGEST_BOMBS[form]
    with pytest.raises(ConfigError, match=r"a line is longer than|100 rows unpack to 1 MiB|pieces of 512 MiB are too"):
        read(lay[number](tmp_path))


# ---- series for forecasts --------------------------------------------------------------------------------------
def read_by_recipe(kind, content):
    def read(path):
        (path.parent / "r.toml").write_text(f'[data]\nformat = "{kind}"\n{content}')
        return sources.read_record(path, sources.read_recipe(path.parent / "r.toml"))

    return read


WIDE = 'time = "time"\ndisplacement = {A = "a"}\n'
RECORD_BOMBS = {
    "long": ("a.csv", read_by_recipe("long", "")),
    "wide": ("a.csv", read_by_recipe("wide", WIDE)),
    "solution": ("a.csv", lambda path: list(sources._iter_solution_lines(path))),
    "points": ("a.zip", read_by_recipe("points", "")),
}


def test_every_record_format_has_a_bomb():
    assert set(RECORD_BOMBS) == set(sources.FORMATS)


@pytest.mark.parametrize("kind", list(RECORD_BOMBS))
def test_record_above_the_size_limit_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "TABLE_BYTES", 1 << 20)
    name, read = RECORD_BOMBS[kind]
    content = b"time,station,quantity,value,a\n" + b"2026-01-01T00:00:00Z,A,x,1,1\n" * 80_000
    path = tmp_path / name
    if path.suffix == ".zip":
        write_zip(path, **{"a.csv": content})
    else:
        path.write_bytes(content)
    with pytest.raises(ForecastingError, match="at most 1 MiB"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_series_is_refused(tmp_path, suffix):
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(gzip.compress(b"time,station,quantity,value\n" * 1000))
    for read in (RECORD_BOMBS["long"][1], RECORD_BOMBS["wide"][1], lambda file: read_curve(file, "value")):
        with pytest.raises((ForecastingError, SlopewardError), match="unpack it first"):
            read(path)


def test_workbook_sheet_above_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "SHEET_BYTES", 1 << 20)
    path = write_zip(tmp_path / "a.xlsx", **{"xl/worksheets/sheet1.xml": b"<a>" + b" " * (2 << 20) + b"</a>"})
    with pytest.raises(ForecastingError, match="unpacks to 2 MiB"):
        workbook.read_sheet(path)


MAIN = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
# The smallest files: cells in two opposite corners, and one long text in each of many cells.
WORKBOOKS = {
    "corners": b'<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>',
    "texts": b"<row>" + b'<c t="s"><v>0</v></c>' * 4000 + b"</row>",
}


def write_workbook(path, sheet, head=b""):
    """Write a workbook with these cells and one long shared text."""
    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    parts["xl/worksheets/sheet1.xml"] = b"%s<worksheet %s><sheetData>%s</sheetData></worksheet>" % (head, MAIN, sheet)
    parts["xl/sharedStrings.xml"] = b"<sst %s><si><t>%s</t></si></sst>" % (MAIN, b"x" * 100_000)
    return write_zip(path, **parts)


def falsify_sizes(path):
    """Set the size of each member in the central directory of a zip file to 40 bytes."""
    content = bytearray(path.read_bytes())
    offset = -1
    while (offset := content.find(b"PK\x01\x02", offset + 1)) >= 0:
        content[offset + 24 : offset + 28] = struct.pack("<I", 40)
    path.write_bytes(content)


@pytest.mark.parametrize("bomb", list(WORKBOOKS))
def test_workbook_above_the_memory_limit_is_refused(bomb, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MEMORY_BYTES", 128 << 20)
    path = write_workbook(tmp_path / "a.xlsx", WORKBOOKS[bomb])
    with pytest.raises(ForecastingError, match=r"takes more than 128 MiB of memory.*save the sheet as CSV"):
        workbook.read_sheet(path)


def test_workbook_with_wrong_declared_sizes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "SHEET_BYTES", 1 << 20)
    path = write_workbook(tmp_path / "a.xlsx", b" " * (2 << 20))
    falsify_sizes(path)
    with pytest.raises(ForecastingError, match="larger than its declared"):
        workbook.read_sheet(path)


def test_slow_reader_of_a_workbook_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "LONGEST_S", 0.0)
    with pytest.raises(ForecastingError, match=r"was not read within 0 s: save the sheet as CSV"):
        workbook.read_sheet(write_workbook(tmp_path / "a.xlsx", b""))


def test_workbook_with_xml_entities_is_refused(tmp_path):
    head = b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]>'
    path = write_workbook(tmp_path / "a.xlsx", b'<row><c t="str"><v>x&c;</v></c></row>', head)
    with pytest.raises(ForecastingError, match="no workbook that can be read"):
        workbook.read_sheet(path)


def test_audit_pack_above_the_size_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_pack, "_MAX_BYTES", 1 << 20)
    with pytest.raises(RefusedError, match="too large"):
        audit_pack.read_pack(write_zip(tmp_path / "a.zip", **{"manifest.json": bytes(2 << 20)}))


def test_endless_device_file_is_refused():
    zero = Path("/dev/zero")
    for read in (audit_pack.read_pack, read_text, load_mapping, bounds.check_size):
        with pytest.raises((RefusedError, ConfigError, ForecastingError), match=r"^/dev/zero\b"):
            read(zero)


def test_conversion_uses_at_most_half_of_the_free_disk(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("time,station,quantity,value\n" + "2026-01-01T00:00:00Z,A,rain,1\n" * 20_000)
    monkeypatch.setattr(sandboxed_conversion.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    with (
        pytest.raises(ConfigError, match="half of what is free on the disk"),
        sandboxed_conversion.open_converted(tmp_path / "a.csv", "long", ImportOptions(), ComputeSection(), NOW),
    ):
        pass


# ---- messages --------------------------------------------------------------------------------------------------
DEEPLY_NESTED = b'{"time": ' + b"[" * 100_000
MESSAGES = {
    "long": b'{"time": "' + b"x" * (2 << 20) + b'"}',
    "deep": DEEPLY_NESTED,
    "digits": b'{"time": ' + b"9" * 100_000 + b"}",
    "many": b'{"samples": [' + b"{}," * 200_000 + b"{}]}",
    "keys": b'{"time": "2026-03-01T06:00:00Z",' + b",".join(b'"a%d_mm": 1' % n for n in range(60_000)) + b"}",
}


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("bomb", list(MESSAGES))
@pytest.mark.parametrize("name", list(list_decoders()))
def test_every_decoder_refuses_an_oversized_message(name, bomb):
    topic = next(example.topic for example in published.PUBLISHED if example.decoder == name)
    sites = {"north": published.SITE}
    decoded = Pipeline(None, sites, lambda: NOW).decode(BrokerMessage(topic, MESSAGES[bomb], NOW, "live"))
    assert decoded.faults
    assert decoded.faults[0].code != "decoder_failed"
    assert not decoded.observations
