"""Tables of the frozen evidence of a decision, and the votes that requested its level, for the page of an alert."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from monitor.decision import headline
from monitor.decision.keys import VoteKey
from monitor.sites.quantities import QUANTITIES
from monitor.sites.records import Criterion, Site
from monitor.text.figures import format_number
from monitor.text.instants import from_epoch_s
from monitor.text.message import Template, Term

# Most rows of one table. The JSON of the evidence contains all of them.
MOST_ROWS: Final = 40
READING_HEAD: Final = ("observed", "received", "revision", "raw", "offset", "value", "sigma", "flags", "extra")
_MEASURED: Final = {
    "raw": Template("evidence.raw", "raw ({unit})"),
    "offset": Template("evidence.offset", "offset ({unit})"),
    "value": Template("evidence.value", "value ({unit})"),
    "sigma": Template("evidence.sigma", "sigma ({unit})"),
}
_READINGS: Final = Template("evidence.readings", "Readings of {series}")


@dataclass(frozen=True, slots=True)
class EvidenceTable:
    """A table of the page of an alert.

    Attributes:
        head: Titles of the columns; empty if the table has none.
        rows: The last `MOST_ROWS` rows.
        left: Number of rows before these.
        folded: Whether the table is shown only when the reader opens it.
    """

    name: str
    head: Sequence[str]
    rows: list[list[Any]]
    left: int = 0
    folded: bool = False


@dataclass(frozen=True, slots=True)
class RateOverBound:
    """The rate behind a vote, and the bound that it exceeds.

    Attributes:
        span_s: Time over which the rate was measured, in seconds.
        moved: Whether the rate is a velocity of the ground.
    """

    value: str
    bound: str
    span_s: float
    unit: str
    quantity: str
    moved: bool


@dataclass(frozen=True, slots=True)
class LevelVote:
    """A vote for more than the lowest level.

    Attributes:
        name: Name of the level.
        at: Newest reading that the vote depends on.
        aside: Why the vote does not count; empty if it counts.
    """

    station: str
    level: int
    name: str
    at: datetime | str
    reason: str
    counted: bool
    aside: str
    rate: RateOverBound | None


@dataclass(frozen=True, slots=True)
class LevelFindings:
    """All votes for more than the lowest level, the highest first, and how many stations agree on the level.

    Attributes:
        agree: Number of stations whose vote counted for the highest level that counts, and number of stations with a
            criterion on motion.
        name: Name of that level.
    """

    votes: Sequence[LevelVote]
    agree: tuple[int, int]
    name: str


def read_evidence(evidence: headline.FrozenDecision) -> list[EvidenceTable]:
    """Return tables of frozen evidence.

    Those of a decision on a level have an order and titles of their own. Other evidence is shown as nested tables.
    """
    outcome = evidence.get("outcome")
    if isinstance(outcome, Mapping) and isinstance(evidence.get("view"), Mapping):
        # Evidence that was altered is shown as it is.
        with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
            return _list_decision_tables(outcome.get("evidence") or {}, evidence["view"])
    return _list_nested_tables("", evidence)


def find_sentence(evidence: headline.FrozenDecision) -> str:
    """Return the sentence that explains a decision, or an empty text."""
    return evidence.get("sentence") or evidence.get("reason") or ""


def list_findings(frozen: headline.FrozenDecision, site: Site | None) -> LevelFindings | None:
    """Return the votes for more than the lowest level; None if no criterion voted."""
    outcome = headline.get_evidence(frozen)
    if site is None or not outcome:
        return None
    assessments = {VoteKey(w["criterion"], w["station"]): w for w in outcome.get("words", ())}
    rate_criteria = {criterion.id: criterion for criterion in site.criteria if criterion.kind.rate}
    votes = []
    for name, vote in outcome.get("votes", {}).items():
        key = VoteKey.read(name)
        assessment = assessments.get(key)
        if not vote["level"] or assessment is None:
            continue
        bound = headline.find_bound_of_vote(assessment, vote["level"])
        criterion = rate_criteria.get(key.criterion)
        votes.append(
            LevelVote(
                station=key.station,
                level=vote["level"],
                name=headline.name_site_level(site, vote["level"]),
                at=_read_instant(vote["newest_s"]),
                reason=assessment["reason"],
                counted=vote["counted"],
                aside=vote["pended"] or "",
                rate=None if bound is None or criterion is None else _describe_rate(site, criterion, bound),
            )
        )
    if not votes:
        return None
    votes.sort(key=lambda vote: (-vote.level, not vote.counted, vote.station))
    top = max((vote.level for vote in votes if vote.counted), default=0)
    agreeing = {vote.station for vote in votes if vote.counted and vote.level == top}
    assessed = {w["station"] for w in outcome.get("words", ()) if w["criterion"] in rate_criteria}
    return LevelFindings(votes, (len(agreeing), len(assessed | agreeing)), headline.name_site_level(site, top))


def _describe_rate(site: Site, criterion: Criterion, bound: headline.MeasuredBound) -> RateOverBound:
    return RateOverBound(
        value=format_number(bound["rate"]),
        bound=format_number(bound["bound"]),
        span_s=headline.get_window_s(bound),
        unit=headline.find_unit(site, criterion.id),
        quantity=criterion.quantity,
        moved=criterion.kind.velocity,
    )


def _make_table(name: str, head: Sequence[str], rows: list[list[Any]], *, folded: bool = False) -> EvidenceTable:
    return EvidenceTable(name, head, rows[-MOST_ROWS:], max(len(rows) - MOST_ROWS, 0), folded)


def _read_instant(at_s: Any) -> Any:
    return from_epoch_s(at_s) if isinstance(at_s, int | float) else "–"


def _list_decision_tables(outcome: headline.DecisionEvidence, view: Mapping[str, Any]) -> list[EvidenceTable]:
    tables = list_outcome_tables(outcome)
    for name, readings in view.get("readings", {}).items():
        rows = [[_flatten(value) for value in reading[: len(READING_HEAD)]] for reading in readings]
        quantity = QUANTITIES.get(name.partition(".")[2])
        head: list[str] = []
        for title in READING_HEAD:
            template = _MEASURED.get(title)
            head.append(title if quantity is None or template is None else template(unit=quantity.unit))
        tables.append(_make_table(_READINGS(series=name), head, rows, folded=True))
    for name in ("forecasts", "anomalies", "footprints", "reports", "events", "failures", "maintenance", "points"):
        tables += [replace(table, folded=True) for table in _list_nested_tables(name, view.get(name) or [])]
    return [table for table in tables if table.rows]


def list_outcome_tables(outcome: headline.DecisionEvidence) -> list[EvidenceTable]:
    """Return votes, assessments, steps and supporters of a decision as tables. Empty tables are left out."""
    votes = []
    for key, vote in outcome.get("votes", {}).items():
        counted = Term("counted" if vote["counted"] else "not counted")
        newest_at = _read_instant(vote["newest_s"])
        valid_until = _read_instant(vote["valid_until_s"])
        votes.append([key.replace("|", " · "), vote["level"], counted, vote["pended"] or "", newest_at, valid_until])
    assessments = [
        [
            assessment["criterion"],
            assessment["station"],
            assessment["raise_level"],
            _name_age(assessment),
            _read_instant(assessment["newest_s"]),
            assessment["reason"],
        ]
        for assessment in outcome.get("words", ())
    ]
    steps = [[key, step["level"], step["state"], step["reason"]] for key, step in outcome.get("steps", {}).items()]
    common = [[reference, reason] for reference, reason in outcome.get("common", {}).items()]
    supporters = [[key] for key in outcome.get("held_by", ())]
    tables = [
        _make_table("Votes", ("witness", "level", "", "set aside because", "newest datum", "valid until"), votes),
        _make_table("What each rule said", ("rule", "station", "level", "datum", "newest", "in words"), assessments),
        _make_table("Sudden steps", ("step", "level", "state", "in words"), steps),
        _make_table("Common motion", ("reference", "in words"), common),
        _make_table("Held by", ("witness",), supporters),
    ]
    return [table for table in tables if table.rows]


def _name_age(assessment: headline.StoredAssessment) -> Term:
    if assessment["fresh"]:
        return Term("fresh")
    return Term("old" if assessment["heard"] else "silent")


def _list_nested_tables(name: str, value: Any) -> list[EvidenceTable]:
    if isinstance(value, Mapping):
        plain = [[key, inner] for key, inner in value.items() if not isinstance(inner, Mapping | list)]
        tables = [_make_table(name, (), plain)] if plain else []
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                tables += _list_nested_tables(f"{name} › {key}" if name else str(key), inner)
        return tables
    if value and all(isinstance(item, Mapping) for item in value):
        head = list(dict.fromkeys(key for item in value for key in item))
        return [_make_table(name, head, [[_flatten(item.get(key)) for key in head] for item in value])]
    rows = []
    for item in value:
        cells = item if isinstance(item, list) else [item]
        rows.append([_flatten(cell) for cell in cells])
    return [_make_table(name, (), rows)] if rows else []


def _flatten(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value
