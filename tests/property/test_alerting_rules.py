"""Each rule of the domain holds in a scenario chosen for it, and the same check rejects a broken variant."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.decision import decide, observability, records
from monitor.decision.criteria import rates
from monitor.decision.records import DecisionInputs
from monitor.decision.series import paired_steps, station_health, steps
from monitor.readings.cleaned import tracks
from monitor.sites.records import Dwell
from monitor.text.instants import epoch_s, from_epoch_s
from tests.property.alerting_histories import (
    AUXILIARY,
    DAY_S,
    EPOCHS,
    SITE,
    START,
    STEP_S,
    Look,
    Motion,
    levels,
    messages,
    quiet,
    run,
    seeded,
)

Check = Callable[[Sequence[Look]], None]
SEEDS = range(3)
BRIEF = 34  # epochs; an event at epoch 20 is over by then


def check_silence_changes_no_level(_: object = None) -> None:
    """Rule 1: when all stations fall silent the level stays, and "cannot see: decide" opens."""
    creeping = [quiet(s, motions={"A": Motion(9.0, 20)}) for s in range(2)]
    for seed, drawn in enumerate([*creeping, *(seeded(s) for s in SEEDS)]):
        history = replace(drawn, steps={}, shift=None, late={})
        looks = run(history, more_epochs=24)
        tail = levels(looks)[EPOCHS:]
        assert set(tail) == {tail[0]}, f"seed {seed}: silence changed the level: {tail}"
        assert looks[-1].decision.observability == "blind"
        assert "health:site:cannot_see" in looks[-1].decision.memory.conditions


def check_a_broken_thermometer_changes_nothing(_: object = None) -> None:
    """Rules 1 and 3: a broken or missing auxiliary series of a station sets no other vote aside."""
    for seed in SEEDS[:2]:
        history = replace(seeded(seed), drains=None)
        well = run(replace(history, auxiliary=dict.fromkeys(AUXILIARY, ("well", 0))))
        for how in ("never", "broken", "silent"):
            looks = run(replace(history, auxiliary=dict.fromkeys(AUXILIARY, (how, 10))))
            assert levels(looks) == levels(well), f"seed {seed}: a thermometer that is {how} changed the level"
            # The piezometer has a vote, so it counts as an observation. The thermometers have none.
            looks = run(replace(history, auxiliary={"A": (how, 10), "B": ("well", 0), "C": (how, 10)}))
            for ours, other in zip(looks, well, strict=True):
                assert (ours.decision.observability == "blind") == (other.decision.observability == "blind"), how
                assert ours.decision.reachable_level == other.decision.reachable_level, how
                key = "health:site:cannot_see"
                assert (key in ours.decision.memory.conditions) == (key in other.decision.memory.conditions), how


def check_a_backlog_changes_no_answer(_: object = None) -> None:
    """Rules 3 and 5: while a backlog drains, the question about a reference and faults of instruments stay open."""
    together = {n: Motion(30.0, 20) for n in ("C", "D", "K")}
    for seed in range(2):
        plain = quiet(seed, motions=together, noise=0.5)
        looks, drained = run(plain), run(replace(plain, drains=(30, 33)))
        since = [look.decision.memory.common.get("REF") for look in looks]
        assert any(since), "no common motion was found"
        assert [look.decision.memory.common.get("REF") for look in drained] == since, "the deadline started again"
        sick = replace(quiet(seed, motions={"A": Motion(30.0, 12, 22)}, flagged={"A": (22, EPOCHS)}), drains=(34, 36))
        for look in run(sick)[32:]:
            assert "health:A.displacement:flagged" in look.decision.memory.conditions, (
                "the alarm closed without new data"
            )
            assert not look.decision.evidence["votes"]["v|A"]["counted"]


def check_flagged_data_are_no_observation(_: object = None) -> None:
    """Rule 1: flagged data do not count as observations, and a second silent station does not restart the deadline."""
    moving = {n: Motion(120.0, 4, 20) for n in ("A", "B")}
    first = {
        "flagged": quiet(1, motions=moving, flagged=dict.fromkeys("AB", (20, EPOCHS))),
        "silent": quiet(1, motions=moving, gaps=dict.fromkeys("AB", (20, EPOCHS))),
        "flagged, then silent": quiet(
            1, motions=moving, flagged=dict.fromkeys("AB", (20, 30)), gaps=dict.fromkeys("AB", (30, EPOCHS))
        ),
        "one after the other": quiet(1, motions=moving, gaps={"A": (20, EPOCHS), "B": (30, EPOCHS)}),
    }
    for how, history in first.items():
        for name in ("never", "well"):
            looks = run(replace(history, auxiliary=dict.fromkeys(AUXILIARY, (name, 0))))
            open_at = [i for i, look in enumerate(looks) if "health:site:cannot_see" in look.decision.memory.conditions]
            assert open_at == list(range(39, EPOCHS)), f"{how}, thermometer {name}: alert open at {open_at}"


def check_one_spike_changes_nothing(_: object = None) -> None:
    """Rule 5: a single 500 mm value changes no hazard level, whatever else happens."""
    for seed in SEEDS[:2]:
        history = replace(seeded(seed), steps={}, spikes={}, shift=None, gaps={}, flagged={}, late={}, motions={})
        calm = levels(run(history))
        for size in (500.0, 28.0):
            spiked = replace(history, spikes={"A": (20 + 3 * seed, size if seed % 2 else -size)})
            assert levels(run(spiked)) == calm, f"seed {seed}, {size} mm"
    # Without questions about steps and with a dwell of one epoch, leaving out each epoch in turn still protects.
    loose = replace(
        SITE,
        stations=tuple(replace(s, series=(replace(s.series[0], verify_step=1e4),)) for s in SITE.stations),
        criteria=(replace(SITE.criteria[0], dwell=Dwell()),),
    )
    for seed in SEEDS[:2]:
        assert set(levels(run(quiet(seed, spikes={"A": (30, 500.0)}), loose))) == {0}


def check_step_counts_after_its_deadline(_: object = None) -> None:
    """Rule 5: a lasting step is no hazard before its deadline and movement after it, until an operator rejects it."""
    for seed in range(2):
        at, size = 20 + seed, 45.0 + 30.0 * seed
        looks = run(quiet(seed, epochs=BRIEF, steps={"B": (at, size)}))
        hazard_levels = levels(looks)
        deadline_epochs = round(DAY_S / STEP_S)
        assert set(hazard_levels[: at + deadline_epochs]) == {0}, "the step counted before its deadline"
        assert all(level == 1 for level in hazard_levels[at + deadline_epochs :]), (
            "the step was dropped or counted for a higher level"
        )
        assert "health:B:verify" in looks[at].decision.memory.conditions
    # A step that is followed by silence is movement.
    alone = run(quiet(1, steps={"B": (20, 90.0)}, gaps={"B": (21, EPOCHS)}))
    assert max(levels(alone)) == 2, "a step before silence requests the level of its size"


def check_two_jumping_stations_need_one_more_epoch(_: object = None) -> None:
    """Rule 5: one bad epoch of two independent stations raises no level.

    A jump that stays, continues or is followed by silence raises it.
    """
    deadline_epochs = round(DAY_S / STEP_S)
    key = "health:site:disturbance"
    for seed in range(2):
        size = {"A": (20, 150.0), "B": (20, 120.0 + 40.0 * seed)}
        struck = run(quiet(seed, epochs=BRIEF, spikes=size))
        assert set(levels(struck)) == {0}, "a common disturbance raised a level"
        open_questions = [{"health:A:verify", "health:B:verify"} & set(x.decision.memory.conditions) for x in struck]
        assert [i for i, open_now in enumerate(open_questions) if open_now] == [20], (
            "the questions are open at the epoch of the jump only"
        )
        assert [key in x.decision.memory.conditions for x in struck] == [20 < i < 25 for i in range(BRIEF)]
        stays = run(quiet(seed, epochs=BRIEF, steps=size))
        assert levels(stays)[20:23] == [0, 0, 3], "a lasting jump counts after two epochs"
        page = stays[20].decision.memory.conditions["health:A:verify"].reason
        assert "Independent stations jumped as well: B" in page
        onwards = run(quiet(seed, epochs=BRIEF, motions={n: Motion(480.0, 20) for n in "AB"}))
        assert levels(onwards)[20:23] == [0, 0, 3], "a motion that continues is no disturbance"
        silent = run(quiet(seed, epochs=BRIEF, steps=size, gaps=dict.fromkeys("AB", (21, EPOCHS))))
        assert levels(silent)[20 + deadline_epochs - 1 : 21 + deadline_epochs] == [0, 3], (
            "silence after the jump does not withdraw it"
        )
        half = run(quiet(seed, epochs=BRIEF, steps={"A": size["A"]}, spikes={"B": size["B"]}))
        assert set(levels(half)[: 20 + deadline_epochs]) == {0}, "only one station has a lasting step"
        assert set(levels(half)[20 + deadline_epochs :]) == {1}
        bold = replace(SITE, fusion=replace(SITE.fusion, fast_track=True))
        assert levels(run(quiet(seed, epochs=BRIEF, steps=size), bold))[20] == 3, "the site file enables the fast track"


def check_common_shift_is_verified_not_red(_: object = None) -> None:
    """Rule 5: a common jump of all rovers of one reference opens a question and never leads to red."""
    for seed in range(2):
        looks = run(quiet(seed, epochs=BRIEF, shift=(22, 50.0 + 10 * seed)))
        hazard_levels = levels(looks)
        assert set(hazard_levels[: 22 + round(DAY_S / STEP_S)]) == {0}
        assert max(hazard_levels) < 3
        assert "health:reference:REF:verify" in looks[22].decision.memory.conditions


def check_decisions_between_readings_change_no_level(_: object = None) -> None:
    """Rule 6: decisions between two readings change no level."""
    for seed in SEEDS[:2]:
        history = replace(seeded(seed), steps={}, shift=None)
        assert levels(run(history, ticks=2))[::3] == levels(run(history))


def check_offsets_explain_steps(_: object = None) -> None:
    """Rule 11: a declared offset removes the step: no level rises, and the question closes."""

    def corrected(now_s: float, inputs: DecisionInputs) -> DecisionInputs:
        since = from_epoch_s(epoch_s(START) + 22 * STEP_S)
        if now_s < epoch_s(START) + 24 * STEP_S:
            # The offset is declared two epochs after the jump.
            return inputs
        rows = tuple(
            replace(r, offset_applied=70.0, value=r.value_raw - 70.0) if r.observed_at >= since else r
            for r in inputs.readings["A.displacement"]
        )
        return replace(inputs, readings={**inputs.readings, "A.displacement": rows})

    for seed in range(2):
        looks = run(quiet(seed, epochs=BRIEF, steps={"A": (22, 70.0)}), alter=corrected)
        assert set(levels(looks)) == {0}
        assert "health:A:verify" in looks[23].decision.memory.conditions
        assert "health:A:verify" not in looks[25].decision.memory.conditions


RELATIONS: dict[str, Callable[[object], None]] = {
    "silence": check_silence_changes_no_level,
    "thermometer": check_a_broken_thermometer_changes_nothing,
    "backlog": check_a_backlog_changes_no_answer,
    "sight": check_flagged_data_are_no_observation,
    "spike": check_one_spike_changes_nothing,
    "step": check_step_counts_after_its_deadline,
    "pair": check_two_jumping_stations_need_one_more_epoch,
    "common": check_common_shift_is_verified_not_red,
    "ticks": check_decisions_between_readings_change_no_level,
    "offset": check_offsets_explain_steps,
}


@pytest.mark.parametrize("name", list(RELATIONS))
def test_rule_holds(name):
    RELATIONS[name](None)


def test_late_data_change_only_decisions_after_their_arrival():
    """Rule 2: before late data arrive, decisions are those of a gap; the next decision uses them."""
    history = quiet(3, motions={"A": Motion(30.0, 18), "B": Motion(30.0, 18)})
    delayed = replace(history, late={"A": (24, 30, 8)})
    missing = replace(history, gaps={"A": (24, 30)})
    before, after, gap = run(history), run(delayed), run(missing)
    assert levels(after)[:32] == levels(gap)[:32]
    assert [len(look.inputs.readings["A.displacement"]) for look in after][40] == len(
        before[40].inputs.readings["A.displacement"]
    )
    assert len(messages(delayed)) == len(messages(history))


def test_no_decision_module_reads_a_clock_or_uses_arrays():
    """Rules 8 and 9: decisions take `now` as an argument and compute in plain Python floats."""
    folder = Path(decide.__file__).parent
    for path in [*folder.rglob("*.py"), Path(records.__file__)]:
        text = path.read_text()
        for word in ("datetime.now", "time.time", "utcnow", "import numpy", "import pandas", "import random"):
            assert word not in text, f"{path.name}: {word}"


def _whole_station(prepared, key):
    station = prepared.site.station(key.station)
    return [] if station is None else [(station.id, s.quantity) for s in station.series]


def _seen_by_newest(w, place, sense):
    return min(w.now_s, observability.find_deadline(w, place, sense.newest_s))


def _any_rate_over(fits, bound, *_):
    return any(fit.rate > bound for fit in fits)


WAITS = check_two_jumping_stations_need_one_more_epoch
MUTANTS = {
    "1 broken data are sight": (
        observability,
        "_find_last_expected",
        _seen_by_newest,
        check_flagged_data_are_no_observation,
    ),
    "1 a backlog forgets": (
        station_health,
        "_find_lasting_problem",
        lambda *_: None,
        check_a_backlog_changes_no_answer,
    ),
    "3 a thermometer silences": (
        decide,
        "list_series_behind",
        _whole_station,
        check_a_broken_thermometer_changes_nothing,
    ),
    "5 steps are believed": (tracks, "find_verification_limit", lambda *_: None, check_step_counts_after_its_deadline),
    "5 a pair is believed at once": (steps, "is_confirmed", lambda *_: True, WAITS),
    "5 what goes on came back": (steps, "list_unresolved", lambda *_: set(), WAITS),
    "5 a disturbance is told to nobody": (paired_steps, "_list_disturbances", lambda *_: {}, WAITS),
    "5 references are trusted": (
        decide,
        "find_common_motion",
        lambda *_: ({}, {}),
        check_common_shift_is_verified_not_red,
    ),
    "5 one value decides": (rates, "exceeds_bound", _any_rate_over, check_one_spike_changes_nothing),
}


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_broken_variant_of_the_rule_is_caught(name, monkeypatch):
    module, attribute, broken, check = MUTANTS[name]
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises((AssertionError, KeyError)):
        check(None)
