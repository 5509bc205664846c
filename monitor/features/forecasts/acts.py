"""What a person may do with forecasters, networks for scenes and GNSS references: show, take into use, let go.

These acts are of the table as all others. They stand here because they reach into the jobs, which alerting does not
know; jobs are loaded when an act is done: no page waits for numpy.
"""

from datetime import timedelta
from typing import Annotated, Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from monitor.alerts.acts.answer_acts import needs_two_people
from monitor.alerts.acts.call import ActCall
from monitor.alerts.acts.on_alerts import Reason
from monitor.alerts.acts.on_sites import SiteId, SiteOption
from monitor.alerts.acts.table import ActResult, Argument
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.errors import RefusedError
from monitor.ingest.references import Reference, ReferenceAnswer, answer_reference, share_answer
from monitor.storage.actor import Actor
from monitor.text.catalogue import N_
from monitor.text.message import NameList, Template, join

_NEW: Final = Template("epoch0.counts_new", "{place} counts {holds}, no more {other}")
_KEPT: Final = Template("epoch0.counts_kept", "{place} goes on {holds}")
HOLDS: Final = tuple(map(str, ReferenceAnswer))


def choose(
    call: ActCall,
    site: SiteId,
    station: Annotated[str, Argument("Station", metavar="STATION", longest=64)],
    holds: Annotated[
        str,
        Argument(
            "new: the receiver or its processing was changed; kept: what counts otherwise is wrong; network: all base "
            "stations of this stream are one network (VRS, i-MAX, MAC)",
            metavar="new|kept|network",
            longest=8,
            label=N_("Answer"),
            choices=HOLDS,
        ),
    ],
    reason: Annotated[str, Argument(N_("How you know"), "--reason")],
) -> ActResult:
    """Say which GNSS reference of a station holds: the one that messages tell now, or the kept one.

    Where accounts exist and one of the two highest levels stands or is asked for, it takes two people. With the new
    one values jump where the zero changed: declare an offset then. `network` covers later ids of base stations too.

    Example: slopeward instruments reference north-bench G1 new --by ada --reason "log book of the receiver"
    """
    place = f"{site}/{station}"
    answer = ReferenceAnswer(holds)
    accept = answer is not ReferenceAnswer.KEPT

    def do(c: Connection, second: Actor | None) -> tuple[Reference, Reference]:
        takes_two = needs_two_people(c, site)[1]
        return answer_reference(
            c, place, call.actor, reason, call.now, answer=answer, takes_two=takes_two, second=second
        )

    shared = call.db.run_read(share_answer, place, answer=answer)
    found, other = call.by_two(shared, reason, do, lambda c: needs_two_people(c, site)[0])
    text = (_NEW if accept else _KEPT)(place=place, holds=found.describe(), other=other.describe())
    facts = {"station": place, "holds": found.to_json(), "other": other.to_json()}
    return ActResult(text, facts, hint="slopeward ingest --rejected" if accept else "")


_ODD_HORIZON: Final = Template("model.odd_horizon", "horizon {horizon}: the site forecasts at {names}")

ModelHash = Annotated[
    str, Argument("Beginning of its hash, see `slopeward forecast models`", metavar="HASH", longest=64)
]


def promote(
    call: ActCall,
    model_hash: ModelHash,
    site: SiteOption,
    reason: Reason,
    horizon: Annotated[timedelta | None, Argument(N_("Only this horizon, such as 7d"), "--horizon")] = None,
    force: Annotated[bool, Argument(N_("Also where the gate is closed: it takes two people"), "--force")] = False,
) -> ActResult:
    """Show a forecaster from the next issue on where its gate is open; by two people also where it is not.

    Example: slopeward forecast promote 3fa1b2 --site north-bench --horizon 1d --reason "90 days of it"
    """
    from monitor.features.forecasts import model_acts

    declared = call.find_site(site)
    horizon_s, known = None if horizon is None else horizon.total_seconds(), declared.forecast.horizons_s
    if horizon_s is not None and horizon_s not in known:
        names = NameList(tuple(map(format_span, known)))
        raise RefusedError(_ODD_HORIZON(horizon=format_span(horizon_s), names=names))

    def do(c: Connection, other: Actor | None) -> list[str]:
        order = model_acts.PromotionOrder(call.actor, reason, call.now, other if force else None, force)
        return model_acts.promote(c, call.config, declared, model_hash, horizon_s, order)

    shared = TwoPersonAct("model.promote", f"model:{model_hash}", {"site": site, "horizon_s": horizon_s})
    lines = call.by_two(shared, reason, do)
    return ActResult(join(lines, "\n"), {"site": site, "lines": lines})


def retire(call: ActCall, model_hash: ModelHash, site: SiteOption, reason: Reason) -> ActResult:
    """Let a forecaster go; where it was shown, forecasts are issued again at once without it.

    Example: slopeward forecast retire 3fa1b2 --site north-bench --reason "trained before the re-zero"
    """
    from monitor.features.forecasts.issue import issue_forecasts
    from monitor.features.forecasts.model_acts import retire_model

    declared = call.find_site(site)
    line, shown = call.db.do(retire_model, declared, model_hash, call.actor, reason, call.now)
    issued = issue_forecasts(call.db, call.config, declared, call.now) if shown else None
    text = join([line, issued] if issued else [line], "; ")
    return ActResult(text, {"site": site, "line": line, "issued": issued})


def take_into_use(call: ActCall, model_hash: ModelHash, site: SiteOption, reason: Reason) -> ActResult:
    """Let a network that was learnt for a site read its scenes first, where weights are chosen scene by scene.

    Example: slopeward scenes promote 3fa1b2 --site north-bench --reason "better on our own ground"
    """
    from monitor.features.scenes import model_acts

    declared = call.find_site(site)
    model_acts.try_weights(call.db, call.config, declared, model_hash)  # takes seconds, in which others write
    line = call.db.do(model_acts.promote, declared, model_hash, call.actor, reason, call.now)
    return ActResult(join([line], "; "), {"site": site, "line": line})


def let_go(call: ActCall, model_hash: ModelHash, site: SiteOption, reason: Reason) -> ActResult:
    """Let a network that was learnt for a site go: it reads no more scenes; what it found stays.

    Example: slopeward scenes retire 3fa1b2 --site north-bench --reason "learnt from outlines of last year"
    """
    from monitor.features.scenes import model_acts

    line = call.db.do(model_acts.retire, call.find_site(site), model_hash, call.actor, reason, call.now)
    return ActResult(join([line], "; "), {"site": site, "line": line})
