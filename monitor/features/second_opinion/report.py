"""Compare the alarms of Slopeward with those of another system over a period, for example after a month of trial.

The report states its definitions, and never invents a result: an alarm is false only if a person recorded that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection

from monitor.api.queries.alerts import Episode, SystemAlarm, count_false, group_alarms, load_ribbon
from monitor.api.sites import Site
from monitor.api.text import format_duration, format_iso
from monitor.features.second_opinion import queries

# The report begins with its limit if Slopeward saw the slope in a smaller share of the period.
_USUAL_SHARE: Final = 0.9
# A shorter time without an evaluation is not mentioned.
_NEGLIGIBLE_S: Final = 60.0
_LONG_ALARM: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report compares.

    Attributes:
        window_s: Alarms with a smaller gap belong to one episode.
        level: Alarms of Slopeward count from this level.
        other_levels: Levels of the other system that count; empty for all.
    """

    from_at: datetime
    to_at: datetime
    window_s: float
    level: int
    other_levels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """The comparison of both systems over a period.

    Attributes:
        level_name: Name of the level from which alarms of Slopeward count.
        episodes: All episodes, oldest first.
        imported_at: When an import last added an alarm of the other system; None if none are stored.
        evaluated_s: Seconds of the period in which Slopeward evaluated the site.
        blind_s: Seconds of these in which it could not see the slope.
        is_shadow: Whether the site is in shadow mode now.
    """

    site: str
    site_name: str
    options: ReportOptions
    level_name: str
    episodes: tuple[Episode, ...]
    imported_at: datetime | None
    evaluated_s: float
    blind_s: float
    is_shadow: bool

    @property
    def both(self) -> list[Episode]:
        """Episodes with alarms of both systems."""
        return [episode for episode in self.episodes if episode.own and episode.other]

    @property
    def own_alone(self) -> list[Episode]:
        """Episodes with alarms of Slopeward alone."""
        return [episode for episode in self.episodes if not episode.other]

    @property
    def other_alone(self) -> list[Episode]:
        """Episodes with alarms of the other system alone."""
        return [episode for episode in self.episodes if not episode.own]

    @property
    def agreement(self) -> float | None:
        """Share of the episodes with alarms of both systems. None if it is not known.

        Without an imported alarm it is unknown whether the other system raised one.
        """
        if not self.episodes or self.imported_at is None:
            return None
        return len(self.both) / len(self.episodes)

    @property
    def is_mostly_seen(self) -> bool:
        """Whether Slopeward evaluated the site and could see it in nearly the whole period."""
        period_s = (self.options.to_at - self.options.from_at).total_seconds()
        return self.evaluated_s - self.blind_s >= _USUAL_SHARE * period_s

    @property
    def leads_s(self) -> list[float]:
        """Lead time of Slopeward in each episode of both systems, in seconds; negative if it was later."""
        return [episode.lead_s for episode in self.both if episode.lead_s is not None]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        leads_s = self.leads_s
        own_false, own_recorded = count_false(self.episodes, own=True)
        other_false, other_recorded = count_false(self.episodes, own=False)
        return {
            "site": self.site,
            "from": format_iso(self.options.from_at),
            "to": format_iso(self.options.to_at),
            "window_s": self.options.window_s,
            "level": self.level_name,
            "other_levels": list(self.options.other_levels),
            "shadow": self.is_shadow,
            "other_imported_at": None if self.imported_at is None else format_iso(self.imported_at),
            "evaluated_s": self.evaluated_s,
            "blind_s": self.blind_s,
            "episodes": len(self.episodes),
            "both": len(self.both),
            "own_alone": len(self.own_alone),
            "other_alone": len(self.other_alone),
            "agreement": self.agreement,
            "lead_median_s": median(leads_s) if leads_s else None,
            "lead_shortest_s": min(leads_s, default=None),
            "lead_longest_s": max(leads_s, default=None),
            "own_false": own_false,
            "own_recorded": own_recorded,
            "own_episodes": len(self.both) + len(self.own_alone),
            "other_false": other_false,
            "other_recorded": other_recorded,
            "other_episodes": len(self.both) + len(self.other_alone),
            "list": [episode.to_json() for episode in self.episodes],
        }


