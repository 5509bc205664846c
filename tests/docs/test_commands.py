"""The command lines of each documentation page work in order, in a copy of one small installation."""

import contextlib
import io
import json
import re
import shlex
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from detection.imagery.data.generate import draw_scene, write_scene
from detection.imagery.scene.scene import read_scene
from monitor.alerts.replay import proposals
from monitor.cli import identity
from monitor.cli.main import run_command
from monitor.features.cap import signature
from monitor.features.forecasts import checkpoints
from monitor.ingest.files.mapping import load_mapping
from monitor.people.tables import user_account
from monitor.storage.engine import Database
from tests.contract.test_command_tree import list_documented_commands
from tests.data.filled import PASSWORD
from tests.data.site_text import series, station, table
from tests.data.surveys import clouds, images, radar
from tests.data.surveys.rasters import write_raster
from tests.docs.test_instrument_pages import EXAMPLES
from tests.features.scenes.test_local_grid import CRS
from tests.features.scenes.test_local_grid import write as write_picture
from tests.fixtures.waiting import REPOSITORY
from tests.ingest.test_grid_masks import write_hdf5, write_netcdf
from tests.ingest.test_grids import write_mintpy, write_rain, write_tif
from tests.ingest.test_licsbas import draw_displacement, write_cum
from tests.ingest.test_points import write_long as write_points
from tests.ingest.test_radar_at_stations import write_mintpy as write_velocity
from tests.ingest.test_rtklib import HEAD, LLH

# Pages whose commands run in test_first_steps, test_simulated and test_worked_case.
PRINTED = {
    "README.md",
    "first-slope.md",
    "measured-slope.md",
}
# Commands that this test cannot run, with the reason and the test that runs them.
ELSEWHERE = {
    "slopeward run": "a running service: end_to_end",
    "slopeward notify drill hold": "ten minutes of a service: test_drill",
    "slopeward notify drill end": "a drill in progress: test_drill",
    "slopeward people users totp": "a telephone: test_second_factor",
    "slopeward db grant-readonly": "a role of PostgreSQL: test_reader_attacks",
    "--config configs/forecasting/": "minutes over measured data: test_forecasting_recipes",
    "--peers readings.csv": "minutes over a long record: test_peers",
    "slopeward forecast search": "minutes of trainings: packages/lab/tests/search",
    "--format egms": "an archive of its provider: test_points",
    "--format gnss": "a file of its provider: test_files_measured",
    "slopeward alerts verify": "a pending step: test_corrections",
    "slopeward sites map susceptibility": "a map below a scene: test_maps",
    "slopeward notify cap verify": "a message that a service signed: test_cap",
    "--prove forecast-1": "months of scored forecasts: test_forecast_gain",
    "slopeward scenes detect flight": "weights for cracks, which are not shipped: test_cracks",
}
TODAY = datetime.now(UTC).date()
SATURDAY = TODAY + timedelta(days=6 - (TODAY.weekday() + 1) % 7 or 7)
# Names, times and numbers of the pages, and their replacements in the test installation.
SWAPS = {
    "/tmp/": "",
    "/etc/slopeward/": "etc/",
    "/var/backups/": "",
    "/srv/reports/": "",
    "SITE/STATION": "north-bench/G1",
    "--site glacier": "--site north-bench",
    "forecast train glacier": "forecast train north-bench",
    "forecast run glacier": "forecast run north-bench",
    "--site cut --mapping": "--site north-bench --mapping",
    "--since 2025-01-01 --until 2026-01-01": "--since 2026-02-20 --until 2026-02-22",
    "people users add ada --role admin": "people users add ida --role admin --by ada",
    "people users add bo ": "people users add max ",
    "tokens revoke 3": "tokens revoke 2",
    "slopeward ack 12": "slopeward ack 3",
    "sites proposals 3": "sites proposals 2",
    "sites approve 3": "sites approve 2",
    "maintenance end 3": "maintenance end 2",
    "--by mori": "--by bo",
    "--by rossi": "--by ada",
    "--second rossi": "--second ada",
    "2026-03-07 09:00": f"{SATURDAY} 09:00",
    "2026-03-08 07:00": f"{SATURDAY} 22:00",
    "withdraw north-bench 7": "withdraw north-bench 2",
    "hand-over sign north-bench 3": "hand-over sign north-bench 2",
    "--maintenance 3": "--maintenance 1",
}
# Expected exit status of commands that do not return 0.
STATUS = {
    # The command waits for a second person.
    "slopeward maintenance add north-bench G1 --for 4h --by bo --second ada --reason 'new mast'": 3,
    "slopeward forecast compare --site north-bench --horizon 1d": 4,  # no recent scores
    "slopeward forecast compare --site north-bench --hindcast": 4,  # the readings are too old for forecasts of the past
    "slopeward forecast train north-bench --model gru": 4,  # three days of readings are too few for training
    "slopeward status": 6,  # no service runs on this database
    "slopeward forecast train north-bench --settings best.toml": 4,
    "slopeward import monitoring.csv": 1,  # other sites exist, and no terminal is available for a question
    "slopeward import prisms.csv --site cut": 1,  # questions stay open, and no terminal is available
    # Ada is the first of two people.
    "slopeward level set north-bench green --by ada --reason 'inspected on site'": 3,
}
INPUTS = {
    "people duty plan": "Mon-Fri 07:00 R. Mori, A. Rossi\nMon-Fri 19:00 A. Rossi\nSat 09:00 R. Mori\n",
    "ingest -": "time,station,quantity,value\n2026-03-01T07:00:00Z,E1,crack_opening_mm,12.5\n",
}
ORIGIN = "origin = {latitude = 46.2011, longitude = 8.9022, height_m = 1410.0, since = 2026-03-01T00:00:00Z}\n"
MOVED = series("displacement", "mm", "30d", source="image correlation")
SITE = (
    table("[[recipient]]", name="team:geologists", levels=["orange", "red"])
    + table("[[recipient]]", name="R. Mori", people=["bo"], channels=["log"])
    + table("[[recipient]]", name="A. Rossi", channels=["log"])
    + table("[[team]]", name="geologists", members=["R. Mori", "A. Rossi"], lead="A. Rossi")
    + station("T1", MOVED, latitude=46.2, longitude=8.9)
)
# Commands that must run before the command with this start.
FIRST = {
    "slopeward sites reject": "slopeward sites propose north-bench newer.toml --by mori --reason lower",
    "slopeward people duty hand-over withdraw": "slopeward people duty hand-over write north-bench --by bo --notes G3",
}


