"""`slopeward broker`: manage the MQTT logins of instruments. A password is shown once, when it is created."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from forecasting.whole_file import write_private
from monitor.broker.access import SERVICE_SECRET, SERVICE_USER
from monitor.broker.logins import ACL, PASSWORDS, Login, LoginBook
from monitor.broker.signing import KEYS_FILE, Keyring
from monitor.cli import session
from monitor.cli.identity import By, authenticate_actor
from monitor.errors import BrokerError
from monitor.settings.service import BrokerSection, ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database

app = session.Commands(no_args_is_help=True, help=__doc__)


@app.command("add")
def add(
    place: Annotated[str, typer.Argument(help="SITE for a gateway or an observer, SITE/STATION for an instrument")],
    listen: Annotated[
        bool,
        typer.Option("--listen", help="For a siren or a display: receive levels and alerts, send nothing"),
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Name of the login. Default: made from site and station")] = "",
    by: By = None,
) -> None:
    """Create a login and print its password, which is not shown again.

    Each device needs a login of its own, because a second connection with the same login ends the first one.

    Example: slopeward broker add north-bench/G1
    """
    service, db = session.open_service()
    with db:
        site_id, _, station = place.partition("/")
        site = session.pick_site(service, site_id)
        actor = authenticate_actor(db, by, site_id)
        if station:
            session.require_station(site_id, station, [declared.id for declared in site.stations])
        book = _open_book(service.broker)
        login, password = book.issue(
            site_id, station, name=name, listens=listen, reserved=_list_reserved_names(service.broker)
        )
        book.prepare([site], _allows_anonymous(service.broker), *_read_service_login(service.broker))
        _audit_login(db, actor, "broker.login.add", login)
    facts = {"username": login.name, "password": password, "site": site_id, "station": station, "listens": listen}
    session.print_result(facts, f"username: {login.name}\npassword: {password}")
    _notify_broker(service.broker, book)


@app.command("list")
def list_logins() -> None:
    """List the logins.

    Exit 4 if there are none.

    Example: slopeward broker list --json
    """
    logins = _open_book(session.read_service().broker).load()
    for login in logins:
        facts = {
            "username": login.name,
            "site": login.site,
            "station": login.station,
            "listens": login.listens,
            "made_at": login.made_at,
        }
        permission = (
            "receives levels and alerts" if login.listens else f"publishes for {login.station or 'every station'}"
        )
        session.print_result(facts, f"{login.name:<30} {login.site}: {permission}; since {login.made_at[:10]}")
    session.require_any(logins, "there are no logins; create one: slopeward broker add SITE/STATION")


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Name of the login")], by: By = None) -> None:
    """Revoke a login. The managed broker ends its connection at once.

    Example: slopeward broker revoke north-bench.G1
    """
    service, db = session.open_service()
    with db:
        actor = authenticate_actor(db, by)
        book = _open_book(service.broker)
        login = book.revoke(name)
        _audit_login(db, actor, "broker.login.revoke", login)
    session.print_result({"username": name}, f"the login {name} is revoked")
    _notify_broker(service.broker, book)


@app.command("acl")
def acl(
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the two files. Default: broker.data")] = None,
    stations: Annotated[bool, typer.Option("--stations", help="Create logins for stations, not for sites")] = False,
    by: By = None,
) -> None:
    """Write the access list and the password file for a Mosquitto that you run.

    Each site (with --stations, each station) without a login gets one. Its password is printed and not shown again.

    Example: slopeward broker acl --out mosquitto
    """
    service, db = session.open_service()
    with db:
        actor = authenticate_actor(db, by)
        sites = _read_sites(service)
        book = _open_book(service.broker)
        existing = {(login.site, login.station) for login in book.load() if not login.listens}
        if stations:
            places = [(site.id, station.id) for site in sites for station in site.stations]
        else:
            places = [(site.id, "") for site in sites]
        for site, station in [place for place in places if place not in existing]:
            login, password = book.issue(site, station, reserved=_list_reserved_names(service.broker))
            _audit_login(db, actor, "broker.login.add", login)
            facts = {"username": login.name, "password": password, "site": site, "station": station, "listens": False}
            session.print_result(facts, f"username: {login.name}  password: {password}")
        book.prepare(sites, _allows_anonymous(service.broker), *_read_service_login(service.broker))
    folder = book.folder if out is None else out
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for file in (PASSWORDS, ACL):
            write_private(out / file, (book.folder / file).read_text(encoding="utf-8"))
    session.print_note(
        f"{folder}: {PASSWORDS} and {ACL} for your Mosquitto; how its two listeners differ: deploy/mosquitto.conf."
    )
    session.print_note(
        "  Give them to the account of Mosquitto, mode 0600, and let it read them: systemctl reload mosquitto"
    )
    user, secret = _read_service_login(service.broker)
    if service.broker.mode == "external" and not secret:
        session.print_note(
            f'  in slopeward.toml: [broker] username = "{user}", password_file = "{book.folder / SERVICE_SECRET}"'
        )
    _notify_broker(service.broker, book)


@app.command("files")
def files() -> None:
    """Write the files of `slopeward broker acl` into broker.data, without new logins.

    The command needs no database. Run it before each start of a broker that reads these files.

    Example: slopeward broker files
    """
    service = session.read_service()
    sites = _read_sites(service)
    book = _open_book(service.broker)
    book.prepare(sites, _allows_anonymous(service.broker), *_read_service_login(service.broker))
    facts = {"folder": str(book.folder), "logins": len(book.load()), "sites": len(sites)}
    line = f"{facts['folder']}: {facts['logins']} logins, access lists for {facts['sites']} sites"
    if not session.print_if_json(facts):
        session.print_note(line)


@app.command("keys")
def keys(
    reveal: Annotated[bool, typer.Option("--reveal", help="Print the keys as well, for receivers")] = False,
) -> None:
    """List the keys that sign levels and alerts.

    Exit 4 if there are none.

    Example: slopeward broker keys --reveal
    """
    keyring = _open_keyring(session.read_service()).readable_keys()
    for key in keyring:
        facts = {"id": key.id, **({"key": key.secret.hex()} if reveal else {})}
        session.print_result(facts, " ".join(facts.values()))
    session.require_any(
        keyring, "there is no key, or this account may not read it; the service creates the first one at its start"
    )


@app.command("key-add")
def key_add(by: By = None) -> None:
    """Add a key that signs levels and alerts beside the other keys. Then copy it to every siren.

    Example: slopeward broker key-add
    """
    service, db = session.open_service()
    with db:
        actor = authenticate_actor(db, by)
        key = _open_keyring(service).add()
        with db.write() as c:
            add_audit(c, actor, "broker.key.add", f"key:{key.id}", {}, datetime.now(UTC))
    session.print_result({"id": key.id, "key": key.secret.hex()}, f"{key.id} {key.secret.hex()}")


@app.command("key-retire")
def key_retire(key_id: Annotated[str, typer.Argument(help="Id of the key")], by: By = None) -> None:
    """Retire a key. A siren that has no other key rejects our messages from now on.

    Example: slopeward broker key-retire k1a2b3c
    """
    service, db = session.open_service()
    with db:
        actor = authenticate_actor(db, by)
        _open_keyring(service).retire(key_id)
        with db.write() as c:
            add_audit(c, actor, "broker.key.retire", f"key:{key_id}", {}, datetime.now(UTC))
    session.print_result({"id": key_id}, f"messages are no longer signed with {key_id}")


def _read_sites(service: ServiceConfig) -> list[Site]:
    sites, failures = scan_sites(service.paths.sites)
    for error in failures.values():
        session.print_note(f"left unchanged: {error}")
    return sites


def _open_keyring(service: ServiceConfig) -> Keyring:
    return Keyring(Path(service.paths.state) / KEYS_FILE, service.signing.keys)


def _open_book(broker: BrokerSection) -> LoginBook:
    if broker.mode == "demo":
        session.print_note(
            "broker.mode = demo: this broker needs no logins; they count when another broker is configured"
        )
    return LoginBook(Path(broker.data))


def _read_service_login(broker: BrokerSection) -> tuple[str, str]:
    """Return name and password of the service at the broker. If the password is empty, the login book creates one."""
    if broker.mode == "managed":
        return SERVICE_USER, ""
    return broker.username or SERVICE_USER, broker.password


def _allows_anonymous(broker: BrokerSection) -> bool:
    return broker.mode == "managed" and broker.anonymous


def _list_reserved_names(broker: BrokerSection) -> tuple[str, ...]:
    return broker.client_id, f"{broker.client_id}-backfill", broker.username


def _audit_login(db: Database, actor: Actor, action: str, login: Login) -> None:
    detail: dict[str, Any] = {"site": login.site, "station": login.station, "listens": login.listens}
    with db.write() as c:
        add_audit(c, actor, action, f"login:{login.name}", detail, datetime.now(UTC))


def _notify_broker(broker: BrokerSection, book: LoginBook) -> None:
    if broker.mode == "external":
        line = f"the files for your broker are in {book.folder}; see slopeward broker acl"
    else:
        try:
            line = (
                "the broker has loaded the change"
                if book.reload_broker()
                else "the broker loads the change at its next start"
            )
        except BrokerError as error:
            line = str(error)
    session.print_note(line)
