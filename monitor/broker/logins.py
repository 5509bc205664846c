"""Logins of the managed broker for instruments, gateways and receivers of alerts, in the files of Mosquitto."""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from forecasting.whole_file import write_private
from monitor.broker.access import SERVICE_SECRET, SERVICE_USER
from monitor.errors import BrokerError, NotFoundError, RefusedError
from monitor.sites.channels import find_channel_traits, split_channel
from monitor.sites.records import Site
from monitor.sites.topics import TOPIC_ROOT
from monitor.text.instants import format_iso

BOOK: Final = "logins.json"
PASSWORDS: Final = "passwords"
ACL: Final = "acl"
# Login without any right that matters. `slopeward doctor` uses it to test what the broker refuses.
DOCTOR: Final = "slopeward-doctor"
DOCTOR_SECRET: Final = "doctor.secret"  # noqa: S105 - the name of a file
PID_FILE: Final = "broker.pid"
CONFIG: Final = "mosquitto.conf"
BACKFILL_SESSION: Final = f"{SERVICE_USER}-backfill"  # client id of the second session of the service
# Characters without a meaning in topic filters and in files of Mosquitto.
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,130}")
# Mosquitto's own number. A secret of 128 random bits needs no slow hash.
_ROUNDS: Final = 101


@dataclass(frozen=True, slots=True)
class Login:
    """A login. Its name is also its client id, so that no client can take over the session of another.

    Attributes:
        station: The station for which it publishes. If empty, it publishes for all stations of the site, and reports
            and events.
        listens: Whether it receives levels and alerts instead of publishing.
        made_at: When it was created, in ISO 8601.
        hashed: Hash of the password.
    """

    name: str
    site: str
    station: str = ""
    listens: bool = False
    made_at: str = ""
    hashed: str = ""