def list_pages() -> dict[str, list[str]]:
    """Return the commands by page. `test_contribute_pages` runs those of the pages for contributors."""
    pages: dict[str, list[str]] = {}
    for page, _, words in list_documented_commands():
        if page not in PRINTED and page not in EXAMPLES and not page.startswith("write-a-"):
            pages.setdefault(page, []).append(shlex.join(["slopeward", *words]))
    return pages


def swap(line: str) -> str:
    for old, new in SWAPS.items():
        line = line.replace(old, new)
    return line


def is_elsewhere(line: str) -> bool:
    return any(start in line for start in ELSEWHERE)


def make_clouds() -> None:
    rng = np.random.default_rng(1)
    for name in ("20250510.laz", "20260512.laz", "2025.laz", "2026.laz"):
        clouds.write_cloud(Path(name), clouds.draw(rng, per_m2=6)[0])
    images.write_pair(Path())
    place = Affine(20.0, 0.0, 491_000.0, 0.0, -20.0, 5_117_000.0)
    write_raster(Path("stable.tif"), np.ones((1, 900, 500), np.uint8), crs="EPSG:32632", transform=place)


def make_radar() -> None:
    ground, rng = radar.Ground(60), np.random.default_rng(1)
    for name in ("20260501_VV", "20260513_VV", "20260407", "20260419", "20260501", "20260513"):
        ground.write(Path(f"{name}.tif"), ground.draw())
    for name in ("0501_0513_cc", "0513_0525_cc", "los", "los_std"):
        ground.write(Path(f"{name}.tif"), rng.uniform(0.6, 0.9, (60, 60)).astype(np.float32))


def put(name: str, *lines: str) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("\n".join(lines) + "\n")


def make_readings() -> None:
    shutil.copy("configs/sites/north-bench.toml", "north-bench.toml")
    shutil.copy("configs/sites/north-bench.toml", "north-bench-new.toml")
    put("events.csv", "from,to,class,level,name", "2026-02-21,2026-02-22,large,orange,winter")
    lines = [f"2026-03-{1 + k // 24:02}T{k % 24:02}:00:00Z,E1,crack_opening_mm,12.{k}" for k in range(10, 72)]
    put("readings.csv", "time,station,quantity,value", *lines)
    put("folder/march.csv", "time,station,quantity,value", *lines)
    put("best.toml", 'model = "gru"', "[settings]", "hidden = 64")


