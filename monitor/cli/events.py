"""`slopeward events`: work, blasting, reservoir operation or an earthquake that explains what instruments see."""

from datetime import UTC, datetime
from difflib import get_close_matches
from math import isfinite
from typing import Annotated

import typer

from monitor.cli.opening import NOTHING, ConfigOption, JsonOption, actor, open_database, pick_site, say, show
from monitor.config import load_service
from monitor.domain.instants import spell
from monitor.domain.observation import SiteEvent
from monitor.errors import RefusedError
from monitor.ingest.decoders.observer import read_given_time
from monitor.store.audit import add_audit
from monitor.store.messages import add_event

KINDS = ("work", "blasting", "reservoir", "earthquake")  # usual words; others are kept as they are
# the strongest record is of nearly 4 g (Aoi et al., Science 322, 2008): more was given in another unit
MOST_G = 5.0
app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.callback()
def describe() -> None:
    """Work, blasting, reservoir operation or an earthquake."""


@app.command("add")
def add(
    site: Annotated[str, typer.Option("--site", help="Site")],
    kind: Annotated[str, typer.Option("--kind", help="Such as work, blasting, reservoir, earthquake")],
    text: Annotated[str, typer.Option("--text", help="What happens, in words")],
    from_: Annotated[str | None, typer.Option("--from", help="Begin, with zone; now when not given")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, with zone; the begin when not given")] = None,
    value: Annotated[
        float | None,
        typer.Option("--value", help="A size; of an earthquake the peak ground acceleration at the site in g"),
    ] = None,
    known_from: Annotated[
        str | None, typer.Option("--known-from", help="Since when people knew it, with zone; a replay goes by it")
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who says so; else the account at the keyboard")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an event; it annotates, it raises and lowers no level.

    What is added later counts from now on. With --known-from a replay (`slopeward backtest`) knows it from then on; a
    decision of the past does not change.

    An earthquake keeps steps of its hours as questions, and makes bounds stricter where the site file says so.

    Example: slopeward events add --site north-bench --kind blasting --from 2026-03-01T06:00:00Z --text "bench 4"
    """
    now = datetime.now(UTC)
    begin = read_given_time(from_, now)
    end = read_given_time(to, begin)
    if end < begin:
        raise RefusedError("--to lies before --from")
    if not text.strip() or not kind.strip():
        raise RefusedError("an event needs a kind and a text")
    meant = find_meant(kind)
    if meant is not None:  # a misspelt earthquake would explain no step
        raise RefusedError(f"--kind {kind}: did you mean {meant}?")
    if value is not None and not isfinite(value):
        raise RefusedError("--value: expected a finite number")
    if kind == "earthquake" and value is not None and value <= 0.0:
        raise RefusedError("--value: a peak ground acceleration is more than 0 g")
    if kind == "earthquake" and value is not None and value > MOST_G:
        gal = f"{value:g} gal (cm/s²) are {value / 980.665:.3g} g"
        raise RefusedError(f"--value {value:g}: no ground has shaken with more than {MOST_G:g} g; {gal}")
    if kind == "earthquake" and begin > now:
        raise RefusedError("--from: an earthquake cannot lie in the future")
    knew = None if known_from is None else read_given_time(known_from, now)
    if knew is not None and not begin <= knew <= now:
        raise RefusedError("--known-from: nobody knows an event before it begins, or later than now")
    place = pick_site(load_service(config), site)
    who = actor(by)
    item = SiteEvent(place.id, begin, end, kind, text, value)
    with open_database(config) as db, db.write(urgent=True) as c:
        added = add_event(c, item, now, who.name, knew)
        if added:
            said = {} if knew is None else {"known_from": spell(knew)}
            add_audit(c, who, "event.add", f"site:{place.id}", {"kind": kind, "from": spell(begin), **said}, now)
    if not added:
        say("the very same event is there already")
        raise typer.Exit(NOTHING)
    show(
        {"site": place.id, "kind": kind, "from": spell(begin), "to": spell(end), "by": who.name},
        f"{place.id}: {kind} noted", as_json,
    )  # fmt: skip


def find_meant(kind: str) -> str | None:
    """The usual word that another one was probably meant for; None where it is one, or something else."""
    if kind in KINDS:
        return None
    word = kind.strip().lower()
    near = get_close_matches(word, KINDS, 1, 0.75)
    near += [known for known in KINDS if len(word) >= len("work") and word in known]
    near += ["earthquake"] if "quake" in word else []
    return near[0] if near else None
