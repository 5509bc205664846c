"""Each state results from messages of an instrument, its broker or a person, and is shown on the page."""

import json
import random
import re
from dataclasses import replace
from datetime import date, timedelta

from monitor.alerts.evaluate import evaluate_site
from monitor.alerts.queries.maintenance import add_maintenance
from monitor.features.anomalies import jobs as anomaly
from monitor.features.instruments.jobs import run
from monitor.features.instruments.states import RANKS
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.settings.service import ServiceConfig
from monitor.sites.parsing import parse_site
from monitor.sites.queries.sites import save_site
from monitor.sites.records import Binding
from monitor.storage.actor import Actor
from monitor.storage.views import load_view
from monitor.text.instants import format_iso, parse_time
from tests.data.accounts import add_account
from tests.data.site_text import criterion, head, series, station, table
from tests.web.test_door import serving
from tests.web.test_rules import PASSWORD, enter

NOW = parse_time("2026-03-15T12:00:00Z")
STEP, DAY, DAYS = timedelta(hours=3), timedelta(days=1), 40
HEAD = (
    head("bench", "North bench", 46.2, 8.9)
    + table("[[recipient]]", name="duty", channels=["log"])
    + criterion("velocity", stations=["*"], yellow={"over": 40.0, "window": "1d"}, author="test", reason="test")
)
LOGGED = (
    series("displacement", "mm", "3h", max_silence="1d", low=-500.0, high=500.0)
    + series("battery_voltage", "V", "3h", max_silence="2d", empty=11.4)
    + series("signal_strength", "dBm", "3h", max_silence="2d")
)
BY_HAND = {"verify_step_mm": 30.0, "noise_floor_mm": 1.0, "by_hand": True}
MARKER = station("mistyped", series("crack_opening", "cm", "1d", max_silence="2d", **BY_HAND))
SNOW = station("weather", series("snow_depth", "m", "3h", max_silence="2d"))
TYPED = {"mistyped", "weather"}
# Without snow the panel of `snow_ice` would be `solar`. `test_instruments` covers anomalies. The state
# `late` depends on when the page is opened, and is not stored.
SENT = [*sorted(RANKS.keys() - TYPED - {"solar", "drift", "suspected", "late"}), "well"]


def find_faults(kind, back):
    """What a station says so many days before the end."""
    volts = 13.2 if back % 1.0 == 0.0 else 12.4
    said = {"mm": 0.0, "volts": volts, "dbm": -70.0, "fix": "fixed", "satellites": 14, "s": 30}
    match kind:
        case "battery":
            said["volts"] = 11.8 + 0.1 * back
        case "snow_ice" if back < 3:
            said["volts"] = 12.4
        case "signal" if back < 1.1:
            said["dbm"] = -100.0
        case "fix" if back < 1.6:
            said["fix"] = "float"
        case "satellites" if back < 1.6:
            said["satellites"] = 5
        case "clock" if back < 1.6:
            said["s"] = 3630
        case "offset" if back < 6:
            said["mm"] = 12.0
        case "unusable" if back < 2:
            said["mm"] = 9999.0
    return said


def speak(pipeline):
    """Forty days of messages of all stations, as they arrive."""
    rng, kept, batch = random.Random(4), {}, []
    for number in range(8 * DAYS + 1):
        at = NOW - DAYS * DAY + number * STEP
        back = (NOW - at) / DAY
        for name in SENT:
            if (name == "stale" and back < 2) or (name == "gap" and 1 < back < 3):
                continue
            said = find_faults(name, back)
            enu = [round(said["mm"] + rng.gauss(0, 0.5), 2), round(rng.gauss(0, 0.5), 2), round(rng.gauss(0, 1), 2)]
            if name == "stuck" and back < 8:
                enu = kept.setdefault(name, enu)
            gnss = {"enu_mm": enu, "epoch0": "2025-11-03T00:00:00Z", "frame": "local", "solution": "rapid"}
            gnss |= {"fix": said["fix"], "satellites": said["satellites"]}
            body = {"time": format_iso(at), "battery_voltage_v": round(said["volts"], 2), "gnss": gnss}
            body["signal_strength_dbm"] = said["dbm"]
            received = min(at + timedelta(seconds=said["s"]), NOW + 2 * DAY)
            batch.append(BrokerMessage(f"slopeward/v1/bench/{name}/obs", json.dumps(body).encode(), received, "live"))
        weather = {"time": format_iso(at), "snow_depth_m": 0.4 if back < 4 else 0.0}
        batch.append(BrokerMessage("slopeward/v1/bench/weather/obs", json.dumps(weather).encode(), at, "live"))
        if number % 8 == 0:
            read_cm = 9740.0 if back == 0 else round(97.4 + rng.gauss(0, 0.05), 1)
            typed = {"time": format_iso(at), "crack_opening_cm": read_cm}
            batch.append(BrokerMessage("slopeward/v1/bench/mistyped/obs", json.dumps(typed).encode(), at, "live"))
    batch.append(BrokerMessage("homie/offline/$state", b"lost", NOW + timedelta(hours=1), "live"))
    return pipeline.store(batch)


def test_each_state_results_from_messages_and_is_on_the_page(database):
    more = {"calibration": {"calibrated_on": date(2025, 1, 10), "calibrate_every": "365d"}}
    along = {"azimuth_deg": 90.0, "plunge_deg": 0.0}
    text = HEAD + "".join(station(name, LOGGED, **along, **more.get(name, {})) for name in SENT) + MARKER + SNOW
    site, end = parse_site(text, "bench.toml"), NOW + timedelta(hours=2)
    site = replace(site, decoders=(Binding("homie/{station}/$state", "plain"),))
    with database.write() as c:
        save_site(c, site, "test", "test", NOW - DAYS * DAY)
        add_account(c, "bo", PASSWORD, "operator", NOW)
    speak(Pipeline(database, {"bench": site}, lambda: end))
    with database.write() as c:
        add_maintenance(c, "bench", "maintenance", NOW - STEP, NOW + DAY, Actor("bo"), "a new mast", NOW - STEP)
    evaluate_site(database, site, end, "start")
    anomaly.run(database, ServiceConfig(), site, end)
    run(database, ServiceConfig(), site, end)
    evaluate_site(database, site, end, "tick")
    with database.read() as c:
        board = {r["instrument"]: r for r in load_view(c, "instrument_health", site="bench")}
        found = {(r["instrument"], r["state"]) for r in load_view(c, "instrument_findings", site="bench")}
    states = {name: {row["state"]} | {state for who, state in found if who == name} for name, row in board.items()}
    wanted = {*SENT, "mistyped"} - {"well"}
    assert ({name: states[name] for name in wanted if name not in states[name]}, board["well"]["state"]) == ({}, "ok")
    with serving(database, lambda: end) as address, enter(address, "bo") as bo:
        page = bo.get("/sites/bench/instruments?state=all").text
    for name in wanted:
        card = re.search(rf'id="instrument-{name}".*?</li>', page, re.DOTALL).group()
        assert name.replace("_", " ").casefold() in re.sub("<[^>]*>", " ", card.split("</b>", 1)[1]).casefold(), card