def make_tables() -> None:
    rows = [f"2026-03-{1 + k // 24:02} {k % 24:02}:00;{1 + k % 7 / 10:.1f};0.02{k * 3 % 5}" for k in range(7, 120)]
    put("monitoring.csv", "time;displacement (mm);rain (mm)", *rows)
    for name in ("tilt.csv", "folder/march.csv"):
        put(name, "time UTC;tilt_x (mrad);pore_pressure (MPa)", *rows)


def make_rain() -> None:
    rng, hours = np.random.default_rng(2), 24 * 365 * 3
    rain = np.where(rng.random(hours) < 0.03, rng.gamma(1.0, 4.0, hours), 0.0)
    moved = np.cumsum(np.where(np.convolve(rain, np.ones(24))[:hours] > 25, 0.5, 0.001))
    lines = ["time,station,quantity,value"]
    for at, fell, mm in zip(np.datetime64("2022-01-01T00") + np.arange(hours), rain, moved, strict=True):
        lines += [f"{at}:00:00Z,R1,rain_mm,{fell:.1f}", f"{at}:00:00Z,G1,displacement_mm,{mm:.3f}"]
    put("slope.csv", *lines)


def make_new_rule() -> None:
    text = Path("configs/sites/north-bench.toml").read_text()
    for name, bound in (("new", 120.0), ("newer", 140.0)):
        put(f"{name}.toml", text.replace("red = {over = 100.0,", f"red = {{over = {bound},"))


def draw_bands(scars: int) -> np.ndarray:
    bands = draw_scene(5, 96, scars=scars).bands
    return np.stack([bands[name] for name in ("B4", "B3", "B2")])


def make_scenes() -> None:
    for name, day, scars in (("pre", 1, 0), ("post", 12, 1)):
        at = datetime(2026, 5, day, tzinfo=UTC)
        truth = write_scene(Path(name), 5, with_scar=scars > 0, size_px=96, acquired_at=at)
        features = [{"type": "Feature", "properties": {}, "geometry": scar["geometry"]} for scar in truth["scars"]]
        put("landslides.geojson", json.dumps({"type": "FeatureCollection", "features": features}))
        shutil.copy(f"{name}/dem.tif", ".")
        with rasterio.open("dem.tif") as dem:
            place = {"crs": dem.crs, "transform": dem.transform}
        write_picture(Path(f"{name}.tif"), draw_bands(scars), day, **place)
    write_picture(Path("mine.tif"), draw_bands(1))
    site = Path("sites/north-bench.toml").read_text()
    # The local system of the page lies in Japan; a scene elsewhere is refused.
    site = re.sub(r"latitude = [\d.]+", "latitude = 42.715", site)
    site = re.sub(r"longitude = [\d.]+", "longitude = 141.95", site)
    put("sites/north-bench.toml", site + CRS)
    Path("scenes").mkdir()
    shutil.copy("post.tif", "scenes")


def make_positions() -> None:
    site = "configs/sites/north-bench.toml"
    put(site, Path(site).read_text().replace('id = "G1"\n', f'id = "G1"\n{ORIGIN}', 1))
    rows = [f"2026/03/01 {h:02}:00:00.000 46.2011 8.9022 1410.0 1 8 .003 .003 .008 0 0 0 0 9" for h in range(7, 12)]
    put("G1_20260301.pos", HEAD + LLH.rstrip(), *rows)
    put("rover.pos", *rows)


