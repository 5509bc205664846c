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
from monitor.errors import BrokerError, NotFoundError
from monitor.settings.service import BrokerSection, ServiceConfig
from monitor.sites.files import scan_sites
from monitor.sites.records import Site
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database

app = session.Commands(no_args_is_help=True, help=__doc__)


@app.command("add")
def add(
    place: Annotated[str, typer.Argument(help="SITE for a gateway or an observer, SITE/STATION for one instrument")],
    listen: Annotated[
        bool, typer.Option("--listen", help="Receives levels and alerts of the site, sends nothing: a siren, a display")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Name of the login; else it follows from the place")] = "",
    by: By = None,
) -> None:
    """Make a login and show its password, this once. Each device needs its own: a second connection ends the first.

    Example: slopeward broker add north-bench/G1
    """
    service, db = session.open_service()
    with db:
        site_id, _, station = place.partition("/")
        site = session.pick_site(service, site_id)
        who = authenticate_actor(db, by, site_id)
        known = [one.id for one in site.stations]
        if station and station not in known:
            raise NotFoundError(f"no station {station!r} in {site_id}; there are: {', '.join(known)}")
        book = _open_book(service.broker)
        login, password = book.issue(site_id, station, name=name, listens=listen, reserved=_reserved(service.broker))
        book.prepare([site], _anonymous(service.broker), *_own_login(service.broker))
        _note(db, who, "broker.login.add", login)
    facts = {"username": login.name, "password": password, "site": site_id, "station": station, "listens": listen}
    session.show(facts, f"username: {login.name}\npassword: {password}")
    _notify_broker(service.broker, book)


@app.command("list")
def list_logins() -> None:
    """List the logins; exit 4 when there are none.

    Example: slopeward broker list --json
    """
    found = _open_book(session.read_service().broker).load()
    for one in found:
        facts = {
            "username": one.name,
            "site": one.site,
            "station": one.station,
            "listens": one.listens,
            "made_at": one.made_at,
        }
        may = "receives levels and alerts" if one.listens else f"publishes for {one.station or 'every station'}"
        session.show(facts, f"{one.name:<30} {one.site}: {may}; since {one.made_at[:10]}")
    session.require_any(found, "there are no logins; make one: slopeward broker add SITE/STATION")


@app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Name of the login")], by: By = None) -> None:
    """Take a login away; the managed broker ends its connection at once.

    Example: slopeward broker revoke north-bench.G1
    """
    service, db = session.open_service()
    with db:
        who = authenticate_actor(db, by)
        book = _open_book(service.broker)
        login = book.revoke(name)
        _note(db, who, "broker.login.revoke", login)
    session.show({"username": name}, f"{name} has no login any more")
    _notify_broker(service.broker, book)


@app.command("acl")
def acl(
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the two files; else broker.data")] = None,
    stations: Annotated[bool, typer.Option("--stations", help="A login for each station, not for each site")] = False,
    by: By = None,
) -> None:
    """Write access lists and password files for a Mosquitto of yours, for all that the site files declare.

    A site (with --stations: a station) without a login gets one, and its password is shown this once.

    Example: slopeward broker acl --out mosquitto
    """
    service, db = session.open_service()
    with db:
        who = authenticate_actor(db, by)
        sites = _read_sites(service)
        book = _open_book(service.broker)
        have = {(one.site, one.station) for one in book.load() if not one.listens}
        wanted = [(s.id, one.id) for s in sites for one in s.stations] if stations else [(s.id, "") for s in sites]
        for site, station in [place for place in wanted if place not in have]:
            login, password = book.issue(site, station, reserved=_reserved(service.broker))
            _note(db, who, "broker.login.add", login)
            facts = {"username": login.name, "password": password, "site": site, "station": station, "listens": False}
            session.show(facts, f"username: {login.name}  password: {password}")
        book.prepare(sites, _anonymous(service.broker), *_own_login(service.broker))
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
    user, secret = _own_login(service.broker)
    if service.broker.mode == "external" and not secret:
        session.print_note(
            f'  in slopeward.toml: [broker] username = "{user}", password_file = "{book.folder / SERVICE_SECRET}"'
        )
    _notify_broker(service.broker, book)


@app.command("files")
def files() -> None:
    """Write the files of `acl` into broker.data for the logins there are; gives no new login and needs no database.

    For a broker that reads them there, at each of its starts: what the site files declare now is what it knows.

    Example: slopeward broker files
    """
    service = session.read_service()
    sites = _read_sites(service)
    book = _open_book(service.broker)
    book.prepare(sites, _anonymous(service.broker), *_own_login(service.broker))
    facts = {"folder": str(book.folder), "logins": len(book.load()), "sites": len(sites)}
    line = f"{facts['folder']}: {facts['logins']} logins, access lists for {facts['sites']} sites"
    if not session.print_if_json(facts):
        session.print_note(line)


@app.command("keys")
def keys(
    reveal: Annotated[bool, typer.Option("--reveal", help="Show the keys themselves, for those who check")] = False,
) -> None:
    """List the keys that sign levels and alerts; exit 4 when none was made yet.

    Example: slopeward broker keys --reveal
    """
    found = _open_keyring(session.read_service()).known()
    for key in found:
        facts = {"id": key.id, **({"key": key.secret.hex()} if reveal else {})}
        session.show(facts, " ".join(facts.values()))
    session.require_any(found, "no key is there, or not for this account: the service makes the first one at its start")


@app.command("key-add")
def key_add(by: By = None) -> None:
    """Add a key: from now on messages bear its signature beside the others. Then bring it to every siren.

    Example: slopeward broker key-add
    """
    service, db = session.open_service()
    with db:
        who = authenticate_actor(db, by)
        key = _open_keyring(service).add()
        with db.write() as c:
            add_audit(c, who, "broker.key.add", f"key:{key.id}", {}, datetime.now(UTC))
    session.show({"id": key.id, "key": key.secret.hex()}, f"{key.id} {key.secret.hex()}")


@app.command("key-retire")
def key_retire(key_id: Annotated[str, typer.Argument(help="Id of the key")], by: By = None) -> None:
    """Take a key away: a siren that knows no other refuses our messages from now on.

    Example: slopeward broker key-retire k1a2b3c
    """
    service, db = session.open_service()
    with db:
        who = authenticate_actor(db, by)
        _open_keyring(service).retire(key_id)
        with db.write() as c:
            add_audit(c, who, "broker.key.retire", f"key:{key_id}", {}, datetime.now(UTC))
    session.show({"id": key_id}, f"{key_id} signs no more")


def _read_sites(service: ServiceConfig) -> list[Site]:
    sites, failures = scan_sites(service.paths.sites)
    for error in failures.values():
        session.print_note(f"left as it was: {error}")
    return sites


def _open_keyring(service: ServiceConfig) -> Keyring:
    return Keyring(Path(service.paths.state) / KEYS_FILE, service.signing.keys)


def _open_book(broker: BrokerSection) -> LoginBook:
    if broker.mode == "demo":
        session.print_note(
            "broker.mode = demo: that broker asks nobody for a login; this is for the day it is another one"
        )
    return LoginBook(Path(broker.data))


def _own_login(broker: BrokerSection) -> tuple[str, str]:
    """Name and password of the service itself at the broker; an empty password is made by the book."""
    if broker.mode == "managed":
        return SERVICE_USER, ""
    return broker.username or SERVICE_USER, broker.password


def _anonymous(broker: BrokerSection) -> bool:
    return broker.mode == "managed" and broker.anonymous


def _reserved(broker: BrokerSection) -> tuple[str, ...]:
    return broker.client_id, f"{broker.client_id}-backfill", broker.username


def _note(db: Database, who: Actor, action: str, login: Login) -> None:
    detail: dict[str, Any] = {"site": login.site, "station": login.station, "listens": login.listens}
    with db.write() as c:
        add_audit(c, who, action, f"login:{login.name}", detail, datetime.now(UTC))


def _notify_broker(broker: BrokerSection, book: LoginBook) -> None:
    if broker.mode == "external":
        line = f"files for your broker lie in {book.folder}; slopeward broker acl says where they go"
    else:
        try:
            line = "the broker knows it now" if book.reload_broker() else "the broker knows it from its next start"
        except BrokerError as error:
            line = str(error)
    session.print_note(line)
