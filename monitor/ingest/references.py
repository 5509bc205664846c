"""What the readings of a station count from: instant and frame of GNSS displacement, its base station, its device.

The first one received holds. Readings that count from something else wait in the quarantine, and an urgent question
asks an operator which of the two holds. A new one does not take effect by itself: the values would jump without an
explanation. Nor does the first one hold for ever: it may have been wrong.

Network RTK changes the id of the base station with each session (VRS) or with the nearest station (i-MAX, MAC). A
receiver cannot know whether another id is the same network: GGA has no field for it, and the id 0000 names nothing. So
the first change is asked about, unless the message or the decoder says that it is a network. The answer `network`
covers all later ids of the stream.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.queries.signatures import TwoPersonAct
from monitor.canonical import code_version
from monitor.decision.changes import AlertChange, health_alarm
from monitor.errors import NeedsSecondError, NotFoundError, PayloadError, RefusedError
from monitor.people.queries.users import require_account, require_person, require_two
from monitor.sites.records import Recipient
from monitor.storage.actor import SERVICE_ACTOR, Actor
from monitor.storage.audit import add_audit
from monitor.storage.service_state import find_heartbeat, load_heartbeats, remove_heartbeat, write_heartbeat
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Message, NameList, Template, Timestamp

PREFIX: Final = "epoch0:"
HEAD_PREFIX: Final = "solution_head:"  # of the stamps that keep the newest head of a stream
_STATUS_SITE: Final = "status"  # alarms of the service itself
_SINCE: Final = Template("epoch0.reference", "since {at} in frame '{frame}'")
_IN_FRAME: Final = Template("epoch0.frame", "in frame '{frame}'")
_PARTS: Final = Template("epoch0.parts", "{frame}")
_OTHER: Final = Template(
    "epoch0.other",
    "readings of {station} count {given} instead of {kept}, so they are set aside; confirmation required: slopeward "
    "instruments reference {site} {station} new, or kept",
)
_OTHER_DEVICE: Final = Template(
    "epoch0.other_device",
    "{given} sends under the name {station}, which belongs to {kept}, so its readings are set aside; rename one of the "
    "two on the network server, or after a replacement: slopeward instruments reference {site} {station} new",
)
_VERIFY: Final = Template(
    "epoch0.verify",
    "verify now: readings of {station} ({site}) count {given}; kept is {kept}, and readings that count otherwise wait "
    "in the quarantine. Which holds? slopeward instruments reference {site} {station} new --reason WHY, or kept",
)
_VERIFY_DEVICE: Final = Template(
    "epoch0.verify_device",
    "verify now: two devices send as {station} ({site}): {kept} and {given}; readings of the second wait in the "
    "quarantine. Rename one of them, or, if the instrument was replaced: slopeward instruments reference {site} "
    "{station} new --reason WHY",
)
_VERIFY_BASE: Final = Template(
    "epoch0.verify_base",
    "verify now: readings of {station} ({site}) count {given}; kept is {kept}, and readings that count otherwise wait "
    "in the quarantine. Which holds? slopeward instruments reference {site} {station} new --reason WHY, or kept, or "
    "network: then all base stations of this stream are one network (VRS, i-MAX, MAC) and are not asked about again",
)
_ANSWERED: Final = Template("epoch0.answered", "{place} counts {reference}, says {name}: {reason}")
_ANSWERED_BY_TWO: Final = Template(
    "epoch0.answered.two", "{place} counts {reference}, say {name} and {second}: {reason}"
)
_FORGOTTEN: Final = Template(
    "epoch0.forgotten", "{place} counts as its next message says: {name} made its reference forgotten"
)
_NOT_ALONE: Final = Template(
    "epoch0.alone", "{place}: one of the two highest levels is at stake, one person may not say it alone"
)
_NO_NETWORK: Final = Template(
    "epoch0.no_network",
    "{place} counts {given} instead of {kept}: they differ in more than the base station, so they are not one network; "
    "answer new or kept",
)
_NO_QUESTION: Final = Template("epoch0.not_asked", "no changed GNSS reference of {place} waits; asked are: {names}")
_NOT_KEPT: Final = Template("epoch0.not_kept", "no GNSS reference of {place} is kept; there are: {names}")
REFUSED_KEPT: Final = 20  # of a station: what a person refused is not asked about again


DEVICE: Final = "device"  # the part of a frame that says which device sends under the name of a station
BASE: Final = "base"  # the part that says from which base station a position was corrected
NETWORK: Final = "network"  # as a base: the position was corrected from a network of base stations
UNNAMED: Final = "?"  # a frame of which parts alone are known
PART: Final = "; "  # between the parts of a frame: its name and place, then `key value` of what else a head says
# A solution of network RTK declares itself by one of these words before the id of the session or of the master station.
_OF_NETWORK: Final = re.compile(r"(?:vrs|i-?max|mac|fkp|network)(?=[^a-z0-9]|$)", re.IGNORECASE)
_ID: Final = re.compile(r"(?<![a-z0-9])\d+(?![a-z0-9])", re.IGNORECASE)
_YEAR: Final = re.compile(r"^(itrf|igs|igb)(\d\d)(?!\d)")


class ReferenceAnswer(StrEnum):
    """What a person answers to a question about a reference."""

    NEW = "new"
    """The reference of the new messages holds."""
    KEPT = "kept"
    """The kept reference holds, and the other one is not asked about again."""
    NETWORK = "network"
    """The reference of the new messages holds, and all base stations of the stream are one network."""


_ACTS: Final = {
    ReferenceAnswer.NEW: "epoch0.accept",
    ReferenceAnswer.KEPT: "epoch0.keep",
    ReferenceAnswer.NETWORK: "epoch0.network",
}


def name_base(text: str) -> str:
    """Return the base station that a message names, as a part of a frame.

    The base of a network solution that declares itself is the network: the id of the session or of the master station
    behind the word changes, and the coordinates of the network do not.

    >>> [name_base(text) for text in ("REF1", "VRS 2345", "i-MAX_0021", "MAC swipos 0007", "MAC1")]
    ['base REF1', 'base network vrs', 'base network imax', 'base network mac swipos', 'base MAC1']
    """
    text = text.replace(PART.strip(), ",").strip()
    found = _OF_NETWORK.match(text)
    if found is None:
        return f"{BASE} {text}"
    kind = found[0].casefold().replace("-", "")
    name = " ".join(_ID.sub(" ", text[found.end() :]).replace("_", " ").split()).strip(",:/- ").casefold()
    parts = [NETWORK, *([kind] if kind != NETWORK else []), *([name] if name else [])]
    return f"{BASE} {' '.join(parts)}"


def set_network(parts: str, network: str) -> str:
    """Return the parts of a frame with a network in the place of its base.

    >>> set_network("heights geodetic; base 46.1 8.9 501.2", "swipos"), set_network("", "swipos")
    ('heights geodetic; base network swipos', 'base network swipos')
    """
    others = [part for part in parts.split(PART) if part and part.partition(" ")[0] != BASE]
    return PART.join([*others, name_base(f"{NETWORK} {network}")])


def join_frames(one: str, other: str) -> str | None:
    """A frame with the parts that either says; None where they say one of them otherwise.

    A frame is its name and place, then parts such as `heights geodetic`, each behind `; `. If the first frame has the
    base `network`, it agrees with every base of the second: a person answered that all of them are one network.

    >>> join_frames("WGS84 46 9 800", "wgs-84 46 9 800; heights geodetic")
    'WGS84 46 9 800; heights geodetic'
    >>> join_frames("WGS84; heights geodetic", "WGS84; heights ellipsoidal") is None, join_frames("ITRF14", "ITRF2014")
    (True, 'ITRF14')
    """
    mine, theirs = _read_parts(one), _read_parts(other)
    if mine.get(BASE) == NETWORK:
        theirs.pop(BASE, None)
    if any(_fold(value) != _fold(mine[key]) for key, value in theirs.items() if key in mine):
        return None
    every = {"": UNNAMED, **theirs, **mine}
    return PART.join(f"{key} {value}" if key else value for key, value in every.items())


def _read_parts(frame: str) -> dict[str, str]:
    first, *rest = frame.split(PART)
    named = {} if first == UNNAMED else {"": first}
    return named | {key: value for key, _, value in sorted(one.partition(" ") for one in rest)}


def _fold(text: str) -> str:
    """The same for spellings of one name; numbers stay as they are."""
    folded = re.sub(r"(?<=[a-z])[-_ ]+(?=\d)", "", text.casefold().strip())
    return _YEAR.sub(lambda found: f"{found[1]}{'19' if found[2] > '80' else '20'}{found[2]}", folded)


@dataclass(frozen=True, slots=True)
class Reference:
    """What displacement is measured from; files of networks say a frame, and no instant."""

    frame: str
    epoch0: datetime | None = None

    def join(self, other: "Reference") -> "Reference | None":
        """With what another one says besides; None where the two say something of one thing."""
        frame = join_frames(self.frame, other.frame)
        if frame is None or (self.epoch0 and other.epoch0 and self.epoch0 != other.epoch0):
            return None
        return Reference(frame, self.epoch0 or other.epoch0)

    @property
    def device(self) -> str:
        """The device that sends under the name of the station; empty where nothing says it."""
        return _fold(_read_parts(self.frame).get(DEVICE, ""))

    @property
    def has_base(self) -> bool:
        """Whether it says from which base station positions were corrected."""
        return BASE in _read_parts(self.frame)

    def cover_network(self) -> "Reference":
        """The same with a base that covers all base stations of the stream."""
        parts = {"": UNNAMED, **_read_parts(self.frame), BASE: NETWORK}
        frame = PART.join(f"{key} {value}" if key else value for key, value in parts.items())
        return Reference(frame, self.epoch0)

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"frame": self.frame, "epoch0": None if self.epoch0 is None else format_iso(self.epoch0)}

    @staticmethod
    def read(detail: Mapping[str, Any]) -> "Reference":
        """Back from how it is stored."""
        return Reference(detail["frame"], None if detail["epoch0"] is None else parse_time(detail["epoch0"]))

    def describe(self) -> Message:
        """As people read it."""
        if self.epoch0 is None and self.frame.startswith(f"{UNNAMED}{PART}"):
            return _PARTS(frame=self.frame.removeprefix(f"{UNNAMED}{PART}"))
        if self.epoch0 is None:
            return _IN_FRAME(frame=self.frame)
        return _SINCE(at=Timestamp.of(self.epoch0, "second"), frame=self.frame)

    def __str__(self) -> str:
        return str(self.describe())


@dataclass(frozen=True, slots=True)
class ReferenceQuestion:
    """A station whose messages count otherwise than what is kept of it."""

    site: str
    station: str
    kept: Reference
    given: Reference

    @property
    def is_about_base(self) -> bool:
        """Whether the two differ in the base station alone, so that they may be one network."""
        if not (self.kept.has_base and self.given.has_base):
            return False
        return self.kept.cover_network().join(self.given) is not None


class References:
    """Memory of frame and epoch0 per station, kept in the database beside the rows that rest on it."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], Reference] = {}
        self._known: dict[tuple[str, str], Reference] = {}
        self._changed: dict[tuple[str, str], Reference] = {}  # what messages since the last commit say instead
        self._heads: dict[tuple[str, str], str] = {}  # frame in the newest head of a stream, by site and station
        self._new_heads: set[tuple[str, str]] = set()  # of these the newest head is not stored yet

    def check(self, site: str, station: str, frame: str, epoch0: datetime | None) -> None:
        """Take the first reference of a station, refuse any other and remember that it was said.

        Raises:
            PayloadError: other_epoch0, other_frame or other_device.
        """
        self._known[site, station] = self.join(site, station, frame, epoch0)

    def join(self, site: str, station: str, frame: str, epoch0: datetime | None) -> Reference:
        """The reference of a station with what is said of it, which is not taken; any other is refused as by `check`.

        Raises:
            PayloadError: other_epoch0, other_frame or other_device.
        """
        known, given = self._known.get((site, station)), Reference(frame, epoch0)
        joined = given if known is None else known.join(given)
        if known is not None and joined is None:
            self._changed.setdefault((site, station), given)
            facts = {"station": station, "site": site, "kept": known.describe(), "given": given.describe()}
            if given.device != known.device and given.device and known.device:
                raise PayloadError("other_device", _OTHER_DEVICE(**facts))
            code = "other_epoch0" if join_frames(known.frame, frame) else "other_frame"
            raise PayloadError(code, _OTHER(**facts))
        return joined or given

    def keep_head(self, site: str, station: str, frame: str) -> None:
        """Keep the frame that the head of a stream names: lines that follow in messages without a head are in it.

        It is stored with the next commit, so that it holds after a restart of the service.
        """
        if self._heads.get((site, station)) != frame:
            self._heads[site, station] = frame
            self._new_heads.add((site, station))

    def find_head(self, site: str, station: str) -> str:
        """Return the frame in the newest head of a stream; empty where none came."""
        return self._heads.get((site, station), "")

    @property
    def is_asking(self) -> bool:
        """True when a message since the last commit counted otherwise than what is known."""
        return bool(self._changed)

    def load(self, connection: Connection) -> bool:
        """Read what the database knows; True when a person changed something of it meanwhile: then that holds."""
        stored = {}
        for name, (_, detail) in load_heartbeats(connection).items():
            if name.startswith(PREFIX):
                site, _, station = name[len(PREFIX) :].partition("/")
                stored[site, station] = Reference.read(detail)
            elif name.startswith(HEAD_PREFIX):
                site, _, station = name[len(HEAD_PREFIX) :].partition("/")
                self._heads.setdefault((site, station), detail["frame"])
        if stored == self._stored:
            return False
        self._stored = stored
        self.revert()
        return True

    def save(self, connection: Connection, now: datetime) -> tuple[ReferenceQuestion, ...]:
        """Write what is new, in the transaction that stores the readings; returns the questions that opened."""
        for key in sorted(k for k, known in self._known.items() if self._stored.get(k) != known):
            row = find_heartbeat(connection, _name(*key))  # another process may have heard of it meanwhile: that holds
            reference = self._known[key] if row is None else Reference.read(row[1]).join(self._known[key])
            if reference is None:
                self._known[key] = Reference.read(row[1]) if row else self._known[key]
            else:
                write_heartbeat(connection, _name(*key), {**(row[1] if row else {}), **reference.to_json()}, now)
                self._known[key] = reference
        for site, station in sorted(self._new_heads):
            write_heartbeat(connection, f"{HEAD_PREFIX}{site}/{station}", {"frame": self._heads[site, station]}, now)
        opened = []
        for (site, station), reference in sorted(self._changed.items()):
            row = find_heartbeat(connection, _name(site, station))
            if row is None or "asked" in row[1] or reference.to_json() in row[1].get("refused", ()):
                continue  # one question at a time, and none that was answered
            write_heartbeat(connection, _name(site, station), {**row[1], "asked": reference.to_json()}, now)
            opened.append(ReferenceQuestion(site, station, Reference.read(row[1]), reference))
        return tuple(opened)

    def revert(self) -> None:
        """What was new was rolled back."""
        self._known = dict(self._stored)
        self._changed.clear()

    def settle(self) -> None:
        """What was new is committed."""
        self._stored = dict(self._known)
        self._changed.clear()
        self._new_heads.clear()


