"""`slopeward notify push`: create the key of push messages, and list the devices that receive them."""

from pathlib import Path

from monitor.api.cli import Commands, open_database, read_service, require_any, show
from monitor.api.text import format_iso
from monitor.features.telephony.queries.devices import load_devices
from monitor.features.telephony.web_push import KEY_FILE, find_key, find_public_key, save_key

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("keys")
def keys() -> None:
    """Make the key where there is none, and show its public half; the private one stays in `push.key` (0600).

    People switch messages on under their account on the page, some seconds later. Keep the file: with another key
    every device must be switched on again.

    Example: slopeward notify push keys
    """
    service = read_service()
    state = Path(service.paths.state)
    made = not service.push.key and save_key(state)
    public = find_public_key(find_key(state, service.push.key))
    where = "SLOPEWARD_PUSH__KEY" if service.push.key else str(state / KEY_FILE)
    show(
        {"public_key": public, "made": made, "private_key_in": where},
        f"{public}\n{'made' if made else 'there already'}: {where}",
    )


@app.command("devices")
def devices() -> None:
    """List whose devices take messages; exit 4 when there are none.

    Example: slopeward notify push devices --json
    """
    with open_database() as db, db.read() as c:
        found = load_devices(c)
    for one in found:
        facts = {
            "account": one.user,
            "device": one.name,
            "added_at": format_iso(one.added_at),
            "sent_at": None if one.sent_at is None else format_iso(one.sent_at),
            "ended_at": None if one.ended_at is None else format_iso(one.ended_at),
            "ended_why": one.ended_why,
        }
        state = "takes messages" if one.ended_at is None else f"ended: {one.ended_why}"
        show(facts, f"{one.user:<20} {one.name:<24} since {format_iso(one.added_at)[:10]}, {state}")
    require_any(found, "no device takes messages; people switch them on under their account on the page")
