"""Settings of [fusion], and the evaluation of fusion rules as trees in three-valued logic."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from monitor.sections import Key


@dataclass(frozen=True, slots=True)
class Clause:
    """A node in the tree of a fusion rule. A leaf (`votes`) checks the votes of one criterion.

    Attributes:
        op: `all`, `any`, `not`, `at_least` or `votes`.
        parts: child nodes.
        k: for `at_least` the number of parts that must hold, for `votes` the number of independent witnesses.
        criterion: `votes`: id of the criterion.
        level: `votes`: lowest level that the witnesses must vote for.
        witnesses: `votes`: witnesses that count, by their names in votes.
        areas: `votes`: number of areas of the slope that need `k` witnesses each.
    """

    op: str
    parts: tuple["Clause", ...] = ()
    k: int = 1
    criterion: str = ""
    level: int = 1
    witnesses: tuple[str, ...] = ()
    areas: int = 1


@dataclass(frozen=True, slots=True)
class FusionRule:
    """A condition on several criteria that votes for a level. The vote counts as the witnesses that support it."""

    id: Annotated[str, Key("name of the rule in the evidence", pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    level: Annotated[int, Key("level that the rule votes for", str)]
    when: Annotated[Clause, Key("tree of clauses", dict[str, Any])]
    author: Annotated[str, Key("who wrote the rule")] = ""
    reason: Annotated[str, Key("reason for the rule")] = ""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Check of neighbours: a vote for a high level counts only if a neighbour also moves.

    A neighbour at `k` steps must move with v / 2^k. Without data of a neighbour, the vote is not checked.
    """

    above: Annotated[int, Key("votes for levels above this are checked", str)]
    step_m: Annotated[float, Key("horizontal distance of a step; at k steps, v / 2^k is required", gt=0.0)]
    steps: Annotated[int, Key("largest distance of a neighbour, in steps", ge=1, le=10)] = 2
    criteria: Annotated[tuple[str, ...], Key("ids of the checked criteria; default all of kind `velocity`")] = ()


@dataclass(frozen=True, slots=True)
class Fusion:
    """Settings of the fusion of votes into a level."""

    top_needs: Annotated[int, Key("independent witnesses that the top level needs", ge=1)] = 2
    hold_when_missing_s: Annotated[float, Key("notify the recipients if the site has no usable data for this time")] = (
        259200.0
    )
    verify_within_s: Annotated[
        float, Key("deadline to verify a jump; after it, the jump counts for the lowest level")
    ] = 3600.0
    rules: tuple[FusionRule, ...] = ()
    neighbours: Neighbours | None = None
    fast_track: Annotated[bool, Key("two independent stations that jump at one epoch raise a level at once")] = False


def evaluate_clause(clause: Clause, evaluate_leaf: Callable[[Clause], bool | None]) -> bool | None:
    """Evaluate a clause in Kleene's strong three-valued logic: True, False, or None for unknown.

    >>> values = {"v": True, "rain": None}
    >>> leaves = tuple(Clause("votes", criterion=name) for name in values)
    >>> [evaluate_clause(Clause(op, leaves), lambda leaf: values[leaf.criterion]) for op in ("all", "any")]
    [None, True]
    >>> evaluate_clause(Clause("not", leaves[1:]), lambda leaf: values[leaf.criterion]) is None
    True
    """
    if clause.op == "votes":
        return evaluate_leaf(clause)
    values = [evaluate_clause(part, evaluate_leaf) for part in clause.parts]
    if clause.op == "not":
        return None if values[0] is None else not values[0]
    needed = _count_needed(clause)
    if values.count(True) >= needed:
        return True
    return None if values.count(True) + values.count(None) >= needed else False


def _count_needed(clause: Clause) -> int:
    """Return how many parts of `all`, `any` or `at_least` must hold."""
    if clause.op == "all":
        return len(clause.parts)
    return 1 if clause.op == "any" else clause.k


def find_supporting_leaves(clause: Clause, evaluate_leaf: Callable[[Clause], bool | None]) -> Iterator[Clause]:
    """Return the leaves that make a clause true. Leaves under `not` do not support it."""
    if clause.op == "votes":
        yield clause
    elif clause.op != "not":
        for part in clause.parts:
            if evaluate_clause(part, evaluate_leaf) is True:
                yield from find_supporting_leaves(part, evaluate_leaf)


def list_leaves(clause: Clause) -> Iterator[Clause]:
    """Return all leaves of a tree."""
    if clause.op == "votes":
        yield clause
    for part in clause.parts:
        yield from list_leaves(part)


def list_affirmative_leaves(clause: Clause) -> list[Clause]:
    """Return the leaves whose votes can support a clause; leaves under `not` cannot."""
    if clause.op == "votes":
        return [clause]
    if clause.op == "not":
        return []
    return [leaf for part in clause.parts for leaf in list_affirmative_leaves(part)]


def can_become(clause: Clause, can_leaf_become: Callable[[Clause, bool], bool], *, value: bool = True) -> bool:
    """Return whether a clause can become true, or false, while only some witnesses have data.

    Args:
        clause: the clause.
        can_leaf_become: returns whether the witnesses with data can give a leaf the value.
        value: True or False. None (unknown) is not asked for.
    """
    if clause.op == "votes":
        return can_leaf_become(clause, value)
    if clause.op == "not":
        return can_become(clause.parts[0], can_leaf_become, value=not value)
    needed = _count_needed(clause)
    if not value:
        # The clause is false if so many parts are false that the others are not enough.
        needed = len(clause.parts) - needed + 1
    return sum(can_become(part, can_leaf_become, value=value) for part in clause.parts) >= needed


def format_clause(clause: Clause) -> str:
    """Format a clause for people.

    >>> rain = Clause("votes", criterion="rain")
    >>> format_clause(Clause("all", (Clause("votes", k=2, criterion="v"), Clause("not", (rain,)))))
    '(2 of v and not rain)'
    """
    if clause.op == "votes":
        text = f"{clause.k} of {clause.criterion}" if clause.k > 1 else clause.criterion
        return text if clause.areas == 1 else f"{text} in {clause.areas} areas each"
    parts = [format_clause(part) for part in clause.parts]
    if clause.op == "not":
        return f"not {parts[0]}"
    if clause.op == "at_least":
        return f"at least {clause.k} of ({', '.join(parts)})"
    operator = " and " if clause.op == "all" else " or "
    return f"({operator.join(parts)})"
