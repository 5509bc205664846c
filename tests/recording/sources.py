"""Records that `make recording` replays. Each source yields (site, time, figures) for every decision or result.

Only this module of the recording depends on the recorded code.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from detection.anomaly.certain.checks import check_series
from detection.anomaly.jobs import score
from detection.anomaly.jobs import train as train_detector
from detection.anomaly.records import DetectorTraining, ScoringRequest
from detection.anomaly.windows import build_series
from detection.imagery.data.generate import write_scene
from forecasting.data.series import DAY_S, Panel
from monitor.alerts.replay.clock import ReplaySchedule, play
from monitor.alerts.replay.history import History, VisibilityRule
from monitor.alerts.replay.queries import find_span
from monitor.decision.records import Decision
from monitor.features.demo.story import plan_story, write_story_site
from monitor.features.drills.hold import open_scenario
from monitor.features.movement.queries import latest_movement, load_failure_facts
from monitor.features.movement.update import update_movement
from monitor.ingest.files.temporary import open_empty_database
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.readings.records import Observation
from monitor.sites.parsing import parse_site
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.storage.migrate import upgrade
from monitor.text.instants import epoch_s
from monitor.text.message import plain_to_messages
from packages.lab.benchmarks.forecasting.bench_replay_year import sites
from packages.lab.benchmarks.forecasting.lives import Life, draw_lives, moments, read_lives, serve
from tests.data.asked_detection import detect
from tests.data.measured import measured_site, read_baijiabao, read_cascadia, read_outang, replay
from tests.data.readers.gnss import read_positions
from tests.data.records import SERIES, read_records
from tests.data.site_text import FOUR, criterion, head, series, station
from tests.end_to_end.test_live_is_replay import Live, make_model
from tests.end_to_end.test_never_lower import samples, site_file
from tests.measured import test_rain_measured as rain
from tests.measured import test_steps_measured as steps
from tests.property import alerting_histories as histories

Figures = dict[str, Any]  # nested mapping of names to numbers, booleans, words of a fixed list or further figures
Row = tuple[str, float, Figures]  # site, time (epoch seconds), figures
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


def figures_of(decision: Decision) -> Figures:
    """Return the figures of a decision that must stay equal."""
    plain_decision = plain_to_messages(decision.to_json())
    evidence = plain_decision["evidence"]
    health = {h["station"]: _without(h, "station", "reason") for h in plain_decision["health"]}
    changes = {
        f"{c['ledger']} {c['key']}": {k: c[k] for k in ("level", "open", "notify", "data_time")}
        for c in plain_decision["changes"]
    }
    words = {
        f"{w['criterion']} {w['station']}": _without(w, "criterion", "station", "reason")
        for w in evidence.get("words", ())
    }
    memory = plain_decision["memory"]
    kept = {k: _without(memory[k], "reason") for k in ("votes", "supporters", "steps", "conditions", "common")}
    return {
        **{k: plain_decision[k] for k in ("level", "observability", "reachable_level", "witnesses_available")},
        **{k: evidence.get(k) for k in ("level_before", "asked")},
        "due_s": decision.next_due_s,
        "health": health,
        "change": changes,
        "word": words,
        "vote": _without(evidence.get("votes", {}), "reason"),
        "memory": kept | {k: memory[k] for k in ("level", "floor", "since_s")},
    }


def _without(value: Mapping[str, Any], *names: str) -> Figures:
    """Return the figures without some names and without texts.

    Of the reason why a vote is set aside, only its existence is recorded.
    """
    figures: Figures = {}
    for k, v in value.items():
        if k == "pended":
            figures[k] = v is not None
        elif k == "facts":
            figures[k] = _numbers(v)
        elif k == "coverage":
            figures[k] = v["share"]
        elif k not in names:
            figures[k] = _without(v, *names) if isinstance(v, Mapping) else v
    return figures


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _numbers(v) for k, v in value.items() if not isinstance(v, str)}
    return [_numbers(v) for v in value if not isinstance(v, str)] if isinstance(value, list | tuple) else value


def decided(site: Site, observations: Iterable[Observation], **how: Any) -> Iterator[Row]:
    """Decide on a record once per epoch."""
    for now, decision in replay(site, list(observations), **how):
        yield site.id, epoch_s(now), figures_of(decision)


def played(db: Database, site: Site, pace: ReplaySchedule) -> Iterator[Row]:
    """Replay the contents of a database with the clock of the replay."""
    with db.read() as c:
        span = find_span(c, site.id)
        assert span is not None
        from_s, to_s = epoch_s(span[0]), epoch_s(span[1])
        history = History(c, [site], span[0], span[1], VisibilityRule("observed"))
        for look in play(history, [(from_s, site)], from_s, to_s, pace):
            yield site.id, epoch_s(look.at), figures_of(look.decision)


def outang() -> Iterator[Row]:
    rows = read_outang(SERIES / "outang" / "monitoring_data.csv")
    yield from decided(measured_site("outang"), (o for o in rows if "2017-06" <= o.observed_at.isoformat() < "2017-11"))


def baijiabao() -> Iterator[Row]:
    yield from decided(measured_site("baijiabao"), read_baijiabao(SERIES / "bazimen-baijiabao" / "source_sample.xlsx"))


def cascadia(from_at: str, to_at: str, *stations: str) -> Iterator[Row]:
    """Decide on stable stations with steps, outliers and silence."""
    rows = read_cascadia(SERIES / "gnss-cascadia-pbo-csv", steps.day(from_at), steps.day(to_at), stations)
    yield from decided(measured_site("cascadia"), rows)


def positions(
    files: Sequence[str],
    from_at: str,
    to_at: str,
    *,
    reference: str | None = None,
    until: Mapping[str, str] = {},
    **how: Any,
) -> Iterator[Row]:
    """Decide on daily positions of networks with earthquakes, replaced equipment, and silence after a step."""
    rows = [o for f in files for o in read_positions(SERIES / f, "gnss", steps.day(from_at), steps.day(to_at))]
    rows = [o for o in rows if o.observed_at.isoformat() < until.get(o.station, "9")]
    site = steps.make_site([Path(f).name[:4] for f in files], reference)
    for now, decision in steps.play(site, rows, **how):
        yield site.id, epoch_s(now), figures_of(decision)


def _nepal(*names: str) -> list[str]:
    return [f"gnss-nepal2015-neu/{name}.icd.final_igs08.pos.neu" for name in names]


NEPAL: Final = ("2015-04-01", "2015-05-11")
USUDA: Final = (["gnss-formats/USUD.icd.final_igs08.pos.neu"], "2011-02-15", "2011-04-20")


def mukilteo() -> Iterator[Row]:
    """Decide on four rain gauges during the storms of November 2015, received every two hours."""
    rows = []
    for name, file in (("MVD", "waMVD116"), ("MLP", "waMLP"), ("WATA", "waWatertonA"), ("MWWD", "waMWWD")):
        for at_s, mm in rain.read_rain(SERIES / "usgs-mukilteo-rain-piezo" / f"{file}_rain.txt"):
            at = datetime.fromtimestamp(at_s, UTC)
            if "2015-10-26" <= at.isoformat() < "2015-11-19":
                rows.append(Observation("mukilteo", name, "rain", "in", at, at, mm / rain.INCH))
    # The readings are received together, as from a logger that sends every two hours.
    every = timedelta(hours=2)
    bundled = [_received(o, o.observed_at + (START - o.observed_at) % every) for o in rows]
    yield from decided(measured_site("mukilteo"), bundled)


def _received(o: Observation, at: datetime) -> Observation:
    return Observation(o.site, o.station, o.quantity, o.unit, o.observed_at, at, o.value, o.sigma)


def strength() -> Iterator[Row]:
    """Decide on the strength of a slope under the measured water pressure of Mukilteo."""
    rows = []
    for line in (SERIES / "usgs-mukilteo-rain-piezo" / "waMVD116_14d.txt").read_text().splitlines()[::4]:
        cells = line.split("\t")
        at, f = datetime.fromisoformat(cells[0]).replace(tzinfo=rain.PACIFIC).astimezone(UTC), float(cells[17])
        pressure = -9.5792e-5 * f * f - 0.0023260 * f + 828.53
        rows.append(Observation("bluff", "P1", "pore_pressure", "kPa", at, at, pressure))
    yield from decided(parse_site(rain.SLOPE + "yellow = {under = 1.2}\n", "slope.toml"), rows)


def pond() -> Iterator[Row]:
    """Decide on daily rain with gaps."""
    with (SERIES / "tailings-pond-rain" / "envcanada_rainfall.csv").open(encoding="utf-8-sig") as file:
        cells = [(r["date"], r["total_rain_mm"]) for r in csv.DictReader(file) if r["total_rain_mm"]]
    days = [(datetime.fromisoformat(d).replace(tzinfo=UTC), float(v)) for d, v in cells]
    rows = (Observation("pond", "R1", "rain", "mm", at, at, v) for at, v in days)
    gauge = station("R1", series("rain", "mm", "1d"))
    sums = criterion("rain_sum", series="R1.rain", yellow={"over": 60.0, "window": "7d"})
    yield from decided(parse_site(head("pond", latitude=49.0, longitude=-80.0) + gauge + sums, "pond.toml"), rows)


def reservoir() -> Iterator[Row]:
    rows = [o for o in read_baijiabao(SERIES / "bazimen-baijiabao" / "source_sample.xlsx") if o.station == "RES"]
    yield from decided(parse_site(rain.RESERVOIR, "reservoir.toml"), rows)


MOST_ROWS: Final = 120
MOTION: Final = """
[[criterion]]
kind = "velocity"
stations = ["*"]
yellow = {{over = {v}, window = "{w8}"}}
orange = {{over = {v2}, window = "{w8}"}}
red = {{over = {v4}, window = "{w4}"}}
dwell = {{hits = 2, of = 3}}
recover = 0.6
[[criterion]]
kind = "acceleration"
stations = ["*"]
yellow = {{over = {a}, window = "{w8}"}}
[[criterion]]
kind = "tangential_angle"
stations = ["*"]
yellow = {{over = 60.0, window = "{w8}"}}
[[criterion]]
kind = "inverse_velocity"
stations = ["*"]
yellow = {{within = "{w60}"}}
[[criterion]]
kind = "level"
series = "{first}.displacement"
yellow = {{over = {top}}}
[[criterion]]
kind = "rate"
role = "advice"
series = "{first}.displacement"
yellow = {{over = {v}, window = "{w8}"}}
"""


def panels(family: str) -> Iterator[Row]:
    """Decide on three stations of each record of a family with every criterion on motion, where it moves most."""
    for record in read_records([family]):
        yield from _of_panel(record.name.lower(), record.panel)


def _of_panel(name: str, panel: Panel) -> Iterator[Row]:
    values, step_s = panel.values, panel.step_s
    spans = [slice(k, k + MOST_ROWS) for k in range(0, max(1, len(values) - MOST_ROWS + 1), 20)]
    moved = [float(np.nansum(np.abs(np.diff(values[s], axis=0)))) for s in spans]
    rows = values[spans[int(np.argmax(moved))]]
    times = panel.times_s[spans[int(np.argmax(moved))]]
    chosen = np.argsort(-np.isfinite(rows).sum(axis=0), kind="stable")[:3]
    names = [f"S{k}" for k in range(len(chosen))]
    chosen_rows = rows[:, chosen]
    low, high = np.nanmin(chosen_rows), np.nanmax(chosen_rows)
    velocity = (high - low) / len(rows) / step_s * DAY_S
    windows = {f"w{k}": f"{int(k * step_s)}s" for k in (4, 8, 60)}
    bounds = {
        k: f"{float(v):.3g}"
        for k, v in {
            "v": velocity,
            "v2": 2 * velocity,
            "v4": 4 * velocity,
            "a": velocity / 4 / step_s * DAY_S,
            "top": high / 2,
        }.items()
    }
    text = (
        head(name, latitude=46.0, longitude=8.0, timezone="UTC", levels=FOUR)
        + "".join(
            station(
                n,
                series("displacement", "mm", f"{int(step_s)}s"),
                v_eq_mm_per_day=max(velocity, 1e-3),
                v_eq_reviewed="drawn for the recording",
                reference="R" if k else "Q",
            )
            for k, n in enumerate(names)
        )
        + MOTION.format(first=names[0], **windows, **bounds)
    )
    observations = []
    for t, row in zip(times, chosen_rows, strict=True):
        at = datetime.fromtimestamp(float(t), UTC)
        observations += [
            Observation(name, n, "displacement", "mm", at, at, float(v))
            for n, v in zip(names, row, strict=True)
            if np.isfinite(v)
        ]
    yield from decided(parse_site(text, f"{name}.toml"), observations)


def live() -> Iterator[Row]:
    """Run a service with ingest, faults, late data, acts of people and a new site file."""
    recorded_rows: list[Row] = []

    class Recorded(Live):
        def _follow(self, result: Any) -> None:
            recorded_rows.append((self.site.id, epoch_s(self.now), figures_of(result.decision)))
            super()._follow(result)

    model = make_model()
    with TemporaryDirectory() as folder, Database(f"sqlite:///{folder}/live.db") as db:
        upgrade(db)
        Recorded(db, model).run()
    yield from recorded_rows


def demo() -> Iterator[Row]:
    """Ingest the messages of the demo slope and replay its last days."""
    model = plan_story(START, 0, 24.0, timedelta(minutes=30), 4)
    site = parse_site(write_story_site(model), "demo.toml")
    with open_empty_database(site) as db:
        pipeline = Pipeline(db, {site.id: site}, lambda: START)
        pipeline.store(
            [
                BrokerMessage(f"slopeward/v1/{site.id}/{s.station}/obs", json.dumps(s.payload).encode(), s.at, "demo")
                for s in model.samples(START - 4 * DAY, START + MINUTE)
            ]
        )
        yield from played(db, site, ReplaySchedule(tick_s=3600.0))


def drill() -> Iterator[Row]:
    """Replay the collapse that a drill simulates for a site."""
    site = measured_site("outang")
    with open_scenario(site, "collapse") as db:
        yield from played(db, site, ReplaySchedule(0.0, DAY_S))


def movement() -> Iterator[Row]:
    """Compute stages and failure windows of a collapse, day by day."""
    site = measured_site("outang")
    with open_scenario(site, "collapse") as db:
        with db.read() as c:
            span = find_span(c, site.id)
        assert span is not None
        for k in range(21):
            now = span[1] - (20 - k) * DAY
            update_movement(db, site, now, clock_s=lambda: 0.0)
            with db.read() as c:
                found: Figures = {
                    f"series {k}": {n: getattr(row, n) for n in MOVEMENT}
                    for k, (_, row) in enumerate(sorted(latest_movement(c, site.id, now).items()))
                }
                for f in load_failure_facts(c, site.id, now):
                    ahead = {n: getattr(f, n) - epoch_s(now) for n in ("from_s", "mid_s", "to_s")}
                    found[f"{f.station} {f.method}"] = ahead | {"velocity": f.velocity_mm_per_day, "trusted": f.trusted}
            yield site.id, epoch_s(now), found


MOVEMENT: Final = """
stage trend velocity_mm_per_day velocity_error_mm_per_day acceleration_mm_per_day2 acceleration_error_mm_per_day2
tangential_angle_deg inverse_velocity_day_per_mm probability
""".split()


def story(stations: Mapping[str, str], *messages: tuple[str, Any], silence: str = "1h") -> Iterator[Row]:
    """Decide on the readings of a scenario of tests/end_to_end, received every quarter of an hour."""
    rows = []
    for topic, body in messages:
        for s in body["samples"]:
            at = datetime.fromisoformat(s["time"])
            due = at + (START - at) % (15 * MINUTE)
            rows.append(Observation("s", topic.split("/")[3], "displacement", "mm", at, due, s["displacement_mm"]))
    yield from decided(parse_site(site_file(dict(stations), silence), "s.toml"), rows, extra_s=7200.0)


PAIR: Final = {"G1": "BASE-A", "G2": "BASE-B"}
THREE: Final = {"G1": "BASE", "G2": "BASE", "G3": "BASE", "G4": "OTHER"}
HOURS3: Final = timedelta(hours=3)
FAST: Final = [samples(g, START, 1500.0, HOURS3) for g in PAIR]


def _still(name: str, jump: Callable[[datetime], float] | None = None) -> tuple[str, Any]:
    return samples(name, START, 0.0, timedelta(0), jump)


def _stays(at: datetime) -> float:
    return 60.0 if at > START - 40 * MINUTE else 0.0


def _spikes(at: datetime) -> float:
    return 500.0 if abs(at - (START - 40 * MINUTE)) < MINUTE / 2 else 0.0


def _strikes_twice(at: datetime) -> float:
    return _spikes(at) + (500.0 if at > START - 20 * MINUTE else 0.0)


def _late() -> list[tuple[str, Any]]:
    """Return 90 minutes of fast motion after six hours without readings."""
    old = [samples(g, START - timedelta(hours=7.5), 0.0, timedelta(0)) for g in PAIR]
    return old + [samples(g, START, 1500.0, timedelta(hours=7.5), minutes=90) for g in PAIR]


def drawn(seeds: range) -> Iterator[Row]:
    """Decide on random histories of a small slope with gaps, steps, spikes, late data and a shifted reference."""
    for seed in seeds:
        for look in histories.run(histories.seeded(seed)):
            yield f"slope-{seed}", look.now_s, figures_of(look.decision)


def forecasts(kind: str) -> Iterator[Row]:
    """Forecast records at two times, and count issued and withheld forecasts."""
    lives = {"drawn": lambda: draw_lives(8), "measured": read_lives, "steady": _steady}[kind]
    for life in lives():
        for now_s in moments(life, (0.8, 1.0), 2):
            rows, withheld = serve(life.samples, life.step_s, life.horizons_s, now_s)
            names = ("q025", "q10", "q50", "q90", "q975", "shown", "model", "baseline_q50", "novelty")
            found: Figures = {f"{r.station} {r.horizon_s:g}": {k: getattr(r, k) for k in names} for r in rows}
            yield life.name, now_s, found | {"rows": len(rows), "withheld": len(withheld)}


def _steady() -> Iterator[Life]:
    """Yield the ten measured sites of the benchmark that replays their last year."""
    for name, _, times, values, step_s, horizons_s in sites():
        yield Life("steady", name.replace(" ", "-"), {"S": (times, values)}, step_s, horizons_s, float(times[-1]))


DETECTORS: Final = ("persistence-z", "robust-z", "ewma", "slope-change", "variance", "rules")


def anomalies() -> Iterator[Row]:
    """Train detectors on one record, and yield their thresholds and last scores."""
    panel = next(iter(read_records(["japan"]))).panel
    series_samples = {
        name: (panel.times_s[seen].tolist(), panel.values[seen, k].tolist())
        for k, name in enumerate(panel.stations[:4])
        if (seen := np.isfinite(panel.values[:, k])).any()
    }
    last_s = max(times[-1] for times, _ in series_samples.values())
    for detector in DETECTORS:
        with TemporaryDirectory() as folder:
            detector_training = train_detector(
                DetectorTraining(detector, series_samples, panel.step_s, Path(folder), 0.5, seed=1)
            )
            scoring = score(
                ScoringRequest(
                    detector, series_samples, panel.step_s, detector_training.checkpoint, last_s - 30 * DAY_S
                )
            )
        limits = {
            part: {k: t[k] for k in ("value", "false_alarms", "months")}
            for part, t in detector_training.card["thresholds"].items()
        }
        faults = [f for one in series_samples.values() for f in check_series(build_series(*one, panel.step_s), one[0])]
        findings = sum(fault.at_s > last_s - 30 * DAY_S for fault in faults)
        yield detector, 0.0, {"threshold": limits, "findings": findings, "may_vote": detector_training.card["may_vote"]}
        for at_s in sorted({s.at_s for s in scoring.scores}):
            yield (
                detector,
                at_s,
                {
                    s.station: {"score": s.score, "kind": s.kind, "alerted": s.alerted}
                    for s in scoring.scores
                    if s.at_s == at_s
                },
            )


def footprints(weights: str) -> Iterator[Row]:
    """Detect landslides on generated scenes, and yield number, areas and positions of the polygons."""
    from shapely.geometry import shape

    for seed in range(9000, 9004):
        with TemporaryDirectory() as folder:
            place = Path(folder) / "scene"
            where = {"center_lon": 8.9, "center_lat": 46.2, "size_px": 256}
            write_scene(place, seed=seed, with_scar=True, acquired_at=START, **where)
            polygons = detect({"scene_path": str(place), "weights": weights})["polygons"]
        found: Figures = {"polygons": len(polygons)}
        for k, p in enumerate(sorted(polygons, key=lambda p: -p["area_m2"])):
            middle = shape(p["geometry"]).centroid
            found[str(k)] = {"area_m2": p["area_m2"], "east_deg": middle.x - 8.9, "north_deg": middle.y - 46.2}
        yield f"{weights}-{seed}", epoch_s(START), found


SOURCES: Final[Mapping[str, Callable[[], Iterator[Row]]]] = {
    "outang": outang,
    "baijiabao": baijiabao,
    "cascadia-outliers": partial(cascadia, "2016-09-20", "2016-12-20", "BLYN", "ALBH", "KTBW", "NEAH", "P423"),
    "cascadia-blyn": partial(cascadia, "2016-09-01", "2016-12-20", "BLYN"),
    "cascadia-steps": partial(cascadia, "2012-11-20", "2013-01-20", "KTBW", "P426", "ALBH", "SEAT"),
    "cascadia-silence": partial(cascadia, "2014-02-01", "2014-08-15", "P426"),
    "gorkha": partial(positions, _nepal(*steps.NEPAL), *NEPAL, events=(steps.GORKHA,)),
    "gorkha-unsaid": partial(positions, _nepal(*steps.NEPAL), *NEPAL),
    "gorkha-silence": partial(positions, _nepal("KKN4", "JMSM"), *NEPAL, until={"KKN4": "2015-04-27"}),
    "gorkha-pair": partial(positions, _nepal("CHLM", "KKN4"), *NEPAL),
    "gorkha-reference": partial(positions, _nepal("CHLM", "KKN4"), *NEPAL, reference="BASE"),
    "tohoku": partial(positions, *USUDA, events=(steps.TOHOKU,)),
    "tohoku-unsaid": partial(positions, *USUDA),
    "tohoku-answered": partial(positions, *USUDA, answer="earthquake"),
    "lhasa": partial(positions, ["gnss-formats/LHAS.tenv3"], "2003-09-20", "2003-12-01", answer="instrument"),
    "quem": partial(positions, ["gnss-formats/QUEM.pos"], "2017-12-20", "2018-02-10"),
    "quem-answered": partial(positions, ["gnss-formats/QUEM.pos"], "2018-03-01", "2018-05-01", answer="instrument"),
    "mukilteo": mukilteo,
    "mukilteo-strength": strength,
    "tailings-pond": pond,
    "baijiabao-reservoir": reservoir,
    **{
        f"motion-{f}": partial(panels, f)
        for f in ("outang", "bazimen", "lamosano", "bowdoin", "japan", "egms", "houston", "cracks", "failure")
    },
    "live": live,
    "demo": demo,
    "drill": drill,
    "movement": movement,
    "story-two-witnesses": partial(story, PAIR, *FAST, silence="30m"),
    "story-one-reference": partial(story, THREE, *(_still(g, _stays) for g in ("G1", "G2", "G3")), _still("G4")),
    "story-spike": partial(story, PAIR, _still("G1", _spikes), _still("G2")),
    "story-bad-epoch": partial(story, PAIR, *(_still(g, _strikes_twice) for g in PAIR)),
    "story-reference-drifts": partial(
        story,
        THREE | {"G3": "THIRD"},
        *(samples(g, START, 300.0, HOURS3) for g in ("G1", "G2")),
        _still("G3"),
        _still("G4"),
    ),
    "story-gap": partial(story, PAIR, *_late()),
    "drawn-histories": partial(drawn, range(10)),
    "forecasts-drawn": partial(forecasts, "drawn"),
    "forecasts-steady": partial(forecasts, "steady"),
    "forecasts-measured": partial(forecasts, "measured"),
    "anomalies": anomalies,
    "footprints-generated": partial(footprints, "generated"),
    "footprints-landslide4sense": partial(footprints, "landslide4sense"),
}
