"""What a person may do with the GNSS reference of a station: say which of two holds.

This act stands here because it reaches into what ingest keeps, which alerting does not know.
"""

from typing import Annotated, Final

from sqlalchemy import Connection

from forecasting.message import Template
from monitor.alerting.acts.call import ActCall
from monitor.alerting.acts.on_sites import SiteId
from monitor.alerting.acts.stakes import needs_two_people
from monitor.alerting.acts.table import ActResult, Argument
from monitor.domain.alert import Actor
from monitor.domain.language.catalogue import N_
from monitor.ingest.references import Reference, answer_reference, share_answer

_NEW: Final = Template("epoch0.counts_new", "{place} counts {holds}, no more {other}")
_KEPT: Final = Template("epoch0.counts_kept", "{place} goes on {holds}")
HOLDS: Final = ("new", "kept")


def choose(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument("Station", metavar="STATION", longest=64)],
    holds: Annotated[
        str,
        Argument(
            "new: the receiver or its processing was changed; kept: what counts otherwise is wrong",
            metavar="new|kept",
            longest=8,
            label=N_("Answer"),
            choices=HOLDS,
        ),
    ],
    reason: Annotated[str, Argument(N_("How you know"), "--reason")],
) -> ActResult:
    """Say which GNSS reference of a station holds: the one that messages tell now, or the kept one.

    Where accounts exist and one of the two highest levels stands or is asked for, it takes two people. With the new
    one values jump where the zero changed: declare an offset then.

    Example: slopeward instruments reference north-bench G1 new --by ada --reason "log book of the receiver"
    """
    place, accept = f"{site}/{station}", holds == "new"

    def do(c: Connection, second: Actor | None) -> tuple[Reference, Reference]:
        takes_two = needs_two_people(c, site)[1]
        return answer_reference(
            c, place, call.actor, reason, call.now, accept=accept, takes_two=takes_two, second=second
        )

    shared = call.db.run_read(share_answer, place, accept=accept)
    found, other = call.by_two(shared, reason, do, lambda c: needs_two_people(c, site)[0])
    text = (_NEW if accept else _KEPT)(place=place, holds=found.describe(), other=other.describe())
    facts = {"station": place, "holds": found.to_json(), "other": other.to_json()}
    return ActResult(text, facts, hint="slopeward ingest --rejected" if accept else "")
