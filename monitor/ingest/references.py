"""The reference of each station: what its displacement is measured from.

A reference is the frame and the start of the displacement, the base station of a GNSS receiver, the setup of a total
station, and the device that sends. The first reference that is received is in force. Readings with another reference
are rejected, and an urgent question asks an operator which reference is in force. A new reference never takes effect by
itself, because the values would jump without an explanation. The operator may also replace the first one, because it
may have been wrong.

Network RTK changes the id of the base station with each session (VRS) or with the nearest station (i-MAX, MAC). Nothing
in the data shows whether another id belongs to the same network: GGA has no field for it, and the id 0000 names
nothing. So the first change is a question, unless the message or the decoder names the network. The answer `network`
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
from monitor.storage.actor import SERVICE_ACTOR, SERVICE_SITE, Actor
from monitor.storage.audit import add_audit
from monitor.storage.service_state import find_heartbeat, load_heartbeats, remove_heartbeat, write_heartbeat
from monitor.text.instants import format_iso, parse_time
from monitor.text.message import Message, NameList, Template, Timestamp

# Prefix of the stored reference of a station.
PREFIX: Final = "epoch0:"
# Prefix of the stored frame of the newest header of a stream.
HEAD_PREFIX: Final = "solution_head:"
_SINCE: Final = Template("epoch0.reference", "since {at} in frame '{frame}'")
_IN_FRAME: Final = Template("epoch0.frame", "in frame '{frame}'")
_PARTS: Final = Template("epoch0.parts", "{frame}")
_OTHER: Final = Template(
    "epoch0.other",
    "readings of {station} have another reference ({given}) than the one in force ({kept}), so they wait in the "
    "quarantine. Confirm one of the two: slopeward instruments reference {site} {station} new, or kept",
)
_OTHER_DEVICE: Final = Template(
    "epoch0.other_device",
    "{given} sends under the name {station}, which belongs to {kept}, so its readings wait in the quarantine. "
    "Rename one of the two on the network server, or after a replacement: slopeward instruments reference {site} "
    "{station} new",
)
_VERIFY: Final = Template(
    "epoch0.verify",
    "verify now: readings of {station} ({site}) have another reference ({given}) than the one in force ({kept}), so"
    " they wait in the quarantine. Which is right? slopeward instruments reference {site} {station} new --reason "
    "WHY, or kept",
)
_VERIFY_DEVICE: Final = Template(
    "epoch0.verify_device",
    "verify now: two devices send as {station} ({site}): {kept} and {given}; readings of the second wait in the "
    "quarantine. Rename one of them, or, if the instrument was replaced: slopeward instruments reference {site} "
    "{station} new --reason WHY",
)
_VERIFY_BASE: Final = Template(
    "epoch0.verify_base",
    "verify now: readings of {station} ({site}) have another reference ({given}) than the one in force ({kept}), so "
    "they wait in the quarantine. Which is right? slopeward instruments reference {site} {station} new --reason WHY, "
    "or kept, or network: then all base stations of this stream are one network (VRS, i-MAX, MAC) and are not asked "
    "about again",
)
_ANSWERED: Final = Template("epoch0.answered", "reference of {place}: {reference}; confirmed by {name}: {reason}")
_ANSWERED_BY_TWO: Final = Template(
    "epoch0.answered.two", "reference of {place}: {reference}; confirmed by {name} and {second}: {reason}"
)
_FORGOTTEN: Final = Template(
    "epoch0.forgotten", "{name} deleted the reference of {place}; the next message determines it"
)
_NOT_ALONE: Final = Template(
    "epoch0.alone", "{place}: the answer may affect one of the two highest levels, so a second person must sign it"
)
_NO_NETWORK: Final = Template(
    "epoch0.no_network",
    "{place}: the references {given} and {kept} differ in more than the base station, so they are not one network; "
    "answer new or kept",
)
_NO_QUESTION: Final = Template(
    "epoch0.not_asked", "there is no open question about the reference of {place}; open questions: {names}"
)
_NOT_KEPT: Final = Template("epoch0.not_kept", "no reference of {place} is stored; stored references: {names}")
# Refused references of a station that are stored, so that nobody is asked about them again.
MOST_REFUSED: Final = 20

# Keys of the parts of a frame: the device that sends under the name of a station, and the base station from which a
# position was corrected.
DEVICE: Final = "device"
BASE: Final = "base"
# Value of `base`: the position was corrected from a network of base stations.
NETWORK: Final = "network"
# Name of a frame of which only parts are known.
UNNAMED: Final = "?"
# Separates the parts of a frame: its name and place, then `key value` of each further fact.
PART: Final = "; "
# A solution of network RTK names itself by one of these words before the id of the session or of the master station.
_OF_NETWORK: Final = re.compile(r"(?:vrs|i-?max|mac|fkp|network)(?=[^a-z0-9]|$)", re.IGNORECASE)
_ID: Final = re.compile(r"(?<![a-z0-9])\d+(?![a-z0-9])", re.IGNORECASE)
_YEAR: Final = re.compile(r"^(itrf|igs|igb)(\d\d)(?!\d)")


class ReferenceAnswer(StrEnum):
    """Answer of a person to a question about a reference."""

    NEW = "new"
    """The reference of the new messages is in force."""
    KEPT = "kept"
    """The stored reference stays in force. The other one is not asked about again while it is stored as refused."""
    NETWORK = "network"
    """The reference of the new messages is in force, and all base stations of the stream are one network."""


_ACTS: Final = {
    ReferenceAnswer.NEW: "epoch0.accept",
    ReferenceAnswer.KEPT: "epoch0.keep",
    ReferenceAnswer.NETWORK: "epoch0.network",
}


def name_base(text: str) -> str:
    """Return the base station that a message names, as a part of a frame.

    If the text names a network, the base is the network. The id of the session or of the master station changes, and
    the coordinates of the network do not.

    >>> [name_base(text) for text in ("REF1", "VRS 2345", "i-MAX_0021", "MAC swipos 0007", "MAC1")]
    ['base REF1', 'base network vrs', 'base network imax', 'base network mac swipos', 'base MAC1']
    """
    text = text.replace(PART.strip(), ",").strip()
    match = _OF_NETWORK.match(text)
    if match is None:
        return f"{BASE} {text}"
    kind = match[0].casefold().replace("-", "")
    name = " ".join(_ID.sub(" ", text[match.end() :]).replace("_", " ").split()).strip(",:/- ").casefold()
    parts = [NETWORK, *([kind] if kind != NETWORK else []), *([name] if name else [])]
    return f"{BASE} {' '.join(parts)}"


def set_network(parts: str, network: str) -> str:
    """Return the parts of a frame, with a network instead of its base.

    >>> set_network("heights geodetic; base 46.1 8.9 501.2", "swipos"), set_network("", "swipos")
    ('heights geodetic; base network swipos', 'base network swipos')
    """
    others = [part for part in parts.split(PART) if part and part.partition(" ")[0] != BASE]
    return PART.join([*others, name_base(f"{NETWORK} {network}")])


def join_frames(first: str, second: str) -> str | None:
    """Return a frame with the parts of both frames; None if they contradict each other.

    A frame is its name and place, then parts such as `heights geodetic`, separated by `; `. If the first frame has the
    base `network`, it agrees with every base of the second: a person answered that all of them are one network.

    >>> join_frames("WGS84 46 9 800", "wgs-84 46 9 800; heights geodetic")
    'WGS84 46 9 800; heights geodetic'
    >>> join_frames("WGS84; heights geodetic", "WGS84; heights ellipsoidal") is None, join_frames("ITRF14", "ITRF2014")
    (True, 'ITRF14')
    """
    first_parts = _read_parts(first)
    second_parts = _read_parts(second)
    if first_parts.get(BASE) == NETWORK:
        second_parts.pop(BASE, None)
    for key, value in second_parts.items():
        if key in first_parts and _fold(value) != _fold(first_parts[key]):
            return None
    return _format_parts({"": UNNAMED, **second_parts, **first_parts})


def _format_parts(parts: Mapping[str, str]) -> str:
    return PART.join(f"{key} {value}" if key else value for key, value in parts.items())


def _read_parts(frame: str) -> dict[str, str]:
    """Return the parts of a frame by key. The key of its name and place is empty."""
    name, *further = frame.split(PART)
    parts = {} if name == UNNAMED else {"": name}
    for part in sorted(further):
        key, _, value = part.partition(" ")
        parts[key] = value
    return parts


def _fold(text: str) -> str:
    """Return the same text for all spellings of a name. Numbers are not changed."""
    folded = re.sub(r"(?<=[a-z])[-_ ]+(?=\d)", "", text.casefold().strip())
    return _YEAR.sub(lambda match: f"{match[1]}{'19' if match[2] > '80' else '20'}{match[2]}", folded)


@dataclass(frozen=True, slots=True)
class Reference:
    """What displacement is measured from.

    Attributes:
        frame: The frame of coordinates, with what else identifies the reference, such as the base station.
        epoch0: The instant at which displacement is zero. None in files of geodetic networks, which contain none.
    """

    frame: str
    epoch0: datetime | None = None

    def join(self, other: "Reference") -> "Reference | None":
        """Return the reference with the parts of another one; None if they contradict each other."""
        frame = join_frames(self.frame, other.frame)
        if frame is None or (self.epoch0 and other.epoch0 and self.epoch0 != other.epoch0):
            return None
        return Reference(frame, self.epoch0 or other.epoch0)

    @property
    def device(self) -> str:
        """The device that sends under the name of the station; empty if it is not known."""
        return _fold(_read_parts(self.frame).get(DEVICE, ""))

    @property
    def has_base(self) -> bool:
        """Whether the base station is known from which positions were corrected."""
        return BASE in _read_parts(self.frame)

    def cover_network(self) -> "Reference":
        """Return the reference with a base that covers all base stations of the stream."""
        parts = {"": UNNAMED, **_read_parts(self.frame), BASE: NETWORK}
        return Reference(_format_parts(parts), self.epoch0)

    def to_json(self) -> dict[str, Any]:
        """Return the values that are stored."""
        return {"frame": self.frame, "epoch0": None if self.epoch0 is None else format_iso(self.epoch0)}

    @staticmethod
    def read(detail: Mapping[str, Any]) -> "Reference":
        """Read stored values."""
        return Reference(detail["frame"], None if detail["epoch0"] is None else parse_time(detail["epoch0"]))

    def describe(self) -> Message:
        """Return a text for people."""
        if self.epoch0 is None and self.frame.startswith(f"{UNNAMED}{PART}"):
            return _PARTS(frame=self.frame.removeprefix(f"{UNNAMED}{PART}"))
        if self.epoch0 is None:
            return _IN_FRAME(frame=self.frame)
        return _SINCE(at=Timestamp.of(self.epoch0, "second"), frame=self.frame)

    def __str__(self) -> str:
        return str(self.describe())


@dataclass(frozen=True, slots=True)
class ReferenceQuestion:
    """A question about a station whose messages have another reference than the stored one."""

    site: str
    station: str
    kept: Reference
    given: Reference

    @property
    def is_about_base(self) -> bool:
        """Whether only the base stations differ, so that both may belong to one network."""
        if not (self.kept.has_base and self.given.has_base):
            return False
        return self.kept.cover_network().join(self.given) is not None


class References:
    """The references of all stations, by site and station. They are stored in the transaction of the readings."""

    def __init__(self) -> None:
        self._stored: dict[tuple[str, str], Reference] = {}
        # The stored references and those of messages that are not committed yet.
        self._current: dict[tuple[str, str], Reference] = {}
        # Other references in messages since the last commit.
        self._contradicting: dict[tuple[str, str], Reference] = {}
        # Frame in the newest header of a stream, and the streams of which it is not stored yet.
        self._heads: dict[tuple[str, str], str] = {}
        self._new_heads: set[tuple[str, str]] = set()

    def check(self, site: str, station: str, frame: str, epoch0: datetime | None) -> None:
        """Set or complete the reference of a station. Reject one that contradicts it, and note it for a question.

        Raises:
            PayloadError: other_epoch0, other_frame or other_device.
        """
        self._current[site, station] = self.join(site, station, frame, epoch0)

    def join(self, site: str, station: str, frame: str, epoch0: datetime | None) -> Reference:
        """Return the reference of a station joined with a given one.

        This stores no reference, but a contradiction is noted for a question.

        Raises:
            PayloadError: other_epoch0, other_frame or other_device.
        """
        current = self._current.get((site, station))
        given = Reference(frame, epoch0)
        joined = given if current is None else current.join(given)
        if current is not None and joined is None:
            self._contradicting.setdefault((site, station), given)
            facts = {"station": station, "site": site, "kept": current.describe(), "given": given.describe()}
            if given.device != current.device and given.device and current.device:
                raise PayloadError("other_device", _OTHER_DEVICE(**facts))
            code = "other_epoch0" if join_frames(current.frame, frame) else "other_frame"
            raise PayloadError(code, _OTHER(**facts))
        return joined or given

    def note_head(self, site: str, station: str, frame: str) -> None:
        """Note the frame in the header of a stream. It applies to later messages without a header.

        It is stored with the next commit, so that it also applies after a restart of the service.
        """
        if self._heads.get((site, station)) != frame:
            self._heads[site, station] = frame
            self._new_heads.add((site, station))

    def find_head(self, site: str, station: str) -> str:
        """Return the frame in the newest header of a stream; empty if none was received."""
        return self._heads.get((site, station), "")

    @property
    def has_contradiction(self) -> bool:
        """Whether a message since the last commit has another reference than the current one."""
        return bool(self._contradicting)

    def load(self, connection: Connection) -> bool:
        """Read the stored references. If they have changed, discard those that are not committed, and return True."""
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
        self.roll_back()
        return True

    def save(self, connection: Connection, now: datetime) -> tuple[ReferenceQuestion, ...]:
        """Store new references in the transaction of the readings, and return the questions that were opened."""
        for key in sorted(k for k, current in self._current.items() if self._stored.get(k) != current):
            # Another process may have stored a reference in the meantime. That one is in force.
            row = find_heartbeat(connection, _name(*key))
            reference = self._current[key] if row is None else Reference.read(row[1]).join(self._current[key])
            if reference is None:
                self._current[key] = Reference.read(row[1]) if row else self._current[key]
            else:
                write_heartbeat(connection, _name(*key), {**(row[1] if row else {}), **reference.to_json()}, now)
                self._current[key] = reference
        for site, station in sorted(self._new_heads):
            write_heartbeat(connection, f"{HEAD_PREFIX}{site}/{station}", {"frame": self._heads[site, station]}, now)
        opened = []
        for (site, station), reference in sorted(self._contradicting.items()):
            row = find_heartbeat(connection, _name(site, station))
            if row is None or "asked" in row[1] or reference.to_json() in row[1].get("refused", ()):
                # There is an open question already, or this one was answered.
                continue
            write_heartbeat(connection, _name(site, station), {**row[1], "asked": reference.to_json()}, now)
            opened.append(ReferenceQuestion(site, station, Reference.read(row[1]), reference))
        return tuple(opened)

    def roll_back(self) -> None:
        """Discard new references after a rollback."""
        self._current = dict(self._stored)
        self._contradicting.clear()

    def commit(self) -> None:
        """Note that new references are committed."""
        self._stored = dict(self._current)
        self._contradicting.clear()
        self._new_heads.clear()


def open_reference_questions(
    connection: Connection, questions: Sequence[ReferenceQuestion], recipients: Sequence[Recipient], now: datetime
) -> None:
    """Raise an alarm for each question, in the transaction that stores it. It stays open until somebody answers."""
    if questions:
        apply_changes(
            connection,
            [_make_question(q) for q in questions],
            ChangeContext(SERVICE_SITE, None, recipients, SERVICE_ACTOR, now, code_version()),
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
    """Answer which reference of a station is in force: that of the new messages, or the stored one.

    Args:
        place: `SITE/STATION`.
        actor: a person, with an open account if accounts exist.
        reason: reason of the answer.
        now: the present.
        answer: The new reference, the stored one, or the new one with all base stations of the stream as one network.
        takes_two: whether a second person must sign, because one of the two highest levels is in force or requested.
        second: another person who gives the same answer.

    Returns:
        The reference in force, and the other one.

    Raises:
        NotFoundError: there is no open question about the station.
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
    in_force, other = (given, kept) if accept else (kept, given)
    if answer is ReferenceAnswer.NETWORK:
        _, _, station = place.partition("/")
        if not ReferenceQuestion(site, station, kept, given).is_about_base:
            raise RefusedError(_NO_NETWORK(place=place, given=given.describe(), kept=kept.describe()))
        in_force = given.cover_network()
    refused = [r for r in row.get("refused", []) if r != in_force.to_json()]
    refused = refused if accept else [*refused, given.to_json()][-MOST_REFUSED:]
    write_heartbeat(
        connection, f"{PREFIX}{place}", {**in_force.to_json(), **({"refused": refused} if refused else {})}, now
    )
    detail = {"holds": in_force.to_json(), "other": other.to_json(), "via": actor.via, "reason": reason}
    detail |= {} if second is None else {"second_by": second.name}
    add_audit(connection, actor, _ACTS[answer], place, detail, now)
    reference = in_force.describe()
    if second is None:
        line = _ANSWERED(place=place, reference=reference, name=actor.name, reason=reason)
    else:
        line = _ANSWERED_BY_TWO(place=place, reference=reference, name=second.name, second=actor.name, reason=reason)
    _end_question(connection, place, line, actor, now)
    return in_force, other


def share_answer(connection: Connection, place: str, *, answer: ReferenceAnswer) -> TwoPersonAct:
    """Return the answer as an act of two people. Their signatures are for the reference of the open question.

    Raises:
        NotFoundError: there is no open question about the station.
    """
    return TwoPersonAct(_ACTS[answer], place, {"asked": _find_question(connection, place)["asked"]})


def find_question(connection: Connection, alert_key: str) -> ReferenceQuestion | None:
    """Return the open question of an alarm; None if the alarm is about something else."""
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
    apply_changes(connection, [over], ChangeContext(SERVICE_SITE, None, (), actor, now, code_version()))


def forget_reference(connection: Connection, site: str, station: str, actor: Actor, now: datetime) -> None:
    """Delete the reference of a station, so that the next message sets it (new antenna, new processing).

    Raises:
        NotFoundError: no reference of the station is stored. The text names the stations that have one.
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
    """Return the key of the alarm about the reference of `SITE/STATION`."""
    return f"health:{PREFIX}{place}"
