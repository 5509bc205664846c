"""The wheel of this package beside the wheel of Slopeward, in an environment with nothing else."""

import json
import os
import sqlite3
import subprocess
import venv
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import Distribution

import numpy as np
import pytest

from monitor.cli.packages import MODULES_BY_COMMAND
from packages.earth.tests.data import landscape
from tests.contract.test_features import SITE
from tests.data.surveys import images
from tests.end_to_end.test_bare_machine import link_packages, run_pip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ASK_PAGES = """
import asyncio, httpx, sys
from datetime import UTC, datetime
from monitor.settings.service import load_service
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.engine import Database
from monitor.web.app import build_app

config = load_service("configs/slopeward.toml", {})


async def ask(addresses):
    with Database(config.database.url) as db:
        site = parse_site(open("configs/sites/bench.toml").read(), "bench.toml")
        with db.write() as c:
            save_site(c, site, "Ada", "new", datetime.now(UTC))
        transport = httpx.ASGITransport(build_app(config, db))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as page:
            return [(await page.get(address)).status_code for address in addresses]


print(asyncio.run(ask(sys.argv[1:])))
"""
PAGES = ("/", "/sites/bench", "/sites/bench/instruments", "/api/v1/sites/bench/map")
POINTS_PAGE = "/api/v1/sites/bench/points.geojson"
FIRST_AT = datetime(2023, 1, 1, tzinfo=UTC)
ACQUISITIONS = 60
POINTS = 40


def install(environment, project):
    """Build the wheel of a folder of this repository, install it, and link the packages that it requires."""
    wheels = environment / f"wheels-{project.replace('/', '-')}"
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels), project)
    (wheel,) = wheels.glob("*.whl")
    run_pip(
        "--python", str(environment / "bin/python"), "install", "--no-deps", "--no-index", "--no-compile", str(wheel)
    )
    site_packages = next(environment.glob("lib/python*/site-packages"))
    name = wheel.name.partition("-")[0].replace("_", "-")
    (installed,) = Distribution.discover(name=name, path=[str(site_packages)])
    link_packages(site_packages, [text for text in installed.requires or () if not text.startswith("slopeward=")], "")


def list_tables(database, prefix):
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return [name for (name,) in rows if name.startswith(prefix)]


def write_points(path):
    """Write points of which one moves, in the neutral form."""
    rng = np.random.default_rng(1)
    lines = ["time,point,latitude,longitude,value"]
    for number in range(POINTS):
        for k in range(ACQUISITIONS):
            at = FIRST_AT + timedelta(days=12 * k)
            value = rng.normal(0.0, 1.0) - (0.8 * k if number == 0 else 0.0)
            lines.append(f"{at.isoformat()},p{number},{46.0 + 1e-4 * number},8.0,{value:.2f}")
    path.write_text("\n".join(lines))


@pytest.mark.soak
def test_commands_of_the_wheel_run_beside_the_core_and_are_named_without_it(tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    def run(*words):
        command = [environment / "bin/slopeward", *words]
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def ask_pages(*addresses):
        command = [environment / "bin/python", "-c", ASK_PAGES, *addresses]
        done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    (tmp_path / "configs/sites").mkdir(parents=True)
    (tmp_path / "configs/sites/bench.toml").write_text(SITE)
    (tmp_path / "configs/slopeward.toml").write_text('[database]\nurl = "sqlite:///bench.db"\n')
    install(environment, ".")
    for command in (command for command, package in MODULES_BY_COMMAND.items() if package == "slopeward_earth"):
        status, _, error = run(*command.split())
        assert status == 1
        assert error == (
            f"`slopeward {command}` needs slopeward-earth, which is not installed: pip install 'slopeward[earth]' "
            "(/help/how-to/install on the page)\n"
        )
    for words in (["db", "upgrade"], ["check"]):
        status, _, error = run(*words)
        assert status == 0, error
    assert list_tables(tmp_path / "bench.db", "earth_") == []
    assert ask_pages(*PAGES, POINTS_PAGE) == [200, 200, 200, 200, 404]

    install(environment, "packages/earth")
    status, _, error = run("db", "upgrade")
    assert status == 0, error
    assert "earth_look" in list_tables(tmp_path / "bench.db", "earth_")

    write_points(tmp_path / "radar.csv")
    meaning = ("--format", "insar-points", "--set", "desc", "--direction", "los-towards", "--unit", "mm")
    status, _, error = run("ingest", "radar.csv", "--site", "bench", *meaning)
    assert status == 0, error
    status, output, error = run("forecast", "points", "bench", "--now")
    assert status == 0, error
    assert f"{POINTS} points" in output
    assert "p0 at 46.00000°" in output

    older, newer, _ = images.write_pair(tmp_path)
    status, output, error = run("scenes", "track", older.name, newer.name, "--most", "1", "--window", "32")
    assert status == 0, error
    assert "moved significantly" in output

    landscape.draw(tmp_path, seed=6, size=90)
    study = ("scenes", "susceptibility")
    status, output, error = run(*study, "train", "study.toml", "--learners", "logistic", "--out", "model.json")
    assert status == 0, error
    status, output, error = run(*study, "map", "study.toml", "--model", "model.json", "--out", "map")
    assert status == 0, error
    assert (tmp_path / "map/susceptibility.tif").is_file()
    assert ask_pages(*PAGES, POINTS_PAGE) == [200] * 5