def compare(c: Connection, site: Site, options: ReportOptions) -> SecondOpinion:
    """Compare the stored alarms of both systems over a period."""
    level_names = [level.name for level in site.levels]
    own = queries.load_own_alarms(c, site.id, options.from_at, options.to_at, options.level, level_names)
    other = queries.load_other_alarms(c, site.id, options.from_at, options.to_at, options.other_levels)
    segments = load_ribbon(c, site.id, options.from_at, options.to_at)
    evaluated_s = 0.0
    blind_s = 0.0
    for segment in segments:
        length_s = (segment.to_at - max(segment.from_at, options.from_at)).total_seconds()
        evaluated_s += max(length_s, 0.0)
        if segment.observability == "blind":
            blind_s += max(length_s, 0.0)
    return SecondOpinion(
        site=site.id,
        site_name=site.name,
        options=options,
        level_name=level_names[options.level],
        episodes=tuple(group_alarms(own, other, options.window_s)),
        imported_at=queries.find_last_import(c, site.id),
        evaluated_s=evaluated_s,
        blind_s=blind_s,
        is_shadow=site.shadow,
    )


# ---- text ------------------------------------------------------------------------------------------------------------
def write_text(report: SecondOpinion) -> str:
    """Return a report as Markdown."""
    options = report.options
    lines = [
        f"# Second opinion: {report.site_name}",
        "",
        f"{_format(options.from_at)} to {_format(options.to_at)} UTC.",
        "",
        *([] if report.is_mostly_seen else [f"**Limit**: {_describe_watch(report)}", ""]),
        *_write_summary(report),
        "",
        "## Episodes",
        "",
        *_write_episodes(report.episodes),
        "",
        "## How it was counted",
        "",
        *(f"* {line}" for line in _list_definitions(report)),
    ]
    return "\n".join(lines) + "\n"


def _write_summary(report: SecondOpinion) -> list[str]:
    count = len(report.episodes)
    own_count = len(report.both) + len(report.own_alone)
    own_alone = "not known" if report.imported_at is None else len(report.own_alone)
    other_alone = "not imported" if report.imported_at is None else len(report.other_alone)
    other_count = "not imported" if report.imported_at is None else len(report.both) + len(report.other_alone)
    if not count:
        agreement = "no episode with alarms of both systems"
    elif report.imported_at is None:
        agreement = "not known, because no alarm of the other system was imported"
    else:
        agreement = f"{len(report.both)} of {count} episodes with alarms of both systems"
    return [
        "|  | Slopeward | other system |",
        "|---|---|---|",
        f"| episodes with an alarm | {own_count} | {other_count} |",
        f"| of these, of this system alone | {own_alone} | {other_alone} |",
        f"| recorded as false alarms | {_describe_false(report, own=True)} | {_describe_false(report, own=False)} |",
        "",
        f"**Agreement**: {agreement}.",
        f"**Lead time of Slopeward** in these: {_describe_leads(report.leads_s)}.",
    ]


def _describe_false(report: SecondOpinion, *, own: bool) -> str:
    false, recorded = count_false(report.episodes, own=own)
    if not recorded:
        return "not recorded"
    count = len(report.both) + len(report.own_alone if own else report.other_alone)
    unrecorded = count - recorded
    text = f"{false} of {recorded}"
    return text if not unrecorded else f"{text}; {unrecorded} not recorded"


def _describe_leads(leads_s: Sequence[float]) -> str:
    if not leads_s:
        return "none, because no episode has alarms of both"
    earlier = sum(lead_s > 0 for lead_s in leads_s)
    later = sum(lead_s < 0 for lead_s in leads_s)
    return (
        f"median {format_lead(median(leads_s))}, from {format_lead(min(leads_s))} to {format_lead(max(leads_s))}; "
        f"{earlier} earlier, {later} later, {len(leads_s) - earlier - later} at the same time"
    )


def format_lead(seconds: float) -> str:
    """Format a lead time.

    >>> format_lead(93600.0), format_lead(-1800.0), format_lead(0.0)
    ('+26.0 h', '-30 min', '0 min')
    """
    if abs(seconds) >= 3600.0:
        return f"{seconds / 3600.0:+.1f} h"
    return f"{seconds / 60.0:+.0f} min" if seconds else "0 min"


