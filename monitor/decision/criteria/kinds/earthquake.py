"""Declared earthquakes: request an inspection of the slope, and lower the bounds of other criteria for some days.

An earthquake is not a movement of the slope, so the criterion is advice by default. In every role, shaking that reaches
the lowest bound, or of unknown strength, opens a question that remains open until an operator answers it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import Field, model_validator

from forecasting.hydrology.slope_stability import critical_acceleration_g, estimate_displacement
from monitor.decision.changes import VERIFY_NOW
from monitor.decision.criteria.history import no_window
from monitor.decision.criteria.kinds.scene import AND_OTHERS
from monitor.decision.keys import VoteKey
from monitor.decision.records import Condition, DecisionInputs, EventFact, Memory
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.errors import ConfigError
from monitor.sections import Duration, Section
from monitor.sites.criteria.entry import KindEntry
from monitor.sites.criteria.places import Places
from monitor.sites.criteria.sections import CriterionTable, Share, add_params, refuse_falling
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion, Site, Threshold
from monitor.sites.witnesses import EARTHQUAKE
from monitor.text.instants import format_iso, from_epoch_s
from monitor.text.message import Figure, Message, Template, Timestamp, Value

# Prefix of the keys of questions.
INSPECT: Final = "inspect:"
# The answer of an operator that the slope moved. Every other answer states that it did not.
MOVED: Final = "movement"
# The strongest shaking ever recorded was 4.36 g (Iwate-Miyagi 2008: Aoi et al. 2008, Science 322). A larger value is
# most likely a magnitude, or an acceleration in another unit.
LARGEST_PGA_G: Final = 5.0
# Shocks within this time after an earthquake share its question.
AFTERSHOCKS_S: Final = 6 * 3600.0
# Characters of a reason. A longer description of an earthquake is cut.
MAX_REASON_LENGTH: Final = 200
_NONE: Final = Template("criterion.earthquake.no_crossing", "no earthquake reached a bound")()
_SHOOK: Final = Template("criterion.earthquake", "shaking at {at}, peak ground acceleration {pga} g")
_SHOOK_AND_MOVED: Final = Template(
    "criterion.earthquake.newmark",
    "shaking at {at}, peak ground acceleration {pga} g, Newmark displacement {displacement} cm ({low} to {high})",
)
_UNKNOWN: Final = Template(
    "criterion.earthquake.unknown", "shaking of unknown strength at {at}, without a peak ground acceleration: {what}"
)
_IMPLAUSIBLE: Final = Template(
    "criterion.earthquake.implausible", "shaking of unknown strength at {at}, because {n} g is not plausible: {what}"
)
_INSPECT: Final = Template("question.inspect", "inspect the slope and the instruments after the earthquake: {text}")
# g. Below this critical acceleration the slope is not stable even without an earthquake.
MIN_CRITICAL_G: Final = 0.001
_PARAM_KEYS: Final = ("critical_acceleration_g", "factor_of_safety", "slope_deg", "lower_to")


class ShakingBound(Section):
    """The bound of one level on peak ground acceleration (g), Newmark displacement (cm), or both. One is enough."""

    over: float | None = Field(default=None, gt=0.0, le=5.0, description="peak ground acceleration, g")
    newmark_cm: float | None = Field(default=None, gt=0.0, description="displacement of the block, cm")

    @model_validator(mode="after")
    def _check_any(self) -> "ShakingBound":
        if self.over is None and self.newmark_cm is None:
            raise ValueError("expected over (g), newmark_cm, or both")
        return self


class EarthquakeTable(CriterionTable):
    """kind = "earthquake": declared shaking. It requests an inspection and may lower bounds for some time."""

    critical_acceleration_g: float | None = Field(None, ge=0.001, description="that moves the block")
    factor_of_safety: float | None = Field(default=None, gt=1.0, description="of the slope at rest")
    slope_deg: float | None = Field(default=None, gt=0.0, lt=90.0, description="of the slip surface")
    lower_to: Share = Field(1.0, description="bounds times this after an earthquake beyond the lowest")
    lower_for: Duration | None = Field(None, description="for so long")

    @model_validator(mode="after")
    def _check_pairs(self) -> "EarthquakeTable":
        if (self.factor_of_safety is None) != (self.slope_deg is None):
            raise ValueError("factor_of_safety: expected together with slope_deg")
        if self.critical_acceleration_g is not None and self.factor_of_safety is not None:
            raise ValueError("expected either critical_acceleration_g, or factor_of_safety with slope_deg")
        if (self.lower_to < 1.0) != (self.lower_for is not None):
            raise ValueError("lower_to: expected together with lower_for")
        return self

    def refuse_order(self, bounds: Sequence[Threshold], places: Places) -> None:
        """Raise ConfigError if bounds on acceleration fall with a rising level.

        One level may have a bound on acceleration and another a bound on displacement.
        """
        refuse_falling([b for b in bounds if b.over is not None], places)

    def complete(self, criterion: Criterion, places: Places) -> Criterion:
        """Return the criterion with the parameters of the sliding block and the bounds on its displacement."""
        where = places.where
        params = {key: getattr(self, key) for key in _PARAM_KEYS}
        params["lower_for_s"] = self.lower_for
        if self.factor_of_safety is not None and self.slope_deg is not None:
            critical = critical_acceleration_g(self.factor_of_safety, self.slope_deg)
            if critical < MIN_CRITICAL_G:
                raise ConfigError(
                    f"{where}.factor_of_safety: gives a critical acceleration of {critical:.2g} g; expected at least "
                    f"{MIN_CRITICAL_G:g}"
                )
        has_block = self.critical_acceleration_g is not None or self.factor_of_safety is not None
        for level in places.levels:
            limit = places.raw.get(level.name, {}).get("newmark_cm")
            if limit is not None and not has_block:
                raise ConfigError(
                    f"{where}.{level.name}.newmark_cm: expected critical_acceleration_g, "
                    "or factor_of_safety with slope_deg"
                )
            if limit is not None:
                params[f"newmark_cm:{level.number}"] = float(limit)
        return add_params(criterion, **params)


@dataclass(frozen=True, slots=True)
class Shaking:
    """One earthquake, compared with the bounds of one criterion.

    Attributes:
        level: Highest level whose bound is crossed; 0 below the lowest bound, None if the strength is unknown.
    """

    event: EventFact
    level: int | None
    reason: Message
    facts: dict[str, Any]


def assess_shaking(criterion: Criterion, context: DecisionContext) -> tuple[Assessment, ...]:
    """Compare peak ground acceleration and the estimated Newmark displacement with every bound.

    Return one assessment of all earthquakes within `valid_for`, without those that an operator answered as harmless.
    """
    now_s = context.now_s
    answered_s = context.find_answered_until_s(VoteKey(criterion.id, EARTHQUAKE))
    valid: list[Shaking] = []
    for group in group_shaking(criterion, context.inputs, now_s):
        answer = context.memory.answers.get(make_inspection_key(criterion, group[0].event), MOVED)
        if answer != MOVED:
            continue
        for shaking in group:
            event_s = shaking.event.from_s
            if now_s - event_s <= criterion.valid_for_s and event_s > answered_s:
                valid.append(shaking)
    crossing = [shaking for shaking in valid if shaking.level is not None]
    if not crossing:
        reason = valid[-1].reason if valid else _NONE
        return (Assessment(criterion.id, EARTHQUAKE, reason=reason),)
    worst = max(crossing, key=lambda shaking: (shaking.level, shaking.event.from_s))
    level = worst.level or 0
    return (
        Assessment(
            criterion.id,
            EARTHQUAKE,
            level,
            level,
            has_data=True,
            newest_s=worst.event.from_s,
            reason=worst.reason,
            facts=worst.facts,
        ),
    )


def group_shaking(criterion: Criterion, inputs: DecisionInputs, now_s: float) -> list[list[Shaking]]:
    """Return the earthquakes that cross a bound, oldest first, grouped with their aftershocks.

    Each group has one question. An aftershock has no higher level than the earlier shocks of its group, and occurs at
    most `AFTERSHOCKS_S` after the first one. A stronger or later shock starts a new group.

    An earthquake that people confirmed never joins the group of an unconfirmed one. Otherwise the answer to a false
    report could close the question about a real earthquake.
    """
    groups: list[list[Shaking]] = []
    for event in sorted(_list_earthquakes(inputs, now_s), key=lambda event: event.from_s):
        shaking = classify_shaking(criterion, event)
        if shaking.level == 0:
            continue
        group = _find_newest_group(groups, event)
        if group is not None and _is_aftershock(shaking, group):
            group.append(shaking)
        else:
            groups.append([shaking])
    return groups


def _find_newest_group(groups: Sequence[list[Shaking]], event: EventFact) -> list[Shaking] | None:
    """Return the newest group whose first earthquake is confirmed if this one is, and unconfirmed otherwise."""
    for group in reversed(groups):
        if _was_confirmed(group[0].event) == _was_confirmed(event):
            return group
    return None


def _is_aftershock(shaking: Shaking, group: Sequence[Shaking]) -> bool:
    is_near = shaking.event.from_s - group[0].event.from_s <= AFTERSHOCKS_S
    return is_near and _rank_level(shaking) <= max(_rank_level(earlier) for earlier in group)


def _was_confirmed(event: EventFact) -> bool:
    """Return whether people confirmed an earthquake, also if they withdrew the confirmation later.

    A withdrawal must not move the earthquake into a group that is answered already.
    """
    return event.confirmations > 0 or event.doubted


def _rank_level(shaking: Shaking) -> int:
    """Return the level of shaking; shaking of unknown strength counts as that of the lowest level."""
    return 1 if shaking.level is None else shaking.level


def classify_shaking(criterion: Criterion, event: EventFact) -> Shaking:
    """Compare one earthquake with the bounds of a criterion."""
    params = dict(criterion.params)
    at = Timestamp(event.from_s)
    if event.value is None or not 0.0 <= event.value <= LARGEST_PGA_G:
        return Shaking(event, None, _explain_unknown_strength(event), {})
    pga = event.value
    critical = params.get("critical_acceleration_g")
    if critical is None and "factor_of_safety" in params:
        critical = critical_acceleration_g(params["factor_of_safety"], params["slope_deg"])
    moved = None if critical is None else estimate_displacement(pga, critical)
    level = 0
    bounds = []
    for threshold in criterion.thresholds:
        limit_cm = params.get(f"newmark_cm:{threshold.level}")
        has_pga_crossed = threshold.over is not None and pga >= threshold.over
        has_block_moved = limit_cm is not None and moved is not None and moved.median_cm >= limit_cm
        is_crossed = has_pga_crossed or has_block_moved
        bounds.append(
            {
                "level": threshold.level,
                "bound": threshold.over,
                "newmark_cm": limit_cm,
                "crossed": is_crossed,
                "ratio": max(
                    pga / threshold.over if threshold.over else 0.0,
                    moved.median_cm / limit_cm if moved is not None and limit_cm else 0.0,
                ),
            }
        )
        if is_crossed:
            level = threshold.level
    facts: dict[str, Any] = {"pga_g": pga, "at_s": event.from_s, "levels": bounds, "text": event.text}
    reason = _SHOOK(at=at, pga=Figure(pga))
    if moved is not None:
        facts |= {
            "critical_acceleration_g": critical,
            "newmark_cm": moved.median_cm,
            "newmark_low_cm": moved.low_cm,
            "newmark_high_cm": moved.high_cm,
        }
        reason = _SHOOK_AND_MOVED(
            at=at,
            pga=Figure(pga),
            displacement=Figure(moved.median_cm, ".2g"),
            low=Figure(moved.low_cm, ".2g"),
            high=Figure(moved.high_cm, ".2g"),
        )
    return Shaking(event, level, reason, facts)


def _explain_unknown_strength(event: EventFact) -> Message:
    values: dict[str, Value] = {"at": Timestamp(event.from_s)}
    template = _UNKNOWN
    if event.value is not None:
        values["n"] = Figure(event.value)
        template = _IMPLAUSIBLE
    text_length = MAX_REASON_LENGTH - len(template(what="", **values))
    return template(what=event.text[: max(0, text_length)], **values)


def list_inspections(site: Site, memory: Memory, inputs: DecisionInputs, now_s: float) -> dict[str, Condition]:
    """Return the open questions about earthquakes, by alert key.

    The keys are `health:inspect:<criterion>@<instant>:verify`. Only an answer (`memory.answers` under the key without
    `health:` and `:verify`) closes a question. It remains open after the inputs no longer contain its earthquake.
    """
    questions: dict[str, Condition] = {}
    for key, condition in memory.conditions.items():
        is_answered = key.removeprefix("health:").removesuffix(":verify") in memory.answers
        if key.startswith(f"health:{INSPECT}") and not is_answered:
            questions[key] = condition
    for criterion in _list_earthquake_criteria(site):
        for group in group_shaking(criterion, inputs, now_s):
            key = make_inspection_key(criterion, group[0].event)
            if key in memory.answers:
                continue
            alert_key = f"health:{key}:verify"
            is_open = alert_key in questions
            if not is_open and now_s - group[-1].event.from_s > find_event_span_s(site):
                # This old earthquake was loaded for the steps that it explains. It opens no question.
                continue
            since_s = questions[alert_key].since_s if is_open else now_s
            text = group[0].reason
            if len(group) > 1:
                text = AND_OTHERS(text=text, n=len(group) - 1)
            questions[alert_key] = Condition("health", 2, since_s, VERIFY_NOW(text=_INSPECT(text=text)))
    return questions


def make_inspection_key(criterion: Criterion, event: EventFact) -> str:
    """Return the key of the question about a group, by its first earthquake: `inspect:<criterion>@<instant>`."""
    return f"{INSPECT}{criterion.id}@{format_iso(from_epoch_s(event.from_s))}"


def find_bound_factor(site: Site, inputs: DecisionInputs, now_s: float) -> float:
    """Return the factor (0 < factor <= 1) on every bound in the days after an earthquake; 1 means no change.

    The earthquake must cross the lowest bound of a criterion. The smallest factor of all such earthquakes counts. An
    earthquake of unknown strength lowers no bound.
    """
    return min((factor for _, factor in list_lowering_earthquakes(site, inputs, now_s)), default=1.0)


def lower_bounds(site: Site, factor: float) -> Site:
    """Return the site with its bounds multiplied by a factor.

    * The recovery limit becomes lower as well, because it is a share of the bound. With the declared limit, a slope
      that moves between the lowered and the declared bound would raise a level and lower it again at once.
    * Afterwards the declared bounds apply again, and a level falls when fresh data are below their recovery limit.
    * The size of a step that opens a question remains the declared one. Otherwise sudden motion would be removed as a
      step, and its velocity would be detected later.

    Args:
        factor: 0 < factor <= 1; 1 keeps the declared bounds.

    Raises:
        ValueError: The factor would loosen a bound.
    """
    if not 0.0 < factor <= 1.0:
        raise ValueError(f"a factor on bounds lies between 0 and 1, got {factor:g}")
    if factor == 1.0:
        return site
    return replace(site, criteria=tuple(_lower_criterion(criterion, factor) for criterion in site.criteria))


def _lower_criterion(criterion: Criterion, factor: float) -> Criterion:
    """Return the criterion with lower bounds, if a share of its bounds is meaningful."""
    kind = criterion.kind
    if not kind.scaled:
        return criterion
    params = tuple(
        (name, value * factor if name in kind.scaled_params and value > 0 else value)
        for name, value in criterion.params
    )
    thresholds = tuple(lower_threshold(threshold, factor) for threshold in criterion.thresholds)
    return replace(criterion, declared=criterion.thresholds, thresholds=thresholds, params=params)


def lower_threshold(threshold: Threshold, factor: float) -> Threshold:
    """Return a threshold with a stricter bound. A bound on the other side of zero does not change.

    >>> lower_threshold(Threshold(1, over=10.0), 0.5).over, lower_threshold(Threshold(1, under=-2.0), 0.5).under
    (5.0, -1.0)
    >>> lower_threshold(Threshold(1, over=-1.0), 0.5).over
    -1.0
    """
    over, under = threshold.over, threshold.under
    return replace(
        threshold,
        over=over * factor if over is not None and over > 0 else over,
        under=under * factor if under is not None and under < 0 else under,
    )


def list_lowering_earthquakes(site: Site, inputs: DecisionInputs, now_s: float) -> list[tuple[EventFact, float]]:
    """Return the earthquakes that lower bounds now, each with its factor.

    They need no confirmation, because they only make bounds stricter.
    """
    lowering = []
    for criterion in _list_earthquake_criteria(site):
        params = dict(criterion.params)
        factor = params.get("lower_to", 1.0)
        lower_for_s = params.get("lower_for_s", 0.0)
        if factor >= 1.0:
            continue
        lowering += [
            (event, factor)
            for event in _list_earthquakes(inputs, now_s)
            if now_s - event.from_s <= lower_for_s and classify_shaking(criterion, event).level
        ]
    return lowering


def find_event_span_s(site: Site) -> float:
    """Return the age, in seconds, up to which events must be loaded."""
    spans_s = [
        max(criterion.valid_for_s, dict(criterion.params).get("lower_for_s", 0.0))
        for criterion in _list_earthquake_criteria(site)
    ]
    return max(spans_s, default=0.0)


def _list_earthquake_criteria(site: Site) -> tuple[Criterion, ...]:
    return tuple(criterion for criterion in site.criteria if criterion.kind == ENTRY.kind)


def _list_earthquakes(inputs: DecisionInputs, now_s: float) -> Iterator[EventFact]:
    """Yield the earthquakes that are recorded and not withdrawn."""
    for event in inputs.events:
        is_recorded = event.from_s <= now_s and event.received_s <= now_s
        if event.kind.strip().lower() == EARTHQUAKE and is_recorded and not event.withdrawn:
            yield event


ENTRY: Final = KindEntry(
    Kind(id="earthquake", role="advice", source="suggestion", witness=EARTHQUAKE, loosening="reaching"),
    EarthquakeTable,
    ShakingBound,
    assess_shaking,
    history_s=no_window,
    example="""
yellow = {over = 0.05}
""",
)
