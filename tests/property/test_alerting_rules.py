"""Rules 1 to 9 and 11 of the domain in scenes chosen for each; for each one broken variant that the same check catches.

The same rules on a thousand random stories: `test_alerting_laws`.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from forecasting.kinematics.velocity import fit_velocity
from monitor.decision import conditions, decide, prepare
from monitor.decision.criteria.kinds import velocity
from monitor.decision.criteria.table import KINDS
from monitor.decision.series import paired_steps, station_health, steps, tracks
from monitor.domain import decision as records
from monitor.domain.alert import AlertCategory
from monitor.domain.canonical import canonical_json
from monitor.domain.decision import AnomalyFact, DecisionInputs, FootprintFact, Memory, instant, seconds
from monitor.domain.site import Criterion, Dwell, Threshold
from tests.property.alerting_histories import (
    AUXILIARY,
    DAY_S,
    EPOCHS,
    GROUP,
    MAX_SILENCE_S,
    MOVERS,
    SITE,
    START,
    STEP_S,
    THRESHOLDS,
    VALID_S,
    History,
    Look,
    Motion,
    levels,
    messages,
    quiet,
    reading,
    run,
    seeded,
    usable,
)

Check = Callable[[Sequence[Look]], None]
SEEDS = range(4)


# ---- what must hold at every look of every history -------------------------------------------------------------
def check_lowering_needs_fresh_word(looks: Sequence[Look]) -> None:
    """Rule 1: a level falls only when all who raised it speak, soundly and lately; the two highest never by data."""
    for look in looks:
        before, after = look.before.level, look.decision.level
        if after >= before:
            continue
        assert SITE.levels[before].auto_lower, "a high level fell without a person"
        for key, asked in look.before.supporters.items():
            if asked < before or key.startswith("step|"):
                continue
            sound = usable(look, key.partition("|")[2])
            assert sound, f"{key} has no sound data"
            assert look.now_s - seconds(sound[-1].observed_at) <= MAX_SILENCE_S, f"{key} was silent"


def check_votes_age_with_their_data(looks: Sequence[Look]) -> None:
    """Rule 2: what counts is not older than it may be, and no younger than its newest datum."""
    for look in looks:
        for key, vote in look.decision.evidence["votes"].items():
            if not vote["counted"] or vote["level"] == 0:
                continue
            sound = usable(look, key.partition("|")[2])
            assert sound, key
            assert look.now_s - seconds(sound[-1].observed_at) <= VALID_S, f"{key} counted beyond its validity"


def check_sick_votes_are_pended(looks: Sequence[Look]) -> None:
    """Rule 3: the vote of a sick instrument does not count, that of a well one beside it does; ledgers stay apart."""
    for look in looks:
        open_now = look.decision.memory.conditions
        for key, vote in look.decision.evidence["votes"].items():
            criterion, _, name = key.partition("|")
            series = f"{name}.{'displacement' if criterion == 'v' else AUXILIARY[name][0]}"
            sick = any(f"health:{series}:{state}" in open_now for state in ("flagged", "stuck"))
            if vote["level"] > 0 and sick:
                assert not vote["counted"], f"{key} counted though sick"
                assert vote["pended"], "without a reason"
            elif vote["level"] > 0 and name not in {"C", "D"}:
                assert not vote["pended"], f"{key} is set aside though its series is well: {vote['pended']}"
        for change in look.decision.changes:
            assert (change.ledger == AlertCategory.HAZARD) == (change.key == "hazard")


def check_top_has_independent_witnesses(looks: Sequence[Look]) -> None:
    """Rule 4: the top needs two that share nothing; a lone top word is the next lower level and "verify now"."""
    for look in looks:
        evidence = look.decision.evidence
        tops = {
            GROUP[key.partition("|")[2]] for key, v in evidence["votes"].items() if v["counted"] and v["level"] == 3
        } | {
            GROUP[key.partition("@")[0]]
            for key, s in evidence["steps"].items()
            if s["state"] in {"counted", "movement"} and s["level"] == 3
        }
        if look.decision.level == 3 and look.before.level < 3:
            assert len(tops) >= 2, f"red on {tops}"
        if len(tops) == 1:
            assert look.decision.level >= 2
            assert "health:site:lone_top" in look.decision.memory.conditions
        able = {
            GROUP[n]
            for n in MOVERS
            if not look.view.newest.get(f"{n}.displacement")
            or any(look.now_s - seconds(r.observed_at) <= MAX_SILENCE_S for r in usable(look, n))
        }
        if not look.view.draining and len(able) < 2 and all(f"{n}.displacement" in look.view.newest for n in MOVERS):
            assert look.decision.reachable_level < 3
            assert "health:site:reachable" in look.decision.memory.conditions


def check_a_person_is_asked_when_nobody_sees(looks: Sequence[Look]) -> None:
    """Rule 1: "cannot see: decide" opens when sound data of a supporter are missing for long, and only then."""
    for look in looks:
        level, hold_s = look.decision.level, SITE.fusion.hold_when_missing_s
        age_s = {
            n: look.now_s - max((seconds(r.observed_at) for r in usable(look, n)), default=seconds(START))
            for n in MOVERS
        }
        behind = [k.partition("|")[2] for k, v in look.decision.memory.supporters.items() if v >= level > 0]
        asked = "health:site:cannot_see" in look.decision.memory.conditions
        if not look.view.draining and any(age_s.get(n, 0.0) > MAX_SILENCE_S + hold_s for n in behind):
            assert asked, f"{behind} cannot be seen at {look.now}, and nobody is asked"
        if all(age < MAX_SILENCE_S - 3 * STEP_S for age in age_s.values()) and not look.view.draining:
            assert not asked, "all displacements are there, and the service says that it cannot see"


def check_a_backlog_forgets_nothing(looks: Sequence[Look]) -> None:
    """Rules 1 and 3: while a backlog drains no health alarm of a series closes without sound data of it."""
    for look in looks:
        gone = set(look.before.conditions) - set(look.decision.memory.conditions)
        for key in gone if look.view.draining else ():
            assert not key.endswith((":stale", ":cannot_see", ":reachable")), f"{key} closed while a backlog drains"
            if key.endswith(":flagged"):
                place = key.removeprefix("health:").removesuffix(":flagged")
                rows = [r for r in look.view.readings[place] if not r.flags]
                assert rows, key
                assert seconds(rows[-1].observed_at) > look.before.conditions[key].since_s, f"{key} closed by nothing"


def check_recomputes_bit_for_bit(looks: Sequence[Look]) -> None:
    """Rule 9: from its frozen inputs a decision comes out the same, to the last bit."""
    for look in looks[::7]:
        frozen = json.loads(canonical_json({"memory": look.before.to_json(), "view": look.view.to_json()}))
        again = decide.decide(SITE, Memory.read(frozen["memory"]), DecisionInputs.read(frozen["view"]), look.now)
        assert canonical_json(again.to_json()) == canonical_json(look.decision.to_json())


# ---- rule by rule, against a changed history -------------------------------------------------------------------
def check_silence_changes_no_level(_: object = None) -> None:
    """Rule 1: when everything falls silent the level stands for ever, and "cannot see: decide" is told."""
    creeping = [quiet(s, motions={"A": Motion(9.0, 20)}) for s in range(2)]
    for seed, drawn in enumerate([*creeping, *(seeded(s) for s in SEEDS)]):
        history = replace(drawn, steps={}, shift=None, late={})
        looks = run(history, more_epochs=40)
        tail = levels(looks)[EPOCHS:]
        assert set(tail) == {tail[0]}, f"seed {seed}: silence moved the level {tail}"
        assert looks[-1].decision.observability == "blind"
        assert "health:site:cannot_see" in looks[-1].decision.memory.conditions


def check_flagged_data_change_no_level(_: object = None) -> None:
    """Rule 1: broken data neither raise nor lower."""
    for seed in SEEDS:
        history = replace(seeded(seed), steps={}, shift=None, late={}, flagged={})
        rng = random.Random(seed)
        rate = 40.0 if seed % 2 else 0.0  # a smooth lie is worse than a wild one
        wild = [
            (
                seconds(START) + e * STEP_S,
                name,
                reading(
                    seconds(START) + e * STEP_S,
                    seconds(START) + e * STEP_S,
                    rate * (e - EPOCHS) + rng.gauss(0, 1),
                    ("bad_fix",),
                ),
            )
            for e in range(EPOCHS, EPOCHS + 16)
            for name in MOVERS
        ]
        tail = levels(run(history, more_epochs=16, extra=wild))[EPOCHS:]
        assert set(tail) == {tail[0]}, f"seed {seed}: flagged data moved the level {tail}"


def check_a_sick_bystander_changes_nothing(_: object = None) -> None:
    """Rule 3: a declared station that never speaks changes no hazard level of the others."""
    from tests.property.alerting_histories import station

    wider = replace(
        SITE,
        stations=(*SITE.stations, station("Z")),
        criteria=(replace(SITE.criteria[0], stations=(*MOVERS, "Z")), *SITE.criteria[1:]),
    )
    for seed in SEEDS:
        assert levels(run(seeded(seed))) == levels(run(seeded(seed), wider))


def check_a_broken_thermometer_changes_nothing(_: object = None) -> None:
    """Rules 1 and 3: an auxiliary series on a voting station that breaks or is missing silences and blinds nobody."""
    for seed in SEEDS[:3]:
        history = replace(seeded(seed), drains=None)
        well = run(replace(history, auxiliary=dict.fromkeys(AUXILIARY, ("well", 0))))
        for how in ("never", "broken", "silent"):
            looks = run(replace(history, auxiliary=dict.fromkeys(AUXILIARY, (how, 10))))
            assert levels(looks) == levels(well), f"seed {seed}: a thermometer that is {how} changed the level"
            # the piezometer may vote and so may see; the thermometers may not
            looks = run(replace(history, auxiliary={"A": (how, 10), "B": ("well", 0), "C": (how, 10)}))
            for ours, other in zip(looks, well, strict=True):
                assert (ours.decision.observability == "blind") == (other.decision.observability == "blind"), how
                assert ours.decision.reachable_level == other.decision.reachable_level, how
                told = "health:site:cannot_see"
                assert (told in ours.decision.memory.conditions) == (told in other.decision.memory.conditions), how


def check_a_backlog_changes_no_answer(_: object = None) -> None:
    """Rules 3 and 5: while a backlog drains, what was asked about a reference and what was sick stay as they were."""
    together = {n: Motion(30.0, 20) for n in ("C", "D", "K")}
    for seed in range(3):
        plain = quiet(seed, motions=together, noise=0.5)
        looks, drained = run(plain), run(replace(plain, drains=(30, 33)))
        since = [look.decision.memory.common.get("REF") for look in looks]
        assert any(since), "nothing moved as one"
        assert [look.decision.memory.common.get("REF") for look in drained] == since, "the clock began anew"
        sick = replace(quiet(seed, motions={"A": Motion(30.0, 12, 22)}, flagged={"A": (22, EPOCHS)}), drains=(34, 36))
        for look in run(sick)[32:]:
            assert "health:A.displacement:flagged" in look.decision.memory.conditions, "the alarm closed for nothing"
            assert not look.decision.evidence["votes"]["v|A"]["counted"]


def check_broken_data_are_no_sight(_: object = None) -> None:
    """Rule 1: flagged data that go on coming are not seen, and a second one that falls silent starts no new clock."""
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
            asked = [i for i, look in enumerate(looks) if "health:site:cannot_see" in look.decision.memory.conditions]
            assert asked == list(range(39, EPOCHS)), f"{how}, thermometer {name}: asked at {asked}"


def check_one_spike_changes_nothing(_: object = None) -> None:
    """Rule 5: a single 500 mm value changes no hazard level, whatever else happens."""
    for seed in SEEDS[:3]:
        history = replace(seeded(seed), steps={}, spikes={}, shift=None, gaps={}, flagged={}, late={}, motions={})
        calm = levels(run(history))
        for size in (500.0, 28.0):
            spiked = replace(history, spikes={"A": (20 + 3 * seed, size if seed % 2 else -size)})
            assert levels(run(spiked)) == calm, f"seed {seed}, {size} mm"
    # where no step would be asked about and one hit were enough, leaving each epoch out once still protects
    loose = replace(
        SITE,
        stations=tuple(replace(s, series=(replace(s.series[0], verify_step=1e4),)) for s in SITE.stations),
        criteria=(replace(SITE.criteria[0], dwell=Dwell(1, 1)),),
    )
    for seed in SEEDS[:3]:
        assert set(levels(run(quiet(seed, spikes={"A": (30, 500.0)}), loose))) == {0}


def check_a_step_waits_for_its_clock(_: object = None) -> None:
    """Rule 5: a lasting step is no hazard within its clock, and movement after it, until a person says no."""
    for seed in range(4):
        at, size = 20 + seed, 45.0 + 30.0 * seed
        looks = run(quiet(seed, steps={"B": (at, size)}))
        seen = levels(looks)
        clock = round(DAY_S / STEP_S)
        assert set(seen[: at + clock]) == {0}, "believed before its clock was over"
        assert all(level == 1 for level in seen[at + clock :]), "dropped, or believed more than it says"
        assert "health:B:verify" in looks[at].decision.memory.conditions
    # silence after it is movement
    alone = run(quiet(1, steps={"B": (20, 90.0)}, gaps={"B": (21, EPOCHS)}))
    assert max(levels(alone)) == 2, "silence after a step is more than a step"


def check_two_that_jump_wait_for_one_more_epoch(_: object = None) -> None:
    """Rule 5: one bad epoch in two independent stations raises nothing; what stays, goes on or falls silent does."""
    clock, told = round(DAY_S / STEP_S), "health:site:disturbance"
    for seed in range(3):
        size = {"A": (20, 150.0), "B": (20, 120.0 + 40.0 * seed)}
        struck = run(quiet(seed, spikes=size))
        assert set(levels(struck)) == {0}, "a common disturbance raised a level"
        asked = [{"health:A:verify", "health:B:verify"} & set(x.decision.memory.conditions) for x in struck]
        assert [i for i, open_now in enumerate(asked) if open_now] == [20], "asked about at once, and no longer"
        assert [told in x.decision.memory.conditions for x in struck] == [20 < i < 25 for i in range(EPOCHS)], "told"
        stays = run(quiet(seed, steps=size))
        assert levels(stays)[20:23] == [0, 0, 3], "a collapse loses two epochs"
        page = stays[20].decision.memory.conditions["health:A:verify"].reason
        assert "B, which is independent, jumped as well" in page
        onwards = run(quiet(seed, motions={n: Motion(480.0, 20) for n in "AB"}))
        assert levels(onwards)[20:23] == [0, 0, 3], "what goes on at once is no disturbance"
        silent = run(quiet(seed, steps=size, gaps=dict.fromkeys("AB", (21, EPOCHS))))
        assert levels(silent)[20 + clock - 1 : 21 + clock] == [0, 3], "silence is no way back"
        half = run(quiet(seed, steps={"A": size["A"]}, spikes={"B": size["B"]}))
        assert set(levels(half)[: 20 + clock]) == {0}, "the one that stays is alone"
        assert set(levels(half)[20 + clock :]) == {1}
        bold = replace(SITE, fusion=replace(SITE.fusion, fast_track=True))
        assert levels(run(quiet(seed, steps=size), bold))[20] == 3, "the site file chose otherwise"


def check_common_shift_is_verified_not_red(_: object = None) -> None:
    """Rule 5: all rovers of one reference jump and nothing else moves: ask, do not raise; never red."""
    for seed in range(4):
        looks = run(quiet(seed, shift=(22, 50.0 + 10 * seed)))
        seen = levels(looks)
        assert set(seen[: 22 + round(DAY_S / STEP_S)]) == {0}
        assert max(seen) < 3
        assert "health:reference:REF:verify" in looks[22].decision.memory.conditions


def check_dwell_counts_epochs(_: object = None) -> None:
    """Rule 6: votes rise on distinct epochs over the bound, found here by a second, plain computation."""
    for seed in range(3):
        history = quiet(seed, motions={"A": Motion(120.0, 20), "B": Motion(40.0, 18)})
        for look in run(history, ticks=1):
            for word in look.decision.evidence["words"]:
                before = look.before.votes.get(f"v|{word['station']}")
                rose = word["raise_level"] if before is None or word["raise_level"] > before.level else 0
                if rose:
                    assert _epochs_over(look, word["station"], rose) >= 2, "one epoch was counted twice"
    # ticks between the data change nothing
    for seed in SEEDS[:2]:
        history = replace(seeded(seed), steps={}, shift=None)
        assert levels(run(history, ticks=2))[::3] == levels(run(history))


def _epochs_over(look: Look, name: str, level: int) -> int:
    threshold = THRESHOLDS[level - 1]
    assert threshold.window_s is not None
    assert threshold.over is not None
    sound = usable(look, name)
    over = 0
    for end in sound[-3:]:
        inside = [
            r
            for r in sound
            if seconds(end.observed_at) - threshold.window_s < seconds(r.observed_at) <= seconds(end.observed_at)
        ]
        times = [seconds(r.observed_at) for r in inside]
        fit = fit_velocity(times, [r.value for r in inside], [1.0] * len(inside))
        over += fit is not None and fit.low > threshold.over
    return over


def check_advice_moves_no_level(_: object = None) -> None:
    """Rule 7: scores and single footprints change no hazard level, forecasts and images neither."""
    advised = replace(
        SITE,
        criteria=(
            *SITE.criteria,
            Criterion("odd", KINDS["anomaly"], MOVERS, "", (Threshold(3),), role="advice"),
            Criterion("seen", KINDS["scene"], MOVERS, "", (Threshold(3),), role="advice"),
        ),
    )

    def suggest(now_s: float, view: DecisionInputs) -> DecisionInputs:
        scores = tuple(AnomalyFact(n, "displacement", now_s - 60.0, "lstm-ae", 9.0, 1.0, "") for n in MOVERS)
        return replace(
            view,
            anomalies=scores,
            footprints=(FootprintFact("s", now_s - 60.0, "p1", "new", 9e4, "A", 5.0, now_s, near=(("A", 5.0),)),),
        )

    for seed in SEEDS[:3]:
        looks = run(seeded(seed), advised, alter=suggest)
        assert levels(looks) == levels(run(seeded(seed)))
        assert any(k.startswith("advice:odd") for k in looks[-1].decision.memory.conditions)


def check_future_data_are_kept_out(_: object = None) -> None:
    """Rule 8: what is stamped after now changes nothing, though it was received."""
    for seed in SEEDS[:3]:
        history = replace(seeded(seed), late={})
        ahead = [
            (
                seconds(START) + e * STEP_S,
                "A",
                reading(seconds(START) + (e + 60) * STEP_S, seconds(START) + e * STEP_S, 5000.0 + 400.0 * e),
            )
            for e in range(10, EPOCHS)
        ]
        assert levels(run(history, extra=ahead)) == levels(run(history))


def check_offsets_explain_steps(_: object = None) -> None:
    """Rule 11: with the offset entered, the raw step is gone: nothing rises, what was asked is answered."""

    def corrected(now_s: float, view: DecisionInputs) -> DecisionInputs:
        since = instant(seconds(START) + 22 * STEP_S)
        if now_s < seconds(START) + 24 * STEP_S:
            return view  # entered two epochs after it happened
        rows = tuple(
            replace(r, offset_applied=70.0, value=r.value_raw - 70.0) if r.observed_at >= since else r
            for r in view.readings["A.displacement"]
        )
        return replace(view, readings={**view.readings, "A.displacement": rows})

    for seed in range(3):
        looks = run(quiet(seed, steps={"A": (22, 70.0)}), alter=corrected)
        assert set(levels(looks)) == {0}
        assert "health:A:verify" in looks[23].decision.memory.conditions
        assert "health:A:verify" not in looks[25].decision.memory.conditions


RELATIONS: dict[str, Callable[[object], None]] = {
    "silence": check_silence_changes_no_level,
    "flagged": check_flagged_data_change_no_level,
    "bystander": check_a_sick_bystander_changes_nothing,
    "thermometer": check_a_broken_thermometer_changes_nothing,
    "backlog": check_a_backlog_changes_no_answer,
    "sight": check_broken_data_are_no_sight,
    "spike": check_one_spike_changes_nothing,
    "step": check_a_step_waits_for_its_clock,
    "pair": check_two_that_jump_wait_for_one_more_epoch,
    "common": check_common_shift_is_verified_not_red,
    "dwell": check_dwell_counts_epochs,
    "advice": check_advice_moves_no_level,
    "future": check_future_data_are_kept_out,
    "offset": check_offsets_explain_steps,
}


@pytest.mark.parametrize("name", list(RELATIONS))
def test_rule_holds(name):
    RELATIONS[name](None)


def test_late_data_are_used_when_they_arrive_and_leave_the_past_alone():
    """Rule 2: until they come, nothing differs from a gap; then they are in the next look."""
    history = quiet(3, motions={"A": Motion(30.0, 18), "B": Motion(30.0, 18)})
    delayed = replace(history, late={"A": (24, 30, 8)})
    missing = replace(history, gaps={"A": (24, 30)})
    before, after, gap = run(history), run(delayed), run(missing)
    assert levels(after)[:32] == levels(gap)[:32]
    assert [len(look.view.readings["A.displacement"]) for look in after][40] == len(
        before[40].view.readings["A.displacement"]
    )
    assert len(messages(delayed)) == len(messages(history))


def test_no_decision_module_reads_a_clock_or_uses_arrays():
    """Rules 8 and 9: decisions take `now`, and are plain float64 Python."""
    folder = Path(decide.__file__).parent
    for path in [*folder.rglob("*.py"), Path(records.__file__)]:
        text = path.read_text()
        for word in ("datetime.now", "time.time", "utcnow", "import numpy", "import pandas", "import random"):
            assert word not in text, f"{path.name}: {word}"


# ---- one broken variant per rule: the same checks must catch it ------------------------------------------------
def _always(check: Check, sample: Sequence[History]) -> Callable[[object], None]:
    def over_sample(_: object) -> None:
        for history in sample:
            check(run(history))

    return over_sample


def _clear_when_missing(key, level, votes, steps_, fresh, pended):
    return key not in fresh or votes[key].level < level


def _vote_of_reception(windows, words, criteria, steps_):
    found = ORIGINAL_VOTES(windows, words, criteria, steps_)
    return {k: replace(v, valid_until_s=v.valid_until_s + 30 * DAY_S) for k, v in found.items()}


def _whole_station(site, key, steps_):
    station = site.station(key.station)
    return [] if station is None else [(station.id, s.quantity) for s in station.series]


def _same_epoch_again(criterion, times_s, answered_s):
    return (times_s[-1],) * criterion.dwell.of


def _rounded(r):
    row = ORIGINAL_SPELL(r)
    return [*row[:5], round(row[5], 2), *row[6:]]


def _raw(row):
    return ORIGINAL_COMPONENTS([replace(r, value=r.value_raw) for r in row])


def _tolerant(item, spec, quantity, at_s, now_s):
    return "stamped in the future" if at_s > now_s else None


def _timeless(item, spec, quantity, at_s, now_s):
    return f"flag {item.flags[0]}" if item.flags else None


ORIGINAL_VOTES, ORIGINAL_SPELL, ORIGINAL_COMPONENTS = decide.update_votes, records._reading_to_json, tracks._values
FALLING = [
    quiet(s, motions={"A": Motion(9.0, 16, 30), "B": Motion(9.0, 16, EPOCHS)}, gaps={"B": (32, EPOCHS)})
    for s in range(4)
]
STALE = [quiet(s, motions={"A": Motion(9.0, 16, EPOCHS)}, gaps={"A": (30, EPOCHS)}) for s in range(2)]
SICK = [quiet(s, motions={"A": Motion(9.0, 16, EPOCHS)}, flagged={"A": (30, EPOCHS)}) for s in range(2)]
DEPENDENT = [quiet(s, motions={"C": Motion(150.0, 16, 30), "D": Motion(100.0, 16, 30)}) for s in range(2)]

MUTANTS = {
    "1 missing data lower": (
        decide,
        "is_clear",
        _clear_when_missing,
        _always(check_lowering_needs_fresh_word, FALLING),
    ),
    "1 silence lowers": (decide, "is_clear", _clear_when_missing, check_silence_changes_no_level),
    "1 flagged data count": (tracks, "_fault", _tolerant, check_flagged_data_change_no_level),
    "1 nobody is told": (conditions, "_list_sight", lambda *_: {}, check_silence_changes_no_level),
    "1 broken data are sight": (
        decide,
        "_unseen_since",
        lambda w, place, sense: min(w.now_s, decide._deadline(w, place, sense.newest_s)),
        check_broken_data_are_no_sight,
    ),
    "1 a backlog forgets": (station_health, "_find_lasting", lambda *_: None, check_a_backlog_changes_no_answer),
    "3 a thermometer silences its station": (
        decide,
        "series_behind",
        _whole_station,
        check_a_broken_thermometer_changes_nothing,
    ),
    "2 votes never age": (decide, "update_votes", _vote_of_reception, _always(check_votes_age_with_their_data, STALE)),
    "3 sick votes count": (decide, "find_pending_reasons", lambda *_: {}, _always(check_sick_votes_are_pended, SICK)),
    "4 everybody is independent": (
        prepare,
        "find_groups",
        lambda site: {s.id: s.id for s in site.stations},
        _always(check_top_has_independent_witnesses, DEPENDENT),
    ),
    "5 steps are believed": (tracks, "verify_step", lambda *_: None, check_a_step_waits_for_its_clock),
    "5 steps are dropped": (steps, "_why_it_counts", lambda *_: None, check_a_step_waits_for_its_clock),
    "5 a pair is believed at once": (
        steps,
        "is_confirmed",
        lambda *_: True,
        check_two_that_jump_wait_for_one_more_epoch,
    ),
    "5 what goes on came back": (
        steps,
        "list_unresolved",
        lambda *_: set(),
        check_two_that_jump_wait_for_one_more_epoch,
    ),
    "5 a disturbance is told to nobody": (
        paired_steps,
        "_list_disturbances",
        lambda *_: {},
        check_two_that_jump_wait_for_one_more_epoch,
    ),
    "5 references are trusted": (decide, "find_common", lambda *_: ({}, {}), check_common_shift_is_verified_not_red),
    "5 one value decides": (
        velocity,
        "is_over",
        lambda fits, bound, *_: any(fit.rate > bound for fit in fits),
        check_one_spike_changes_nothing,
    ),
    "6 ticks count": (velocity, "dwell_epochs", _same_epoch_again, check_dwell_counts_epochs),
    "7 advice votes": (
        prepare,
        "find_witness_criteria",
        lambda site: {c.id: c for c in site.criteria},
        check_advice_moves_no_level,
    ),
    "8 the future counts": (tracks, "_fault", _timeless, check_future_data_are_kept_out),
    "9 inputs are rounded": (records, "_reading_to_json", _rounded, _always(check_recomputes_bit_for_bit, DEPENDENT)),
    "11 offsets are ignored": (tracks, "_values", _raw, check_offsets_explain_steps),
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_broken_variant_of_the_rule_is_caught(name, monkeypatch):
    module, attribute, broken, check = MUTANTS[name]
    if check not in RELATIONS.values():
        check(None)
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises((AssertionError, KeyError)):
        check(None)
