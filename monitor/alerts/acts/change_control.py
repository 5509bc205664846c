"""Which version of a site file is in force: files that loosen a high level need two people, the others are recorded.

The version in force is the one the database names. A file on disk takes its place when it is loaded, unless it could
loosen one of the two highest levels (`acts.loosening`); then the site goes on with the version in force until somebody
else than its author approves the file. A change never moves the ladder: what a criterion said whose name means
something else now is set apart (`decision.orphaned_votes`), so that it holds and nobody inherits it.
"""

import contextlib
import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from forecasting.whole_file import replacing
from monitor.alerts.acts.loosening import find_loosening
from monitor.alerts.acts.site_diff import SiteFileDifference, StoredEffect, differ
from monitor.alerts.queries.alerts import ChangeContext, apply_changes
from monitor.alerts.queries.evaluations import find_state, save_memory
from monitor.canonical import code_version
from monitor.decision.changes import health_alarm
from monitor.decision.incomplete_series import AND_MORE
from monitor.decision.orphaned_votes import list_redefined_criteria, orphan_redefined
from monitor.decision.records import Memory
from monitor.errors import ConfigError, NotFoundError, RefusedError
from monitor.people.queries.users import require_account, require_person, require_two
from monitor.readings.queries.flags import renew_flags
from monitor.readings.queries.renames import apply_renames, find_clashes
from monitor.sections import read_text
from monitor.sites.parsing import parse_site
from monitor.sites.queries import sites as store
from monitor.sites.queries.in_force import find_in_force
from monitor.sites.queries.sites import find_version, load_sites_summary, save_site
from monitor.sites.records import Site, rename_stations
from monitor.storage.actor import Actor
from monitor.storage.audit import add_audit
from monitor.storage.engine import Database
from monitor.text.message import Message, Template, Term, join

_SET_APART: Final = Template("site_file.set_apart", "criteria mean something else now")
_RENAMED: Final = Template("site_file.renamed", "{old} is called {new} now")
UNREADABLE_FILE: Final = Template(
    "site_file.unreadable", "this program cannot read the site file of {site} that is in force"
)
_LOOSENS: Final = Template(
    "site_file.loosens",
    "{path} was changed without approval in a way that can loosen one of the two highest levels ({text}); {site} goes "
    "on with version {version}. Run: slopeward sites propose {site} {path} --by NAME --reason TEXT, and let somebody "
    "else approve it",
)
_NOT_COMPARED: Final = Template(
    "proposal.not_compared", "this program cannot read the version in force, nobody can compare them"
)
_UNREAD: Final = Template(
    "site_file.unread",
    "version {version} of {site} was in force and cannot be read any more by this program: its file on disk "
    "({version2}) runs instead, uncompared. Compare the two yourself (view config_versions); what stood goes on "
    "standing until a person lowers it",
)
_NO_CHANGE: Final = Template("proposal.no_change", "{file} is the version in force: nothing to propose")
_ALTERED: Final = Template(
    "proposal.altered", "the file of proposal {number} was altered in the database; run slopeward db verify"
)
_OTHER_VERSION: Final = Template(
    "proposal.other_version",
    "proposal {number} was compared with another version than the one in force; propose it anew",
)
_NO_EFFECT: Final = Template(
    "proposal.no_effect", "proposal {number} loosens a high level and shows no effect; propose it with one"
)
_DECIDED: Final = Template("proposal.decided_already", "proposal {number} is {state} already")
_EDITED: Final = Template(
    "proposal.edited",
    "{path} was edited since and is neither what proposal {number} changes nor what it proposes; put it back, or "
    "propose the file as it is now",
)
_UNWRITTEN: Final = Template("proposal.unwritten", "{path} cannot be written: {problem}; nothing was approved")
_APPROVED: Final = Template("proposal.approved", "{reason} (proposal {number}, approved by {name}: {text})")


