"""The commands of the kernel.

The order of the commands is that of `slopeward --help`.
"""

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
    from monitor.cli.site.signatures import app

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


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of the kernel. A command without a function consists of acts alone."""
    return {
        "status": Command(
            _load_status, "Show level, observability and newest reading of each site", heading="Current situation"
        ),
        "alerts": Command(_load_alerts, "List, explain, acknowledge and close alerts"),
        "evaluate": Command(_load_evaluate, "Compute the warning level of a site now, and explain it"),
        "instruments": Command(None, "Show the state of each instrument and what it needs"),
        "level": Command(None, "Set the warning level of a site by hand", heading="Levels and site files"),
        "events": Command(_load_events, "Record blasting, earthworks, reservoir changes or an earthquake"),
        "maintenance": Command(_load_maintenance, "Declare maintenance at a station; suspends its votes"),
        "offsets": Command(_load_offsets, "Declare, confirm and revoke jumps of an instrument"),
        "sites": Command(_load_sites, "Create, list and change site files; rain thresholds; maps"),
        "ingest": Command(_load_ingest, "Import readings from files and servers; retry rejected ones", heading="Data"),
        "report": Command(None, "Add an observer's report; write bulletins and the quick card"),
        "people users": Command(_load_people_users, "Manage the accounts of the web page"),
        "people tokens": Command(_load_people_tokens, "Manage the access tokens of other programs"),
        "people signatures": Command(
            _load_people_signatures, "List and withdraw signatures that wait for a second person"
        ),
        "notify channels": Command(_load_notify_channels, "List and test the notification channels"),
        "run": Command(_load_run, "Run the service: MQTT broker, core and web page", heading="Operation"),
        "check": Command(_load_check, "Check the configuration; --connect also tests connections"),
        "doctor": Command(_load_doctor, "Find problems of the installation and suggest remedies"),
        "broker": Command(_load_broker, "Create, list and revoke the MQTT logins of instruments"),
        "db": Command(_load_db, "Upgrade, back up and verify the database"),
    }
