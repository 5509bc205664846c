"""Rules of the domain as checks on a series of decisions, and a slope that uses every feature of the decision."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from forecasting.kinematics.velocity import fit_velocity
from monitor.canonical import canonical_json
from monitor.decision import decide
from monitor.decision.changes import AlertCategory
from monitor.decision.common_silence import SILENT_SLOPE
from monitor.decision.criteria.kinds.earthquake import find_bound_factor
from monitor.decision.keys import read_supporter
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import AnomalyFact, DecisionInputs, EventFact, FootprintFact, MaintenanceFact, Memory
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.sites.fusion import Clause, FusionRule, Neighbours
from monitor.sites.records import Criterion, SeriesSpec, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s
from tests.data.criteria import KINDS
from tests.property.alerting_histories import (
    AUXILIARY,
    DAY_S,
    GROUP,
    MAX_SILENCE_S,
    MOVERS,
    SITE,
    START,
    STEP_S,
    VALID_S,
    History,
    Look,
    draw_history,
    levels,
    reading,
    run,
    station,
    usable,
)

EPOCHS = 34
TAIL = 5  # epochs of silence after each history
FIRST_LOOK = 5  # First epoch with a decision. Before it, no window contains enough readings for a fit.
ADVICE = 2  # epochs with advice before any other change
STRICTER_S = 3 * DAY_S  # after an earthquake
RAIN_WINDOW_S, RAIN_BOUND_MM, RAIN_RECOVER = 2 * DAY_S, 60.0, 0.7
GAUGE = Station("R", series=(SeriesSpec("R", "rain", "mm", STEP_S, MAX_SILENCE_S),))
VELOCITY = replace(SITE.criteria[0], fast_track=3.0)
RAIN = Criterion(
    "r",
    KINDS["rain_sum"],
    ("R",),
    "rain",
    (Threshold(1, over=RAIN_BOUND_MM, window_s=RAIN_WINDOW_S),),
    recover=RAIN_RECOVER,
    valid_for_s=VALID_S,
)
QUAKE = Criterion(
    "q",
    KINDS["earthquake"],
    (),
    "",
    (Threshold(1, over=0.1),),
    role="advice",
    valid_for_s=2 * DAY_S,
    params=(("lower_for_s", STRICTER_S), ("lower_to", 0.5)),
)
PARTS = (Clause("votes", criterion="v", witnesses=MOVERS), Clause("votes", criterion="r", witnesses=("R",)))
WET = FusionRule("wet", 2, Clause("all", PARTS))
FULL = replace(
    SITE,
    stations=(*SITE.stations, GAUGE),
    criteria=(VELOCITY, SITE.criteria[1], RAIN, QUAKE),
    version="full",
    fusion=replace(SITE.fusion, rules=(WET,), neighbours=Neighbours(above=2, step_m=50.0)),
)
ADVISED = replace(
    FULL,
    stations=(*FULL.stations, station("Z")),
    version="advised",
    criteria=(
        replace(VELOCITY, stations=(*MOVERS, "Z")),
        *FULL.criteria[1:],
        Criterion("odd", KINDS["anomaly"], MOVERS, "", (Threshold(3),), role="advice"),
        Criterion("seen", KINDS["scene"], MOVERS, "", (Threshold(3),), role="advice"),
    ),
)
Message = tuple[float, str, Reading]


@dataclass(frozen=True, slots=True)
class Story:
    """A history of the whole slope: motion, faults, rain, maintenance and an earthquake."""

    history: History
    rain: tuple[float, ...]  # mm by epoch
    dry_gauge: tuple[int, int]  # epochs without readings of the gauge
    broken_gauge: tuple[int, int]  # epochs at which its readings are flagged
    maintenance: tuple[MaintenanceFact, ...] = ()
    quake: EventFact | None = None
    extra: tuple[Message, ...] = field(default=(), compare=False)

    def messages(self) -> list[Message]:
        """Return the readings of the gauge and the extra messages, in addition to those of the stations."""
        result = list(self.extra)
        for epoch, amount in enumerate(self.rain):
            if not self.dry_gauge[0] <= epoch < self.dry_gauge[1]:
                at_s = at_of(epoch)
                wrong = self.broken_gauge[0] <= epoch < self.broken_gauge[1]
                result.append(
                    (at_s, "R.rain", reading(at_s, at_s, 200.0 if wrong else amount, ("stuck",) if wrong else ()))
                )
        return result

    def see(self, now_s: float, inputs: DecisionInputs) -> DecisionInputs:
        """Return the inputs with the maintenance and the earthquake that are known at `now_s`."""
        quake = self.quake
        return replace(
            inputs,
            maintenance=tuple(m for m in self.maintenance if m.from_s <= now_s),
            events=() if quake is None or quake.received_s > now_s else (quake,),
        )


def at_of(epoch: float) -> float:
    return epoch_s(START) + epoch * STEP_S


def draw_story(seed: int) -> Story:
    """Return the story of a seed."""
    rng = random.Random(seed)
    pick = rng.randint
    rain = [0.0] * EPOCHS
    if pick(0, 1):
        begin, amount = pick(4, EPOCHS - 8), pick(4, 40)
        for epoch in range(begin, begin + pick(2, 8)):
            rain[epoch] = float(amount)
    begin = pick(4, EPOCHS - 4)
    dry_gauge = (begin, begin + pick(1, 12)) if pick(0, 2) == 0 else (EPOCHS, 0)
    begin = pick(4, EPOCHS - 4)
    broken_gauge = (begin, begin + pick(1, 12)) if pick(0, 5) == 0 else (EPOCHS, 0)
    maintenance = ()
    if pick(0, 2) == 0:
        begin = pick(8, EPOCHS - 8)
        name, to_s, second = MOVERS[pick(0, 3)], at_of(begin + pick(4, 16)), ("bob", "Ada", None)[pick(0, 2)]
        maintenance = (MaintenanceFact(name, at_of(begin), to_s, "ada", second, "bolt"),)
    quake = None
    if pick(0, 3) == 0:
        begin = pick(8, EPOCHS - 6)
        at_s, known_s, value = at_of(begin), at_of(begin + pick(0, 2)), pick(5, 40) / 100.0
        quake = EventFact(at_s, at_s, known_s, "earthquake", value, "M", "usgs", 1, "mqtt")
    history = draw_history(pick, EPOCHS)
    if pick(0, 5) == 0:  # One bad epoch of two independent stations. In half of the stories it is a lasting step.
        at, field_name = pick(12, EPOCHS - 4), ("spikes", "steps")[pick(0, 1)]
        sizes = {name: (at, float(pick(40, 300))) for name in rng.choice((("A", "B"), ("A", "C"), ("B", "D")))}
        history = replace(history, **{field_name: {**getattr(history, field_name), **sizes}})
    return Story(history, tuple(rain), dry_gauge, broken_gauge, maintenance, quake)


def play(
    story: Story,
    site=FULL,
    *,
    ticks: int = 0,
    alter: Callable[[float, DecisionInputs], DecisionInputs] | None = None,
    start: tuple[int, Memory] = (FIRST_LOOK, Memory()),
) -> list[Look]:
    """Decide through a story and the silence after it, from an epoch on and with the memory of that epoch."""

    def see(now_s: float, inputs: DecisionInputs) -> DecisionInputs:
        inputs = story.see(now_s, inputs)
        return inputs if alter is None else alter(now_s, inputs)

    return run(
        story.history,
        site,
        ticks=ticks,
        more_epochs=TAIL,
        alter=see,
        extra=story.messages(),
        warm=EvaluationCache(),
        start=start,
    )


def _sound(look: Look, name: str) -> list[Reading]:
    if name == "R":
        return [r for r in look.inputs.readings.get("R.rain", ()) if not r.flags and r.observed_at <= look.now]
    return usable(look, name)


def _is_heard(look: Look, name: str) -> bool:
    sound = _sound(look, name)
    return bool(sound) and look.now_s - epoch_s(sound[-1].observed_at) <= MAX_SILENCE_S


def law_1_level_falls_only_on_recent_data(looks: Sequence[Look]) -> None:
    """A level falls only with recent unflagged readings of all supporters. Data never lower the two highest levels."""
    for look in looks:
        before, after = look.before.level, look.decision.level
        if after >= before:
            continue
        assert SITE.levels[before].auto_lower, "a high level fell without an operator"
        for key, requested_level in look.before.supporters.items():
            if requested_level < before or key.startswith("step|"):
                continue
            # A combination rule no longer holds as soon as recent data contradict one of its parts.
            names = (*MOVERS, "R") if key.startswith("rule|") else (read_supporter(key).station,)
            assert any(_is_heard(look, name) for name in names), f"the level fell although {key} was silent or flagged"


def law_1_silence_lowers_no_level(looks: Sequence[Look]) -> None:
    """After the last reading no level falls. A level rises only when a deadline passes or maintenance ends."""
    tail = looks[-TAIL:]
    tail_levels, start = levels(tail), tail[0].before
    ends_s = [m.to_s for look in tail for m in look.inputs.maintenance]
    ends_s += [at_s + STRICTER_S for look in tail for e in look.inputs.events for at_s in (e.from_s, e.to_s)]
    late_s = [epoch_s(r.received_at) for rows in tail[-1].inputs.readings.values() for r in rows[-12:]]
    # A level may fall when maintenance or stricter bounds end, or when late readings arrive.
    comes = any(at_s >= tail[0].now_s for at_s in late_s) or any(at_s >= tail[0].now_s - STEP_S for at_s in ends_s)
    if not comes:
        assert tail_levels == sorted(tail_levels), f"silence lowered {tail_levels}"
    waits = comes or start.steps or start.common or start.asked or any(look.inputs.maintenance for look in tail)
    if not waits:
        assert len(set(tail_levels[1:])) <= 1, f"silence raised {tail_levels}"


def law_1_missing_data_open_an_alert(looks: Sequence[Look]) -> None:
    """The alert "cannot see: decide" opens if and only if unflagged data of all supporters are missing for long."""
    hold_s = SITE.fusion.hold_when_missing_s
    for look in looks:
        level = look.decision.level
        age_s = {
            n: look.now_s - max((epoch_s(r.observed_at) for r in _sound(look, n)), default=epoch_s(START))
            for n in (*MOVERS, "R")
        }
        supporting_stations = {k.station for k, v in look.decision.memory.supporters.items() if v >= level > 0}
        is_open = "health:site:cannot_see" in look.decision.memory.conditions
        if (
            not look.inputs.draining
            and supporting_stations
            and all(age_s.get(n, 0.0) > MAX_SILENCE_S + hold_s for n in supporting_stations)
        ):
            assert is_open, f"no data of {supporting_stations} at {look.now}, and no alert asks for a decision"
        # A velocity needs three epochs after a long gap.
        has_velocity_data = all(
            len(s := _sound(look, n)) > 2 and look.now_s - epoch_s(s[-3].observed_at) < MAX_SILENCE_S
            for n in (*MOVERS, "R")
        )
        if (
            has_velocity_data
            and all(age < MAX_SILENCE_S - 3 * STEP_S for age in age_s.values())
            and not look.inputs.draining
        ):
            assert not is_open, "the alert is open although all data are present"


def law_2_votes_age_with_their_data(looks: Sequence[Look]) -> None:
    """A counted vote is not older than its validity, and its data are not newer than the newest reading."""
    for look in looks:
        for key, vote in look.decision.evidence["votes"].items():
            name = key.partition("|")[2]
            if name not in (*MOVERS, "R") or key.startswith("p|") or vote["level"] == 0:
                continue
            sound = _sound(look, name)
            if sound:
                assert vote["newest_s"] <= epoch_s(sound[-1].observed_at), f"{key} is newer than its data"
            if vote["counted"]:
                assert look.now_s <= vote["newest_s"] + VALID_S, f"{key} counted beyond its validity"
                assert sound, f"{key} counted without any data"
                assert look.now_s - epoch_s(sound[-1].observed_at) <= VALID_S, f"{key} counted beyond its validity"


def law_3_votes_of_faulty_instruments_do_not_count(looks: Sequence[Look]) -> None:
    """Votes of faulty instruments do not count, those of healthy ones do. Only the hazard has the hazard ledger."""
    for look in looks:
        open_now = look.decision.memory.conditions
        for key, vote in look.decision.evidence["votes"].items():
            criterion, _, name = key.partition("|")
            series = f"{name}.{ {'v': 'displacement', 'r': 'rain'}.get(criterion) or AUXILIARY[name][0] }"
            sick = any(f"health:{series}:{state}" in open_now for state in ("flagged", "stuck"))
            if vote["level"] > 0 and sick:
                assert not vote["counted"], f"{key} counted although its instrument is faulty"
                assert vote["pended"], "the vote is set aside without a reason"
            elif vote["level"] > 0 and name not in {"C", "D"} and SILENT_SLOPE not in open_now:
                assert "maintenance" in (vote["pended"] or "maintenance"), f"{key}: {vote['pended']} although healthy"
        for change in look.decision.changes:
            assert (change.ledger == AlertCategory.HAZARD) == (change.key == "hazard")


def law_4_top_level_has_independent_witnesses(looks: Sequence[Look]) -> None:
    """The top level needs two independent witnesses. A single one leads to the next lower level and "verify now"."""
    for look in looks:
        evidence = look.decision.evidence
        tops = {
            GROUP[key.partition("|")[2]]
            for key, v in evidence["votes"].items()
            if v["counted"] and v["level"] == 3 and "capped" not in v
        } | {
            GROUP[key.partition("@")[0]]
            for key, s in evidence["steps"].items()
            if s["state"] in {"counted", "movement"} and s["level"] == 3 and "pended" not in s
        }
        if look.decision.level == 3 and look.before.level < 3:
            assert len(tops) >= 2, f"red with the witnesses {tops} only"
        if len(tops) == 1:
            assert look.decision.level >= 2
            assert "health:site:lone_top" in look.decision.memory.conditions
        able = {GROUP[n] for n in MOVERS if not look.inputs.newest.get(f"{n}.displacement") or _is_heard(look, n)}
        if (
            not look.inputs.draining
            and len(able) < 2
            and all(f"{n}.displacement" in look.inputs.newest for n in MOVERS)
        ):
            assert look.decision.reachable_level < 3
            assert {"health:site:reachable", SILENT_SLOPE} & look.decision.memory.conditions.keys()


def law_5_step_counts_after_its_deadline(looks: Sequence[Look]) -> None:
    """A pending step requests no level. It counts after its deadline, for at most the level of its size."""
    for look in looks:
        before, after = look.before.steps, look.decision.memory.steps
        for key, step in after.items():
            requested_level = look.decision.evidence["steps"][key]["level"]
            assert requested_level <= step.level
            if step.state in {"pending", "event", "instrument"}:
                assert requested_level == 0, f"{key} requests {requested_level} in state {step.state}"
            if step.state == "counted":
                assert requested_level <= 1, "no operator confirmed movement"
                assert look.now_s >= step.known_s + SITE.fusion.verify_within_s, f"{key} counted before its deadline"
            if step.state == "pending":
                assert look.now_s < step.known_s + SITE.fusion.verify_within_s, f"{key} is pending after its deadline"
        # Only an explanation removes a step that counts.
        for key, step in before.items():
            if step.state in {"counted", "movement"}:
                assert key in after, f"{key} was dropped"


def law_5_pair_counts_after_another_reading(looks: Sequence[Look]) -> None:
    """Steps of two independent stations at one epoch count after another reading of each, or after the deadline."""
    for look in looks:
        for key, step in look.decision.memory.steps.items():
            was = look.before.steps.get(key)
            if "which is independent" not in step.reason or (was is not None and was.state == "movement"):
                continue
            later = [r for r in usable(look, key.partition("@")[0]) if epoch_s(r.observed_at) > step.at_s]
            is_over = look.now_s >= step.known_s + SITE.fusion.verify_within_s
            assert later or is_over, f"{key} counted after a single epoch"


def law_6_vote_rises_after_its_dwell(looks: Sequence[Look]) -> None:
    """A vote rises on two epochs above its bound or on one far above it.

    The velocities are computed a second time in a simple way.
    """
    for look in looks:
        for word in look.decision.evidence["words"]:
            if word["criterion"] != "v" or word["raise_level"] == 0:
                continue
            name = word["station"]
            before, sound = look.before.votes.get(f"v|{name}"), usable(look, name)
            # The simple computation differs where readings were set aside or a step was removed.
            plain = word["facts"]["epochs"] == len(sound) and all(
                not k.startswith(f"{name}@") for k in look.decision.memory.steps
            )
            if not plain or (before is not None and word["raise_level"] <= before.level):
                continue
            bound = next(b for b in word["facts"]["bounds"] if b["level"] == word["raise_level"])
            over = [low for low in _find_lows(sound, bound["window_s"]) if low > bound["bound"]]
            far = bool(over) and over[-1] > 3.0 * bound["bound"]
            assert len(over) >= 2 or far, f"the vote of {name} rose on {over} above {bound['bound']}"


def _find_lows(sound: Sequence[Reading], window_s: float) -> Iterator[float]:
    for end in sound[-3:]:
        end_s = epoch_s(end.observed_at)
        inside = [r for r in sound if end_s - window_s < epoch_s(r.observed_at) <= end_s]
        fit = fit_velocity([epoch_s(r.observed_at) for r in inside], [r.value for r in inside], [1.0] * len(inside))
        if fit is not None:
            yield fit.low


def law_9_decision_is_reproducible(looks: Sequence[Look], site=FULL) -> None:
    """A decision from its stored inputs, without any cache, is identical to the last bit."""
    changed = [look for look in looks if look.decision.changes]
    for look in (looks[len(looks) // 2], *changed[-1:]):
        frozen = json.loads(canonical_json({"memory": look.before.to_json(), "view": look.inputs.to_json()}))
        again = decide.decide(
            PreparedSite(site), Memory.read(frozen["memory"]), DecisionInputs.read(frozen["view"]), look.now
        )
        assert canonical_json(again.to_json()) == canonical_json(look.decision.to_json())


def law_14_low_coverage_lowers_no_rain_vote(looks: Sequence[Look]) -> None:
    """A rain vote agrees with a simple sum. With a low coverage of the gauge it may rise but not fall."""
    for look in looks:
        vote, before = look.decision.memory.votes.get("r|R"), look.before.votes.get("r|R")
        sound = _sound(look, "R")
        if vote is None or not sound:
            continue
        end_s = epoch_s(sound[-1].observed_at)
        inside = [r.value for r in sound if epoch_s(r.observed_at) > end_s - RAIN_WINDOW_S + 0.5 * STEP_S]
        factor = find_bound_factor(FULL, look.inputs, look.now_s)
        total, coverage = sum(inside), len(inside) * STEP_S / RAIN_WINDOW_S
        was = 0 if before is None else before.level
        if vote.level > was:
            assert total > factor * RAIN_BOUND_MM, f"the rain vote rose on {total} mm"
        if vote.level < was:
            assert coverage >= 0.8, f"the rain vote fell at a coverage of {coverage:.2f}"
            assert total < RAIN_RECOVER * factor * RAIN_BOUND_MM, f"the rain vote fell on {total} mm"


def law_15_nobody_alone_hides_a_high_level(looks: Sequence[Look]) -> None:
    """Maintenance by one person sets aside votes below the two highest levels; by two people, below the highest."""
    for look in looks:
        covers = [m for m in look.inputs.maintenance if m.from_s <= look.now_s < m.to_s]
        for key, vote in look.decision.evidence["votes"].items():
            if not (vote["pended"] or "").startswith("maintenance"):
                continue
            mine = [m for m in covers if m.station == key.partition("|")[2]]
            assert mine, f"{key} is set aside without declared maintenance"
            two = any(m.second_by and m.second_by.casefold() != m.by.casefold() for m in mine)
            assert vote["level"] < (3 if two else 2), f"{key}: one person hides level {vote['level']}"


Law = Callable[[Sequence[Look]], None]
LAWS: tuple[Law, ...] = (
    law_1_level_falls_only_on_recent_data,
    law_1_silence_lowers_no_level,
    law_1_missing_data_open_an_alert,
    law_2_votes_age_with_their_data,
    law_3_votes_of_faulty_instruments_do_not_count,
    law_4_top_level_has_independent_witnesses,
    law_5_step_counts_after_its_deadline,
    law_5_pair_counts_after_another_reading,
    law_6_vote_rises_after_its_dwell,
    law_9_decision_is_reproducible,
    law_14_low_coverage_lowers_no_rain_vote,
    law_15_nobody_alone_hides_a_high_level,
)


def play_changed(story: Story, looks: Sequence[Look]) -> list[Look]:
    """Play the story again with additions that must not change the level.

    These are advice, data from the future, an offset and flagged data.
    """
    rng = random.Random(story.history.seed)
    ahead = sorted(rng.sample(range(EPOCHS - 8, EPOCHS), 2))
    # A station whose clock is far ahead.
    extra: list[Message] = [(at_of(epoch), "A", reading(at_of(epoch + 90), at_of(epoch), 5000.0)) for epoch in ahead]
    offset = _choose_offset(story, rng)
    if not looks[EPOCHS - FIRST_LOOK].before.steps:
        rate = rng.choice((0.0, 40.0))  # smooth wrong values are harder to detect than wild ones
        for epoch in range(EPOCHS, EPOCHS + TAIL):
            for name in MOVERS:
                value = rate * (epoch - EPOCHS) + rng.gauss(0.0, 1.0)
                extra.append((at_of(epoch), name, reading(at_of(epoch), at_of(epoch), value, ("bad_fix",))))

    def suggest(now_s: float, inputs: DecisionInputs) -> DecisionInputs:
        scores = tuple(AnomalyFact(n, "displacement", now_s - 60.0, "lstm-ae", 9.0, 1.0, "") for n in MOVERS)
        scene = (FootprintFact("s", now_s - 60.0, "p1", "new", 9e4, "A", 5.0, now_s, near=(("A", 5.0),)),)
        inputs = replace(inputs, anomalies=scores, footprints=scene)
        return inputs if offset is None else offset.apply(inputs)

    # Both runs are equal until the first change, so the changed run starts there with the memory of the plain one.
    first = ahead[0] if offset is None else min(ahead[0], round((offset.from_s - at_of(0)) / STEP_S))
    begin = max(FIRST_LOOK, first - ADVICE)
    before = looks[begin - FIRST_LOOK].before
    return play(replace(story, extra=tuple(extra)), ADVISED, alter=suggest, start=(begin, before))


def _choose_offset(story: Story, rng: random.Random) -> "Offset | None":
    """Choose a station without other jumps, and the time and size of its offset. Return None if there is none."""
    jumping = {
        *story.history.steps,
        *story.history.spikes,
    }  # an offset at the epoch of a step would answer its question
    free = [n for n in MOVERS if n not in jumping and (story.history.shift is None or n in "AB")]
    if not free:
        return None
    name = rng.choice(free)
    # Before or during the motion: earlier epochs are not replayed.
    begin = rng.randint(8 if story.history.seed % 3 == 0 else 18, EPOCHS - 4)
    return Offset(name, at_of(begin), rng.choice((-1.0, 1.0)) * rng.randint(40, 400))


@dataclass(slots=True)
class Offset:
    """A jump of the raw values of a station, with an offset that is declared at once."""

    name: str
    from_s: float
    size: float
    made: dict[int, tuple[Reading, Reading]] = field(
        default_factory=dict
    )  # corrected readings, so that each stays the same object

    def apply(self, inputs: DecisionInputs) -> DecisionInputs:
        key, since = f"{self.name}.displacement", from_epoch_s(self.from_s)
        rows = tuple(r if r.observed_at < since else self._correct(r) for r in inputs.readings.get(key, ()))
        return replace(inputs, readings={**inputs.readings, key: rows})

    def _correct(self, r: Reading) -> Reading:
        if id(r) not in self.made:
            raw = r.value_raw + self.size
            self.made[id(r)] = (r, replace(r, value_raw=raw, offset_applied=self.size, value=raw - self.size))
        return self.made[id(r)][1]


def check_changed(story: Story, looks: Sequence[Look]) -> None:
    """Rules 1, 3, 7, 8 and 11: the level is the same at every decision, and the advice is open."""
    changed = play_changed(story, looks)
    assert levels(changed) == levels(looks)[-len(changed) :], "advice, offsets or unusable data changed the level"
    assert any(k.startswith("advice:odd") for k in changed[-1].decision.memory.conditions)


@dataclass(slots=True)
class Statistics:
    """Number of stories in which each kind of event occurred."""

    count: int = 0
    occurrences: dict[str, int] = field(default_factory=dict)

    def note(self, story: Story, looks: Sequence[Look]) -> None:
        """Count the events of one history."""
        hazard_levels = levels(looks)
        facts: Mapping[str, object] = {
            "top": max(hazard_levels) == 3,
            "gaps": story.history.gaps,
            "down": any(b < a for a, b in pairwise(hazard_levels)),
            "verify": any(":verify" in k for look in looks for k in look.decision.memory.conditions),
            "rain": any(v.level for look in looks for k, v in look.decision.memory.votes.items() if k == "r|R"),
            "rule": any(k.startswith("rule|") for look in looks for k in look.decision.memory.supporters),
            "fast": any(
                "a single reading is enough" in vote.reason
                for look in looks
                for vote in look.decision.memory.votes.values()
            ),
            "lowered": any("bounds" in look.decision.evidence for look in looks),
            "covered": any(
                (v["pended"] or "").startswith("maintenance")
                for look in looks
                for v in look.decision.evidence["votes"].values()
            ),
            "alone": any(look.decision.memory.asked for look in looks),
            "pair": any("which is independent" in s.reason for x in looks for s in x.decision.memory.steps.values()),
            "disturbed": any("health:site:disturbance" in look.decision.memory.conditions for look in looks),
        }
        self.count += 1
        for name, fact in facts.items():
            self.occurrences[name] = self.occurrences.get(name, 0) + bool(fact)

    def share(self, name: str) -> float:
        return self.occurrences.get(name, 0) / max(1, self.count)


def check_story(seed: int, statistics: Statistics | None = None) -> None:
    """Check one story against every law, and again with additions that must not change the level."""
    story = draw_story(seed)
    looks = play(story)
    for law in LAWS:
        try:
            law(looks)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {law.__name__}: {error}") from error
    try:
        check_changed(story, looks)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    if statistics is not None:
        statistics.note(story, looks)
