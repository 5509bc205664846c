"""`slopeward people users`: manage the accounts of the web page. Passwords are never passed as arguments."""

from monitor.cli.acts import add_acts
from monitor.cli.session import Commands, open_database, print_result, require_any
from monitor.people.queries import users
from monitor.text.instants import format_iso

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people users")


@app.command("list")
def list_users() -> None:
    """List the accounts with role and state.

    Exit 4 if there are none.

    Example: slopeward people users list --json
    """
    with open_database() as db, db.read() as c:
        accounts = users.load_users(c)
    for user in accounts:
        disabled = None if user.disabled_at is None else format_iso(user.disabled_at)
        facts = {
            "name": user.name,
            "role": user.role,
            "created_at": format_iso(user.created_at),
            "disabled_at": disabled,
            "sites": None if user.sites is None else sorted(user.sites),
            "os_user": user.os_user,
            "oidc_subject": user.oidc_subject,
        }
        state = f"disabled since {disabled}" if disabled else "open"
        sites = f", only for {', '.join(sorted(user.sites))}" if user.sites else ""
        bound = f", OS user {user.os_user}" if user.os_user else ""
        bound += f", {user.oidc_subject} at the provider" if user.oidc_subject else ""
        bound += "" if user.has_password else ", without a password"
        print_result(facts, f"{user.name:<20} {user.role:<10} {state}{sites}{bound}")
    require_any(accounts, "there are no accounts; create one: slopeward people users add NAME --role admin")
