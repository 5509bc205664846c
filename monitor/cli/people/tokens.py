"""`slopeward people tokens`: tokens by which programs read and act in the name of an account."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli.identity import By, prove
from monitor.cli.session import LARGEST_ID, Commands, open_database, print_note, read_duration_s, require_any, show
from monitor.domain.errors import RefusedError
from monitor.domain.instants import format_iso
from monitor.store.database.audit import add_audit
from monitor.store.people import api_tokens
from monitor.store.people.api_tokens import ApiToken

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Account in whose name the token is used")],
    label: Annotated[str, typer.Option("--label", help="What it is for")],
    scope: Annotated[str, typer.Option("--scope", help="read, act or admin")] = "read",
    site: Annotated[list[str] | None, typer.Option("--site", help="Only this site; several times")] = None,
    valid: Annotated[str, typer.Option("--valid", help="For how long, 366d at most")] = "90d",
    by: By = None,
) -> None:
    """Make a token; it is printed once, alone on stdout. One that acts can be made by its owner only.

    Example: slopeward people tokens add grafana --label "wall in the office" --site north-bench --valid 30d
    """
    valid_s = read_duration_s("--valid", valid)
    with open_database() as db:
        who, now = prove(db, by, own=name), datetime.now(UTC)
        if scope != "read" and who.name != name:
            raise RefusedError(f"a token that acts as {name} can be made by {name} only; --scope read by an admin too")
        with db.write() as c:
            number, token = api_tokens.add_api_token(c, name, label, scope, site, valid_s, now)
            made = api_tokens.find_api_token(c, number)
            add_audit(c, who, "token.add", f"token:{number}", _facts(made), now)
    print_note(f"token {number} of {name}, {_describe(made)}; it is shown this once")
    show({**_facts(made), "token": token}, token)


@app.command("list")
def list_tokens() -> None:
    """List the tokens, never what they are; exit 4 when there are none.

    Example: slopeward people tokens list --json
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        found = api_tokens.load_api_tokens(c)
    for one in found:
        state = "revoked" if one.revoked_at else "expired" if one.expires_at <= now else "open"
        show({**_facts(one), "state": state}, f"{one.id:>4} {one.user:<20} {state:<8} {_describe(one)}")
    require_any(found, "there are no tokens; make one: slopeward people tokens add NAME --label WHAT-FOR")


@app.command("revoke")
def revoke(
    number: Annotated[int, typer.Argument(min=1, max=LARGEST_ID, help="Number, see `slopeward people tokens list`")],
    by: By = None,
) -> None:
    """End a token at once; its owner may, and an admin.

    Example: slopeward people tokens revoke 3
    """
    with open_database() as db:
        with db.read() as c:
            owner = next((one.user for one in api_tokens.load_api_tokens(c) if one.id == number), None)
        who, now = prove(db, by, own=owner), datetime.now(UTC)
        with db.write() as c:
            ended = api_tokens.revoke_api_token(c, number, now)
            add_audit(c, who, "token.revoke", f"token:{number}", _facts(ended), now)
    show({**_facts(ended), "state": "revoked"}, f"token {number} of {ended.user} ({ended.label}) is revoked")


def _facts(one: ApiToken) -> dict[str, object]:
    return {
        "number": one.id,
        "user": one.user,
        "label": one.label,
        "scope": one.scope,
        "sites": None if one.sites is None else sorted(one.sites),
        "created_at": format_iso(one.created_at),
        "expires_at": format_iso(one.expires_at),
    }


def _describe(one: ApiToken) -> str:
    sites = "all its sites" if one.sites is None else ", ".join(sorted(one.sites))
    return f"{one.label}: {one.scope} on {sites} until {one.expires_at:%Y-%m-%d %H:%M} UTC"
