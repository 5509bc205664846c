"""Site files that wait for somebody to approve them, with what they change and what that would have done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select, update

from forecasting.message import Template, message_columns
from monitor.errors import NotFoundError
from monitor.store.database.rows import add_row, find_record, load_records, of_sites
from monitor.store.schema import tables as t

PROPOSED: Final = "proposed"
APPROVED: Final = "approved"
REJECTED: Final = "rejected"
SUPERSEDED: Final = "superseded"  # another one of the site was approved first
_OTHER: Final = Template("proposal.other_approved", "proposal {number} was approved")
_NONE: Final = Template(
    "proposal.none_listed", "proposal {number} does not exist; see `slopeward sites proposals --all`"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal as it stands."""

    id: int
    site: str
    sha256: str
    base_sha256: str | None  # the version in force when it was made; None for a first file
    source: str
    author: str
    reason: str
    proposed_at: datetime
    state: str
    effect: Any
    differences: Any
    loosens_high: bool
    approved_by: str | None
    second_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


def add_proposal(
    c: Connection, site: str, sha256: str, base_sha256: str | None, source: str, author: str, reason: str,
    now: datetime, *, effect: Mapping[str, Any], differences: Sequence[Mapping[str, Any]], loosens_high: bool,
) -> int:  # fmt: skip
    """Store a proposal; returns its number."""
    return add_row(
        c, t.site_proposal, site=site, sha256=sha256, base_sha256=base_sha256, source=source, author=author,
        reason=reason, proposed_at=now, state=PROPOSED, effect=dict(effect),
        differences=[dict(d) for d in differences], loosens_high=loosens_high,
    )  # fmt: skip


def load_proposals(
    c: Connection, site: str | frozenset[str] | None = None, *, everything: bool = False
) -> list[Proposal]:
    """Proposals that wait, oldest first; all where asked for."""
    p = t.site_proposal.c
    which = (*of_sites(p.site, site), *(() if everything else (p.state == PROPOSED,)))
    return load_records(c, Proposal, select(t.site_proposal).where(*which).order_by(p.id))


def load_proposal(c: Connection, number: int, *, lock: bool = False) -> Proposal:
    """One proposal; locked for who decides it.

    Raises:
        NotFoundError: there is none of that number.
    """
    wanted = select(t.site_proposal).where(t.site_proposal.c.id == number)
    found = find_record(c, Proposal, wanted.with_for_update() if lock else wanted)
    if found is None:
        raise NotFoundError(_NONE(number=number))
    return found


def mark_decided(
    c: Connection, number: int, state: str, by: str, reason: str, now: datetime, *, second_by: str | None = None
) -> None:
    """Write what became of a proposal; `second_by` names who made it two people where two were needed."""
    c.execute(
        update(t.site_proposal)
        .where(t.site_proposal.c.id == number)
        .values(
            state=state,
            approved_by=by,
            second_by=second_by,
            decided_at=now,
            **message_columns("decision_reason", reason),
        )
    )


def mark_superseded(c: Connection, site: str, by_number: int, now: datetime) -> None:
    """Put aside the other proposals of a site: they were compared with a version that is no longer in force."""
    p, because = t.site_proposal.c, message_columns("decision_reason", _OTHER(number=by_number))
    c.execute(
        update(t.site_proposal)
        .where(p.site == site, p.state == PROPOSED, p.id != by_number)
        .values(state=SUPERSEDED, decided_at=now, **because)
    )
