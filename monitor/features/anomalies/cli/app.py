"""`slopeward anomalies`: train detectors, score a site now, compare detectors at one budget."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@app.command(epilog="Example: slopeward anomalies score north-bench")
def score(site: session.SiteArgument) -> None:
    """Score the new readings of a site with every detector of its site file."""
    from monitor.features.anomalies import jobs as anomaly

    (service, db, chosen), now = session.open_site(site), datetime.now(UTC)
    session.print_hint_if_record_is_old(db, chosen, now)
    outcome = anomaly.run(db, service, chosen, now)
    session.print_result({"site": chosen.id, "said": outcome}, outcome)


@app.command(epilog="Example: slopeward anomalies train north-bench --detector rules")
def train(
    site: session.SiteArgument,
    detector: Annotated[
        list[str] | None, typer.Option(help="Only this detector; can be repeated. Default: those of the site file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=session.LARGEST_SEED, help="Seed of the networks.")] = 7,
) -> None:
    """Set the thresholds of detectors so that they keep to the false-alarm budget on the record; train networks."""
    from monitor.api.queries.models import TrainingOrder
    from monitor.features.anomalies.training import train_detector

    _check_detectors(detector)
    known = list_detectors()
    service, db, chosen = session.open_site(site)
    wanted = detector or [d for d in chosen.anomaly.detectors if d in known]
    now, trained = datetime.now(UTC), 0
    session.print_hint_if_record_is_old(db, chosen, now)
    for name in wanted:
        outcome = train_detector(db, service, chosen, TrainingOrder(name, seed), now)
        active = db.run_read(find_active, task="anomaly", kind=name, site=chosen.id)
        if active is None or not outcome.trained:
            print(f"{name}: not trained: {outcome.line}", file=sys.stderr)
            continue
        trained += 1
        facts = {"site": chosen.id, "detector": name, "model_hash": active.model_hash, "card": active.card}
        session.print_result(facts, f"{name}: {_describe(active.card)} (model {outcome.line})")
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
    data: Annotated[str | None, typer.Option(help="Long CSV, or a benchmark record: S, SK, G, K.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="The record of this site in the database.")] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=1000.0, help="False alarms per sensor-month. Default: 0.1, or the budget of the site."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Number of draws of the injected faults.")] = 1,
    detector: Annotated[
        list[str] | None, typer.Option(help="Only this detector; can be repeated. Default: rules and ae.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Only the detectors that a site without history has.")] = False,
) -> None:
    """Compare detectors on injected faults, at an equal number of false alarms.

    The first table shows how many faults each detector detects, its precision and its false alarms. A second table
    shows the faults that the checks detect: stuck and replayed readings, gaps, another unit, a shifted clock. With
    `--site`, the detectors of the site are compared on its own record, with the gain of each network over the rules. If
    a criterion on anomalies may raise a level, its detectors are tested as the service runs them, and the test is
    stored.
    """
    from detection.anomaly import bench as trials
    from detection.anomaly.detector import start_without_history

    if (data is None) == (site is None):
        raise typer.BadParameter("name a record: either --data or --site")
    record = _read_record(data) if data is not None else _load_site_record(site or "", detector or ())
    wanted = _check_detectors(detector) or record.detectors
    budget = record.budget if budget is None else budget
    names = [f"{name}{checks}" for name in wanted for checks in ("", trials.WITH_CHECKS)]
    ready = {}
    if fresh:
        names = ["rules", f"rules{trials.WITH_CHECKS}"]
        ready = {"rules": start_without_history("rules", record.step_s)}
    rows = trials.run_bench(record.samples, names, budget, range(seeds), ready, record.rain)
    for row in rows:
        if is_network(row["detector"]):
            gain = row["recall_gain_over_rules"] = trials.find_gain(rows, row["detector"])
            row["adds"] = gain is not None and gain >= trials.VOTE_GAIN
    certain = trials.run_certain_bench(record.samples, range(seeds))
    verdicts = [
        f"{row['detector']}: {_describe_gain(row['recall_gain_over_rules'], adds=row['adds'])}"
        for row in rows
        if "adds" in row
    ]
    if session.options().as_json:
        for result in [*rows, *certain]:
            session.print_json(result)
    else:
        print("\n".join([trials.format_table(rows), *verdicts, trials.format_certain(certain)]))
    if site is not None:
        _store_tests(site)


@dataclass(frozen=True, slots=True)
class BenchRecord:
    """A record on which detectors are compared.

    Attributes:
        detectors: Detectors that are compared by default.
        budget: False alarms per sensor-month.
    """

    samples: "dict[str, Series]"
    step_s: float
    detectors: list[str]
    budget: float
    rain: "Series | None" = None


def _store_tests(site: str) -> None:
    """Test the detectors of a site that a criterion needs tested, and store the results."""
    from forecasting.registry import TRAINING_ROWS
    from monitor.api.cli import name_os_actor
    from monitor.api.queries.models import TrainingOrder, find_history_start
    from monitor.features.anomalies.proof import find_criterion, measure_active
    from monitor.features.anomalies.serving import explain_mismatch
    from monitor.features.anomalies.training import train_detector

    service, db, chosen = session.open_site(site)
    step_s = chosen.watched_step_s or 0.0
    for detector in chosen.anomaly.detectors:
        if find_criterion(chosen, detector) is None:
            continue
        now = datetime.now(UTC)
        made_by = f"slopeward anomalies bench --site {chosen.id}"
        active = db.run_read(find_active, task="anomaly", kind=detector, site=chosen.id)
        if active is None or explain_mismatch(active, chosen.anomaly, step_s) is not None:
            outcome = train_detector(db, service, chosen, TrainingOrder(detector, actor=name_os_actor()), now)
            active = db.run_read(find_active, task="anomaly", kind=detector, site=chosen.id)
            if active is None or not outcome.trained:
                print(f"{detector}: not tested: {outcome.line}", file=sys.stderr)
                continue
            now = datetime.now(UTC)
        since = find_history_start(now, step_s, TRAINING_ROWS)
        test = measure_active(db, chosen, active, since, now, name_os_actor(), made_by)
        if test is None:
            print(f"{detector}: not tested", file=sys.stderr)
            continue
        facts = {"proof": detector, "passed": test.passed, "reasons": list(test.reasons), **test.result}
        verdict = "may be a witness" if test.passed else f"advice: {'; '.join(test.reasons)}"
        session.print_result_in_order(facts, f"{detector}: {verdict} (stored)")


def _describe_gain(gain: float | None, *, adds: bool) -> str:
    if gain is None:
        return "advice: the record is too short to compare it at equal false alarms"
    difference = f"{100.0 * gain:+.1f} % recall against rules at equal false alarms"
    verdict = "it may vote, `anomalies train` stores the test" if adds else "advice"
    return f"{difference}: {verdict}"


def _read_record(data: str) -> BenchRecord:
    """Read the record of a file or of a benchmark."""
    from detection.anomaly.windows import build_series
    from forecasting.data.sources import RecordRecipe, read_record

    panel = read_record(data, RecordRecipe()).panel
    times_s = panel.times_s.tolist()
    values = {name: panel.values[:, column].tolist() for column, name in enumerate(panel.stations)}
    samples = {name: build_series(times_s, row, panel.step_s) for name, row in values.items()}
    return BenchRecord(samples, panel.step_s, ["rules", "ae"], 0.1)


def _load_site_record(site: str, detectors: Sequence[str]) -> BenchRecord:
    """Load the record of a site, without series that are too short to count a threshold and to test it."""
    from detection.anomaly.records import InputError
    from detection.anomaly.windows import build_series, count_needed_readings, sum_cells
    from forecasting.registry import TRAINING_ROWS
    from monitor.api.queries.models import find_history_start
    from monitor.features.anomalies.samples import load_record

    (_, db, chosen), now = session.open_site(site), datetime.now(UTC)
    session.print_hint_if_record_is_old(db, chosen, now)
    step_s = chosen.watched_step_s
    if step_s is None:
        raise InputError(f"site {site} declares no series of displacement")
    known = list_detectors()
    wanted = list(dict.fromkeys(["rules", *(name for name in chosen.anomaly.detectors if name in known)]))
    # A network reads more channels than the rules. Detectors that are compared read the same ones.
    widest = next((name for name in detectors or wanted if name in known and is_network(name)), "rules")
    record = db.run_read(load_record, chosen, widest, find_history_start(now, step_s, TRAINING_ROWS), now)
    if not record.series:
        raise InputError(f"site {site} has no readings of displacement")
    every = {label: build_series(*timed, step_s) for label, timed in record.samples.items()}
    samples = {
        label: series for label, series in every.items() if series.observed.sum() >= 5 * count_needed_readings(series)
    }
    if left := sorted(set(every) - set(samples)):
        print(f"left out, the record is too short: {', '.join(left)}", file=sys.stderr)
    if not samples:
        needed = 5 * count_needed_readings(next(iter(every.values())))
        raise InputError(f"no series of site {site} has the {needed} readings that are needed")
    rain = None if record.rain is None else sum_cells(*record.rain, step_s)
    return BenchRecord(samples, step_s, wanted, chosen.anomaly.budget_per_sensor_month, rain)
