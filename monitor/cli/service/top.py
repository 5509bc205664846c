"""`slopeward top`: the state of all slopes on one screen, looked at again every few seconds."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy import Connection

from monitor.cli.identity import narrow_to_reader
from monitor.cli.printable import bare, make_printable
from monitor.cli.service.status import describe_age, make_table
from monitor.cli.session import Commands, UtcOption, find_zones, open_service, tell
from monitor.domain.alert import Ledger
from monitor.domain.instants import parse
from monitor.errors import StoreError
from monitor.language.local_time import name_zone, spell_local
from monitor.store.pages import count_undelivered, load_cards, load_open_alerts
from monitor.store.service_state import load_stamps

if TYPE_CHECKING:
    from rich.console import Group

app = Commands()
_RANK = {Ledger.HAZARD: 0, Ledger.HEALTH: 1, Ledger.ADVICE: 2}
_ALERTS = 12  # lines, so that one screen holds all


@app.command("top", takes_json=False)
def top(
    every: Annotated[float, typer.Option("--every", min=0.5, max=86400.0, help="Seconds between two looks")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look, then end; so without a terminal")] = False,
    utc: UtcOption = False,
) -> None:  # fmt: skip
    """Show levels, open alerts and messages that did not arrive, live; Ctrl-C ends it. Reads the database only.

    Example: slopeward top --every 5
    """
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    _, db = open_service()
    console = Console()

    def look() -> "Group":
        with db.read() as c:
            return _draw(c, datetime.now(UTC), find_zones(c, utc=utc))

    if once or not console.is_terminal:
        (console if console.is_terminal else Console(width=200)).print(look())
        return
    last = look()
    drawn = Console(file=bare(sys.stdout))  # it moves over the screen, which no text of a row may
    with Live(last, console=drawn, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every)
            try:
                last = look()
            except StoreError as error:  # a restart of the database: the last state stays, and says so
                live.update(Group(Text(f"not current: {error}", style="bold red"), last), refresh=True)
            else:
                live.update(last, refresh=True)


def _draw(c: Connection, now: datetime, zones: Callable[[str], str]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    sites = narrow_to_reader(c, None)
    rows = [card.status for card in load_cards(c, sites)]
    alerts = sorted(
        (a for a in load_open_alerts(c, sites) if not a["exercise"]),
        key=lambda a: (_RANK[Ledger(a["ledger"])], -a["level"]),
    )
    core = load_stamps(c).get("core")
    heart = "no core has run yet" if core is None else f"core {core[1].get('state')}, seen {describe_age(core[0], now)}"
    lost = f"   {count_undelivered(c)} messages not delivered" if sites is None else ""  # of all sites
    clock = f"{spell_local(now, zones(''), seconds=True)} {name_zone(now, zones(''))}"
    parts: list[Any] = [
        Text(f"{clock}   {heart}   {len(alerts)} open alerts{lost}"),
        Text(), make_table(rows, now, zones), Text(),
    ]  # fmt: skip
    table = Table(box=None, pad_edge=False)
    for title in ("alert", "site", "level", "raised", "state", "reason"):
        table.add_column(title, no_wrap=title != "reason")
    for a in alerts[:_ALERTS]:
        age = describe_age(parse(a["raised_at"]), now)
        reason = tell(a["reason"], zones(a["site"]))
        cells = (str(a["alert_id"]), a["site"], a["level_name"], age, a["state"], reason)
        table.add_row(*(Text(make_printable(cell)) for cell in cells))
    if alerts:
        parts.append(table)
    if len(alerts) > _ALERTS:
        parts.append(Text(f"and {len(alerts) - _ALERTS} more: slopeward alerts list"))
    return Group(*parts)
