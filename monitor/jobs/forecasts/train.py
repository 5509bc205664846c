"""Train and test what a site asks for, when there is none yet or the last one is a week old."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from detection.anomaly.records import DetectorTraining
from detection.anomaly.registry import NETWORKS as AUTOENCODERS
from detection.anomaly.registry import list_detectors
from forecasting.data.kinds import tell_drivers
from forecasting.message import Message, gather
from forecasting.registry import NETWORKS, PRETRAINED
from forecasting.serving.records import Training
from monitor.config.service import ServiceConfig, parse_site
from monitor.domain.alert import SERVICE, Actor
from monitor.domain.instants import go_on, spell
from monitor.domain.site import Site
from monitor.errors import ConfigError, JobError, NotFoundError
from monitor.extras import describe_missing, is_installed
from monitor.jobs.anomaly import budget_of_each, why_stale
from monitor.jobs.anomaly_proof import is_untested, keep_test
from monitor.jobs.forecasts.drivers import Driving, load_driving
from monitor.jobs.forecasts.hindcast import run_hindcast
from monitor.jobs.forecasts.promotion import MAXIMUM_AGE, load_standings, retire_older
from monitor.jobs.forecasts.read_site import make_record
from monitor.jobs.forecasts.tasks import TRAIN_DETECTOR, TRAIN_FORECASTER, SiteRecord, TrainingAsked
from monitor.jobs.samples import (
    Samples,
    grid_step_s,
    history_since,
    load_displacements,
    load_watched,
    step_s,
)
from monitor.jobs.worker import list_checkpoint, run_in_worker
from monitor.store.alerting.sites import find_version, load_site_source
from monitor.store.database.engine import Database
from monitor.store.models.registry import add_model, find_active, load_models

HISTORY_STEPS = 2000
SEED = 7


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:
    """Train what is missing or old; returns one line with what was trained or why not."""
    wanted = [("forecast", m) for m in site.forecast.models if m in NETWORKS]
    wanted += [("anomaly", d) for d in site.anomaly.detectors if d in list_detectors()]
    clock, parts, trained = go_on(now), [], False
    if not (config.compute.dask or is_installed("torch")):
        left = [kind for _, kind in wanted if needs_torch(kind)]
        parts += [f"{', '.join(left)}: {describe_missing('torch')}"] if left else []
        wanted = [(task, kind) for task, kind in wanted if not needs_torch(kind)]
    for task, kind in wanted:
        with db.read() as c:
            reason = _why_train(c, site, kind, now) if task == "forecast" else _why_count(c, site, kind, now)
        if reason is not None:
            parts.append(f"{kind}: {train_one(db, config, site, task, kind, now, reason=reason, clock=clock)}")
            trained = trained or task == "forecast"
    if trained:
        try:
            parts.append(run_hindcast(db, config, site, clock(), gives_way=True))
        except JobError as error:  # what was trained serves all the same
            parts.append(f"the past was not scored: {error}")
    return "; ".join(parts) or "nothing to train"


def needs_torch(kind: str) -> bool:
    """Whether a forecaster or a detector is a network."""
    return kind in NETWORKS or kind in AUTOENCODERS


def _why_train(c: Connection, site: Site, kind: str, now: datetime) -> str | None:
    """Why a network is to be trained now; None where the newest is young or a challenger has still to be given time."""
    mine = [s for s in load_standings(c, site, now) if s.row.kind == kind]
    if not mine:
        return "first training"
    newest = max(s.row.created_at for s in mine)
    if now - newest <= MAXIMUM_AGE or any(s.is_waiting(now) for s in mine if not s.is_shown()):
        return None
    return f"the newest before it is {(now - newest).days} days old"


def _why_count(c: Connection, site: Site, detector: str, now: datetime) -> str | None:
    """Why the thresholds of a detector are to be counted now; None where those that serve fit and are young."""
    active = find_active(c, task="anomaly", kind=detector, site=site.id)
    if active is None:
        return "first training"
    if now - active.created_at > MAXIMUM_AGE:
        return f"the one before it is {(now - active.created_at).days} days old"
    if is_untested(c, site, detector, now):
        return "no test of what serves is stored, and anomalies count for the level here"
    return why_stale(active, site.anomaly, site.watched_step_s or 0.0)


def train_one(
    db: Database,
    config: ServiceConfig,
    site: Site,
    task: str,
    kind: str,
    now: datetime,
    seed: int = SEED,
    *,
    reason: str = "asked for",
    actor: Actor = SERVICE,
    clock: Callable[[], datetime] | None = None,
) -> str:
    """Train one network or detector in a worker and register it; returns its hash or the reason why not.

    A forecaster becomes a candidate beside those that are there; nothing is replaced in place. It reads what was known
    at `now`, and is itself known from the instant at which it is written.
    """
    clock = clock or go_on(now)
    folder = Path(config.paths.models) / site.id
    folder.mkdir(parents=True, exist_ok=True)
    interval_s = site.slowest_motion_s if task == "forecast" else site.watched_step_s
    if interval_s is None:
        return "no displacement series declared"
    start, missing = db.ask(_find_start, site, kind)
    if missing:
        return missing
    with db.read() as c:
        samples, step, driving = _read_own(c, site, kind, now, interval_s, is_forecast=task == "forecast")
        replay = tuple(_read_others(c, site, kind, now))
    if not samples:
        return "no readings"
    if task == "forecast":
        training = Training(
            kind, tuple(site.forecast.horizons_s), folder, seed, time_limit_s=config.compute.job_limit_s * 0.8,
            created_at=spell(now), start=start, own_start=site.forecast.start_from == site.id,
        )  # fmt: skip
        asked = TrainingAsked(make_record(site, samples, step, now, driving), training, replay)
        reads = list_checkpoint(None if start is None else str(start))
        answer = run_in_worker(config.compute, TRAIN_FORECASTER, asked, reads=reads, writes=(folder,))
    else:
        series = {s.label: s.timed for s in samples}
        wanted = DetectorTraining(kind, series, step, folder, budget_of_each(site.anomaly), seed)
        answer = run_in_worker(config.compute, TRAIN_DETECTOR, wanted, writes=(folder,))
    if answer.refused:
        return answer.refused
    with db.write() as c:
        known_at = clock()
        add_model(
            c, answer.model_hash, kind=kind, task=task, site=site.id, path=answer.path, card=answer.card, now=known_at,
            reason=reason if task == "forecast" else f"trained on {len(samples)} series", actor=actor,
        )  # fmt: skip
        if task == "forecast":
            retire_older(c, site, kind, answer.model_hash, known_at)
        else:
            keep_test(
                c, site, answer.card, answer.model_hash, f"slopeward anomalies train --site {site.id}", actor, known_at
            )
    read = answer.card.get("explanation", {}).get("drivers", ())
    begun = gather(answer.card.get("training", {})).get("begun_from", "")
    said = [answer.model_hash[:12], *([f"begun {begun}"] if isinstance(begun, Message) else [])]
    return "; ".join([*said, *([f"reads {tell_drivers(read)}"] if read else [])])


def _read_own(
    c: Connection, site: Site, kind: str, now: datetime, interval_s: float, *, is_forecast: bool
) -> tuple[list[Samples], float, Driving]:
    """Displacements as known at an instant, the step of their grid, and what may drive them."""
    step = interval_s
    if is_forecast and (probe := load_displacements(c, site, history_since(now, interval_s, HISTORY_STEPS), now)):
        step = step_s(probe, min(site.forecast.horizons_s))
    since = history_since(now, step, HISTORY_STEPS)
    samples = load_displacements(c, site, since, now, grid_s=step) if is_forecast else load_watched(c, site, since, now)
    return samples, step, load_driving(c, site, since, now, (kind,))


def _find_start(c: Connection, site: Site, kind: str) -> tuple[Path | None, str]:
    """The checkpoint that `start_from` asks for, and why there is none; of the site itself the first begins anew.

    The one that looks the most horizons ahead, of these the one that is shown, else the newest.
    """
    asked = site.forecast.start_from
    if not asked or kind not in NETWORKS or kind in PRETRAINED:
        return None, ""
    alive = [
        m for m in load_models(c, task="forecast", site=asked, kinds=[kind])
        if m.state != "retired" and {*m.card.get("config", {}).get("horizons_s", ())} <= {*site.forecast.horizons_s}
    ]  # fmt: skip
    if not alive:
        return None, "" if asked == site.id else f"{asked} has no {kind} of these horizons to start from"
    return Path(max(alive, key=lambda m: (len(m.card["config"]["horizons_s"]), m.state == "active")).path), ""


def _read_others(c: Connection, site: Site, kind: str, now: datetime) -> Iterator[SiteRecord]:
    """Records of the sites that `replay` names, each on its own grid; one without readings has nothing to add."""
    if kind not in NETWORKS or not (site.forecast.start_from or kind in PRETRAINED):
        return
    for name in site.forecast.replay:
        other, version = None, find_version(c, name)
        with contextlib.suppress(ConfigError, NotFoundError):  # a file of an earlier version that is no more read
            other = None if version is None else parse_site(load_site_source(c, version), name)
        if other is None or other.slowest_motion_s is None:
            continue
        step = grid_step_s(other.slowest_motion_s, min(site.forecast.horizons_s))
        since = history_since(now, step, HISTORY_STEPS)
        samples = load_displacements(c, other, since, now, grid_s=step)
        if samples:
            yield make_record(other, samples, step, now, Driving())