def request_references(
    connection: Connection, questions: Sequence[ReferenceQuestion], recipients: Sequence[Recipient], now: datetime
) -> None:
    """Put urgent questions to people, in the transaction that notes them; each stands until somebody answers."""
    if questions:
        apply_changes(
            connection,
            [_make_question(q) for q in questions],
            ChangeContext(_STATUS_SITE, None, recipients, SERVICE_ACTOR, now, code_version()),
        )


def _make_question(question: ReferenceQuestion) -> AlertChange:
    place = f"{question.site}/{question.station}"
    is_device = question.given.device and question.given.device != question.kept.device
    template = _VERIFY_DEVICE if is_device else _VERIFY_BASE if question.is_about_base else _VERIFY
    reason = template(
        station=question.station, site=question.site, given=question.given.describe(), kept=question.kept.describe()
    )
    return health_alarm(alarm_key(place), 2, reason, is_open=True)


def answer_reference(
    connection: Connection,
    place: str,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    answer: ReferenceAnswer,
    takes_two: bool = False,
    second: Actor | None = None,
) -> tuple[Reference, Reference]:
    """Say which reference of a station holds: the one that messages tell now, or the kept one.

    Args:
        place: `SITE/STATION`.
        actor: a person, with an open account where accounts exist.
        answer: The new reference, the kept one, or the new one with all base stations of the stream as one network.
        takes_two: one person alone may not say it, for one of the two highest levels stands or is asked for there.
        second: another person who says the same.

    Returns:
        The one that holds, and the other one.

    Raises:
        NotFoundError: nothing is asked of such a station.
        RefusedError: no person, no reason, or no open account; or the answer is a network, and the two references
            differ in something else than their base station.
        NeedsSecondError: a second person is needed.
    """
    require_person(actor, reason)
    site = place.partition("/")[0]
    require_account(connection, actor.name, site=site)
    row = _find_question(connection, place)
    kept, given = Reference.read(row), Reference.read(row["asked"])
    if takes_two and second is None:
        raise NeedsSecondError(_NOT_ALONE(place=place))
    if takes_two and second is not None:
        require_two(connection, actor, second, now)
        require_account(connection, second.name, site=site)
    accept = answer is not ReferenceAnswer.KEPT
    holds, other = (given, kept) if accept else (kept, given)
    if answer is ReferenceAnswer.NETWORK:
        _, _, station = place.partition("/")
        if not ReferenceQuestion(site, station, kept, given).is_about_base:
            raise RefusedError(_NO_NETWORK(place=place, given=given.describe(), kept=kept.describe()))
        holds = given.cover_network()
    refused = [r for r in row.get("refused", []) if r != holds.to_json()]
    refused = refused if accept else [*refused, given.to_json()][-REFUSED_KEPT:]
    write_heartbeat(
        connection, f"{PREFIX}{place}", {**holds.to_json(), **({"refused": refused} if refused else {})}, now
    )
    detail = {"holds": holds.to_json(), "other": other.to_json(), "via": actor.via, "reason": reason}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, _ACTS[answer], place, detail, now)
    reference = holds.describe()
    if second is None:
        line = _ANSWERED(place=place, reference=reference, name=actor.name, reason=reason)
    else:
        line = _ANSWERED_BY_TWO(place=place, reference=reference, name=second.name, second=actor.name, reason=reason)
    _end_question(connection, place, line, actor, now)
    return holds, other


