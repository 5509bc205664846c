"""Sudden steps: neither dropped nor believed, each with a clock and an answer that only a person or an offset gives."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from monitor.alerting.assessment import Windows, bound_of
from monitor.alerting.tracks import Jump, Track
from monitor.domain.decision import Memory, Step
from monitor.domain.site import Criterion, Site

ACTIVE = frozenset({"counted", "movement"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """A jump as a criterion's track shows it."""

    key: str
    station: str
    jump: Jump
    level: int
    max_silence_s: float


def step_key(station: str, at_s: float) -> str:
    """How memory and people name a step."""
    return f"{station}@{at_s:.6f}"


def station_of(key: str) -> str:
    """The station a step belongs to."""
    return key.rpartition("@")[0]


def find_sightings(windows: Windows, tracks: Iterable[tuple[Criterion, Track]]) -> dict[str, Sighting]:
    """Jumps in all tracks, by key, each with the level it would ask for as movement."""
    found: dict[str, Sighting] = {}
    for criterion, track in tracks:
        spec = windows.site.series(track.station, criterion.quantity)
        if spec is None or criterion.role != "witness":
            continue
        for jump in track.jumps:
            key = step_key(track.station, jump.at_s)
            sudden = jump.at_s - jump.before_s <= max(spec.max_silence_s, 2.0 * spec.interval_s)
            level = max(_level_as_rate(criterion, jump), 1 if sudden else 0)
            known = found.get(key)
            if level > 0 and (known is None or level > known.level):
                found[key] = Sighting(key, track.station, jump, level, spec.max_silence_s)
    return found


def _level_as_rate(criterion: Criterion, jump: Jump) -> int:
    """The level whose bound the jump exceeds when it is spread over that level's window, or its gap if longer."""
    level = 0
    for threshold in criterion.thresholds:
        window_s = max(threshold.window_s or 86400.0, jump.at_s - jump.before_s)
        bound, sign = bound_of(threshold)
        if (
            criterion.kind in {"velocity", "rate"}
            and sign * bound > 0
            and jump.length * 86400.0 / window_s > abs(bound)
        ):
            level = max(level, threshold.level)
    return level


def update_steps(
    memory: Memory, sightings: Mapping[str, Sighting], tracks: Mapping[str, list[Track]], windows: Windows,
    groups: Mapping[str, str], common: Iterable[str],
) -> dict[str, Step]:  # fmt: skip
    """Steps after this look: new ones start their clock, explained ones go, those whose time is over count.

    Args:
        memory: steps and answers so far.
        sightings: jumps the tracks show now.
        tracks: tracks of each station.
        windows: the view at its instant.
        groups: independence group of each station.
        common: stations whose steps are those of their reference.
    """
    steps: dict[str, Step] = {}
    for key, old in memory.steps.items():
        if key in sightings or not _is_explained(old, tracks.get(station_of(key), [])):
            answered = memory.answers.get(key)
            steps[key] = replace(old, state=answered) if answered else old
    for key, seen in sightings.items():
        if key not in steps:
            state = memory.answers.get(key, "pending")
            reason = f"step of {seen.jump.length:.1f} at {seen.station}"
            known_s = max(seen.jump.known_s, memory.started_s or seen.jump.known_s)
            steps[key] = Step(seen.jump.at_s, known_s, seen.jump.length, seen.level, state, reason)
    shared = set(common)
    alone = [k for k, s in steps.items() if s.state == "pending" and station_of(k) not in shared]
    for key, step in list(steps.items()):
        if step.state == "pending":
            why = _why_it_counts(key, step, steps, alone, tracks.get(station_of(key), []), windows, groups)
            if why is not None:
                steps[key] = replace(step, state="counted", reason=f"{step.reason}: {why}")
    return dict(sorted(steps.items()))


def _is_explained(step: Step, tracks: list[Track]) -> bool:
    """True when the data no longer show it: it returned while pending, an offset or a revision took it away."""
    if step.state == "instrument":
        return True  # nothing more to remember than the answer, which is kept apart
    for track in tracks:
        if not track.times_s or track.times_s[0] >= step.at_s or track.times_s[-1] < step.at_s:
            continue  # the look does not reach across it
        returned = any(abs(at - step.at_s) < 1e-6 and "spike" in why for at, why in track.set_aside)
        if step.state == "pending" or not returned:
            return True
    return False


def _why_it_counts(
    key: str, step: Step, steps: Mapping[str, Step], alone: list[str], tracks: list[Track], windows: Windows,
    groups: Mapping[str, str],
) -> str | None:  # fmt: skip
    within_s = clock_s(windows.site, station_of(key))
    if windows.now_s >= step.known_s + within_s:
        return "nobody said within the clock that it was an instrument"
    if windows.view.draining:
        return None
    newest_s = max((t.newest_s for t in tracks if t.newest_s is not None), default=step.at_s)
    silence_s = _silence_s(windows, station_of(key))
    if newest_s <= step.at_s and windows.now_s - step.at_s > silence_s:
        return "silence followed it"
    group = groups.get(station_of(key))
    for other in alone:
        if key in alone and groups.get(station_of(other)) != group and abs(steps[other].at_s - step.at_s) <= within_s:
            return f"{station_of(other)}, which is independent, stepped as well"
    return None


def clock_s(site: Site, station: str) -> float:
    """How long a step may wait for an answer: the site's clock, but long enough for two more readings to come."""
    known = site.station(station)
    interval_s = max((s.interval_s for s in known.series if s.verify_step is not None), default=0.0) if known else 0.0
    if known and interval_s == 0.0:
        interval_s = max((s.interval_s for s in known.series), default=0.0)
    return max(site.fusion.verify_within_s, 2.5 * interval_s)


def _silence_s(windows: Windows, station: str) -> float:
    known = windows.site.station(station)
    return max((s.max_silence_s for s in known.series), default=0.0) if known else 0.0
