"""Tips of a rain gauge that share an instant, in files and in messages."""

import json
from datetime import timedelta

import pytest

from monitor.errors import UnitDoubtError
from monitor.ingest.files import reading
from monitor.ingest.files.reading import FileImport
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data.site_text import FOUR, head, series, station

NOW = parse_time("2026-03-10T06:00:00Z")
BEGIN = NOW - timedelta(hours=5)


class Gauge:
    """A site with one rain gauge."""

    def __init__(self, database, stamp):
        text = head("bench", levels=FOUR) + station("R1", series("rain", "mm", "10m", max_silence="3d", stamp=stamp))
        self.site = parse_site(text, "bench.toml")
        self.database = database
        with database.write() as c:
            save_site(c, self.site, "Ada", "new", NOW - timedelta(hours=9))
        self.pipeline = Pipeline(database, {"bench": self.site}, lambda: NOW)

    def read_file(self, path, minutes):
        """Store tips of 0.2 mm, one a row, at minutes after the beginning."""
        rows = [f"{format_iso(BEGIN + timedelta(minutes=m))},R1,rain,0.2,mm" for m in minutes]
        path.write_text("\n".join(["time,station,quantity,value,unit", *rows]) + "\n")
        return FileImport(path, self.pipeline, self.site, lambda: NOW).run()

    def list_rain(self):
        with self.database.read() as c:
            rows = load_view(c, "observation_history", station="R1", quantity="rain", order_by=("observed_at",))
        return [round(row["value"], 3) for row in rows]


STORM = [m for m in range(60) for _ in range(1 + m % 4)]


def test_tips_of_one_minute_are_added_up(database, tmp_path):
    gauge = Gauge(database, "event")
    gauge.read_file(tmp_path / "tips.csv", STORM)
    assert sum(gauge.list_rain()) == pytest.approx(0.2 * len(STORM))
    assert gauge.read_file(tmp_path / "tips.csv", STORM).stored == 0, "the same file again"
    assert sum(gauge.list_rain()) == pytest.approx(0.2 * len(STORM))


def test_tips_of_one_minute_are_added_up_across_chunks(database, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_ROWS", 7)
    gauge = Gauge(database, "event")
    gauge.read_file(tmp_path / "tips.csv", STORM)
    assert sum(gauge.list_rain()) == pytest.approx(0.2 * len(STORM))


def test_tips_of_one_second_in_one_message_are_added_up(database):
    gauge = Gauge(database, "event")
    times = [format_iso(BEGIN + timedelta(seconds=k // 3)) for k in range(30)]
    payload = json.dumps({"samples": [{"time": at, "rain_mm": 0.2} for at in times]}).encode()
    for _ in range(2):  # the broker may deliver a message twice
        gauge.pipeline.store([BrokerMessage("slopeward/v1/bench/R1/obs", payload, NOW, "live")])
    assert gauge.list_rain() == [0.6] * 10


def test_tips_of_one_minute_are_refused_if_sums_are_declared(database, tmp_path):
    gauge = Gauge(database, "interval_end")
    with pytest.raises(UnitDoubtError, match='does not declare stamp = "event"'):
        gauge.read_file(tmp_path / "tips.csv", STORM)


@pytest.mark.parametrize("stamp", ["interval_end", "counter"])
def test_repeated_rows_count_once(database, tmp_path, stamp):
    gauge = Gauge(database, stamp)
    gauge.read_file(tmp_path / "sums.csv", [10 * k for k in range(20) for _ in range(2)])
    assert gauge.list_rain() == [0.2] * 20


def test_file_with_every_tip_repeated_is_refused(database, tmp_path):
    gauge = Gauge(database, "event")
    with pytest.raises(UnitDoubtError, match="is 2 times in the file"):
        gauge.read_file(tmp_path / "tips.csv", [3 * k for k in range(20) for _ in range(2)])
