"""Contract of criteria. The tests run over the table of kinds, so they include every new kind."""

import importlib
import json
import math
import pickle
import pkgutil
from bisect import bisect_right
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

import pytest

import monitor.decision.criteria.kinds
from monitor.alerts.acts.loosening import ADVISED, find_loosening
from monitor.decision.criteria import scope
from monitor.decision.criteria.history import no_window
from monitor.decision.criteria.kinds.earthquake import lower_bounds
from monitor.decision.criteria.scope import find_history_spans, find_load_start
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import FACTS, DecisionInputs, Memory
from monitor.decision.series.assessment import Assessment, DecisionContext, each_track
from monitor.errors import ConfigError
from monitor.readings.records import Reading
from monitor.sites.criteria.entry import check_entry
from monitor.sites.parsing import parse_site
from monitor.sites.quantities import QUANTITIES
from monitor.sites.witnesses import find_groups, list_voting_witnesses
from monitor.text.message import Message, is_same_text, messages_to_plain, plain_to_messages
from monitor.web.parts.collect import describe_rules
from tests.data.criteria import CRITERIA
from tests.tables import tabulated

NOW = datetime(2026, 3, 10, 6, tzinfo=UTC)
RECORD_S = 400.0 * 86400.0  # of the record on which the declared history of a kind is tested
SERIES = "".join(
    f'[[station.series]]\nquantity = "{name}"\nunit = "{q.unit}"\ninterval = "1h"\n'
    for name, q in QUANTITIES.items()
    if not name.startswith("displacement_")
)
HEAD = f"""
[site]
id = "contract"
name = "Contract"
latitude = 46.0
longitude = 8.0
[forecast]
horizons = ["1d"]
[[station]]
id = "S1"
v_eq_mm_per_day = 2.0
v_eq_reviewed = "a geologist, March 2026"
{SERIES}[[station]]
id = "S2"
on_slope = false
{SERIES}"""


def read(kind, more=""):
    return parse_site(f'{HEAD}[[criterion]]\nkind = "{kind}"\nid = "it"{CRITERIA[kind].example}{more}', "site.toml")


def find_criterion(site):
    return next(c for c in site.criteria if c.id == "it")


def make_resting_inputs(site):
    """Return two days of hourly readings without motion, with a little noise and no rain."""
    hours = [NOW + timedelta(hours=h) for h in range(-48, 1)]

    def readings(quantity):
        values = [0.0 if quantity == "rain" else 1.0 + 0.001 * (7 * k % 5) for k in range(len(hours))]
        return tuple(Reading(at, at, 0, v, 0.0, v, None, ()) for at, v in zip(hours, values, strict=True))

    return DecisionInputs({f"{s.id}.{p.quantity}": readings(p.quantity) for s in site.stations for p in s.series})


def test_every_module_of_a_kind_is_registered():
    package = monitor.decision.criteria.kinds
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    entries = [importlib.import_module(f"{package.__name__}.{name}").ENTRY for name in names]
    assert {id(entry) for entry in entries} == {id(entry) for entry in CRITERIA.values() if not entry.plugin}
    assert [entry.kind.id for entry in CRITERIA.values()] == list(CRITERIA)


@tabulated("kind", CRITERIA)
def test_traits_name_existing_facts_plans_and_parameters(kind):
    entry, site = CRITERIA[kind], read(kind)
    traits = entry.kind
    check_entry(entry)
    assert entry.plugin or FACTS.get(traits.facts) is entry.fact_type
    assert traits.plan in {None, *ADVISED}
    assert {name for name, _ in traits.safe_params} | set(traits.scaled_params) <= _all_params(kind, site)


def _all_params(kind, site):
    return {name for name, _ in find_criterion(site).params} | set(CRITERIA[kind].table.written_keys())


@tabulated("kind", CRITERIA)
def test_example_is_read_and_a_wrong_key_is_refused_with_the_nearest_name(kind):
    criterion = find_criterion(read(kind))
    assert criterion.kind is CRITERIA[kind].kind
    assert criterion.role == criterion.kind.role
    assert criterion.thresholds
    assert pickle.loads(pickle.dumps(criterion)) == criterion
    with pytest.raises(ConfigError, match=r"criterion\[0\].*valid_fr.*did you mean 'valid_for'"):
        read(kind, 'valid_fr = "1d"\n')
    if CRITERIA[kind].bound is not None:
        with pytest.raises(ConfigError, match=r"criterion\[0\]: expected a bound for at least one level"):
            parse_site(HEAD + f'[[criterion]]\nkind = "{kind}"' + _without_bounds(CRITERIA[kind].example), "site.toml")


def _without_bounds(example):
    return "\n".join(line for line in example.split("\n") if not line.startswith("yellow")) + "\n"