class LoginBook:
    """Logins of a broker in a folder that only its owner can read. Passwords are stored as hashes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self) -> list[Login]:
        """Return all logins in the order of their names."""
        return sorted((Login(**entry) for entry in self._read()["logins"]), key=lambda login: login.name)

    def issue(
        self,
        site: str,
        station: str = "",
        *,
        name: str = "",
        listens: bool = False,
        replaces: bool = False,
        reserved: Iterable[str] = (),
    ) -> tuple[Login, str]:
        """Create a login and return it with its password, which is not stored.

        Args:
            site: Id of the site.
            station: Station for which it publishes; empty for all.
            name: Name of the login. The default is `SITE` or `SITE.STATION`, followed by `.listener` for a receiver of
                alerts.
            listens: Whether it receives levels and alerts instead of publishing.
            replaces: Whether an existing login of that name gets a new password.
            reserved: Client ids of the service, which no login may have.

        Raises:
            RefusedError: A name has other characters, belongs to the service, or exists.
        """
        default_parts = (site, station, "listener" if listens else "")
        name = name or ".".join(filter(None, default_parts))
        for part in filter(None, (site, station, name)):
            if not _NAME.fullmatch(part):
                raise RefusedError(f"{part!r}: expected letters, digits, dot, dash and underscore, at most 130")
        if name in {SERVICE_USER, BACKFILL_SESSION, DOCTOR, *reserved}:
            raise RefusedError(f"{name}: this name belongs to the service; choose another by --name")
        password = secrets.token_hex(16)
        made_at = format_iso(datetime.now(UTC))
        login = Login(name, site, station, listens, made_at, _hash(password))
        with self._change() as book:
            others = [entry for entry in book["logins"] if entry["name"] != name]
            if len(others) < len(book["logins"]) and not replaces:
                raise RefusedError(f"{name} has a login; revoke it first, or choose another name by --name")
            book["logins"] = [*others, asdict(login)]
        return login, password

    def revoke(self, name: str) -> Login:
        """Delete a login and return it.

        Raises:
            NotFoundError: There is no login of that name.
        """
        with self._change() as book:
            by_name = {entry["name"]: entry for entry in book["logins"]}
            if name not in by_name:
                names = ", ".join(sorted(by_name)) or "none"
                raise NotFoundError(f"no login {name!r}; there are: {names}")
            revoked = by_name.pop(name)
            book["logins"] = list(by_name.values())
        return Login(**revoked)

    def prepare(
        self, sites: Sequence[Site] = (), anonymous: bool = False, user: str = SERVICE_USER, secret: str = ""
    ) -> bool:
        """Write the files of the broker, and return whether clients can connect without a login.

        Args:
            sites: Current sites. The topics of a site that is not among them stay as they were.
            anonymous: Whether clients can publish readings without a login.
            user: Login of the service.
            secret: Password of the service at an external broker. The default is the stored one, or a new one.
        """
        with self._change() as book:
            book["anonymous"] = anonymous
            for site in sites:
                book["topics"][site.id] = _list_topics(site)
            secret = secret or self._keep_secret(SERVICE_SECRET)
            book["service"] = {"name": user, "hashed": _hash(secret)}
        return anonymous

    def service_password(self) -> str:
        """Return the password of the service at the managed broker. `prepare` creates it."""
        return (self.folder / SERVICE_SECRET).read_text(encoding="ascii").strip()

    def doctor_password(self) -> str:
        """Return the password of the login of `slopeward doctor`; empty if there is none."""
        try:
            return (self.folder / DOCTOR_SECRET).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def reload_broker(self) -> bool:
        """Make the managed broker of the folder read its files again. Return False if it does not run.

        A client whose login was revoked is disconnected at once. Others stay connected.

        Raises:
            BrokerError: The broker belongs to another account.
        """
        try:
            pid = int((self.folder / PID_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not is_process(pid, str((self.folder / CONFIG).resolve())):
            return False
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError:
            return False
        except PermissionError:
            raise BrokerError(
                f"the broker (pid {pid}) belongs to another account; it reads the change at its next start"
            ) from None
        return True

    def _read(self) -> dict[str, Any]:
        path = self.folder / BOOK
        try:
            book: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"version": 1, "anonymous": False, "logins": [], "topics": {}}
        except ValueError as error:
            raise BrokerError(
                f"{path}: cannot be read ({error}); take it from a backup, or remove it: then "
                "every instrument needs a new login"
            ) from None
        return book

    @contextlib.contextmanager
    def _change(self) -> Iterator[dict[str, Any]]:
        """Yield the stored logins to change them, then write them and the files that Mosquitto reads.

        Only one process at a time can change them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with (self.folder / "logins.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book = self._read()
            yield book
            logins = [Login(**entry) for entry in book["logins"]]
            doctor = self._keep_secret(DOCTOR_SECRET)
            self._write(BOOK, json.dumps(book, indent=1))
            service = book.get("service", {})  # empty until the broker has started once
            hashes = {login.name: login.hashed for login in logins} | {DOCTOR: _hash(doctor)}
            if service:
                hashes[service["name"]] = service["hashed"]
            self._write(PASSWORDS, "".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
            text = format_acl(logins, book["topics"], anonymous=book["anonymous"], service=service.get("name", ""))
            self._write(ACL, text)

    def _keep_secret(self, name: str) -> str:
        path = self.folder / name
        if path.exists():
            path.chmod(0o600)
            return path.read_text(encoding="ascii").strip()
        secret = secrets.token_hex(16)
        self._write(name, f"{secret}\n")
        return secret

    def _write(self, name: str, text: str) -> None:
        write_private(self.folder / name, text)


@contextlib.contextmanager
def issue_temporary_login(broker: Any, site: str, user: str) -> Iterator[tuple[str, str]]:
    """Create a login at the managed broker of this machine and yield its name and password. Revoke it at the end.

    Both are empty if the broker is not managed or this account cannot read its folder.
    """
    book = LoginBook(Path(broker.data))
    if broker.mode != "managed" or not os.access(book.folder / SERVICE_SECRET, os.R_OK):
        yield "", ""
        return
    # The name has two dots, which the name of a login of an instrument has only if a person chose it.
    login, password = book.issue(site, name=f"{site}..{user}", replaces=True)
    book.reload_broker()
    try:
        yield login.name, password
    finally:
        with contextlib.suppress(NotFoundError, OSError):  # the folder of a demonstration may be deleted
            if book.folder.is_dir():
                book.revoke(login.name)
                book.reload_broker()


def format_acl(
    logins: Iterable[Login], topics: Mapping[str, Mapping[str, Sequence[str]]], *, anonymous: bool, service: str = ""
) -> str:
    """Return the access list in the format of Mosquitto, which refuses everything that no line allows.

    Args:
        logins: All logins.
        topics: Topics of each site beside those of Slopeward: `write` for decoders, `read` for notification channels,
            `confirm` for sirens.
        anonymous: Whether clients without a login may publish readings and receive everything.
        service: Login of the service, which may do everything; empty if it is unknown.
    """
    lines = ["# written by slopeward: slopeward broker add|revoke|acl"]
    if anonymous:
        inward = [f"{TOPIC_ROOT}/+/{kind}" for kind in ("+/obs/#", "+/backfill/obs/#", "report/#", "event/#", "obs")]
        decoder_topics = [topic for site in topics.values() for topic in site["write"]]
        lines += [f"topic write {topic}" for topic in (*inward, f"/{TOPIC_ROOT}/#", *decoder_topics)] + ["topic read #"]
    for login in logins:
        lines += ["", f"user {login.name}", *(f"topic {rule}" for rule in _list_rules(login, topics))]
    lines += ["", f"user {DOCTOR}", "topic write slopeward/doctor/#"]
    if service:
        lines += ["", f"user {service}", "topic readwrite #", "topic read $SYS/#"]
    return "\n".join([*lines, ""])


def _list_rules(login: Login, topics: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    site = f"{TOPIC_ROOT}/{login.site}"
    site_topics = topics.get(login.site, {"write": (), "read": ()})
    readable = [f"read {site}/state", f"read {site}/alert", f"read {TOPIC_ROOT}/status"]
    if login.listens:
        confirms = [f"write {topic}" for topic in site_topics.get("confirm", ())]
        return [*readable, *(f"read {topic}" for topic in site_topics["read"]), *confirms]
    station = login.station or "+"
    rules = [f"write {site}/{station}/obs", f"write {site}/{station}/backfill/obs", f"read {site}/{station}/backfill"]
    if login.station:
        return rules
    rules += [f"write {site}/report", f"write {site}/event", *readable]
    # A node of Sparkplug B receives requests for a new birth on its own topics.
    return rules + [
        f"{'readwrite' if topic.startswith('spBv1.0/') else 'write'} {topic}" for topic in site_topics["write"]
    ]


def _list_topics(site: Site) -> dict[str, list[str]]:
    """Return the topics of a site beside those of Slopeward. Nobody gets a filter that could match the latter."""
    # Shadow mode of the site withdraws no rights, so that a siren is connected on the day on which shadow mode ends.
    addresses = [address for recipient in site.all_recipients for address in recipient.channels]
    channels = [(find_channel_traits(address), split_channel(address)[1]) for address in addresses]
    sirens = {topic for traits, topic in channels if traits.orders and is_apart(topic)}
    read = [topic for traits, topic in channels if traits.of_broker]
    return {
        "confirm": sorted(f"{topic}/confirm" for topic in sirens),
        "write": sorted({bound.topic for bound in site.decoders if is_apart(bound.topic)}),
        "read": sorted({topic for topic in read if is_apart(topic)}),
    }


def is_apart(topic: str) -> bool:
    """Return whether a topic filter matches no topic of the service or of the broker itself.

    >>> is_apart("application/+/up"), is_apart("+/up"), is_apart("slopeward/v1/+/state")
    (True, False, False)
    """
    first = topic.partition("/")[0]
    return not (
        first in {"+", "#", "slopeward"} or first.startswith("$") or any(character in topic for character in "\r\n\0")
    )


def is_process(pid: int, argument: str) -> bool:
    """Return whether a process has this argument in its command. Always False outside Linux."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return argument in arguments


def _hash(password: str) -> str:
    """Return the hash of a password in the format of Mosquitto 2: PBKDF2 with SHA-512."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 64)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
