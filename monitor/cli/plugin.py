"""The commands of the kernel, in the order of `slopeward --help`."""

from collections.abc import Mapping
from typing import Any

from monitor.hookspecs import hookimpl
from monitor.registration import Command


def _load_status() -> Any:
    from monitor.cli.service.status import app

    return app


def _load_alerts() -> Any:
    from monitor.cli.site.alerts import app

    return app


def _load_evaluate() -> Any:
    from monitor.cli.site.evaluate import app

    return app


def _load_events() -> Any:
    from monitor.cli.site.events import app

    return app


def _load_maintenance() -> Any:
    from monitor.cli.site.maintenance import app

    return app


def _load_offsets() -> Any:
    from monitor.cli.site.offsets import app

    return app


def _load_sites() -> Any:
    from monitor.cli.site.sites import app

    return app


def _load_ingest() -> Any:
    from monitor.cli.site.ingest import app

    return app


def _load_people_users() -> Any:
    from monitor.cli.people.users import app

    return app


def _load_people_tokens() -> Any:
    from monitor.cli.people.tokens import app

    return app


def _load_people_signatures() -> Any:
    from monitor.cli.people.signatures import app

    return app


def _load_notify_channels() -> Any:
    from monitor.cli.service.channels import app

    return app


def _load_run() -> Any:
    from monitor.cli.service.run import app

    return app


def _load_check() -> Any:
    from monitor.cli.service.check import app

    return app


def _load_doctor() -> Any:
    from monitor.cli.service.doctor import app

    return app


def _load_broker() -> Any:
    from monitor.cli.service.broker import app

    return app


def _load_db() -> Any:
    from monitor.cli.service.db import app

    return app


def _load_help() -> Any:
    from monitor.cli.help import app

    return app


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of the kernel, by subject."""
    return {**_list_everyday(), **_list_slopes(), **_list_people(), **_list_operation()}


def _list_everyday() -> Mapping[str, Command]:
    commands = {
        "init": Command(None, "Create a site without readings: write a site file to edit", short_for="sites init"),
        "check": Command(_load_check, "Check service file and site files; --connect tests connections"),
        "run": Command(_load_run, "Start the service: MQTT broker, core and web page"),
        "ingest": Command(
            _load_ingest, "Store files of a known format without questions, for scripts", is_in_overview=False
        ),
        "status": Command(_load_status, "Show the present level, data and open alerts of each site"),
        "evaluate": Command(_load_evaluate, "Compute the level of a site now, and explain it"),
        "alerts": Command(_load_alerts, "List the open alerts (alerts list); explain or close an alert"),
        "ack": Command(None, "Acknowledge an alert", short_for="alerts ack"),
    }
    return {name: command._replace(subject="Everyday commands") for name, command in commands.items()}


def _list_slopes() -> Mapping[str, Command]:
    commands = {
        "sites": Command(_load_sites, "List, show, change and retire sites; rain thresholds; maps"),
        "level": Command(None, "Set the warning level of a site by hand"),
        "instruments": Command(None, "Show the state of each instrument and what it needs"),
        "maintenance": Command(_load_maintenance, "Announce work at a station, which suspends its votes"),
        "offsets": Command(_load_offsets, "Declare the jump of a replaced or moved instrument"),
        "events": Command(_load_events, "Record blasting, earthworks, reservoir changes, earthquakes"),
        "report": Command(None, "Write what happened in a shift (report shift); add an observation"),
    }
    return {name: command._replace(subject="Slopes and instruments") for name, command in commands.items()}


def _list_people() -> Mapping[str, Command]:
    commands = {
        "people": Command(None, "Manage duty plans, accounts, access tokens and signatures"),
        "people users": Command(_load_people_users, "Manage the accounts of people"),
        "people tokens": Command(_load_people_tokens, "Manage the access tokens of other programs"),
        "people signatures": Command(
            _load_people_signatures, "List and withdraw signatures that wait for a second person"
        ),
        "notify": Command(None, "Test the notification channels (notify channels test); drills"),
        "notify channels": Command(
            _load_notify_channels, "List and test the channels of the recipients in the site files"
        ),
    }
    return {name: command._replace(subject="People and messages") for name, command in commands.items()}


def _list_operation() -> Mapping[str, Command]:
    commands = {
        "db": Command(_load_db, "Back up the database (db backup); upgrade, verify, restore it"),
        "doctor": Command(_load_doctor, "Find problems of the installation and suggest remedies"),
        "broker": Command(_load_broker, "Create, list and revoke the MQTT logins of instruments"),
        "help": Command(_load_help, "Show the help of a command, or list all commands", is_in_overview=False),
    }
    return {name: command._replace(subject="Operation") for name, command in commands.items()}
