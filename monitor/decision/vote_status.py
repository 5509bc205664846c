"""Determine how much of each vote counts now, and the reason if it does not count in full.

`classify_votes` gets the votes after this evaluation and everything that limits them: faulty instruments, suspected
references, neighbours that do not move, maintenance and expiry. It returns a `VoteStatus` for each vote. Fusion uses
the level that counts, rules use `VoteStatus.requests`, and the ladder does not lower a level by a limited vote.

`hold_scattering` comes before it. It changes the assessments of series that scatter far more than usual, so that
scatter neither raises nor lowers a vote.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from monitor.decision.keys import RuleKey, VoteKey
from monitor.decision.records import Condition, Vote, Votes
from monitor.decision.series.assessment import Assessment, Assessments, DecisionContext
from monitor.decision.series.maintenance import MaintenanceMask
from monitor.decision.series.neighbours import VoteCap
from monitor.decision.series.station_health import SeriesHealthMap, scatter_key
from monitor.decision.series.step_deadlines import find_answer_time_s
from monitor.sites.parents import Place
from monitor.sites.records import Criterion
from monitor.sites.witnesses import Groups
from monitor.text.message import LABELLED_TEXT, Message


@dataclass(frozen=True, slots=True)
class VoteStatus:
    """The level that one vote counts for now.

    Attributes:
        level: Level that the vote requests.
        counted_level: Level that the vote counts for by itself; 0 if the vote is set aside.
        level_in_rules: Level that the vote counts for in fusion rules. Maintenance does not reduce it, because a
            maintenance window is compared with the level of the rule.
        has_fresh_data: Whether the witness has fresh and sound data in this evaluation.
        is_valid: Whether the vote has not expired yet.
        set_aside_reason: Why the vote is set aside; None if it is not.
        cap_reason: Why the neighbours of its station limit the vote; None if they do not.
        maintenance: Maintenance of its station; None if there is none.
        newest_s: Newest reading of the vote, epoch seconds.
    """

    level: int
    counted_level: int
    level_in_rules: int
    has_fresh_data: bool
    is_valid: bool
    set_aside_reason: Message | None
    cap_reason: Message | None = None
    maintenance: MaintenanceMask | None = None
    newest_s: float = 0.0

    def requests(self, level: int, rule_level: int, answered_until_s: float = float("-inf")) -> bool | None:
        """Return whether the vote requests a level inside a rule; None if this is unknown.

        The result is unknown if the readings of the vote are not newer than those that a person took into account when
        lowering the level of the rule: they must not make the rule hold again.

        Args:
            level: Level that the rule requires of the vote.
            rule_level: Level that the rule requests. Maintenance excludes it up to a limit.
            answered_until_s: Instant up to which the person took readings into account.
        """
        has_level = self.level_in_rules >= level
        if has_level and self.newest_s <= answered_until_s:
            return None
        is_excluded = self.maintenance is not None and rule_level <= self.maintenance.limit
        if has_level and self.is_valid and not is_excluded:
            return True
        if self.has_fresh_data and self.limit_reason is None and self.level < level:
            return False
        return None

    @property
    def limit_reason(self) -> Message | None:
        """Why the vote lowers no level: it is set aside or capped, or its station is under maintenance."""
        maintenance_reason = None if self.maintenance is None else self.maintenance.reason
        return self.set_aside_reason or self.cap_reason or maintenance_reason


def classify_votes(
    votes: Votes,
    set_aside_reasons: Mapping[VoteKey, Message],
    caps: Mapping[VoteKey, VoteCap],
    masks: Mapping[str, MaintenanceMask],
    fresh: Collection[VoteKey],
    now_s: float,
) -> dict[VoteKey, VoteStatus]:
    """Return the status of each vote.

    Args:
        votes: The votes after this evaluation.
        set_aside_reasons: Votes whose instrument is faulty or whose reference is suspected, with the reason.
        caps: Votes of stations whose neighbours do not move, with the highest level that counts.
        masks: Stations under maintenance.
        fresh: Votes whose witness has fresh data.
        now_s: The instant, in epoch seconds.
    """
    statuses = {}
    for key, vote in votes.items():
        reason = set_aside_reasons.get(key)
        cap = caps.get(key)
        mask = masks.get(key.station)
        level_in_rules = _find_level_in_rules(vote, reason, cap, now_s)
        counted_level = level_in_rules
        # The mask is compared with the requested level, not with the capped one. Maintenance must not set aside a vote
        # for the highest level.
        if reason is None and mask is not None and 0 < vote.level <= mask.limit:
            counted_level = 0
            reason = mask.reason
        statuses[key] = VoteStatus(
            level=vote.level,
            counted_level=counted_level,
            level_in_rules=level_in_rules,
            has_fresh_data=key in fresh,
            is_valid=vote.valid_until_s >= now_s,
            set_aside_reason=reason,
            cap_reason=None if cap is None else cap.reason,
            maintenance=mask,
            newest_s=vote.newest_s,
        )
    return statuses


def _find_level_in_rules(vote: Vote, set_aside_reason: Message | None, cap: VoteCap | None, now_s: float) -> int:
    if set_aside_reason is not None or vote.valid_until_s < now_s:
        return 0
    return vote.level if cap is None else min(vote.level, cap.level)


# ---- series that scatter too much ------------------------------------------------------------------------------
class HeldAssessments(NamedTuple):
    """Assessments after those of scattering series were held, and the conditions of these series by alert key."""

    assessments: list[Assessment]
    conditions: dict[str, Condition]


def hold_scattering(
    context: DecisionContext,
    assessments: Assessments,
    scattering: Mapping[VoteKey, Place],
    series_health: SeriesHealthMap,
) -> HeldAssessments:
    """Hold the votes of series that scatter so much that they cannot be judged.

    Such a vote does not rise before the deadline of its question. It falls at most to the level of the other
    independent supporters of the standing level that can be judged. Without such supporters it does not fall.

    Args:
        context: The context.
        assessments: All assessments of this evaluation.
        scattering: Votes whose series scatters, with that series.
        series_health: Health of every series.

    Returns:
        All assessments, and a condition for each scattering series: urgent if a vote is held, otherwise a notice.
    """
    if not scattering:
        return HeldAssessments(list(assessments), {})
    memory = context.memory
    reliable = list(_list_reliable_supporters(context, assessments, scattering))
    conditions: dict[str, Condition] = {}
    held: list[Assessment] = []
    for assessment in assessments:
        place = scattering.get(assessment.key)
        if place is None:
            held.append(assessment)
            continue
        alert_key = scatter_key(place)
        previous_vote = memory.votes.get(assessment.key)
        previous_level = 0 if previous_vote is None else previous_vote.level
        previous_condition = memory.conditions.get(alert_key)
        since_s = context.now_s if previous_condition is None else previous_condition.since_s
        is_before_deadline = context.now_s < since_s + find_answer_time_s(context.site, assessment.station)
        held.append(_hold_assessment(assessment, previous_level, is_before_deadline, reliable, context.prepared.groups))
        is_urgent = max(previous_level, assessment.raise_level) > 0
        if alert_key in conditions:
            is_urgent = is_urgent or conditions[alert_key].level == 2
        text = LABELLED_TEXT(name=".".join(place), text=series_health[place].burst_reason or "")
        conditions[alert_key] = Condition("health", 2 if is_urgent else 1, since_s, text)
    return HeldAssessments(held, conditions)


def _hold_assessment(
    assessment: Assessment,
    previous_level: int,
    is_before_deadline: bool,
    reliable: Assessments,
    groups: Groups,
) -> Assessment:
    raise_level = assessment.raise_level
    if is_before_deadline:
        raise_level = min(raise_level, previous_level)
    group = groups.get(assessment.station)
    independent_levels = [other.hold_level for other in reliable if groups.get(other.station) != group]
    hold_level = max([raise_level, *(independent_levels or [assessment.hold_level])])
    is_fresh = assessment.fresh and bool(independent_levels)
    return replace(assessment, raise_level=raise_level, hold_level=hold_level, fresh=is_fresh)


def _list_reliable_supporters(
    context: DecisionContext, assessments: Assessments, scattering: Collection[VoteKey]
) -> Iterator[Assessment]:
    """Yield the fresh assessments of supporters of the standing level whose series has no gap in its longest window."""
    memory = context.memory
    supporting_votes = {
        key.vote if isinstance(key, RuleKey) else key
        for key, level in memory.supporters.items()
        if level >= memory.level > 0
    }
    criteria = {criterion.id: criterion for criterion in context.site.criteria if criterion.kind.followed}
    for assessment in assessments:
        criterion = criteria.get(assessment.criterion)
        if criterion is None or assessment.key not in supporting_votes or assessment.key in scattering:
            continue
        if assessment.has_data and assessment.fresh and not _has_gap(context, criterion, assessment.station):
            yield assessment


def _has_gap(context: DecisionContext, criterion: Criterion, station: str) -> bool:
    """Return whether a series was silent for longer than allowed within the longest window of a criterion."""
    spec = context.site.series(station, criterion.quantity)
    if spec is None:
        return True
    from_s = context.now_s - max(threshold.window_s or 0.0 for threshold in criterion.thresholds)
    times_s = [time_s for time_s in context.track(criterion, station).times_s if time_s > from_s]
    silence_s = context.find_silence_s(spec)
    return any(later_s - earlier_s > silence_s for earlier_s, later_s in pairwise([from_s, *times_s, context.now_s]))
