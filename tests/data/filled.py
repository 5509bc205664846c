"""Fill a database with two slopes in winter 2026, through functions of the program where they exist."""

import math
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import Connection, insert, update

from forecasting.decomposition.season import Season
from monitor.alerts.outbox_tables import notification
from monitor.alerts.queries import alerts, events, offsets, reports
from monitor.alerts.tables import alert_event
from monitor.canonical import canonical_json
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.records import Memory
from monitor.delivery.queries import digests
from monitor.features.anomalies.queries import budget as anomaly_budget
from monitor.features.anomalies.queries import labels as anomaly_labels
from monitor.features.anomalies.tables import anomaly
from monitor.features.duty import queries as duty
from monitor.features.forecasts.queries import forecasts, seasons
from monitor.features.instruments.queries import readings as instruments
from monitor.features.photos import queries as photos
from monitor.features.reports.facts import gather_facts, make_digest
from monitor.features.reports.period import Period
from monitor.features.reports.tables import issued_report
from monitor.features.scenes.tables import scene, scene_unsure
from monitor.models.queries import proofs
from monitor.people.queries import api_tokens, sessions, users
from monitor.readings.queries import observations, points, storing
from monitor.readings.records import Observation, ObserverReport, SiteEvent
from monitor.readings.tables import observation_flag, series
from monitor.sites.parsing import parse_site
from monitor.sites.queries import sites
from monitor.sites.records import Recipient, Site, Team
from monitor.storage import service_state
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.text.instants import format_iso
from monitor.text.message import Figure, Template
from tests.data.accounts import add_account
from tests.data.rows import insert_rows

