"""Who may speak to the broker: a login for each instrument, gateway or listener, and the files that Mosquitto reads."""

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
PASSWORDS, ACL = "passwords", "acl"
DOCTOR: Final = "slopeward-doctor"  # may say nothing that counts; `slopeward doctor` tries with it what it may not
DOCTOR_SECRET: Final = "doctor.secret"  # noqa: S105 - the name of a file
PID_FILE: Final = "broker.pid"
CONFIG: Final = "mosquitto.conf"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,130}")  # no sign that a topic filter or a file of Mosquitto could misread
BACKFILL_SESSION: Final = f"{SERVICE_USER}-backfill"  # client id of the second session of the service
_ROUNDS: Final = 101  # Mosquitto's own; a secret of 128 random bits needs no slow hash


@dataclass(frozen=True, slots=True)
class Login:
    """One login; its name is also its client id, so that nobody takes the session of another."""

    name: str
    site: str
    station: str = ""  # empty: any station of the site, reports and events
    listens: bool = False  # hears levels and alerts, and says nothing
    made_at: str = ""
    hashed: str = ""


class LoginBook:
    """The logins of a broker, in a folder of 0700 with files of 0600; passwords are kept as hashes only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ---- logins ------------------------------------------------------------------------------------------------
    def load(self) -> list[Login]:
        """All logins, by name."""
        return sorted((Login(**one) for one in self._read()["logins"]), key=lambda login: login.name)

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
        """Make a login and return it with its password, which is kept nowhere.

        Args:
            name: else `SITE` or `SITE.STATION`, for a listener with `.listener` behind it.
            listens: hears levels and alerts instead of publishing.
            replaces: a login of that name gets a new password; else it is refused.
            reserved: names that nobody may have: the client ids of the service.
        """
        name = name or ".".join([site, *[part for part in (station, "listener" * listens) if part]])
        for part in filter(None, (site, station, name)):
            if not _NAME.fullmatch(part):
                raise RefusedError(f"{part!r}: expected letters, digits, dot, dash and underscore, at most 130")
        if name in {SERVICE_USER, BACKFILL_SESSION, DOCTOR, *reserved}:
            raise RefusedError(f"{name}: this name belongs to the service; choose another by --name")
        password = secrets.token_hex(16)
        made_at = format_iso(datetime.now(UTC))
        login = Login(name, site, station, listens, made_at, _hash(password))
        with self._change() as book:
            others = [one for one in book["logins"] if one["name"] != name]
            if len(others) < len(book["logins"]) and not replaces:
                raise RefusedError(f"{name} has a login; revoke it first, or choose another name by --name")
            book["logins"] = [*others, asdict(login)]
        return login, password

    def revoke(self, name: str) -> Login:
        """Take a login away; raises NotFoundError where there is none of that name."""
        with self._change() as book:
            gone = [one for one in book["logins"] if one["name"] == name]
            if not gone:
                known = ", ".join(sorted(one["name"] for one in book["logins"])) or "none"
                raise NotFoundError(f"no login {name!r}; there are: {known}")
            book["logins"] = [one for one in book["logins"] if one["name"] != name]
        return Login(**gone[0])

    # ---- files for the broker ----------------------------------------------------------------------------------
    def prepare(
        self, sites: Sequence[Site] = (), anonymous: bool = False, user: str = SERVICE_USER, secret: str = ""
    ) -> bool:
        """Write what the broker reads, and return whether it lets in those without a login.

        Args:
            sites: as their files are now; what a site that is not among them needs is kept as it was.
            anonymous: True lets everybody publish readings.
            secret: its password at an external broker; else one is made.
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
        """The password of the login that may do nothing; empty where nobody made one."""
        try:
            return (self.folder / DOCTOR_SECRET).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def reload_broker(self) -> bool:
        """Let the managed broker of the folder read its files again; False where none runs.

        Who was revoked is disconnected at once; the others stay.
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

    # ---- the folder --------------------------------------------------------------------------------------------
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
        """One writer at a time; what was changed is written, and so are the files that follow from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with (self.folder / "logins.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book = self._read()
            yield book
            logins = [Login(**one) for one in book["logins"]]
            doctor = self._keep_secret(DOCTOR_SECRET)
            self._write(BOOK, json.dumps(book, indent=1))
            service = book.get("service", {})  # none until the broker starts
            hashes = {one.name: one.hashed for one in logins} | {DOCTOR: _hash(doctor)}
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
    """A login at the managed broker of this machine for as long as the block lasts, as (name, password).

    Both are empty where the broker is none of ours or its folder is not open to this account.
    """
    book = LoginBook(Path(broker.data))
    if broker.mode != "managed" or not os.access(book.folder / SERVICE_SECRET, os.R_OK):
        yield "", ""
        return
    # two dots: no instrument has such a name unless a person chose it
    login, password = book.issue(site, name=f"{site}..{user}", replaces=True)
    book.reload_broker()
    try:
        yield login.name, password
    finally:
        with contextlib.suppress(NotFoundError, OSError):  # the folder of a demonstration may be gone
            if book.folder.is_dir():
                book.revoke(login.name)
                book.reload_broker()


def format_acl(
    logins: Iterable[Login], topics: Mapping[str, Mapping[str, Sequence[str]]], *, anonymous: bool, service: str = ""
) -> str:
    """The access list as Mosquitto reads it: what no line names is refused.

    Args:
        topics: by site, the topics beside our own that it `write`s (decoders) and that are `read` (channels).
        anonymous: lines for those without a login: readings in, everything out.
        service: the service's own name at the broker, which may do everything; empty: it is not known yet.
    """
    lines = ["# written by slopeward: slopeward broker add|revoke|acl"]
    if anonymous:
        inward = [f"{TOPIC_ROOT}/+/{kind}" for kind in ("+/obs/#", "+/backfill/obs/#", "report/#", "event/#", "obs")]
        own = [topic for site in topics.values() for topic in site["write"]]
        lines += [f"topic write {topic}" for topic in (*inward, f"/{TOPIC_ROOT}/#", *own)] + ["topic read #"]
    for login in logins:
        lines += ["", f"user {login.name}", *(f"topic {rule}" for rule in _list_rules(login, topics))]
    lines += ["", f"user {DOCTOR}", "topic write slopeward/doctor/#"]
    if service:
        lines += ["", f"user {service}", "topic readwrite #", "topic read $SYS/#"]
    return "\n".join([*lines, ""])


def _list_rules(login: Login, topics: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    site = f"{TOPIC_ROOT}/{login.site}"
    own = topics.get(login.site, {"write": (), "read": ()})
    readable = [f"read {site}/state", f"read {site}/alert", f"read {TOPIC_ROOT}/status"]
    if login.listens:
        confirms = [f"write {topic}" for topic in own.get("confirm", ())]
        return [*readable, *(f"read {topic}" for topic in own["read"]), *confirms]
    station = login.station or "+"
    rules = [f"write {site}/{station}/obs", f"write {site}/{station}/backfill/obs", f"read {site}/{station}/backfill"]
    if login.station:
        return rules
    rules += [f"write {site}/report", f"write {site}/event", *readable]
    # a node of Sparkplug B hears on its own topics that it is asked for a new birth
    return rules + [f"{'readwrite' if topic.startswith('spBv1.0/') else 'write'} {topic}" for topic in own["write"]]


def _list_topics(site: Site) -> dict[str, list[str]]:
    """What a site uses beside our own topics; a filter that could reach ours is given to nobody."""
    channels = [(find_channel_traits(c), split_channel(c)[1]) for r in site.recipients for c in r.channels]
    sirens = {topic for one, topic in channels if one.orders and is_apart(topic)}
    read = [topic for one, topic in channels if one.of_broker]
    return {
        "confirm": sorted(f"{topic}/confirm" for topic in sirens),
        "write": sorted({bound.topic for bound in site.decoders if is_apart(bound.topic)}),
        "read": sorted({topic for topic in read if is_apart(topic)}),
    }


def is_apart(topic: str) -> bool:
    """Whether a topic filter stays clear of the topics of the service and of the broker.

    >>> is_apart("application/+/up"), is_apart("+/up"), is_apart("slopeward/v1/+/state")
    (True, False, False)
    """
    first = topic.partition("/")[0]
    return not (first in {"+", "#", "slopeward"} or first.startswith("$") or any(sign in topic for sign in "\r\n\0"))


def is_process(pid: int, argument: str) -> bool:
    """Whether a process has this word in its command; only Linux can tell."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return argument in words


def _hash(password: str) -> str:
    """The way Mosquitto 2 keeps a password: PBKDF2 with SHA-512."""
    salt = os.urandom(12)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS, 64)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
