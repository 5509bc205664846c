"""`slopeward anomalies`: train detectors, score a site now, compare detectors at one budget."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detection.anomaly.registry import describe_unknown_detector, is_network, list_detectors, list_served
from detection.reasons import reasons_from_json
from monitor.api.cli import session
from monitor.api.queries.models import find_active
from monitor.api.text import convert_reason
from monitor.features.anomalies.cli import labels

if TYPE_CHECKING:
    from detection.anomaly.windows import Series

app = session.Commands(help="Train and run anomaly detectors, and label anomalies.", no_args_is_help=True)
app.add_typer(labels.app)


@app.command(epilog="Example: slopeward anomalies score --site north-bench")
def score(site: session.SiteOption) -> None:
    """Score what is new with every detector of the site's plan."""
    from monitor.features.anomalies import jobs as anomaly

    (service, db, chosen), now = session.open_site(site), datetime.now(UTC)
    session.point_to_the_past(db, chosen, now)
    outcome = anomaly.run(db, service, chosen, now)
    session.show({"site": chosen.id, "said": outcome}, outcome)


@app.command(epilog="Example: slopeward anomalies train --site north-bench --detector rules")
def train(
    site: session.SiteOption,
    detector: Annotated[list[str] | None, typer.Option(help="One or more; default: those of the site file.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=session.LARGEST_SEED, help="Of the networks.")] = 7,
) -> None:
    """Count the thresholds of detectors on the site's own record against its false-alarm budget; train networks."""
    from monitor.api.queries.models import TrainingOrder
    from monitor.features.anomalies.training import train_detector

    _check_detectors(detector)
    known = list_detectors()
    service, db, chosen = session.open_site(site)
    wanted = detector or [d for d in chosen.anomaly.detectors if d in known]
    now, trained = datetime.now(UTC), 0
    session.point_to_the_past(db, chosen, now)
    for name in wanted:
        outcome = train_detector(db, service, chosen, TrainingOrder(name, seed), now)
        active = db.run_read(find_active, task="anomaly", kind=name, site=chosen.id)
        if active is None or not outcome.trained:
            print(f"{name}: not trained: {outcome.line}", file=sys.stderr)
            continue
        trained += 1
        facts = {"site": chosen.id, "detector": name, "model_hash": active.model_hash, "card": active.card}
        session.show(facts, f"{name}: {_describe(active.card)} (model {outcome.line})")
    if trained < len(wanted) or not wanted:
        raise typer.Exit(3 if trained else 4)


def _check_detectors(names: list[str] | None) -> list[str]:
    known = list_detectors()
    if unknown := [d for d in names or () if d not in known]:
        if unknown[0] not in list_served():
            raise typer.BadParameter(describe_unknown_detector(unknown[0]))
        raise typer.BadParameter(f"{unknown[0]!r} has no threshold to count; expected one of: {', '.join(known)}")
    return names or []


def _describe(card: Mapping[str, Any]) -> str:
    held = card["heldout_alarms_per_sensor_month"]
    held_out = "nothing could be counted" if held is None else f"{held:.3g} alarms per sensor-month"
    reasons = map(convert_reason, reasons_from_json(card["may_not_vote_because"]))
    vote = "may be a witness" if card["may_vote"] else f"advice: {'; '.join(reasons)}"
    return (
        f"threshold {card['threshold']:.3g} for {card['budget_per_sensor_month']:g} false alarms per sensor-month; "
        f"{held_out} on {card['heldout_months']:.1f} held-out sensor-months; {vote}"
    )


@app.command(epilog="Example: slopeward anomalies bench --site north-bench")
def bench(
    data: Annotated[str | None, typer.Option(help="A long CSV; S, SK, G or K.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="The record of this site in the database.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0.0001, max=1000.0, help="False alarms per sensor-month; default .1, or that of the site."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000)] = 1,
    detector: Annotated[list[str] | None, typer.Option(help="One or more instead of those that are usual.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="What a site without history is served, alone.")] = False,
) -> None:
    """Compare detectors on injected faults at an equal budget: event recall, precision, real false alarms.

    Below stands what checks find of faults that are certain: stuck, replay, gap, another unit, a clock that is moved.
    With `--site`, the detectors of the site on its own record, and whether a network adds to the rules there. Where
    an anomaly criterion of the site is no advice, its detectors as they serve are tested, and the test is kept.
    """
    from detection.anomaly import bench as trials
    from detection.anomaly.detector import start_without_history

    if (data is None) == (site is None):
        raise typer.BadParameter("name a record: either --data or --site")
    samples, step_s, wanted, allowed = _read_bench(data, site)
    wanted = _check_detectors(detector) or wanted
    budget = allowed if budget is None else budget
    names = [f"{d}{checks}" for d in wanted for checks in ("", "+checks")]
    if fresh:
        names = ["persistence-z", "rules", "rules+checks"]
    ready = {d: start_without_history(d, step_s) for d in ("persistence-z", "rules")} if fresh else {}
    rows = trials.run_bench(samples, names, budget, range(seeds), ready)
    for row in rows:
        if is_network(row["detector"]):
            gain = row["recall_gain_over_rules"] = trials.find_gain(rows, row["detector"])
            row["adds"] = gain is not None and gain >= trials.VOTE_GAIN
    certain = trials.run_certain_bench(samples, range(seeds))
    judged = [row for row in rows if "adds" in row]
    verdicts = [
        f"{row['detector']}: {_describe_gain(row['recall_gain_over_rules'], adds=row['adds'])}" for row in judged
    ]
    if not session.options().as_json:
        print("\n".join([trials.format_table(rows), *verdicts, trials.format_certain(certain)]))
    for found in [*rows, *certain] if session.options().as_json else ():
        session.print_json(found)
    if site is not None:
        _keep_proofs(site)


def _keep_proofs(site: str) -> None:
    from forecasting.registry import TRAINING_ROWS
    from monitor.api.cli import name_os_actor
    from monitor.api.queries.models import TrainingOrder, find_history_start
    from monitor.features.anomalies.jobs import why_stale
    from monitor.features.anomalies.proof import find_asking, prove_serving
    from monitor.features.anomalies.training import train_detector

    service, db, chosen = session.open_site(site)
    step_s = chosen.watched_step_s or 0.0
    for detector in chosen.anomaly.detectors:
        if find_asking(chosen, detector) is None:
            continue
        now = datetime.now(UTC)
        made_by = f"slopeward anomalies bench --site {chosen.id}"
        with db.read() as c:
            serving = find_active(c, task="anomaly", kind=detector, site=chosen.id)
        if serving is None or why_stale(serving, chosen.anomaly, step_s) is not None:
            outcome = train_detector(db, service, chosen, TrainingOrder(detector, actor=name_os_actor()), now)
            serving = db.run_read(find_active, task="anomaly", kind=detector, site=chosen.id)
            if serving is None or not outcome.trained:
                print(f"{detector}: no proof: {outcome.line}", file=sys.stderr)
                continue
            now = datetime.now(UTC)
        proof = prove_serving(
            db, chosen, serving, find_history_start(now, step_s, TRAINING_ROWS), now, name_os_actor(), made_by
        )
        if proof is None:
            print(f"{detector}: no proof", file=sys.stderr)
            continue
        facts = {"proof": detector, "passed": proof.passed, "reasons": list(proof.reasons), **proof.result}
        verdict = "may be a witness" if proof.passed else f"advice: {'; '.join(proof.reasons)}"
        session.show_in_order(facts, f"{detector}: {verdict} (kept)")


def _describe_gain(gain: float | None, *, adds: bool) -> str:
    if gain is None:
        return "advice: the record is too short to compare it at equal false alarms"
    against = f"{100.0 * gain:+.1f} % recall against the better of persistence-z and rules at equal false alarms"
    return f"{against}: {'it adds, `anomalies train` keeps the proof' if adds else 'advice, it adds nothing'}"


def _read_bench(data: str | None, site: str | None) -> tuple["dict[str, Series]", float, list[str], float]:
    from detection.anomaly.windows import build_series, fewest_readings

    if data is not None:
        from forecasting.data.sources import RecordRecipe, read_record

        panel = read_record(data, RecordRecipe()).panel
        times_s = panel.times_s.tolist()
        values = {name: panel.values[:, column].tolist() for column, name in enumerate(panel.stations)}
        series = {name: build_series(times_s, row, panel.step_s) for name, row in values.items()}
        usual = ["persistence-z", "ae", "rules"]
        return series, panel.step_s, usual, 0.1
    from detection.anomaly.records import InputError
    from forecasting.registry import TRAINING_ROWS
    from monitor.api.queries.models import find_history_start, load_watched

    assert site is not None
    (_, db, chosen), now = session.open_site(site), datetime.now(UTC)
    session.point_to_the_past(db, chosen, now)
    step_s = chosen.watched_step_s
    if step_s is None:
        raise InputError(f"site {site} declares no series of displacement")
    since = find_history_start(now, step_s, TRAINING_ROWS)
    with db.read() as c:
        moved = load_watched(c, chosen, since, now)
    if not moved:
        raise InputError(f"site {site} has no readings of displacement")
    every = {one.label: build_series(*one.timed, step_s) for one in moved}
    # a threshold is counted on a part of the record, and judged on another one
    series = {name: one for name, one in every.items() if one.observed.sum() >= 5 * fewest_readings(one)}
    if left := sorted(set(every) - set(series)):
        print(f"left out, the record is too short: {', '.join(left)}", file=sys.stderr)
    if not series:
        need = 5 * fewest_readings(next(iter(every.values())))
        raise InputError(f"no series of site {site} has the {need} readings that are needed")
    wanted = dict.fromkeys(["persistence-z", "rules", *(d for d in chosen.anomaly.detectors if d in list_detectors())])
    return series, step_s, list(wanted), chosen.anomaly.budget_per_sensor_month