def make_prisms() -> None:
    page = (REPOSITORY / "docs/how-to/connect-total-stations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    put("prisms.csv", next(block for language, block in blocks if language == "csv"))
    put("prisms.toml", next(block for _, block in blocks if block.startswith("[table]")))
    stations = next(block for _, block in blocks if block.startswith("[site]")).split("[[station]]")[1:]
    site = Path("configs/sites/north-bench.toml")
    site.write_text("[[station]]".join([site.read_text(), *stations[:2]]))


def make_points() -> None:
    write_points(Path("radar.csv"))
    write_mintpy("timeseries_demErr.h5")
    write_velocity(
        Path(), "geo_velocity.h5", "velocity", np.full((60, 60), 0.01), UNIT="m/year", Y_FIRST="46.23", X_FIRST="8.87"
    )
    write_cum(Path("TS_GEOCml1/cum_filt.h5"), draw_displacement())
    transform = Affine(20, 0, 492_200, 0, -20, 5_116_400)
    write_tif(Path("stack.tif"), np.ones((2, 30, 30)), ("20260101", "20260113"), transform=transform)
    Path("radar").mkdir()
    write_rain("radar/a.nc", [1.0, 0.0, 2.0, 0.5])
    Path("masked").mkdir()
    write_mintpy("masked/timeseries_demErr.h5")
    good = np.array([[0.9, 0.9, 0.9], [0.9, 0.9, 0.1]])
    write_hdf5(
        "masked/temporalCoherence.h5", {"temporalCoherence": good}, X_STEP="0.001", Y_STEP="-0.001", Y_UNIT="degrees"
    )
    displacement = np.random.default_rng(1).normal(5.0, 1.0, (3, 4, 4))
    layover = np.zeros((4, 4), "u1")
    write_netcdf(Path("masked/stack.nc"), displacement, {"layover_mask": (layover, {}), "los_angle": (layover, {})})


def make_trial() -> None:
    """Write the database of another system, the source of the page that reads it, and the alarms of the page."""
    page = (REPOSITORY / "docs/how-to/second-opinion.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    put("alarms.csv", next(block for language, block in blocks if language == "csv"))
    source = next(block for language, block in blocks if language == "toml")
    source = re.sub(r'url = ".*"', 'url = "sqlite:///office.db"', source)
    source = re.sub(r"^(?:secret|private) = .*\n", "", source, flags=re.MULTILINE)
    service = Path("configs/slopeward.toml")
    service.write_text(f"{service.read_text()}\n{source}")
    with contextlib.closing(sqlite3.connect("office.db")) as database:
        database.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, ts TEXT, point TEXT, kind TEXT, reading REAL)")
        rows = [(f"2026-03-{1 + k // 24:02} {k % 24:02}:00:00", "E1", "crack", 12 + k / 100) for k in range(72)]
        database.executemany("INSERT INTO readings (ts, point, kind, reading) VALUES (?, ?, ?, ?)", rows)
        database.commit()


def make_study() -> None:
    from packages.earth.tests.data import landscape

    grid = landscape.draw(Path(), seed=6, size=60).grid
    write_picture(Path("post.tif"), draw_bands(1), crs=grid.crs, transform=grid.transform @ Affine.scale(0.5))


def make_heights() -> None:
    write_scene(Path("post"), 5, center_lon=8.9, center_lat=46.2, size_px=96)
    shutil.copy("post/dem.tif", ".")


def make_office() -> None:
    """Write the database of another system, and the source that reads it."""
    with contextlib.closing(sqlite3.connect("office.db")) as database:
        database.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, ts TEXT, point TEXT, kind TEXT, reading REAL)")
        rows = [(f"2026-03-{1 + k // 24:02} {k % 24:02}:00:00", "E1", "crack", 12 + k / 100) for k in range(72)]
        database.executemany("INSERT INTO readings (ts, point, kind, reading) VALUES (?, ?, ?, ?)", rows)
        database.commit()
    columns = {"time": "ts", "station": "point", "quantity": "kind", "value": "reading"}
    facts = {"name": "office", "kind": "sql", "site": "north-bench", "url": "sqlite:///office.db", "table": "readings"}
    facts |= {"columns": columns, "position": "id", "zone": "UTC", "series": {"crack": "crack_opening_mm"}}
    service = Path("configs/slopeward.toml")
    service.write_text(service.read_text() + table("[[source]]", **facts))


MAKERS = {
    "connect-total-stations.md": make_prisms,
    "backtest.md": make_readings,
    "change-thresholds.md": make_new_rule,
    "forecast-models.md": make_readings,
    "import-any-table.md": make_tables,
    "import-files.md": make_readings,
    "gnss.md": make_positions,
    "import-points-and-grids.md": make_points,
    "map.md": make_heights,
    "point-clouds.md": make_clouds,
    "radar.md": make_radar,
    "read-databases.md": make_office,
    "rain-thresholds.md": make_rain,
    "change.md": make_scenes,
    "scenes.md": make_scenes,
    "scorecard.md": make_readings,
    "second-opinion.md": make_trial,
    "susceptibility.md": make_study,
}
EXTRAS = {"cap.md": "signxml"}
EXTRAS |= dict.fromkeys(("point-clouds.md", "radar.md", "susceptibility.md"), "slopeward_earth")
EXTRAS |= dict.fromkeys(("change.md", "forecast-models.md"), "torch")
EXTRAS |= {"scenes.md": "slopeward_lab"}


