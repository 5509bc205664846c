"""Random histories of a small slope and the decisions on them, for the tests of the rules of the domain."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from monitor.decision import decide as decide_module
from monitor.decision.criteria.scope import find_load_start
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series.assessment import EvaluationCache
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Fusion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s, parse_time
from tests.data.criteria import KINDS

START = parse_time("2026-01-01T00:00:00Z")
STEP_S = 6 * 3600.0
DAY_S = 86400.0
EPOCHS = 48
RESTART = 5  # number of decisions between two restarts
MAX_SILENCE_S = 2 * DAY_S
VALID_S = 3 * DAY_S
SPAN_S = 6 * DAY_S
MOVERS = ("A", "B", "C", "D")
THRESHOLDS = (
    Threshold(1, over=4.0, window_s=3 * DAY_S),
    Threshold(2, over=16.0, window_s=2 * DAY_S),
    Threshold(3, over=60.0, window_s=1.5 * DAY_S),
)


AUXILIARY = {"A": ("temperature", "degC"), "B": ("pore_pressure", "kPa"), "C": ("temperature", "degC")}


def station(name: str, reference: str | None = None, *, on_slope: bool = True) -> Station:
    specs = [SeriesSpec(name, "displacement", "mm", STEP_S, MAX_SILENCE_S, 1.0, 30.0)]
    if name in AUXILIARY:
        specs.append(SeriesSpec(name, *AUXILIARY[name], STEP_S, MAX_SILENCE_S, 0.0, None))
    return Station(
        name, 46.0, 8.0, azimuth_deg=90.0, plunge_deg=0.0, reference=reference, on_slope=on_slope, series=tuple(specs)
    )


LEVELS = tuple(Level(i, name, i < 2) for i, name in enumerate(("green", "yellow", "orange", "red")))
STATIONS = (station("A"), station("B"), station("C", "REF"), station("D", "REF"), station("K", "REF", on_slope=False))
RULE = {"dwell": Dwell(2, 3, 2 * DAY_S), "recover": 0.6, "valid_for_s": VALID_S}
CRITERIA = (
    Criterion("v", KINDS["velocity"], MOVERS, "displacement", THRESHOLDS, **RULE),
    Criterion("p", KINDS["level"], ("B",), "pore_pressure", (Threshold(1, over=1000.0),), valid_for_s=VALID_S),
)
FUSION = Fusion(hold_when_missing_s=3 * DAY_S, verify_within_s=DAY_S)
SITE = Site("slope", "Slope", 46.0, 8.0, "UTC", LEVELS, STATIONS, CRITERIA, fusion=FUSION, version="v1")
GROUP = {"A": "A", "B": "B", "C": "REF", "D": "REF"}


class Chooser(Protocol):
    """Function that draws an integer: from hypothesis, or from a seeded generator."""

    def __call__(self, low: int, high: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of one station: a rate in mm/day between two epochs, and no motion before and after."""

    rate: float = 0.0
    from_epoch: int = 0
    to_epoch: int = EPOCHS


@dataclass(frozen=True, slots=True)
class History:
    """Motion of the slope and faults of its instruments, by station."""

    seed: int
    motions: dict[str, Motion] = field(default_factory=dict)
    gaps: dict[str, tuple[int, int]] = field(default_factory=dict)
    flagged: dict[str, tuple[int, int]] = field(default_factory=dict)
    steps: dict[str, tuple[int, float]] = field(default_factory=dict)  # epoch and size of a lasting step, mm
    spikes: dict[str, tuple[int, float]] = field(default_factory=dict)
    late: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # first and last epoch, delay in epochs
    shift: tuple[int, float] | None = None  # epoch and size of a jump of the reference REF, mm
    auxiliary: dict[str, tuple[str, int]] = field(default_factory=dict)  # state of the series from an epoch on
    drains: tuple[int, int] | None = None  # first and last epoch at which a backlog drains
    noise: float = 1.0
    epochs: int = EPOCHS


