"""Subjects of `make bench`: what each one measures, on which databases, and with which sizes."""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from monitor.storage.engine import Database
from monitor.storage.view_tables import load_view_tables
from tests.bench.databases import open_database
from tests.bench.figures import Figure
from tests.fixtures.mosquitto import MosquittoServer, find_mosquitto

DATABASES: Final = ("sqlite", "postgresql")
NO_DATABASE: Final = ("",)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each subject measures."""

    messages: int = 20_000
    ingest_rounds: int = 3
    alert_sites: int = 120
    alert_warm_up_s: float = 45.0
    alert_s: float = 45.0
    replay_days: int = 365
    view_readings: int = 200_000
    growth_stations: int = 1000
    growth_hourly_stations: int = 20
    page_years: int = 2
    page_s: float = 30.0
    scene_px: int = 2000
    scene_runs: int = 2
    training_rows: int = 1200
    training_epochs: int = 20
    training_rounds: int = 3


# The smallest sizes, which show whether every subject runs.
QUICK: Final = Sizes(
    messages=5000,
    ingest_rounds=1,
    alert_sites=4,
    alert_warm_up_s=5.0,
    alert_s=4.0,
    replay_days=20,
    view_readings=10_000,
    growth_stations=100,
    growth_hourly_stations=1,
    page_years=1,
    page_s=5.0,
    scene_px=500,
    scene_runs=1,
    training_rows=400,
    training_epochs=2,
    training_rounds=1,
)

Measure = Callable[[str, Sizes], list[Figure]]


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject of the table.

    Attributes:
        text: What is measured, for `--help`.
        databases: Databases on which it is measured; an empty name if it needs none.
        measure: Called with a database and the sizes.
    """

    text: str
    databases: tuple[str, ...]
    measure: Measure


@contextmanager
def _open_broker(folder: Path) -> Iterator[str]:
    """Provide the URL of a broker without logins."""
    if find_mosquitto() is None:
        raise RuntimeError("Mosquitto is not installed; run `make servers`")
    data = folder / "broker"
    data.mkdir()
    server = MosquittoServer(data)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def _open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="slopeward-bench-") as name:
        yield Path(name)


def measure_ingest_live(database: str, sizes: Sizes) -> list[Figure]:
    """Measure ingest while the publisher sends."""
    return _measure_ingest(database, sizes, "live")


def measure_ingest_drain(database: str, sizes: Sizes) -> list[Figure]:
    """Measure ingest of messages that the broker holds."""
    return _measure_ingest(database, sizes, "drain")


def _measure_ingest(database: str, sizes: Sizes, mode: str) -> list[Figure]:
    from tests.bench.service.bench_ingest import measure_bare_insert, measure_ingest

    unit = "messages/s"
    with _open_folder() as folder, open_database(database) as url:
        rates = measure_ingest(url, folder, mode, sizes.messages, sizes.ingest_rounds)
        rate = rates["messages_per_s"]
        figures = [Figure("stored and acknowledged", rate, unit, "paho, stores nothing", rates["bare_messages_per_s"])]
        if mode == "drain":
            insert_per_s = measure_bare_insert(url)
            figures.append(Figure("stored and acknowledged, to insert", rate, unit, "bare executemany", insert_per_s))
    return figures


def measure_alert_latency(database: str, sizes: Sizes) -> list[Figure]:
    """Measure the time from a published reading to its alert, and the start of the service."""
    from tests.bench.service.bench_service import RATE, measure_service

    with _open_folder() as folder, _open_broker(folder) as broker_url, open_database(database) as url:
        figures = measure_service(
            url,
            broker_url,
            folder,
            sites=sizes.alert_sites,
            warm_up_s=sizes.alert_warm_up_s,
            seconds=sizes.alert_s,
        )
    alert_ms = figures["sample_to_alert_ms"]
    bare_ms = figures["bare_subscriber_ms"]
    load = f"at {RATE} messages/s"
    return [
        Figure(f"reading to alert {load}, median", alert_ms["p50"], "ms", "publisher to paho", bare_ms["p50"]),
        Figure(f"reading to alert {load}, 99 %", alert_ms["p99"], "ms", "publisher to paho", bare_ms["p99"]),
        Figure("start until ready", figures["start_up_s"], "s", "python -c pass", figures["bare_python_s"]),
    ]


def measure_replay(database: str, sizes: Sizes) -> list[Figure]:
    """Measure the replay of ten hourly stations."""
    from packages.lab.benchmarks.forecasting import bench_backtest

    # Only filling writes.
    with open_database(database, is_durable=False) as url:
        replay_s, decisions_s = bench_backtest.measure_replay(url, timedelta(days=sizes.replay_days))
    return [Figure(f"{sizes.replay_days} days of 10 stations", replay_s, "s", "decisions alone", decisions_s)]