@tabulated("kind", CRITERIA)
def test_rule_assesses_only_its_witnesses_and_raises_nothing_without_data(kind):
    site = read(kind)
    criterion = find_criterion(site)
    witnesses = {v.name for v in list_voting_witnesses(site, criterion)}
    assert witnesses
    assert witnesses <= set(find_groups(site)), "a witness belongs to no independent group"
    for inputs in (DecisionInputs(), make_resting_inputs(site)):
        votes = CRITERIA[kind].rule(criterion, DecisionContext(PreparedSite(site), inputs, Memory(), NOW.timestamp()))
        assert {w.criterion for w in votes} <= {"it"}
        assert {w.station for w in votes} <= witnesses
        assert all(w.raise_level == 0 for w in votes), "a level is raised without motion"
        assert all(is_same_text(_store_and_read(w.reason), w.reason) and w.reason.strip() for w in votes)
        assert votes == CRITERIA[kind].rule(
            criterion, DecisionContext(PreparedSite(site), inputs, Memory(), NOW.timestamp())
        )
    blind = CRITERIA[kind].rule(
        criterion, DecisionContext(PreparedSite(site), DecisionInputs(), Memory(), NOW.timestamp())
    )
    assert all(not w.has_data for w in blind)


def _store_and_read(reason):
    assert isinstance(reason, Message), f"{reason!r}: a criterion gives messages, no plain text"
    read_back = plain_to_messages(json.loads(json.dumps(messages_to_plain({"reason": reason}))))["reason"]
    assert read_back.id == reason.id
    return read_back


def make_record(site):
    """Return readings of every series that a site reads: rain now and then, everything else in slow waves.

    They are hourly for three times the history that is loaded. Before, there are readings every 6 hours: the record is
    at least as long as `RECORD_S`, whatever a kind declares.
    """
    wanted = find_history_spans(site)
    hourly = round(3.0 * max(wanted.values(), default=0.0) / 3600.0) + 48
    hours = max(hourly, round(RECORD_S / 3600.0))
    rain, waves = [], []
    for k in (*range(0, hours - hourly, 6), *range(hours - hourly, hours + 1)):
        at = NOW - timedelta(hours=hours - k)
        for rows, value in (
            (rain, 0.2 * (k * k % 11)),
            (waves, 1.0 + 0.5 * math.sin(k / 40.0) + 0.001 * (7 * k % 5)),
        ):
            rows.append(Reading(at, at, 0, value, 0.0, value, None, ()))
    rain, waves = tuple(rain), tuple(waves)
    return {f"{station}.{quantity}": rain if quantity == "rain" else waves for station, quantity in wanted}


def cut(site, readings):
    """Return the readings that the loader of decisions reads, and no others."""
    loaded = {}
    for (station, quantity), span in find_history_spans(site).items():
        rows = readings[f"{station}.{quantity}"]
        start = bisect_right(rows, find_load_start(NOW, span), key=attrgetter("observed_at"))
        loaded[f"{station}.{quantity}"] = rows[start:]
    return loaded


def judge(entry, site, readings):
    context = DecisionContext(PreparedSite(site), DecisionInputs(readings), Memory(), NOW.timestamp())
    return entry.rule(find_criterion(site), context)


def compare(assessment):
    facts = {**assessment.facts, "epochs": None}
    levels = assessment.raise_level, assessment.hold_level
    return assessment.station, *levels, assessment.has_data, str(assessment.reason), facts


def find_history_fault(entry, site):
    """Return what is wrong with the history that a kind declares, in one line; an empty text if nothing is."""
    record = make_record(site)
    on_record = judge(entry, site, record)
    on_history = judge(entry, site, cut(site, record))
    reads_facts = entry.kind.facts is not None or entry.kind.source != "instruments"
    if not reads_facts and not any(assessment.has_data for assessment in on_record):
        days = RECORD_S / 86400.0
        return f"no assessment has data on a record of {days:g} days: does history_s declare all that the rule reads?"
    if list(map(compare, on_record)) != list(map(compare, on_history)):
        return "the rule reads more than history_s declares: a longer record gives other assessments"
    return ""


@tabulated("kind", CRITERIA)
def test_kind_reads_no_more_than_its_declared_history(kind):
    assert not find_history_fault(CRITERIA[kind], read(kind))


@tabulated("kind", ["rain_antecedent", "rain_intensity_duration", "rain_learned"])
def test_a_window_that_is_not_declared_is_noticed(kind, monkeypatch):
    """A kind whose own window is longer than that of its bounds reads more than the loader would give it."""
    silent = replace(CRITERIA[kind], history_s=no_window)
    monkeypatch.setattr(scope, "load_criteria", lambda: {**CRITERIA, kind: silent})
    assert find_history_fault(silent, read(kind))


