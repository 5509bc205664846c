"""A kind of criterion: its traits, its tables in a site file, and its rule."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from monitor.sections import Section
from monitor.sites.criteria.sections import CriterionTable
from monitor.sites.kinds import Kind
from monitor.sites.records import Criterion

if TYPE_CHECKING:
    from monitor.decision.series.assessment import Assessments, DecisionContext

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LONGEST_HISTORY_S: Final = 20.0 * 366.0 * 86400.0


@dataclass(frozen=True, slots=True)
class KindEntry:
    """A kind of criterion.

    Attributes:
        kind: the traits. `kind.id` is the name in site files.
        table: the [[criterion]] in a site file.
        bound: the bound of each level in that table. None where the table has one `level`.
        rule: returns an assessment of each witness. None if the rule of a third-party plugin failed.
        example: the shortest complete table, for a station S1 that has every quantity. The contract test of criteria
            reads and assesses it.
        history_s: returns how many seconds of readings before the newest one the rule reads for a criterion. Nothing
            else decides how much history is loaded for it, so a kind with a window of its own must return that window.
            `monitor.decision.criteria.history` has functions for the usual cases.
        implied_s: set if the criterion is added as advice to site files without it. Takes the slowest interval of the
            series of displacement, and returns for how long its assessment is valid. Both in seconds.
        window_s: returns the newest part of that history, in seconds, in which a missing reading could hide that a
            level is still reached. None means the whole history.
        fact_type: the dataclass of the facts that `kind.facts` names. Values of its fields are JSON values; lists are
            tuples. Facts of a third-party kind are in `DecisionInputs.plugin_facts`.
        plugin: the third-party plugin that registered the kind; empty for kinds of Slopeward.
    """

    kind: Kind
    table: type[CriterionTable]
    bound: type[Section] | None
    rule: "Callable[[Criterion, DecisionContext], Assessments | None]"
    example: str
    history_s: Callable[[Criterion], float]
    implied_s: Callable[[float], float] | None = None
    window_s: Callable[[Criterion], float] | None = None
    fact_type: type | None = None
    plugin: str = ""

    def find_window_s(self, criterion: Criterion) -> float:
        """Return the newest part of the history that must be complete, in seconds."""
        return (self.window_s or self.history_s)(criterion)


def check_entry(entry: KindEntry) -> None:
    """Check that a kind of criterion is declared without contradictions.

    Raises:
        ValueError: the declaration is wrong. The text contains what was expected.
    """
    kind = entry.kind
    # Validates the literal values of the traits.
    TypeAdapter(Kind).validate_python({field.name: getattr(kind, field.name) for field in fields(kind)})
    _expect(_NAME.fullmatch(kind.id), "an id of lower-case letters, digits and _")
    _expect(issubclass(entry.table, CriterionTable), "a table that is derived from CriterionTable")
    _expect(entry.bound is None or issubclass(entry.bound, Section), "a bound that is derived from Section, or None")
    _expect(callable(entry.rule) and callable(entry.history_s), "functions `rule` and `history_s`")
    _expect("=" in entry.example, "an example, as it is written in a site file")
    _expect(kind.witness is None or kind.zone is None, "`witness` or `zone`, not both")
    _expect(kind.source != "suggestion" or kind.role == "advice", "the role `advice` for a suggestion")
    _expect(kind.loosening != "unknown", "`loosening`, which says what a change may do to the two highest levels")
    _expect("ray" not in kind.drawn or kind.rate, "`rate` for a kind that is drawn as a ray")
    _expect((kind.facts is None) == (entry.fact_type is None), "both or none of `facts` and `fact_type`")
    _expect(entry.fact_type is None or is_dataclass(entry.fact_type), "a dataclass as `fact_type`")


def check_history(entry: KindEntry, criterion: Criterion) -> None:
    """Check that the functions of a kind return valid numbers of seconds for a criterion.

    Raises:
        ValueError: a number is invalid. The text contains what was expected.
    """
    for name, function in (("history_s", entry.history_s), ("window_s", entry.window_s)):
        if function is not None:
            seconds = function(criterion)
            is_valid = isinstance(seconds, int | float) and math.isfinite(seconds)
            _expect(is_valid and 0.0 <= seconds <= _LONGEST_HISTORY_S, f"seconds from {name}, got {seconds!r}")


def _expect(condition: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"expected {expected}")