def measure_views(database: str, sizes: Sizes) -> list[Figure]:
    """Measure every public view for one station."""
    from tests.bench.service import bench_views

    # Only filling writes.
    with open_database(database, is_durable=False) as url, Database(url) as db:
        bench_views.fill_database(db, sizes.view_readings)
        select_ms = bench_views.measure_select(db)
        views_ms = {name: bench_views.measure(db, name)[1] for name in load_view_tables()}
    return _list_view_figures(views_ms, select_ms)


def measure_growth(database: str, sizes: Sizes) -> list[Figure]:
    """Measure every public view for one station of many."""
    from tests.bench.service import bench_growth

    with open_database(database, is_durable=False) as url, Database(url) as db:
        bench_growth.fill_database(db, sizes.growth_stations, sizes.growth_hourly_stations)
        reference, views = bench_growth.measure_views(db, bench_growth.name_sites(sizes.growth_stations))
    views_ms = {name: max(view["hourly_ms"], view["daily_ms"]) for name, view in views.items()}
    return _list_view_figures(views_ms, reference.processor_ms)


def _list_view_figures(views_ms: dict[str, float], select_ms: float) -> list[Figure]:
    """Return the median view and the slowest one beside `SELECT 1`."""
    slowest = max(views_ms, key=lambda name: views_ms[name])
    return [
        Figure("median view, processor", statistics.median(views_ms.values()), "ms", "SELECT 1", select_ms),
        # The name of the slowest view may differ between runs, so it is no part of the name of the figure.
        Figure("slowest view, processor", views_ms[slowest], "ms", f"SELECT 1 (view: {slowest})", select_ms),
    ]


def measure_page(database: str, sizes: Sizes) -> list[Figure]:
    """Measure the page of a site of 100 stations."""
    from tests.bench.service import bench_page

    with _open_folder() as folder, _open_broker(folder) as broker_url, open_database(database) as url:
        figures = bench_page.measure_page(url, broker_url, folder, years=sizes.page_years, seconds=sizes.page_s)
    static_ms = figures["static_file_ms"]
    alone_ms = figures["alone_ms"]
    loaded_ms = figures["under_load_ms"]
    names = ("page", "chart, 30 days", "chart, whole record")
    rows = [Figure(name, alone_ms[name], "ms", "static file", static_ms) for name in names]
    rows.append(Figure("page, 20 readers", loaded_ms["page"], "ms", "page, one reader", alone_ms["page"]))
    return rows


def measure_scene(_database: str, sizes: Sizes) -> list[Figure]:
    """Measure the outlines of one scene, with the two shipped networks."""
    from packages.lab.benchmarks.imagery import bench_scenes

    side = sizes.scene_px
    rows = []
    with _open_folder() as folder:
        scene = bench_scenes.write_scene(folder / "scene", side, side)
        for weights in (bench_scenes.WEIGHTS, bench_scenes.DEFAULT):
            figures = bench_scenes.compare(scene, (side, side), weights, runs=sizes.scene_runs)
            name = f"{side} x {side} px, {weights}"
            rows.append(Figure(name, figures["cpu_s"], "s", "forward pass alone", figures["bare_network_cpu_s"]))
    return rows


def measure_training(_database: str, sizes: Sizes) -> list[Figure]:
    """Measure the training of a forecasting network."""
    from packages.lab.benchmarks.forecasting import bench_training

    training_s, plain_s = bench_training.measure_training(
        sizes.training_rows, sizes.training_epochs, sizes.training_rounds
    )
    name = f"{bench_training.MODEL}, {sizes.training_rows} rows, {sizes.training_epochs} epochs"
    return [Figure(name, training_s, "s", "plain PyTorch loop", plain_s)]


SUBJECTS: Final = {
    "ingest-live": Subject("messages per second while they are sent", DATABASES, measure_ingest_live),
    "ingest-drain": Subject("messages per second of a queue that the broker holds", DATABASES, measure_ingest_drain),
    "alert-latency": Subject("time from a reading to its alert, and the start", DATABASES, measure_alert_latency),
    "replay": Subject("replay of a year of ten hourly stations", DATABASES, measure_replay),
    "views": Subject("public views for one station with a long history", DATABASES, measure_views),
    "growth": Subject("public views for one station of many", ("postgresql",), measure_growth),
    "page": Subject("page of a site of 100 stations", DATABASES, measure_page),
    "scene": Subject("outlines of a satellite scene", NO_DATABASE, measure_scene),
    "training": Subject("training of a forecasting network", NO_DATABASE, measure_training),
}