@pytest.fixture(scope="module")
def watch(filled_template, tmp_path_factory) -> Path:
    """Write a folder with the filled database, its site file, a service file and accounts."""
    folder = tmp_path_factory.mktemp("watch")
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    shutil.copytree(folder / "configs" / "sites", folder / "sites")
    shutil.copytree(folder / "sites", folder / "etc" / "sites")
    (folder / "etc/sites/north-bench.toml").unlink()
    shutil.copy(REPOSITORY / "configs" / "slopeward.toml", folder / "etc")
    site = folder / "configs/sites/north-bench.toml"
    site.write_text(site.read_text() + SITE)
    shutil.copy(filled_template("sqlite")[0], folder / "slopeward.db")
    database = Database(f"sqlite:///{folder}/slopeward.db")
    with database.write() as c:
        c.execute(user_account.update().where(user_account.c.name == "ada").values(os_user="desk"))
    database.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        enter(patch)
        for line in ("people users add grafana --role viewer --by ada", "evaluate north-bench"):
            assert run_command(line.split()) == 0, line
    return folder


def enter(patch: pytest.MonkeyPatch) -> None:
    for name in ("SLOPEWARD_BY_PASSWORD", "SLOPEWARD_USER_PASSWORD"):
        patch.setenv(name, PASSWORD)
    patch.setattr(identity, "name_os_user", lambda: "desk")
    patch.setattr(proposals, "MONTH", timedelta(hours=6))
    patch.setattr(signature, "RSA_BITS", 2048)
    patch.setattr(checkpoints, "TrainingRequest", partial(checkpoints.TrainingRequest, epochs=1, stride=4))


# Commands that train networks or read large files. `make soak` runs them.
LONG_PAGES = {
    "backtest.md",
    "change.md",
    "forecast-models.md",
    "import-points-and-grids.md",
    "point-clouds.md",
    "scorecard.md",
    "second-opinion.md",
}


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.soak if page in LONG_PAGES else ()) for page in sorted(list_pages())]
)
def test_commands_of_a_page_work(page, watch, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(watch, tmp_path / "watch"))
    enter(monkeypatch)
    pytest.importorskip(EXTRAS.get(page, "pytest"))
    MAKERS.get(page, lambda: None)()
    wrong, head = [], ""
    pairs = [
        (next((first for start, first in FIRST.items() if command.startswith(start)), ""), command)
        for command in list_pages()[page]
    ]
    for line in (command for pair in pairs for command in pair if command and not is_elsewhere(command)):
        line = swap(line).replace("3f6a...", head)
        text = next((text for start, text in INPUTS.items() if start in line), "")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        status = run_command(
            [argument for word in shlex.split(line)[1:] for argument in (glob(word) if "*" in word else [word])]
        )
        output = capsys.readouterr()
        head = next(iter(re.findall(r"audit head (\w{64})", output.out)), head)
        if status != STATUS.get(line, 0) or "Traceback" in output.err:
            wrong.append((status, line, output.err[-500:]))
    assert not wrong


def test_every_exception_belongs_to_a_command():
    lines = "\n".join(line for lines in list_pages().values() for line in lines)
    assert not [entry for entry in (*ELSEWHERE, *SWAPS, *INPUTS, *FIRST) if entry not in lines]
    assert not STATUS.keys() - {swap(line) for line in lines.splitlines()}
    assert not MAKERS.keys() - list_pages().keys()


def read_stack_of(path):
    return pytest.importorskip("slopeward_earth.insar.stack").read_stack(path.parent)


def read_study_of(path):
    return pytest.importorskip("slopeward_earth.susceptibility.study").read_study(path)


@pytest.mark.parametrize(
    ("page", "start", "name", "read"),
    [
        ("reference/file-formats.md", "[table]", "any.mapping.toml", load_mapping),
        ("explanation/surveys.md", "wavelength_m", "stack.toml", read_stack_of),
        ("how-to/susceptibility.md", "grid =", "study.toml", read_study_of),
        ("how-to/radar.md", "acquired_at", "scene.toml", lambda path: read_scene(path.parent)),
        ("explanation/scene-files.md", "acquired_at", "scene.toml", lambda path: read_scene(path.parent)),
    ],
)
def test_file_of_a_page_is_valid(page, start, name, read, tmp_path):
    blocks = re.findall(r"^```.*\n((?:.*\n)*?)```", (REPOSITORY / "docs" / page).read_text(), re.MULTILINE)
    shown = next(block for block in blocks if block.startswith(start))
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 0, 0, -10, 0)}
    for file in set(re.findall(r'"([^" ]+\.(?:tif|TIF|gpkg|shp|geojson))"', shown)):
        size = write_raster(tmp_path / file, np.ones((2, 8, 8), np.uint8), **place).stat().st_size
        shown = re.sub(r"= \d{6,}", f"= {size}", shown).replace(', sha256 = "..."', "")
    (tmp_path / name).write_text(shown)
    assert read(tmp_path / name)
