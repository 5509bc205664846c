"""`slopeward notify push`: create the key of push messages, and list the devices that receive them."""

from pathlib import Path

from monitor.api.cli import Commands, open_database, print_result, read_service, require_any
from monitor.api.text import format_iso
from monitor.features.telephony.queries.devices import load_devices
from monitor.features.telephony.web_push import KEY_FILE, find_key, find_public_key, save_key

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("keys")
def keys() -> None:
    """Create the key of push messages if there is none, and show its public part.

    The private part is in `push.key` (mode 0600).

    After some seconds people can switch messages on under their account on the page. Keep the file: with another key,
    every device must be switched on again.

    Example: slopeward notify push keys
    """
    service = read_service()
    state = Path(service.paths.state)
    is_new = not service.push.key and save_key(state)
    public_key = find_public_key(find_key(state, service.push.key))
    private_key_in = "SLOPEWARD_PUSH__KEY" if service.push.key else str(state / KEY_FILE)
    print_result(
        {"public_key": public_key, "made": is_new, "private_key_in": private_key_in},
        f"{public_key}\n{'created' if is_new else 'exists already'}: {private_key_in}",
    )


@app.command("devices")
def devices() -> None:
    """List the devices that receive push messages, and their accounts. Exit 4 if there are none.

    Example: slopeward notify push devices --json
    """
    with open_database() as db, db.read() as c:
        all_devices = load_devices(c)
    for device in all_devices:
        facts = {
            "account": device.user,
            "device": device.name,
            "added_at": format_iso(device.added_at),
            "sent_at": None if device.sent_at is None else format_iso(device.sent_at),
            "ended_at": None if device.ended_at is None else format_iso(device.ended_at),
            "ended_why": device.ended_why,
        }
        state = "receives messages" if device.ended_at is None else f"ended: {device.ended_why}"
        print_result(facts, f"{device.user:<20} {device.name:<24} since {format_iso(device.added_at)[:10]}, {state}")
    require_any(all_devices, "no device receives messages; people switch them on under their account on the page")
