"""Act of a person: choose the reference from which the displacement of a station is measured."""

from typing import Annotated, Final

from sqlalchemy import Connection

from monitor.alerts.acts.answer_acts import find_stake
from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_sites import SiteId
from monitor.alerts.acts.table import ActResult, Argument
from monitor.ingest.references import Reference, ReferenceAnswer, answer_reference, share_answer
from monitor.storage.actor import Actor
from monitor.text.catalogue import N_
from monitor.text.message import Template

_NEW: Final = Template("epoch0.counts_new", "displacement of {place} is now measured {holds}, no longer {other}")
_KEPT: Final = Template("epoch0.counts_kept", "displacement of {place} is still measured {holds}")
HOLDS: Final = tuple(map(str, ReferenceAnswer))


def choose(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument("Station", metavar="STATION", longest=64)],
    holds: Annotated[
        str,
        Argument(
            "new: the instrument or its processing was changed; kept: the new messages are wrong; network: all base "
            "stations of this stream are one network (VRS, i-MAX, MAC)",
            metavar="new|kept|network",
            longest=8,
            label=N_("Answer"),
            choices=HOLDS,
        ),
    ],
    reason: Annotated[str, Argument(N_("How you know"), "--reason")],
) -> ActResult:
    """Choose which reference of a station is in force: that of its new messages, or the stored one.

    If accounts exist, and one of the two highest levels is in force or requested, a second person must sign. If the
    new reference has another zero, values jump: declare an offset. `network` also covers later ids of base stations.

    Example: slopeward instruments reference north-bench G1 new --by ada --reason "log book of the receiver"
    """
    place = f"{site}/{station}"
    answer = ReferenceAnswer(holds)
    accept = answer is not ReferenceAnswer.KEPT

    def answer_in(c: Connection, second: Actor | None) -> tuple[Reference, Reference]:
        takes_two = find_stake(c, site)[1]
        return answer_reference(
            c, place, call.actor, reason, call.now, answer=answer, takes_two=takes_two, second=second
        )

    shared = call.db.run_read(share_answer, place, answer=answer)
    chosen, other = call.by_two(shared, reason, answer_in, lambda c: find_stake(c, site)[0])
    template = _NEW if accept else _KEPT
    text = template(place=place, holds=chosen.describe(), other=other.describe())
    facts = {"station": place, "holds": chosen.to_json(), "other": other.to_json()}
    return ActResult(text, facts, hint="slopeward ingest --rejected" if accept else "")
