"""A network reads all channels of moving ground and rain; the rules read motion."""

from datetime import UTC, datetime, timedelta

from monitor.features.anomalies.samples import load_record
from monitor.readings.queries.storing import add_observations
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from tests.data.site_text import head, series, station

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
PARTS = tuple(series(f"displacement_{part}", "mm", "1h", max_silence="3h") for part in ("east", "north", "up"))
TEXT = head("slope", timezone="UTC")
TEXT += station("G1", *PARTS) + station("G2", *PARTS, series("tilt_x", "mrad", "1h"), series("tilt_y", "mrad", "10m"))
TEXT += station("R1", series("rain", "mm", "1h", stamp="interval_end")) + station(
    "P1", series("pore_pressure", "kPa", "1h")
)
UNITS = {"tilt_x": "mrad", "tilt_y": "mrad", "rain": "mm", "pore_pressure": "kPa"}


def test_a_network_reads_channels_at_the_interval_of_the_motion_and_rain(database):
    site = parse_site(TEXT, "slope.toml")
    rows = []
    for place in site.stations:
        for spec in place.series:
            unit = UNITS.get(spec.quantity, "mm")
            for hour in range(24):
                at = START + hour * HOUR
                rows.append(Observation("slope", place.id, spec.quantity, unit, at, at, 0.1 * hour))
    with database.write() as c:
        save_site(c, site, "test", "test", START)
        add_observations(c, rows, START)
    now = START + 24 * HOUR
    with database.read() as c:
        rules, network = (load_record(c, site, name, START - HOUR, now) for name in ("rules", "ae"))
    motion = [f"{name}.displacement_{part}" for name in ("G1", "G2") for part in ("east", "north")]
    assert sorted(rules.samples) == motion
    assert rules.rain is None
    assert sorted(network.samples) == sorted([*motion, "G1.displacement_up", "G2.displacement_up", "G2.tilt_x"])
    assert network.rain is not None
    assert sum(network.rain[1]) > 0.0