NOW = datetime(2026, 3, 1, 6, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORD = "correct horse battery"  # of ada (admin), bo (operator) and cy (viewer); the account dee is disabled
HASHES = {name: (name[0] * 64) for name in ("combined", "persistence", "gru", "ae", "unet", "scene", "before")}
ADA, BO = Actor("ada"), Actor("bo")
STEP = timedelta(hours=6)

LAKE = """
[site]
id = "lake-slope"
name = "Lake slope"
latitude = 46.31
longitude = 8.71
timezone = "Europe/Zurich"
[levels]
names = ["green", "yellow", "red"]
auto_lower = ["yellow"]
[[station]]
id = "X1"
latitude = 46.311
longitude = 8.712
[[station.series]]
quantity = "crack_opening"
unit = "mm"
interval = "6h"
max_silence = "1d"
noise_floor_mm = 0.1
[[station]]
id = "W1"
[[station.series]]
quantity = "water_level"
unit = "m"
interval = "6h"
max_silence = "1d"
[[criterion]]
kind = "rate"
series = "X1.crack_opening"
yellow = {over = 1.0, window = "1d"}
red = {over = 10.0, window = "1d"}
author = "duty geologist"
reason = "opening of 2024"
[[recipient]]
name = "duty engineer"
channels = ["log"]
levels = ["yellow", "red"]
"""

# Criterion of the lake slope, which exceeded it in February.
CREPT = """
[[criterion]]
kind = "level"
series = "X1.crack_opening"
yellow = {over = 3.4}  # the width after the flood of 2021
author = "duty geologist"
reason = "survey of 2021"
"""


def days(count: float) -> timedelta:
    return timedelta(days=count)


def load_story_sites() -> tuple[Site, Site]:
    """Return the two sites, from the example file and from the text above."""
    example = Path(__file__).resolve().parents[2] / "configs" / "sites" / "north-bench.toml"
    return parse_site(example.read_text(encoding="utf-8"), "north-bench.toml"), parse_site(LAKE, "lake-slope.toml")


def fill(db: Database) -> dict[str, Any]:
    """Fill an empty database. Return identifiers that tests use, by name."""
    with db.write() as c:
        return fill_connection(c)


def fill_connection(c: Connection) -> dict[str, Any]:
    """Fill an empty database in an open write transaction. Return the same as `fill`."""
    north, lake = load_story_sites()
    sites.save_site(c, north, "ada", "first version", START)
    sites.save_site(c, lake, "ada", "first version", START)
    for name, role in (("ada", "admin"), ("bo", "operator"), ("cy", "viewer"), ("dee", "viewer")):
        add_account(c, name, PASSWORD, role, START)
        add_audit(c, ADA, "user.add", f"user:{name}", {"role": role}, START)
    users.disable_user(c, "dee", NOW - days(10))
    # sealed with a key that is lost
    insert_rows(
        c,
        START,
        """
second_factor user_name=dee secret=v1:lost created_at=+0s last_step=0
recovery_code user_name=dee code_sha256=7777777777777777777777777777777777777777777777777777777777777777 created_at=+0s
""",
    )
    api_tokens.add_api_token(c, "bo", "board in the office", "read", None, 90 * 86400.0, START)
    measured = _fill_observations(c)
    ids = {f"{s.site}/{s.station}/{s.quantity}": s.id for k in (north, lake) for s in observations.load_series(c, k.id)}
    story: dict[str, Any] = {"series": ids}
    story |= _fill_alerts(c, north, lake)
    _fill_corrections(c, ids)
    _fill_forecasts(c, ids, measured)
    _fill_findings(c, ids)
    _fill_scene(c)
    _fill_points(c)
    _fill_states(c, north, lake)
    _fill_records(c)
    return story


def move_mm(station: str, at: datetime) -> float:
    """Return displacement in mm: G1 and, less, G2 accelerate in the last ten days; the control station is stable."""
    day = (at - START) / days(1)
    rate = {"G1": 0.5, "G2": 0.3, "C1": 0.0}[station]
    burst = {"G1": 0.9, "G2": 0.5, "C1": 0.0}[station] * max(0.0, day - 49.0) ** 2
    return round(rate * day + burst + 0.4 * math.sin(day * 2.3), 3)


def _fill_observations(c: Connection) -> dict[tuple[str, datetime], float]:
    rows: list[Observation] = []
    measured: dict[tuple[str, datetime], float] = {}

    def say(site: str, station: str, quantity: str, unit: str, at: datetime, value: float, **more: Any) -> None:
        rows.append(Observation(site, station, quantity, unit, at, at + timedelta(minutes=2), value, **more))

    for k in range(int((NOW - START) / STEP) + 1):
        at = START + k * STEP
        day = (at - START) / days(1)
        for station in ("G1", "G2", "C1"):
            down = move_mm(station, at)
            measured[station, at] = down
            antenna = (
                12.5 if station == "G2" and at >= NOW - days(5) else 0.0
            )  # raw values contain the jump of the new antenna
            for component, share in (("east", -0.42), ("north", -0.9), ("up", -0.5)):
                value = round(down * share + antenna * (component == "east"), 3)
                say("north-bench", station, f"displacement_{component}", "mm", at, value, sigma=1.1, solution="rapid")
        say("north-bench", "E1", "crack_opening", "mm", at, round(0.2 * move_mm("G1", at), 3), sigma=0.05)
        say("north-bench", "P1", "pore_pressure", "kPa", at, round(42.0 + 6.0 * math.sin(day / 5.0), 3))
        say("north-bench", "R1", "rain", "mm", at, round(max(0.0, 9.0 * math.sin(day / 3.0)), 1))
        say("lake-slope", "X1", "crack_opening", "mm", at, round(3.0 + 0.01 * day, 3), sigma=0.1)
        if at < NOW - days(6):  # afterwards the station is silent
            say("lake-slope", "W1", "water_level", "m", at, round(411.2 + 0.1 * math.sin(day / 4.0), 3))
    at = NOW - days(3)
    say("north-bench", "P1", "pore_pressure", "kPa", at + timedelta(hours=1), 24000.0, flags=("out_of_range",))
    say("north-bench", "G1", "displacement_east", "mm", at, 999.0, solution="final", sigma=0.6)
    why = {"window": {"seconds": 604800.0, "form": "unit"}}
    slip = [None] * 6 + ["only one reading within 7d", "profile.no_rate", canonical_json(why)]
    profile = {"rows": [[1.5, 0.25, *[None] * 6], [2.0, 0.0, *[None] * 6]], "slip": [slip]}
    say("lake-slope", "X1", "depth_count", "1", NOW - days(2), 2.0, extra=canonical_json(profile))
    storing.add_observations(c, rows, NOW)
    return measured


def _fill_alerts(c: Connection, north: Site, lake: Site) -> dict[str, Any]:
    duty = Recipient("duty engineer", ("log", "email:duty@example.org"), (1, 2, 3))
    chief = Recipient("chief geologist", ("webhook:CHIEF_HOOK",), (2, 3))

    def change(
        ledger: AlertCategory, key: str, level: int, reason: str, at: datetime, *, gone: bool = False
    ) -> AlertChange:
        evidence = canonical_json(
            {"criterion": key, "data_time": format_iso(at), "inputs": [["G1", format_iso(at), 0, 4.25]]}
        )
        return AlertChange(ledger, key, level, not gone, reason, at, evidence)

    def apply(site: Site, what: AlertChange, now: datetime, **more: Any) -> int:
        event = alerts.apply_changes(
            c, [what], alerts.ChangeContext(site.id, site, [duty, chief], SERVICE_ACTOR, now, "0.1.0", **more)
        )[0]
        row = c.execute(alert_event.select().where(alert_event.c.id == event)).one()
        return int(row.alert_id)

    hazard, health, advice = AlertCategory.HAZARD, AlertCategory.HEALTH, AlertCategory.ADVICE
    past = NOW - days(40)
    rain = apply(north, change(hazard, "hazard", 1, "rain sum beyond the yellow line", past), past)
    alerts.acknowledge(c, rain, BO, "heavy rain, ditch checked", past + timedelta(minutes=20))
    apply(north, change(hazard, "hazard", 1, "rain over", past + days(2), gone=True), past + days(2))
    alerts.set_outcome(c, rain, "false_weather", ADA, "no movement followed", past + days(5))
    at = NOW - days(6)
    climb = apply(north, change(hazard, "hazard", 1, "G1 moves 3.1 mm/day over 7 d", at), at + timedelta(minutes=3))
    at = NOW - days(2)
    apply(north, change(hazard, "hazard", 2, "G1 moves 21.4 mm/day over 2 d", at), at + timedelta(minutes=3))
    alerts.acknowledge(c, climb, BO, "on site, haul road watched", at + timedelta(minutes=11))
    silent = NOW - days(5)
    stale = apply(lake, change(health, "health:W1.water_level:stale", 1, "W1 is silent for 1 d", silent), silent)
    odd = apply(
        north, change(advice, "advice:anomaly:P1", 1, "pore pressure unlike itself", NOW - days(3)), NOW - days(3)
    )
    drill = NOW - days(8)
    exercise = apply(lake, change(hazard, "hazard", 2, "drill", drill), drill, exercise=True)
    alerts.acknowledge(c, exercise, ADA, "drill", drill + timedelta(minutes=4))
    apply(
        lake, change(hazard, "hazard", 2, "drill over", drill, gone=True), drill + timedelta(minutes=30), exercise=True
    )
    alerts.set_outcome(c, exercise, "drill", ADA, "answered in 4 minutes", drill + days(1))
    _deliver(c)
    return {
        "rain_alert": rain,
        "hazard_alert": climb,
        "stale_alert": stale,
        "advice_alert": odd,
        "drill_alert": exercise,
    }


def _deliver(c: Connection) -> None:
    """Deliver most messages. One webhook failed permanently, one mail is due, and an older one was superseded."""
    n = notification.c
    for row in c.execute(notification.select().order_by(n.id)).all():
        sent = row.queued_at + timedelta(seconds=4)
        values: dict[str, Any] = {"state": "delivered", "attempts": 1, "sent_at": sent, "next_attempt_at": None}
        if row.channel.startswith("webhook"):
            values = {"state": "failed_final", "attempts": 8, "last_error": "410 Gone", "next_attempt_at": None}
        elif row.channel.startswith("email") and row.level == 2 and not row.exercise:
            values |= {
                "state": "confirmed",
                "confirmed_at": sent + timedelta(minutes=6),
                "confirmed_by": row.recipient,
                "confirmed_via": "page",
            }
        elif row.ledger == "advice" and row.channel.startswith("email"):
            values = {
                "state": "failed_retry",
                "attempts": 3,
                "last_error": "connection refused",
                "next_attempt_at": NOW,
            }
        c.execute(update(notification).where(n.id == row.id).values(**values))
    mails = c.execute(
        notification.select().where(n.site == "north-bench", n.channel.like("email%")).order_by(n.id)
    ).all()
    c.execute(update(notification).where(n.id == mails[1].id).values(state="superseded", superseded_by=mails[2].id))
    rows = """
siren_order topic=valley/horn sequence=1772172180000 notification_id=$mail site=north-bench wanted=on level=2
    level_name=orange exercise=no ordered_at=+0s sent_at=+0s valid_until=+5m times=1 confirmed_at=+1s
    confirmed_by=horn-1 said=on
reply at=+0s way=sms sender=+41790000000 text='ack 1234' provider_id=SM1 outcome=wrong
"""
    insert_rows(c, mails[2].queued_at, rows, {"mail": mails[2].id})
    insert_rows(c, NOW, "channel_test channel=log target=log at=-6h good=yes found=taken")


def _fill_corrections(c: Connection, ids: dict[str, int]) -> None:
    east = ids["north-bench/G2/displacement_east"]
    first = {"at": NOW - days(5), "known_from": NOW - days(1), "unit": "mm", "author": BO, "now": NOW - days(1)}
    done = offsets.add_offset(c, east, size=12.5, kind="antenna", reason="antenna replaced by the surveyor", **first)
    offsets.confirm_offset(c, done, ADA, "compared with the field book", NOW - timedelta(hours=20))
    wrong = offsets.add_offset(
        c, ids["lake-slope/X1/crack_opening"], size=0.3, kind="rezero", reason="re-zeroed", **first
    )
    offsets.revoke_offset(c, wrong, BO, "wrong station", NOW - timedelta(hours=21))
    spike = {"series_id": ids["north-bench/G1/displacement_east"], "observed_at": NOW - days(3), "revision": 1}
    last = {"series_id": ids["north-bench/P1/pore_pressure"], "observed_at": NOW, "revision": 0}
    for key, flag, by in (
        (spike, "spike", "bo"),
        (last, "suspect", "bo"),
        (last, "-suspect", "ada"),
        (last, "checked", "ada"),
    ):
        c.execute(insert(observation_flag).values(**key, flag=flag, known_from=NOW, by=by, reason="looked at"))


def _fill_forecasts(c: Connection, ids: dict[str, int], measured: dict[tuple[str, datetime], float]) -> None:
    rows = []
    for station, bias in (("G1", 0.8), ("G2", 0.4)):
        series_id = ids[f"north-bench/{station}/displacement_north"]
        for k in range(30):
            issued = NOW - days(k)
            last, before = (-0.9 * measured[station, issued - days(d)] for d in (0, 7))
            for horizon in (1.0, 7.0):
                drift = (last - before) / 7.0 * horizon
                for model, q50, shown in (
                    ("persistence", last, False),
                    ("combined", last + drift, True),
                    ("gru", last + drift - bias, False),
                ):
                    width = 1.5 + 2.0 * horizon
                    rows.append(
                        forecasts.ForecastRow(
                            series_id=series_id,
                            issued_at=issued,
                            data_until=issued,
                            as_of_received_at=issued + timedelta(minutes=2),
                            target_at=issued + days(horizon),
                            horizon_s=horizon * 86400.0,
                            q025=q50 - 1.5 * width,
                            q10=q50 - width,
                            q50=q50,
                            q90=q50 + width,
                            q975=q50 + 1.5 * width,
                            model=model,
                            model_hash=HASHES[model],
                            baseline="line",
                            baseline_q50=last + drift,
                            data_value=last,
                            shown=shown,
                            reason={
                                "combined": "weighted mean of experts, weights by past errors: line 80 %, gru 20 %",
                                "gru": "output of the network gru, which has 20% of the combined forecast",
                            }.get(model, f"simple forecast {model}, for comparison"),
                            weight=0.2 if model == "gru" else None,
                            stage=None if k > 27 else "creep" if k > 10 else "progressive",
                        )
                    )
    forecasts.add_forecasts(c, rows)
    back = {ids[f"north-bench/{k}/displacement_north"]: k for k in ("G1", "G2")}
    scores = []
    waiting = forecasts.load_unscored(c, "north-bench", NOW, START)
    situations = forecasts.load_situations(c, waiting, {})
    for unscored in waiting:
        observed = round(-0.9 * measured[back[unscored.series_id], unscored.target_at], 3)
        scores.append(forecasts.score_forecast(unscored, unscored.target_at, observed, situations[unscored.id]))
    forecasts.add_scores(c, scores, NOW)
    part = {"at_s": ((NOW - days(30)).timestamp(),), "value": (12.5,), "trend": (11.0,), "season": (1.25,)}
    strong = {"remainder": (0.25,), "trend_strength": 0.98, "season_strength": 0.75, "season_range": 2.75}
    daily = {"day_strength": 0.5, "day_range": 1.5, "day_parts": (0.5, 0.75, 0.25, 0.0, -0.5, -0.75, -0.25, 0.0)}
    said = {"parameters": {"method": "MSTL"}, "method": "MSTL"}
    span = ((NOW - days(1080)).timestamp(), NOW.timestamp())
    split = Season("month", 12, 36, *span, **part, **strong, **said, **daily)
    short = Season(
        "day", 365, 430, (NOW - days(430)).timestamp(), NOW.timestamp(), "needs two full years: 430 of 730 days"
    )
    seasons.save_seasons(
        c, {ids["north-bench/G1/displacement_east"]: split, ids["lake-slope/W1/water_level"]: short}, NOW
    )
    withheld = forecasts.WithheldRow(
        ids["lake-slope/W1/water_level"],
        "gru",
        "no datum within 6 intervals",
        86400.0,
        "30 of the last 60 days; 42 are needed",
        NOW + days(12),
    )
    forecasts.add_withheld(c, [withheld], NOW)
    rows = """
failure_time series_id=$G1 issued_at=-2d data_until=-2d window_from=+3d window_mid=+6d window_to=+11d n_filters=9
    n_agree=3 r2=0.91 velocity_mm_per_day=21.4 trusted=no reasons='filters disagree' withdrawn_at=-1d
failure_time series_id=$G1 issued_at=+0d data_until=+0d window_from=+3d window_mid=+6d window_to=+11d n_filters=9
    n_agree=7 r2=0.91 velocity_mm_per_day=21.4 trusted=yes reasons=
"""
    insert_rows(c, NOW, rows, {"G1": ids["north-bench/G1/displacement_north"]})


def _fill_findings(c: Connection, ids: dict[str, int]) -> None:
    for station, quantity in (("P1", "pore_pressure"), ("G1", "displacement_north")):
        for detector, threshold, digest in (("persistence-z", 4.0, None), ("lstm-ae", 0.8, HASHES["ae"])):
            for k in range(20):
                score = threshold * (1.6 if k == 3 and station == "P1" else 0.3 + 0.02 * k)
                c.execute(
                    insert(anomaly).values(
                        series_id=ids[f"north-bench/{station}/{quantity}"],
                        at=NOW - days(k),
                        detector=detector,
                        score=score,
                        threshold=threshold,
                        budget=0.1,
                        kind="level" if detector == "persistence-z" else "shape",
                        alerted=score > threshold,
                        model_hash=digest,
                        scored_at=NOW - days(k),
                    )
                )
    gap = "reading_gap series_id=$P1 from_at=-2d to_at=-36h missing=11 found_at=-1d"
    insert_rows(c, NOW, gap, {"P1": ids["north-bench/P1/pore_pressure"]})
    run = next(r for r in anomaly_labels.load_runs(c, load_story_sites()[0], START, NOW) if r.station == "P1")
    anomaly_labels.add_label(c, "north-bench", run, "dismissed", "weather", BO, "snow melt", NOW)
    for measured in anomaly_budget.measure_detectors(c, load_story_sites()[0], NOW):
        anomaly_budget.add_budget(
            c, "north-bench", measured, 1.05, "weather of March", BO, NOW - days(8), is_fixed=True
        )
    story = load_story_sites()[0]
    asks = next(one for one in story.criteria if one.kind.facts == "anomalies")
    tested = proofs.ModelTest(
        "anomaly", "rules", "slopeward anomalies train", HASHES["ae"], ("too many alarms",), {}, 900
    )
    proofs.add_proof(c, story, asks, tested, BO, NOW)
    left = Template("instrument.battery.days_left", "about {n} days left")(n=4)
    line = Template(
        "instrument.battery.line",
        "extrapolated from the lowest values of {n} days, {n2} {unit} per day, to {n3} {unit2}",
    )(n=14, n2=Figure(-0.1, ".2g"), unit="V", n3=11.4, unit2="V")
    battery = (
        "battery",
        6,
        None,
        Template("instrument.battery", "battery {text}: {text2}")(text=left, text2="the line falls"),
        Template("instrument.action.swap", "replace the battery of {station} ({text})")(station="G1", text=left),
    )
    spark = [12.5 - 0.02 * k for k in range(42)]
    instruments.save_instruments(
        c,
        "north-bench",
        [
            instruments.InstrumentAssessment(
                "G1", (battery,), 11.8, NOW, NOW + days(4), line, "2025-06-01", "2026-06-01", "battery_voltage", spark
            )
        ],
        NOW,
    )
    instruments.save_months(c, "north-bench", [instruments.InstrumentMonth("G1", "2026-02", 112, 109)])
    rows = """
model model_hash=$gru kind=gru task=forecast site=north-bench state=active path=models/gru.safetensors
    card='{"kind": "gru"}' created_at=-59.25d promoted_at=-59.25d
model model_hash=$ae kind=lstm-ae task=anomaly site=north-bench state=active path=models/lstm-ae.safetensors
    card='{"kind": "lstm-ae"}' created_at=-59.25d promoted_at=-59.25d
model model_hash=$unet kind=unet task=scene state=active path=models/unet.safetensors
    card='{"kind": "unet"}' created_at=-59.25d promoted_at=-59.25d
model_transition model_hash=$gru kind=gru task=forecast site=north-bench at=-59.25d
    to_state=active reason='first training' by=slopeward by_kind=service
"""
    insert_rows(c, NOW, rows, HASHES)


def _fill_points(c: Connection) -> None:
    set_id = points.open_point_set(c, "north-bench", "descending-66", "los-towards", "cm", {"track": 66})
    three = [points.Point(f"p{i}", 46.2 + 1e-4 * i, 8.9, 900.5) for i in range(3)]
    for k in range(4):
        placed = points.place_points(c, set_id, three)
        at = NOW - days(38 - 12 * k)
        values = [points.PointValue(pid, at, round(-0.1 * k, 1), 0.2) for pid in placed if (pid, k) != ("p2", 3)]
        points.add_point_values(c, placed, values, at + days(2), at + days(2))
    late = [points.PointValue("p0", NOW - days(2), -0.55)]
    added = points.add_point_values(c, placed, late, NOW, NOW)
    points.add_delivery(c, "north-bench", set_id, "radar.csv", NOW, NOW - days(2), added)
    if find_spec("slopeward_earth") is not None:
        from packages.earth.tests.points.filled import fill_points

        fill_points(c)


def _fill_scene(c: Connection) -> None:
    rows = """
scene scene_hash=$before site=north-bench name=2026-01-20 acquired_at=-40d role=before path=inbox/2026-01-20
    received_at=-40d+3h state=done valid_share=0.98 crs=EPSG:32632 pixel_area_m2=100 out_dir=scenes/2026-01-20
    run='{"tiles": 4}'
scene scene_hash=$scene site=north-bench name=2026-02-25 acquired_at=-4d role=after path=inbox/2026-02-25
    received_at=-4d+3h state=done valid_share=0.98 crs=EPSG:32632 pixel_area_m2=100 out_dir=scenes/2026-02-25
    run='{"tiles": 4}'
"""
    insert_rows(c, NOW, rows, HASHES)
    parents, numbers = (None, "b1", "b2", None), range(4)
    west, south = [8.901 + 0.002 * k for k in numbers], [46.2 + 0.001 * k for k in numbers]
    each = {
        "scene": [HASHES["scene"]] * 3 + [HASHES["before"]],
        "anchor": HASHES["scene"],
        "unet": HASHES["unet"],
        "id": [f"p{k + 1}" for k in numbers],
        "parent": [*parents],
        "root": [parent or f"p{k + 1}" for k, parent in enumerate(parents)],
        "kind": ["landslide"] * 3 + ["crack"],
        "change": ["new", "grown", "known", "single"],
        "area": [5200.0, 9100.0, 2400.0, 1800.0],
        "grown": [None, 1300.0, None, None],
        "mean": [0.8 - 0.1 * k for k in numbers],
        "away": [120.0 + 90.0 * k for k in numbers],
        "near": [[["G1", 120.0 + 90.0 * k], ["G2", 310.5]] for k in numbers],
        "ground": [
            {
                "type": "Polygon",
                "coordinates": [[[w, s], [w + 0.001, s], [w + 0.001, s + 0.001], [w, s + 0.001], [w, s]]],
            }
            for w, s in zip(west, south, strict=True)
        ],
        "west": west,
        "south": south,
        "east": [w + 0.001 for w in west],
        "north": [s + 0.001 for s in south],
        "first": [NOW - days(40 if parent else 4) for parent in parents],
        "caution": [None, None, "flat ground (3 degrees)", None],
    }
    rows = """
4 scene_footprint scene_hash=$scene model_hash=$unet polygon_id=$id model=unet parent_id=$parent class=$kind
    change=$change area_m2=$area grown_m2=$grown mean_probability=$mean geometry=$ground min_lon=$west min_lat=$south
    max_lon=$east max_lat=$north nearest_station=G1 distance_m=$away near_stations=$near detected_at=-4d+3h since_at=-40d
    first_seen_at=$first root_id=$root anchor_scene=$anchor caution=$caution
4 scene_change scene_hash=$scene model_hash=$unet polygon_id=$id judged_at=-4d+3h change=$change parent_id=$parent
    grown_m2=$grown since_at=-40d first_seen_at=-4d
"""
    insert_rows(c, NOW, rows, each)
    ring = [[8.905, 46.203], [8.906, 46.203], [8.906, 46.204], [8.905, 46.203]]
    rows = """
footprint_review scene_hash=$before model_hash=$unet polygon_id=p4 at=-1d verdict=reject by='R. Mori'
    note='a quarry road'
scene_outline site=north-bench scene_hash=$scene kind=landslide area_m2=4290 note='below the road' geometry=$ring
    at=-1d by='R. Mori' min_lon=8.905 min_lat=46.203 max_lon=8.906 max_lat=46.204
scene_unsure scene_hash=$scene tile=0 site=north-bench model_hash=$unet min_lon=8.9 min_lat=46.2 max_lon=8.902
    max_lat=46.202 doubt=0.9 made_at=-4d+3h
"""
    insert_rows(c, NOW, rows, HASHES | {"ring": {"type": "Polygon", "coordinates": [ring]}})


def _fill_states(c: Connection, north: Site, lake: Site) -> None:
    rows = """
forecast_chance site=north-bench criterion=forecast-1 station=G1 level=1 evaluated_at=+2m data_until=+0s window_s=86400
    over_mm_per_day=5 chance_from=0.62 chance_to=0.62 probability=0.3 crossed=yes model=combined config_sha256=$north
forecast_chance site=north-bench criterion=forecast-1 station=G2 level=1 evaluated_at=+2m data_until=+0s window_s=86400
    over_mm_per_day=5 chance_from=0 chance_to=0.025 probability=0.3 crossed=no model=combined config_sha256=$north
rate_now site=north-bench criterion=velocity-1 station=G1 quantity=displacement unit=mm/day level=2 counted=yes
    newest_at=-7m rate=24.5 error=0.4 least=23.5 window_s=172800 bound=20 bound_level=2 next_level=3 next_bound=100
    next_rate=31 next_window_s=21600
rate_now site=north-bench criterion=velocity-2 station=G1 quantity=displacement unit=mm/day level=1 counted=yes
    newest_at=-7m rate=24.5 error=0.4 least=23.5 window_s=172800 bound=2 bound_level=1
rate_now site=north-bench criterion=velocity-1 station=G2 quantity=displacement unit=mm/day level=0 counted=yes
    newest_at=-7m rate=1.3 error=0.4 least=0.5 window_s=172800 bound=2 bound_level=1 next_level=1 next_bound=2
    next_rate=1.3 next_window_s=172800
"""
    versions = {"north": north.version, "lake": lake.version, "zeros": "0" * 64}
    insert_rows(c, NOW, rows, versions)
    rows = f"""
site_state site=north-bench level=2 level_source=auto since=-2d evaluated_at=+2m observability=full
    reachable_level={north.top_level} witnesses_available=3 health=ok movement_stage=progressive trend=progressive
    newest_at=+0s config_sha256=$north state=$orange catching_up=no
site_state site=lake-slope level=0 level_source=auto since=-2d evaluated_at=+2m observability=degraded reachable_level=1
    witnesses_available=1 health='not ok: W1' newest_at=+0s config_sha256=$lake state=$green catching_up=yes
evaluation site=north-bench at=+2m trigger=data level=2 observability=full reachable_level={north.top_level}
    known_until=+2m config_sha256=$north digest=$zeros
evaluation site=lake-slope at=+2m trigger=data level=0 observability=degraded reachable_level={lake.top_level}
    known_until=+2m config_sha256=$lake digest=$zeros
"""
    insert_rows(c, NOW, rows, versions | {"orange": Memory(level=2).to_json(), "green": Memory().to_json()})
    for site in (north, lake):
        for station in site.stations:
            shown = "state=ok since=-59.25d reason= newest_at=+0s missing_share_24h=0"
            if station.id == "W1":
                shown = "state=stale since=-5d reason='silent for longer than 1 d' newest_at=-6d-6h missing_share_24h=1"
            votes = "yes" if station.on_slope and station.id != "W1" else "no"
            facts = f"site={site.id} station={station.id} expected_interval_s=21600 votes={votes}"
            insert_rows(c, NOW, f"station_state {facts} {shown}")


def _fill_records(c: Connection) -> None:
    facts = gather_facts(c, "lake-slope", Period("daily", NOW - days(2), NOW - days(1)))
    report = """
issued_report site=lake-slope kind=daily from_at=-2d to_at=-1d made_at=-1d language=en facts=$facts facts_sha256=$digest
    code_version=0.2.0
"""
    insert_rows(c, NOW, report, {"facts": canonical_json(facts), "digest": make_digest(facts)})
    mail = """
report_mail report_id=$report channel=email:office@example.org form=pdf state=delivered attempts=1 queued_at=-1d
    sent_at=-1d idempotency_key=$fives
"""
    insert_rows(c, NOW, mail, {"report": c.execute(issued_report.select()).one().id, "fives": "5" * 64})
    rows = """
rejected_message received_at=+0s topic=slopeward/v1/north-bench/G1/obs payload=$no_zone payload_bytes=58 code=no_zone
    reason='refused: no_zone' client=live digest=$no_zone_digest times=4
rejected_message received_at=+0s topic=slopeward/v1/lake-slope/X1/obs payload=$no_unit payload_bytes=52 code=no_unit
    reason='refused: no_unit' client=live digest=$no_unit_digest times=1
rejected_message received_at=+0s topic=slopeward/v1/lake-slope/X1/obs payload=$not_json payload_bytes=3 code=not_json
    reason='refused: not_json' client=live digest=$not_json_digest times=2
quarantine_source source=slopeward/v1/north-bench/G1 kept_bytes=600 kept_rows=1 unkept=0
quarantine_source source=slopeward/v1/lake-slope/X1 kept_bytes=1200 kept_rows=2 unkept=7 unkept_at=+0s
sequence_gap site=north-bench station=G1 source=logger-3 boot_id=12 from_seq=101 to_seq=106 from_at=-2d to_at=-1d
    detected_at=-1d requested_at=-1d filled_at=-1d
sequence_gap site=north-bench station=G1 source=logger-3 boot_id=12 from_seq=240 to_seq=251 from_at=-2d to_at=-1d
    detected_at=-1d requested_at=-1d
"""
    refused = {
        "no_zone": b'{"time": "2026-03-01T06:00:00", "displacement_east_mm": 1}',
        "no_unit": b'{"time": "2026-03-01T06:00:00Z", "crack_opening": 1}',
        "not_json": b"\x00\xff\x10",
    }
    insert_rows(c, NOW, rows, refused | {f"{code}_digest": f"{code:0<64}" for code in refused})
    crack = ObserverReport("north-bench", NOW - days(1), "crack", "fresh crack above bench 3", "bo", "G1")
    reports.add_report(c, crack, NOW, actor=BO, credential="account bo")
    number, jpeg = reports.find_report(c, crack), b"\xff\xd8\xff"
    said = photos.PhotoMetadata(800, 600, "2026-03-01 06:58:00", 46.2011, 8.9022, "Maker Phone")
    photos.add_photo(c, crack.site, BO, "looking west", jpeg, jpeg, said, NOW, report_id=number)
    blast = SiteEvent("north-bench", NOW - days(7), NOW - days(7) + STEP, "blasting", "blast in pit 5", 240.0)
    events.add_event(c, blast, NOW - days(7), "bo", via="mqtt")
    quake = SiteEvent(
        "north-bench", NOW - days(6), NOW - days(6) + STEP, "earthquake", "M 3.9, felt in the office", 0.02
    )
    number = events.add_event(c, quake, NOW - days(6), "seismic feed", via="mqtt")
    assert number is not None
    events.confirm_event(c, number, BO, "felt in the office", NOW - days(6))
    service_state.write_heartbeat(c, "core.evaluate", {"sites": 2}, NOW)
    rows = """
observation_summary series_id=$first starts_at=-89.25d span_s=3600 made_at=+0s median=1.5 minimum=1 maximum=2.5 mean=1.6
    count=6 flagged=1
retention_run at=-6h what='observation tilt_x' before_at=-59.25d removed=7 summaries=1 seconds=0.01 longest_ms=8.5
backup_run at=-6h file=backups/slopeward.db state=proven seconds=3.5 bytes=4096 rows=12 audit_head=$no_head
    detail='12 rows'
source_poll source=survey site=north-bench kind=http address=https://data.example.org/day.csv polled_at=+0s
    success_at=-6h since_at=-59.25d new_at=-6h error='the server answered 503' error_since=+0s failures=1 next_at=+6h
    rows_new=0 rows_all=7
job_run job=instruments site=lake-slope started_at=-5h finished_at=-5h+4s state=failed detail='the disk is full'
service_check name=disk.database state=warn since=-6h checked_at=+0s value=4.5 unit=GiB found='4.5 GiB free'
    remedy='make room'
outage id=1 cause=broker from_at=-18h back_at=-12h drained_at=-12h+2m counted_at=+0s counts_until=+1d
outage_station outage_id=1 site=north-bench station=G1 expected=2 received=1 late=1 missing=1 last_late_at=-12h
"""
    first = c.execute(series.select().order_by(series.c.id)).first()
    insert_rows(c, NOW, rows, {"first": first.id, "no_head": "0" * 64})
    run = service_state.start_run(c, "forecast", "north-bench", NOW - STEP)
    service_state.finish_run(c, run, "done", "180 rows", NOW - STEP + timedelta(seconds=40))
    # the series of the failure windows, as in the service
    series_id = observations.find_series_id(c, "north-bench", "G1", "displacement_north")
    rows = """
movement series_id=$series at=-1d data_until=-1d stage=intermediate trend=linear velocity_mm_per_day=4
    velocity_error_mm_per_day=0.4 acceleration_mm_per_day2=0.1 acceleration_error_mm_per_day2=0.2
    tangential_angle_deg=82 v_eq_mm_per_day=0.6 inverse_velocity_day_per_mm=0.25 probability=0.75
    reasons='three windows rise' state='{"up": 0}'
movement series_id=$series at=+0s data_until=+0s stage=progressive trend=progressive velocity_mm_per_day=7
    velocity_error_mm_per_day=0.4 acceleration_mm_per_day2=1.1 acceleration_error_mm_per_day2=0.2
    tangential_angle_deg=82 v_eq_mm_per_day=0.6 inverse_velocity_day_per_mm=$seventh probability=0.75
    reasons='three windows rise' state='{"up": 1}'
maintenance site=north-bench station=G1 from_at=-3d to_at=-3d+6h by=bo second_by=cy reason='new battery' added_at=-3d
first_signature act=alert.shelve subject=alert:1 terms={} height=2 by=ada reason=blasting signed_at=-2d used_at=-2d
    used_by=bo
"""
    insert_rows(c, NOW, rows, {"series": series_id, "seventh": 1.0 / 7.0})
    sessions.reserve_attempt(c, "bo", "bo", NOW)
    rows = """
site_proposal site=north-bench sha256=$one base_sha256=$zero source=[site] author=bo reason='noise is lower'
    proposed_at=-2d state=proposed loosens_high=yes
    differences='[{"key": "criterion[v].red.window", "old": "8h", "new": "12h"}]'
"""
    insert_rows(c, NOW, rows, {"one": "1" * 64, "zero": "0" * 64})
    crew = Team("north-bench", "geologists", "Europe/Zurich", tuple(Recipient(n, ("log:x",), ()) for n in ("bo", "cy")))
    duty.add_plan(c, crew, "Mon-Fri 07:00 bo, cy\nMon-Fri 19:00 cy\nSat 09:00 bo", ADA, "spring", NOW - days(3))
    duty.add_change(c, crew, NOW + STEP, NOW + 2 * STEP, "bo", "cy", BO, "family", NOW - days(1))
    digests.store_attempt(c, "north-bench", "duty", "2026-03-01", "log:desk", None, NOW)
    rows = """
duty_handover site=north-bench team=geologists since_at=-1d at=-6h outgoing=cy notes='new crack above bench 3'
    open_items='{"level": 2, "alerts": []}' signed_at=-6h+4m incoming=bo remark='seen on foot'
drill site=north-bench started_at=-9d ended_at=-9d+6h by=bo scenario=collapse state=done outcome='{"peak_level": 3}'
other_alarm site=north-bench at=-2h to_at=-1h station=P1 level=2 text='limit exceeded' received_at=-10m by=bo digest=x
"""
    insert_rows(c, NOW, rows)


DRAWN = f"/sites/north-bench/scenes/{HASHES['scene']}/outlines"
DRAWN_BOUNDS = (8.898, 46.198, 8.912, 46.208)


def write_png(path, wide=210, high=150):
    """Write an image of a wooded slope with gullies and a bare scar."""

    def pixel(x, y):
        light = 24 * math.sin(x / 9 + math.sin(y / 17)) + 14 * math.sin(y / 5 + x / 31) + (x * 7 + y * 13) % 11
        is_scar = math.hypot((x - 118) / (14 + y / 9), (y - 75) / 52) < 1
        return bytes(round(k + light) for k in ((165, 145, 118) if is_scar else (62, 98, 58)))

    Image.frombytes("RGB", (wide, high), b"".join(pixel(x, y) for y in range(high) for x in range(wide))).save(path)


def make_drawable(db, folder):
    """Add an image in `folder` to the newest scene, and two tiles with an uncertain result."""
    write_png(folder / "preview.png")
    run = {"threshold": 0.5, "outputs": {"preview": "preview.png", "bounds": list(DRAWN_BOUNDS)}}
    with db.write() as c:
        c.execute(scene.update().where(scene.c.scene_hash == HASHES["scene"]).values(run=run, out_dir=str(folder)))
        c.execute(scene_unsure.delete().where(scene_unsure.c.scene_hash == HASHES["scene"]))
        rows = """
scene_unsure scene_hash=$scene tile=0 site=north-bench model_hash=$unet min_lon=8.8975 min_lat=46.2 max_lon=8.9
    max_lat=46.2025 doubt=0.93 made_at=+0s
scene_unsure scene_hash=$scene tile=1 site=north-bench model_hash=$unet min_lon=8.907 min_lat=46.2 max_lon=8.9095
    max_lat=46.2025 doubt=0.7 made_at=+0s
"""
        insert_rows(c, NOW, rows, HASHES)
