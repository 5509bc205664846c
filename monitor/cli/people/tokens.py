"""`slopeward people tokens`: manage the tokens with which programs read and act on behalf of an account."""

from datetime import UTC, datetime

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands, open_database, print_result, require_any
from monitor.people.queries import api_tokens
from monitor.people.queries.api_tokens import ApiToken

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people tokens")


@app.command("list")
def list_tokens() -> None:
    """List the access tokens, without their secret text.

    Exit 4 if there are none.

    Example: slopeward people tokens list --json
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        tokens = api_tokens.load_api_tokens(c)
    for token in tokens:
        state = "revoked" if token.revoked_at else "expired" if token.expires_at <= now else "open"
        print_result(
            {**api_tokens.token_to_json(token), "state": state},
            f"{token.id:>4} {token.user:<20} {state:<8} {_describe(token)}",
        )
    require_any(tokens, "there are no tokens; create one: slopeward people tokens add NAME --label WHAT-FOR")


def _describe(token: ApiToken) -> str:
    sites = "all its sites" if token.sites is None else ", ".join(sorted(token.sites))
    return f"{token.label}: {token.scope} on {sites} until {token.expires_at:%Y-%m-%d %H:%M} UTC"