def draw_history(pick: Chooser, epochs: int = EPOCHS) -> History:
    """Draw a history with frequent motion and faults. In a short history the motion starts earlier."""
    first, lasts, slow = (14, (8, 12), 5) if epochs == EPOCHS else (14 - (EPOCHS - epochs) // 2, (5, 8), 6)
    motions, gaps, flagged, steps, spikes, late = {}, {}, {}, {}, {}, {}
    story = pick(0, 9)
    for index, name in enumerate(MOVERS):
        moves = story >= 3 and (index < 2 or pick(0, 2) == 0)
        if moves:
            # In the first stories with movement, the level stays below orange and can fall after the motion.
            rate = 9.0 if story < slow else (30.0, 120.0)[pick(0, 1)] if story < 7 else 120.0
            begin = pick(first, first + 4)
            motions[name] = Motion(rate, begin, begin + pick(*lasts) if story < slow or pick(0, 2) else epochs)
        if pick(0, 5) == 0:
            begin = pick(10, epochs - 6)
            gaps[name] = (begin, begin + pick(4, 30))
        if pick(0, 9) == 0:
            begin = pick(10, epochs - 6)
            flagged[name] = (begin, begin + pick(1, 16))
        if pick(0, 15) == 0:
            steps[name] = (pick(12, epochs - 4), float(pick(40, 300)))
        if pick(0, 7) == 0:
            spikes[name] = (pick(8, epochs - 4), float(pick(-600, 600)))
        if pick(0, 9) == 0:
            begin = pick(10, epochs - 12)
            late[name] = (begin, begin + pick(1, 8), pick(1, 12))
    if story == 6 and pick(0, 1):
        begin = pick(first + 12, first + 20)
        gaps |= dict.fromkeys(MOVERS, (begin, epochs))
    if story == 3 and epochs < EPOCHS and pick(0, 2) == 0:  # silence at level yellow
        gaps |= dict.fromkeys(MOVERS, (first + 7, epochs))
    shift = (pick(12, epochs - 8), float(pick(40, 120))) if pick(0, 9) == 0 else None
    seed = pick(0, 10**6)
    auxiliary = {n: (("never", "well", "broken", "silent")[pick(0, 3)], pick(6, epochs - 10)) for n in AUXILIARY}
    begin = pick(16, epochs - 6)
    drains = (begin, begin + pick(1, 6)) if pick(0, 3) == 0 else None
    return History(seed, motions, gaps, flagged, steps, spikes, late, shift, auxiliary, drains, epochs=epochs)


def seeded(seed: int) -> History:
    """Return the history of a seed."""
    rng = random.Random(seed)
    return draw_history(rng.randint)


def messages(history: History) -> list[tuple[float, str, Reading]]:
    """Return (time of reception, station, reading). Readings other than displacement have the name of their series."""
    rng = random.Random(history.seed)
    rows = []
    for name in (*MOVERS, "K"):
        position = 0.0
        motion = history.motions.get(name, Motion())
        for epoch in range(history.epochs):
            if motion.from_epoch <= epoch < motion.to_epoch:
                position += motion.rate * STEP_S / DAY_S
            value = position + rng.gauss(0.0, history.noise)
            at, size = history.steps.get(name, (10**9, 0.0))
            value += size if epoch >= at else 0.0
            at, size = history.spikes.get(name, (10**9, 0.0))
            value += size if epoch == at else 0.0
            if history.shift is not None and name in {"C", "D", "K"} and epoch >= history.shift[0]:
                value += history.shift[1]
            gap, end = history.gaps.get(name, (10**9, 0))
            if gap <= epoch < end:
                continue
            begin, end = history.flagged.get(name, (10**9, 0))
            is_flagged = begin <= epoch < end
            value += rng.uniform(-400.0, 400.0) if is_flagged else 0.0
            begin, end, delay = history.late.get(name, (10**9, 0, 0))
            received_s = epoch_s(START) + (epoch + (delay if begin <= epoch < end else 0)) * STEP_S
            at_s = epoch_s(START) + epoch * STEP_S
            flags = ("broken",) if is_flagged else ()
            rows.append((received_s, name, reading(at_s, received_s, value, flags)))
    for name, (state, since) in history.auxiliary.items():
        series_name = f"{name}.{AUXILIARY[name][0]}"
        for epoch in range(0 if state != "never" else history.epochs, history.epochs):
            at_s, bad = epoch_s(START) + epoch * STEP_S, epoch >= since
            if state == "broken" and bad:
                rows.append((at_s, series_name, reading(at_s, at_s, -9999.0, ("out_of_range",))))
            elif state != "silent" or not bad:
                rows.append((at_s, series_name, reading(at_s, at_s, 20.0 + rng.gauss(0.0, 1.0))))
    return sorted(rows, key=lambda m: (m[0], m[2].observed_at, m[1]))


def reading(at_s: float, received_s: float, value: float, flags: tuple[str, ...] = ()) -> Reading:
    return Reading(from_epoch_s(at_s), from_epoch_s(received_s), 0, value, 0.0, value, None, flags)


@dataclass(frozen=True, slots=True)
class Look:
    """One decision, with its time, the memory before it and its inputs."""

    now: datetime
    before: Memory
    inputs: DecisionInputs
    decision: Decision

    @property
    def now_s(self) -> float:
        return epoch_s(self.now)


Change = Callable[[float, DecisionInputs], DecisionInputs]


def run(
    history: History,
    site: Site = SITE,
    *,
    ticks: int = 0,
    more_epochs: int = 0,
    alter: Change | None = None,
    extra: Iterable[tuple[float, str, Reading]] = (),
    warm: EvaluationCache | None = None,
    cold: bool = False,
    start: tuple[int, Memory] = (0, Memory()),
) -> list[Look]:
    """Decide at every epoch and at `ticks` instants between epochs.

    After every `RESTART` decisions the memory is written as JSON and read again, as in a restart.
    """
    feed = sorted([*messages(history), *extra], key=lambda m: (m[0], m[2].observed_at, m[1]))
    held: dict[str, dict[datetime, Reading]] = {}
    newest: dict[str, NewestEpoch] = {}
    memory, looks, index = start[1], [], 0
    prepared = PreparedSite(site)
    warm = None if cold else warm or EvaluationCache()
    for epoch in range(start[0], history.epochs + more_epochs):
        for tick in range(ticks + 1):
            now_s = epoch_s(START) + (epoch + tick / (ticks + 1)) * STEP_S
            now = from_epoch_s(now_s)
            while index < len(feed) and feed[index][0] <= now_s:
                _, name, item = feed[index]
                index += 1
                key = name if "." in name else f"{name}.displacement"
                held.setdefault(key, {})[item.observed_at] = item
                at_s = epoch_s(item.observed_at)
                if at_s <= now_s and (key not in newest or at_s >= newest[key].observed_s):
                    newest[key] = NewestEpoch(at_s, epoch_s(item.received_at), item.flags)
            edge = find_load_start(now, SPAN_S)
            readings = {k: tuple(v[at] for at in sorted(v) if at > edge) for k, v in held.items()}
            drains = history.drains is not None and history.drains[0] <= epoch < history.drains[1]
            inputs = DecisionInputs(readings, dict(newest), draining=drains)
            inputs = alter(now_s, inputs) if alter else inputs
            decision = decide_module.decide(prepared, memory, inputs, now, warm)
            looks.append(Look(now, memory, inputs, decision))
            memory = decision.memory
            if len(looks) % RESTART == 0:
                memory = Memory.read(json.loads(json.dumps(memory.to_json())))
    return looks


def levels(looks: Sequence[Look]) -> list[int]:
    """Return the hazard level at each decision."""
    return [look.decision.level for look in looks]


def usable(look: Look, name: str) -> list[Reading]:
    """Return the readings of a station that may count at a decision: unflagged, and not from the future."""
    readings = look.inputs.readings.get(f"{name}.displacement", ())
    return [r for r in readings if not r.flags and r.observed_at <= look.now]


def quiet(seed: int, **changes: object) -> History:
    """Return a history without motion."""
    return replace(History(seed), **changes)
