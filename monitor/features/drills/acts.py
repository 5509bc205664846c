"""Actions on drills: hold a drill with the real channels, and end it."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from monitor.api.acts import Act, ActResult, Argument
from monitor.api.alerts import COMMAND
from monitor.api.decision import AlertChange
from monitor.api.errors import NotFoundError, RefusedError, acquire_or_refuse
from monitor.api.queries.alerts import EXIT_ALREADY_DONE, LARGEST_ID, ActCall, SiteId, find_in_force
from monitor.api.sites import Site
from monitor.api.text import N_, Message, Template, plain_to_messages
from monitor.features.drills.queries import RUNNING, end_drill, find_drill

_NONE: Final = Template("drill.none", "drill {number} does not exist")
_ENDED: Final = Template("drill.ended", "drill {number} of {site} is ended: {count} alarms closed")
_OVER: Final = Template("drill.over_already", "drill {number} is over already")

_BUSY: Final = Template("drill.busy", "another drill is being prepared; try again in a minute")
_NOT_PREPARED: Final = Template(
    "drill.not_prepared", "the drill could not be prepared; see the log of the service for the reason"
)
_BEGUN: Final = Template("drill.begun", "the drill has started")
_PREPARING: Final = Template("drill.preparing", "the drill is being prepared; load the page again in a minute")
_NO_FILE: Final = Template("drill.no_file", "--scenario {name}: there is no such file; give a file, or collapse")
_HELD: Final = Template(
    "drill.held", "drill {number} of {site} is over ({reason}): {level}, {count} alarms, {acknowledged} acknowledged"
)
_SLOWEST: Final = Template("drill.slowest", "the slowest acknowledgement came after {seconds} s")
# Only one drill is prepared at a time.
_preparing: Final = threading.Semaphore(1)
START_TIMEOUT_S: Final = 20.0  # time for which the page waits until a drill has started
EXIT_UNACKNOWLEDGED: Final = 3
# For arguments that need files of this machine, or a command that waits for the end of the drill.
_COMMAND_ONLY: Final = frozenset({COMMAND})


def hold(
    call: ActCall,
    site: SiteId,
    minutes: Annotated[
        str,
        Argument(N_("Minutes from the first level to the last"), "--minutes", longest=4, choices=("1", "10", "60")),
    ] = "10",
    scenario: Annotated[
        str, Argument("collapse (simulated), or a file of readings in the long form", "--scenario", ways=_COMMAND_ONLY)
    ] = "collapse",
    speed: Annotated[
        float | None,
        Argument(
            "Simulated seconds per second, in place of minutes", "--speed", least=0.001, most=1e9, ways=_COMMAND_ONLY
        ),
    ] = None,
    hold: Annotated[
        timedelta,
        Argument("How long the alarms stay open at the end if nobody acknowledges", "--hold", ways=_COMMAND_ONLY),
    ] = timedelta(minutes=10),
    health: Annotated[bool, Argument(N_("Send health and advice alerts of the scenario too"), "--health")] = False,
) -> ActResult:
    """Hold a drill: report a failure by the real channels as an exercise, and measure how fast people acknowledge.

    Every message is marked EXERCISE, and real alarms are sent first. Real readings, levels and alerts do not change. On
    the page, the drill continues by itself; the command waits until it is over.

    Exit 0 done, 1 a known error, 3 an alarm was not acknowledged.

    Example: slopeward notify drill hold north-bench --by ada
    """
    from monitor.features.drills.hold import COLLAPSE, DrillOptions, hold_drill

    if scenario != COLLAPSE and not Path(scenario).exists():
        raise NotFoundError(_NO_FILE(name=scenario))
    options = DrillOptions(scenario, speed, hold.total_seconds(), quiet=not health, lasts_s=60.0 * int(minutes))
    declared = call.find_site(site)
    report = call.report
    if report is None:
        return ActResult(_start_process(call, declared, options), {"site": site})

    def show(at: datetime, change: AlertChange) -> None:
        report(f"{at:%Y-%m-%d %H:%M} of the scenario: {change.reason}")

    number, outcome = hold_drill(
        call.db, declared, call.actor, options, clock=lambda: datetime.now(UTC), wait=time.sleep, on_change=show
    )
    text = _HELD(
        number=number,
        site=site,
        reason=outcome["reason"],
        level=declared.levels[min(outcome["peak_level"], declared.top_level)].name,
        count=outcome["alerts"],
        acknowledged=len(outcome["acknowledged"]),
    )
    slowest = outcome["slowest_acknowledgement_s"]
    notes = () if slowest is None else (_SLOWEST(seconds=round(slowest)),)
    facts = {"drill": number, "site": site, **outcome}
    return ActResult(text, facts, notes, status=EXIT_UNACKNOWLEDGED if outcome["unanswered"] else 0)


def _start_process(call: ActCall, site: Site, options: object) -> Message:
    """Start the process of a drill, and wait some seconds. Return a message whether the drill has started.

    The process of the drill continues if this process is restarted.

    Raises:
        RefusedError: the drill could not be prepared.
    """
    from monitor.api.worker import ChildProcess

    url = call.db.url.render_as_string(hide_password=False)
    with acquire_or_refuse(_preparing, _BUSY()):
        child = ChildProcess("monitor.features.drills.hold:hold_in_process", url, site, call.actor, options)
        answer = next(child.lines(START_TIMEOUT_S), None)
    threading.Thread(target=child.wait, name="drill", daemon=True).start()
    if answer is not None and "refused" in answer:
        raise RefusedError(plain_to_messages(answer)["refused"])
    if answer is None and child.has_ended:
        raise RefusedError(_NOT_PREPARED())
    return _BEGUN() if answer else _PREPARING()


def end(
    call: ActCall,
    site: SiteId,
    number: Annotated[
        int, Argument("Number of the drill, see `slopeward notify drill list`", metavar="ID", least=1, most=LARGEST_ID)
    ],
    reason: Annotated[str, Argument(N_("Why"), "--reason")] = "ended by hand",
) -> ActResult:
    """End a drill: recipients are notified that it is over, and its alarms are closed.

    Example: slopeward notify drill end north-bench 3 --by ada --reason "telephone"
    """
    with call.write() as c:
        drill = find_drill(c, number)
        if drill.site != site:
            raise NotFoundError(_NONE(number=number))
        outcome = end_drill(c, number, call.actor, reason, call.now, site=find_in_force(c, site))
    facts = {"drill": number, "site": site, **outcome}
    if drill.state != RUNNING:
        return ActResult(_OVER(number=number), facts, status=EXIT_ALREADY_DONE)
    return ActResult(_ENDED(number=number, site=site, count=outcome["alerts"]), facts)


_DRILLS: Final = "/sites/{site}/drills"
ACTS: Final = (
    Act("drill.hold", "notify drill hold", _DRILLS, lambda: hold, _DRILLS),
    Act("drill.end", "notify drill end", f"{_DRILLS}/{{number}}/end", lambda: end, _DRILLS),
)
