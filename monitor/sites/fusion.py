"""How votes become a level: rules over criteria as trees in three-valued logic, and the check of neighbours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from monitor.sections import Key


@dataclass(frozen=True, slots=True)
class Clause:
    """One node of a rule's tree; a leaf (`votes`) asks what the witnesses of one criterion say."""

    op: str  # all, any, not, at_least, votes
    parts: tuple["Clause", ...] = ()
    k: int = 1  # at_least: parts that must hold; votes: independent witnesses that must ask
    criterion: str = ""
    level: int = 1  # votes: what they must ask for at least
    witnesses: tuple[str, ...] = ()  # votes: whose word is heard, as votes name them
    areas: int = 1  # votes: parts of the slope, each with k witnesses of its own


@dataclass(frozen=True, slots=True)
class FusionRule:
    """A level that several criteria ask for together; its vote counts as the witnesses behind it."""

    id: Annotated[str, Key("its name in evidence", pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    level: Annotated[int, Key("that it asks for", str)]
    when: Annotated[Clause, Key("a tree of clauses, see below", dict[str, Any])]
    author: Annotated[str, Key("who set it")] = ""
    reason: Annotated[str, Key("on what grounds")] = ""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """A vote above a level needs a neighbour that moves as well: v / 2^k at k steps, where one is seen."""

    above: Annotated[int, Key("votes above this level are checked", str)]
    step_m: Annotated[float, Key("horizontal distance of one step; a neighbour at k steps must move v / 2^k", gt=0.0)]
    steps: Annotated[int, Key("neighbours within so many steps are compared", ge=1, le=10)] = 2
    criteria: Annotated[tuple[str, ...], Key("ids of what is checked; default all of kind `velocity`")] = ()


@dataclass(frozen=True, slots=True)
class Fusion:
    """How votes become a level."""

    top_needs: Annotated[int, Key("independent witnesses for the top level", ge=1)] = 2
    hold_when_missing_s: Annotated[
        float, Key('after so long without sight the duty person is notified: "cannot see: decide"')
    ] = 259200.0
    verify_within_s: Annotated[float, Key("the clock of every question; when it runs out, the step counts")] = 3600.0
    rules: tuple[FusionRule, ...] = ()
    neighbours: Neighbours | None = None
    fast_track: Annotated[
        bool, Key("two independent stations that jump at one epoch raise a level without two more epochs of each")
    ] = False


def evaluate_clause(clause: Clause, evaluate_leaf: Callable[[Clause], bool | None]) -> bool | None:
    """Whether a clause holds, by Kleene's strong three-valued logic: True, False, or None where it cannot be known.

    >>> say = {"v": True, "rain": None}
    >>> leaves = tuple(Clause("votes", criterion=name) for name in say)
    >>> [evaluate_clause(Clause(op, leaves), lambda c: say[c.criterion]) for op in ("all", "any")]
    [None, True]
    >>> evaluate_clause(Clause("not", leaves[1:]), lambda c: say[c.criterion]) is None
    True
    """
    if clause.op == "votes":
        return evaluate_leaf(clause)
    found = [evaluate_clause(part, evaluate_leaf) for part in clause.parts]
    if clause.op == "not":
        return None if found[0] is None else not found[0]
    needed = {"all": len(found), "any": 1}.get(clause.op, clause.k)
    sure, maybe = found.count(True), found.count(None)
    return True if sure >= needed else None if sure + maybe >= needed else False


def find_behind(clause: Clause, evaluate_leaf: Callable[[Clause], bool | None]) -> Iterator[Clause]:
    """Leaves that a clause which holds rests on; what is denied is no witness."""
    if clause.op == "votes":
        yield clause
    elif clause.op != "not":
        for part in clause.parts:
            if evaluate_clause(part, evaluate_leaf) is True:
                yield from find_behind(part, evaluate_leaf)


def list_leaves(clause: Clause) -> Iterator[Clause]:
    """All leaves of a tree."""
    if clause.op == "votes":
        yield clause
    for part in clause.parts:
        yield from list_leaves(part)


def list_affirmed(clause: Clause) -> list[Clause]:
    """List the leaves whose votes can support a clause; leaves under `not` cannot."""
    if clause.op == "votes":
        return [clause]
    if clause.op == "not":
        return []
    return [leaf for part in clause.parts for leaf in list_affirmed(part)]


def may_become(clause: Clause, able: Callable[[Clause, bool], bool], *, wanted: bool = True) -> bool:
    """Whether a clause could be found true (or false) when only some witnesses can speak.

    Args:
        able: (leaf, wanted) -> the witnesses that can speak could make the leaf so.
        wanted: True = could it hold; False = could it be known not to hold.
    """
    if clause.op == "votes":
        return able(clause, wanted)
    if clause.op == "not":
        return may_become(clause.parts[0], able, wanted=not wanted)
    count = len(clause.parts)
    needed = {"all": count, "any": 1}.get(clause.op, clause.k)
    return sum(may_become(p, able, wanted=wanted) for p in clause.parts) >= (needed if wanted else count - needed + 1)


def format_clause(clause: Clause) -> str:
    """A clause as people read it.

    >>> rain = Clause("votes", criterion="rain")
    >>> format_clause(Clause("all", (Clause("votes", k=2, criterion="v"), Clause("not", (rain,)))))
    '(2 of v and not rain)'
    """
    if clause.op == "votes":
        named = f"{clause.k} of {clause.criterion}" if clause.k > 1 else clause.criterion
        return named if clause.areas == 1 else f"{named} in {clause.areas} areas each"
    words = [format_clause(p) for p in clause.parts]
    if clause.op == "not":
        return f"not {words[0]}"
    if clause.op == "at_least":
        return f"at least {clause.k} of ({', '.join(words)})"
    return f"({(' and ' if clause.op == 'all' else ' or ').join(words)})"