def share_answer(connection: Connection, place: str, *, answer: ReferenceAnswer) -> TwoPersonAct:
    """The answer as two people give it: a signature holds for the very reference that it was asked about.

    Raises:
        NotFoundError: nothing is asked of such a station.
    """
    return TwoPersonAct(_ACTS[answer], place, {"asked": _find_question(connection, place)["asked"]})


def find_question(connection: Connection, alert_key: str) -> ReferenceQuestion | None:
    """What an alarm asks about a reference and still waits; None where it asks about something else."""
    place = alert_key.removeprefix(alarm_key(""))
    row = find_heartbeat(connection, f"{PREFIX}{place}") if alert_key.startswith(alarm_key("")) else None
    if row is None or "asked" not in row[1]:
        return None
    site, _, station = place.partition("/")
    return ReferenceQuestion(site, station, Reference.read(row[1]), Reference.read(row[1]["asked"]))


def _find_question(connection: Connection, place: str) -> dict[str, Any]:
    row = find_heartbeat(connection, f"{PREFIX}{place}")
    if row is None or "asked" not in row[1]:
        waiting = [
            n[len(PREFIX) :]
            for n, (_, d) in load_heartbeats(connection).items()
            if n.startswith(PREFIX) and "asked" in d
        ]
        raise NotFoundError(_NO_QUESTION(place=place, names=NameList(tuple(waiting or ("none",)))))
    return row[1]


