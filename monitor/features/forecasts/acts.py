"""What a person may do with a forecasting model: show it before its gate opens, and retire it.

The functions that need numpy are imported when an act is done, so that no page waits for them.
"""

from datetime import timedelta
from typing import Annotated, Final

from sqlalchemy import Connection

from forecasting.data.kinds import format_span
from monitor.api.acts import ActResult, Argument
from monitor.api.alerts import ModelHash
from monitor.api.database import Actor
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import ActCall, Reason, SiteOption, TwoPersonAct
from monitor.api.text import N_, NameList, Template, join

_ODD_HORIZON: Final = Template("model.odd_horizon", "horizon {horizon}: the site forecasts at {names}")


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