def _write_episodes(episodes: Sequence[Episode]) -> list[str]:
    if not episodes:
        return ["Neither system raised an alarm that is stored here."]
    lines = ["| from | Slopeward | other system | lead | recorded |", "|---|---|---|---|---|"]
    for episode in episodes:
        lead = "" if episode.lead_s is None else format_lead(episode.lead_s)
        own, other = _describe_alarms(episode.own, "alert "), _describe_alarms(episode.other, "")
        lines.append(f"| {_format(episode.from_at)} | {own} | {other} | {lead} | {episode.verdict} |")
    return lines


def _describe_alarms(alarms: Sequence[SystemAlarm], prefix: str) -> str:
    """Return the first alarm of an episode, and how many follow."""
    if not alarms:
        return "–"
    first = alarms[0]
    facts = [f"{prefix}{first.number}" if prefix else "", first.level, first.station, "" if prefix else first.text]
    text = f"{_format(first.at)} {' '.join(_escape(fact) for fact in facts if fact)}".rstrip()
    return text if len(alarms) == 1 else f"{text} and {len(alarms) - 1} more"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def _list_definitions(report: SecondOpinion) -> list[str]:
    """Return the definitions of the report and its limits, one paragraph each."""
    lines = [
        f"""An alarm of Slopeward is a hazard alert at {report.level_name!r} or above, from the moment at which people
        are notified until the level is lower. Drills and alerts about instruments do not count.""",
        _define_other_alarm(report.options.other_levels),
        f"""Alarms of both systems with a gap of at most {format_duration(report.options.window_s)} form one episode. An
        alarm that began before the period counts if it lasted into it.""",
        """The lead time is the time from the first alarm of Slopeward to the first alarm of the other system in an
        episode. It is positive if Slopeward was earlier.""",
        """An episode is a false alarm only if a person recorded that, as the outcome of the alert or in the imported
        table. The outcome of any alarm counts for its whole episode. If an alert rises several times, its outcome
        counts for the rise before it was recorded. Without an outcome, the episode is not recorded.""",
        _describe_long_alarms(report),
        _describe_watch(report) if report.is_mostly_seen else "",
        _describe_import(report),
    ]
    return [" ".join(line.split()) for line in lines if line]


def _define_other_alarm(levels: Sequence[str]) -> str:
    which = f"with the level {', '.join(levels)}" if levels else "whatever its level"
    return f"An alarm of the other system is a row of the imported table, {which}."


def _describe_long_alarms(report: SecondOpinion) -> str:
    """Return a warning about alarms of Slopeward that lasted long, because later alarms belong to their episodes."""
    numbers = []
    for episode in report.episodes:
        for alarm in episode.own:
            end = alarm.to_at or report.options.to_at
            if end - alarm.at >= _LONG_ALARM:
                numbers.append(str(alarm.number))
    if not numbers:
        return ""
    return f"""Alarms of Slopeward that lasted a week or longer: alert {", ".join(numbers)}. Later alarms of the other
        system belong to their episodes. The highest levels stay until a person lowers them, also in a trial."""


def _describe_watch(report: SecondOpinion) -> str:
    """Return how much of the period Slopeward evaluated, because it could raise no alarm in the rest."""
    period_s = (report.options.to_at - report.options.from_at).total_seconds()
    text = f"Slopeward evaluated the site in {report.evaluated_s / 3600.0:.1f} of {period_s / 3600.0:.1f} h"
    if report.blind_s:
        text += f" and could not see the slope in {report.blind_s / 3600.0:.1f} h of these"
    if period_s - report.evaluated_s + report.blind_s > _NEGLIGIBLE_S:
        text += ". In the rest it could raise no alarm, so the other system is alone there whatever happened"
    return f"{text}."


def _describe_import(report: SecondOpinion) -> str:
    """Return whether alarms of the other system may be missing."""
    if report.imported_at is None:
        return """No alarm of the other system was ever imported, so it is unknown whether it raised one. Import its
        table with `slopeward second-opinion import`."""
    if report.imported_at < report.options.to_at:
        return f"""The last import that added an alarm of the other system was at {_format(report.imported_at)} UTC. If
        you have not imported its table since the end of the period, import it again: later alarms may be missing."""
    return ""


def _format(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
