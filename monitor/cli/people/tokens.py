"""`slopeward people tokens`: manage the tokens with which programs read and act on behalf of an account."""

from datetime import UTC, datetime

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands, open_database, require_any, show
from monitor.people.queries import api_tokens
from monitor.people.queries.api_tokens import ApiToken

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people tokens")


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
        show(
            {**api_tokens.token_to_json(one), "state": state}, f"{one.id:>4} {one.user:<20} {state:<8} {_describe(one)}"
        )
    require_any(found, "there are no tokens; make one: slopeward people tokens add NAME --label WHAT-FOR")


def _describe(one: ApiToken) -> str:
    sites = "all its sites" if one.sites is None else ", ".join(sorted(one.sites))
    return f"{one.label}: {one.scope} on {sites} until {one.expires_at:%Y-%m-%d %H:%M} UTC"
