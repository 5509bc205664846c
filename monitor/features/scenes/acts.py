"""Acts of people on networks that were trained for the scenes of a site.

The modules that need numpy are imported when an act is done, so that no page waits for them.
"""

from typing import Final

from monitor.api.acts import ActResult
from monitor.api.alerts import ModelHash, make_act_factory
from monitor.api.queries.alerts import ActCall, Reason, SiteId
from monitor.api.text import join


def take_into_use(call: ActCall, site: SiteId, model_hash: ModelHash, reason: Reason) -> ActResult:
    """Use a network that was trained for a site first, if the site file chooses weights automatically.

    Example: slopeward scenes promote north-bench 3fa1b2 --reason "better on our own ground"
    """
    from monitor.features.scenes import model_acts

    declared = call.find_site(site)
    model_acts.try_weights(call.db, call.config, declared, model_hash)  # takes seconds, in which others write
    line = call.db.run_write(model_acts.promote, declared, model_hash, call.actor, reason, call.now)
    return ActResult(join([line], "; "), {"site": site, "line": line})


def let_go(call: ActCall, site: SiteId, model_hash: ModelHash, reason: Reason) -> ActResult:
    """Stop using a network that was trained for a site. Its footprints stay.

    Example: slopeward scenes retire north-bench 3fa1b2 --reason "learnt from outlines of last year"
    """
    from monitor.features.scenes import model_acts

    line = call.db.run_write(model_acts.retire, call.find_site(site), model_hash, call.actor, reason, call.now)
    return ActResult(join([line], "; "), {"site": site, "line": line})


_network: Final = make_act_factory("/sites/{site}/networks/{model_hash}", "scenes", "/sites/{site}/acts#models")
ACTS: Final = (
    _network("network.promote", "promote", "/promote", lambda: take_into_use),
    _network("network.retire", "retire", "/retire", lambda: let_go),
)