@dataclass(frozen=True, slots=True)
class SiteFileInForce:
    """The declaration in force; `loosens` says why the file that was read is not.

    `unread` is the hash of the version before where this program cannot read it any more: the file was not compared.
    """

    site: Site
    loosens: tuple[Message, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class ProposedChange:
    """What a proposal would change."""

    old: Site | None
    new: Site
    differences: tuple[SiteFileDifference, ...]
    loosens: tuple[Message, ...]


def take_in(connection: Connection, site: Site, author: str, reason: str, now: datetime) -> SiteFileInForce:
    """Declare a site as its file was read, unless that could loosen a high level unapproved.

    The first file of a site is taken as it is.
    """
    old = find_in_force(connection, site.id)
    loosens = () if old is None or old.version == site.version else _list_loosening(connection, old, site)
    if old is not None and loosens:
        renew_flags(
            connection, old, now, changed=save_site(connection, old, author, reason, now)
        )  # it may have been retired
        return SiteFileInForce(old, loosens)
    before = find_version(connection, site.id)
    _put_in_force(connection, old, site, author, reason, now)
    # who takes a file in runs on it alone: nobody else stores readings of the site
    _rename(connection, site, Actor(author), now, merge=True)
    return SiteFileInForce(site, unread=before if old is None and before is not None else "")


def _put_in_force(connection: Connection, old: Site | None, new: Site, author: str, reason: str, now: datetime) -> None:
    """Save a declaration: the memory keeps no word under a name that means something else now, flags follow it."""
    names = new.renamed_stations
    row = find_state(connection, new.id)
    if row is not None and find_version(connection, new.id) != new.version:
        memory = Memory.read(row.state).rename(names)
        old = None if old is None else rename_stations(old, names)
        after = orphan_redefined(memory, list_redefined_criteria(old, new, memory))
        if after != Memory.read(row.state):
            save_memory(connection, new.id, after, new.version, now)
        if after != memory:
            gone = sorted({*memory.supporters, *memory.votes} - {*after.supporters, *after.votes})
            detail = {"sha256": new.version, "set_apart": gone, "reason": _SET_APART()}
            add_audit(connection, Actor(author), "site.set_apart", f"site:{new.id}", detail, now)
    _rename(connection, new, Actor(author), now, merge=False)
    renew_flags(connection, new, now, changed=save_site(connection, new, author, reason, now))


def _rename(connection: Connection, site: Site, actor: Actor, now: datetime, *, merge: bool) -> None:
    """Name the rows of renamed stations; what is asked about the reference of one is asked anew under its id."""
    done = apply_renames(connection, site, actor, now, merge=merge)
    over = [
        health_alarm(f"health:epoch0:{site.id}/{old}", 0, _RENAMED(old=old, new=new), is_open=False, notify=False)
        for old, new in done.items()
    ]
    apply_changes(connection, over, ChangeContext("status", None, (), actor, now, code_version()))


def _list_loosening(connection: Connection, old: Site, new: Site) -> tuple[Message, ...]:
    """What of a change needs two people; a station that cannot be the one that it is said to have been needs more."""
    return (*find_clashes(connection, new), *find_loosening(old, new))


def require_in_force(connection: Connection, site_id: str) -> Site:
    """The declaration in force; raises NotFoundError where there is none that this program can read."""
    found = find_in_force(connection, site_id)
    if found is None:
        raise NotFoundError(UNREADABLE_FILE(site=site_id))
    return found


def load_in_force(connection: Connection) -> list[Site]:
    """The declarations in force of every site that is watched, as far as this program can read them."""
    found = [find_in_force(connection, s.id) for s in load_sites_summary(connection)]
    return [site for site in found if site is not None]


def explain_refusal(taken: SiteFileInForce, path: str) -> Message:
    """One line for people: what was not taken, what runs instead, and which command to run."""
    text, left = join(taken.loosens[:3]), len(taken.loosens) - 3
    text = AND_MORE(text=text, n=left) if left > 0 else text
    return _LOOSENS(path=path, text=text, site=taken.site.id, version=taken.site.version[:12])


def explain_unread(taken: SiteFileInForce) -> Message:
    """One line for people: the file runs, and nobody could say whether it loosens anything."""
    version2 = taken.site.version[:12]
    return _UNREAD(version=taken.unread[:12], site=taken.site.id, version2=version2)


def compare(connection: Connection, new: Site) -> ProposedChange:
    """What a new declaration changes against the one in force."""
    old = find_in_force(connection, new.id)
    if old is not None:
        loosens = _list_loosening(connection, old, new)
    else:
        unknown = find_version(connection, new.id) is not None
        loosens = (_NOT_COMPARED(),) if unknown else ()
    return ProposedChange(old, new, differ(old, new), loosens)


def propose(
    db: Database,
    text: str,
    name: str,
    actor: Actor,
    reason: str,
    now: datetime,
    preview: Callable[[Site | None, Site], StoredEffect],
) -> store.Proposal:
    """Store a site file for approval, with its differences and its effect on the past.

    Args:
        preview: what the old and the new declaration would have done, JSON-ready; called outside any transaction.

    Raises:
        ConfigError: the file cannot be used.
        RefusedError: it changes nothing, no person or reason is named, or it loosens a high level and its author has no
            account where accounts exist.
    """
    require_person(actor, reason)
    new = parse_site(text, name)
    with db.read() as connection:
        change = compare(connection, new)
        if change.loosens:  # nobody could approve it otherwise
            require_account(connection, actor.name.strip())
    if change.old is not None and change.old.version == new.version:
        raise RefusedError(_NO_CHANGE(file=name))
    effect = preview(change.old, new)
    with db.write() as connection:
        proposal = store.Proposal(
            id=0,
            site=new.id,
            sha256=new.version,
            base_sha256=None if change.old is None else change.old.version,
            source=text,
            author=actor.name,
            reason=reason,
            proposed_at=now,
            state=store.PROPOSED,
            effect={**effect, "loosens": list(change.loosens)},
            differences=[{"key": d.key, "old": d.old, "new": d.new} for d in change.differences],
            loosens_high=bool(change.loosens),
        )
        number = store.add_proposal(connection, proposal)
        detail = {"site": new.id, "sha256": new.version, "reason": reason, "loosens_high": bool(change.loosens)}
        add_audit(connection, actor, "site.propose", f"proposal:{number}", detail, now)
        return store.load_proposal(connection, number)


def approve(db: Database, folder: Path, number: int, actor: Actor, reason: str, now: datetime) -> Path:
    """Put a proposal in force: file, version and audit entry, all or none; returns the file.

    The running service notices within seconds. The level stands as it stood.

    Raises:
        NotFoundError: no such proposal.
        RefusedError: it is decided already, was made against another version, the file was edited meanwhile, or it
            loosens a high level and the approver is its author or has no account where accounts exist.
    """
    require_person(actor, reason)
    with db.write() as connection:
        proposal = store.load_proposal(connection, number, lock=True)
        _require_open(proposal)
        new = parse_site(proposal.source, f"proposal {number}")
        if new.version != proposal.sha256:  # what people read and approve is what was proposed
            raise RefusedError(_ALTERED(number=number))
        current = find_version(connection, new.id)
        if current not in {proposal.base_sha256, new.version}:
            raise RefusedError(_OTHER_VERSION(number=number))
        if clashes := find_clashes(connection, new):  # nobody can approve that: it is not so
            raise RefusedError(join(clashes))
        loosens = proposal.loosens_high or bool(compare(connection, new).loosens)
        if loosens:
            require_two(connection, Actor(proposal.author), actor, now)
            if "skipped" in (proposal.effect or {}):
                raise RefusedError(_NO_EFFECT(number=number))
        path = _find_file(folder, new.id)
        with contextlib.suppress(ConfigError):
            if path.exists() and _digest(read_text(path)) not in {proposal.base_sha256, new.version}:
                raise RefusedError(_EDITED(path=str(path), number=number))
        why = _APPROVED(reason=proposal.reason, number=number, name=actor.name, text=reason)
        _put_in_force(connection, find_in_force(connection, new.id), new, proposal.author, why, now)
        store.mark_decided(
            connection, number, store.APPROVED, actor.name, reason, now, second_by=actor.name if loosens else None
        )
        store.mark_superseded(connection, new.id, number, now)
        detail = {
            "site": new.id,
            "sha256": new.version,
            "base": proposal.base_sha256,
            "author": proposal.author,
            "reason": reason,
            "loosens_high": loosens,
            "file": path.name,
        }
        add_audit(connection, actor, "site.approve", f"proposal:{number}", detail, now)
        _write(path, proposal.source)  # last: what is refused above leaves the file as it was
    return path


def reject(db: Database, number: int, actor: Actor, reason: str, now: datetime) -> None:
    """Turn a proposal down; it stays on record.

    Raises:
        NotFoundError: no such proposal.
        RefusedError: it is decided already, or no person or reason is named.
    """
    require_person(actor, reason)
    with db.write() as connection:
        proposal = store.load_proposal(connection, number, lock=True)
        _require_open(proposal)
        store.mark_decided(connection, number, store.REJECTED, actor.name, reason, now)
        add_audit(
            connection, actor, "site.reject", f"proposal:{number}", {"site": proposal.site, "reason": reason}, now
        )


def _require_open(proposal: store.Proposal) -> None:
    if proposal.state != store.PROPOSED:
        raise RefusedError(_DECIDED(number=proposal.id, state=Term(proposal.state)))


def find_file(folder: Path, version: str) -> Path | None:
    """The file of a folder that holds a version of a site, or None."""
    return next((path for path, text in _list_files(folder) if _digest(text) == version), None)


def _find_file(folder: Path, site_id: str) -> Path:
    for path, text in _list_files(folder):
        with contextlib.suppress(ConfigError):
            if parse_site(text, path.name).id == site_id:
                return path
    return folder / f"{site_id}.toml"


def _list_files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.glob("*.toml")):
        with contextlib.suppress(ConfigError):
            yield path, read_text(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old one or the new one, also after a power cut."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        with replacing(path, flush=True, mode=mode) as partial:
            partial.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise RefusedError(_UNWRITTEN(path=str(path), problem=error.strerror or str(error))) from None