def _end_question(connection: Connection, place: str, line: Message, actor: Actor, now: datetime) -> None:
    over = health_alarm(alarm_key(place), 0, line, is_open=False, notify=False)
    apply_changes(connection, [over], ChangeContext(_STATUS_SITE, None, (), actor, now, code_version()))


def forget_reference(connection: Connection, site: str, station: str, actor: Actor, now: datetime) -> None:
    """Let the next message of a station say anew since when it counts (new antenna, new processing).

    Raises:
        NotFoundError: Nothing is kept of such a station; those that have a reference are named.
    """
    kept = {name.removeprefix(PREFIX) for name in load_heartbeats(connection) if name.startswith(PREFIX)}
    if f"{site}/{station}" not in kept:
        there = NameList(tuple(sorted(kept) or ("none",)))
        raise NotFoundError(_NOT_KEPT(place=f"{site}/{station}", names=there))
    remove_heartbeat(connection, _name(site, station))
    add_audit(connection, actor, "epoch0.forget", f"{site}/{station}", {"via": actor.via}, now)
    line = _FORGOTTEN(place=f"{site}/{station}", name=actor.name)
    _end_question(connection, f"{site}/{station}", line, actor, now)


def _name(site: str, station: str) -> str:
    return f"{PREFIX}{site}/{station}"


def alarm_key(place: str) -> str:
    """The key of the alarm that asks about the reference of `SITE/STATION`."""
    return f"health:{PREFIX}{place}"