@pytest.mark.parametrize(
    ("read_days", "declared_days", "fault"),
    [
        (150, 151, ""),
        (150, 1, "the rule reads more"),
        (1200, 1, "no assessment has data"),
    ],
)
def test_a_long_history_that_is_not_declared_is_noticed(read_days, declared_days, fault, monkeypatch):
    """A kind that compares the newest reading with an old one has no data on a history that is far too short."""

    def assess(criterion, track, spec, context):
        newest_s = track.times_s[-1]
        if newest_s - track.times_s[0] < read_days * 86400.0:
            return Assessment(criterion.id, track.station)
        return Assessment(criterion.id, track.station, has_data=True, newest_s=newest_s)

    entry = replace(CRITERIA["level"], rule=each_track(assess), history_s=lambda _: declared_days * 86400.0)
    monkeypatch.setattr(scope, "load_criteria", lambda: {**CRITERIA, "level": entry})
    found = find_history_fault(entry, read("level"))
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def make_move(site, hours, sign):
    """Return readings that rest, and move faster and faster in the last hours."""
    readings = {}
    for station, quantity in find_history_spans(site):
        rows = []
        for k in range(160):
            at = NOW - timedelta(hours=159 - k)
            value = 0.001 * (7 * k % 5) + sign * 0.05 * max(0, k - (159 - hours)) ** 2
            rows.append(Reading(at, at, 0, value, 0.0, value, 0.001, ()))
        readings[f"{station}.{quantity}"] = tuple(rows)
    return readings


def count_raised(kind, dwell):
    """Return after how many of several motions, rising and falling, a criterion raises a level."""
    site = read(kind, dwell)
    criterion = find_criterion(site)
    raised = 0
    for sign in (1.0, -1.0):
        for hours in (12, 20, 30, 40):
            inputs = DecisionInputs(make_move(site, hours, sign))
            context = DecisionContext(PreparedSite(site), inputs, Memory(), NOW.timestamp())
            assessments = CRITERIA[kind].rule(criterion, context)
            raised += any(assessment.raise_level > 0 for assessment in assessments)
    return raised


@pytest.mark.soak
@tabulated("kind", [kind for kind, entry in CRITERIA.items() if "dwell" in entry.table.written_keys()])
def test_a_kind_with_the_key_dwell_applies_it(kind):
    at_once = count_raised(kind, "dwell = {hits = 1, of = 1}\n")
    later = count_raised(kind, "dwell = {hits = 12, of = 12}\n")
    # None of these motions may raise the example of a plugin.
    assert later < at_once or (CRITERIA[kind].plugin and at_once == 0)


@tabulated("kind", [kind for kind, entry in CRITERIA.items() if "dwell" not in entry.table.written_keys()])
def test_a_kind_without_the_key_dwell_refuses_it(kind):
    with pytest.raises(ConfigError, match=rf"criterion\[0\]: the kind '{kind}' has no key 'dwell'; expected one of: "):
        read(kind, "dwell = {hits = 2, of = 3}\n")


@tabulated("kind", CRITERIA)
def test_decision_with_the_criterion_is_repeatable(kind):
    site = read(kind)
    first, second = (decide(PreparedSite(site), Memory(), make_resting_inputs(site), NOW) for _ in range(2))
    assert first == second
    assert first.memory.level == 0


@tabulated("kind", CRITERIA)
def test_lowered_bounds_are_stricter_than_the_declared_ones(kind):
    site = read(kind)
    before, after = find_criterion(site), find_criterion(lower_bounds(site, 0.5))
    assert (before.thresholds, before.params) == (after.thresholds, after.params) or before.kind.scaled
    if before.kind.scaled:
        assert after != before, "bounds that can be scaled were not lowered"
        for declared, lowered in zip(before.thresholds, after.thresholds, strict=True):
            assert lowered.over is None or lowered.over <= declared.over
            assert lowered.under is None or lowered.under >= declared.under


@tabulated("kind", CRITERIA)
def test_removing_a_witness_of_a_high_level_counts_as_loosening(kind):
    site = read(kind)
    high = replace(
        find_criterion(site),
        role="witness",
        thresholds=tuple(replace(t, level=3) for t in find_criterion(site).thresholds),
    )
    others = tuple(c for c in site.criteria if c.id != "it")
    site = replace(site, criteria=(high, *others))
    assert find_loosening(site, replace(site, criteria=others))
    assert not find_loosening(site, site)


@tabulated("kind", CRITERIA)
def test_criterion_is_described_for_the_page(kind):
    (description,) = [rule for rule in describe_rules(read(kind)) if rule["id"] == "it"]
    assert description["kind"] == kind
    assert all(description["bounds"])
