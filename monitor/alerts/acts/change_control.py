"""Put site files in force. A file that could loosen one of the two highest levels needs a second person.

The database contains the version in force. A changed file on disk replaces it when it is loaded, unless it could loosen
a high level (`acts.loosening`). Then the site continues with the version in force until somebody other than the author
approves the file. A change of the file never changes the level: votes of a criterion that is defined differently now
are kept apart (`decision.orphaned_votes`), so that they still hold the level and no other criterion takes them over.
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
    "{path} was changed without approval in a way that can loosen one of the two highest levels ({text}); {site} "
    "continues with version {version}. Run: slopeward sites propose {site} {path} --by NAME --reason TEXT, and let "
    "somebody else approve it",
)
_NOT_COMPARED: Final = Template(
    "proposal.not_compared", "this program cannot read the version in force, so the two cannot be compared"
)
_UNREAD: Final = Template(
    "site_file.unread",
    "version {version} of {site} was in force, and this program can no longer read it. The file on disk ({version2}) "
    "is in force instead, without a comparison. Compare the two yourself (view config_versions). The level stays until "
    "a person lowers it",
)
_NO_CHANGE: Final = Template("proposal.no_change", "{file} is the version in force: nothing to propose")
_ALTERED: Final = Template(
    "proposal.altered", "the file of proposal {number} was altered in the database; run slopeward db verify"
)
_OTHER_VERSION: Final = Template(
    "proposal.other_version",
    "proposal {number} was compared with another version than the one in force; propose it again",
)
_NO_EFFECT: Final = Template(
    "proposal.no_effect",
    "proposal {number} loosens a high level, and its effect was not computed; propose it again with its effect",
)
_DECIDED: Final = Template("proposal.decided_already", "proposal {number} is {state} already")
_EDITED: Final = Template(
    "proposal.edited",
    "{path} was edited since then: it is neither the version that proposal {number} changes nor the proposed one. "
    "Restore it, or propose the file as it is now",
)
_UNWRITTEN: Final = Template("proposal.unwritten", "{path} cannot be written: {problem}; nothing was approved")
_APPROVED: Final = Template("proposal.approved", "{reason} (proposal {number}, approved by {name}: {text})")


# Reasons that `explain_refusal` lists.
_MAX_REASONS: Final = 3


@dataclass(frozen=True, slots=True)
class SiteFileInForce:
    """The site file in force after a file was loaded.

    Attributes:
        loosens: Why the loaded file is not in force; empty if it is.
        unread: Hash of the version before, if this program cannot read it, so that the files were not compared.
    """

    site: Site
    loosens: tuple[Message, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class ProposedChange:
    """The differences between a proposed site file and the one in force."""

    old: Site | None
    new: Site
    differences: tuple[SiteFileDifference, ...]
    loosens: tuple[Message, ...]


def load_into_force(connection: Connection, site: Site, author: str, reason: str, now: datetime) -> SiteFileInForce:
    """Put a loaded site file in force, unless it could loosen a high level without approval.

    The first file of a site is always put in force.
    """
    version_before = find_version(connection, site.id)
    # Usually the file is the one in force. Its stored text is then the same and need not be parsed again.
    old = site if version_before == site.version else find_in_force(connection, site.id)
    loosens = () if old is None or old.version == site.version else _list_loosening(connection, old, site)
    if old is not None and loosens:
        # The site is saved again, because it may have been retired.
        is_changed = save_site(connection, old, author, reason, now)
        renew_flags(connection, old, now, changed=is_changed)
        return SiteFileInForce(old, loosens)
    _put_in_force(connection, old, site, author, reason, now)
    # The process that loads a file is the only one that stores readings of the site, so their rows can be merged.
    _rename(connection, site, Actor(author), now, merge=True)
    return SiteFileInForce(site, unread=version_before if old is None and version_before is not None else "")


def _put_in_force(connection: Connection, old: Site | None, new: Site, author: str, reason: str, now: datetime) -> None:
    """Save a site file. Votes of redefined criteria are kept apart, and flags of readings are computed again."""
    names = new.renamed_stations
    row = find_state(connection, new.id)
    if row is not None and find_version(connection, new.id) != new.version:
        memory = Memory.read(row.state).rename(names)
        old = None if old is None else rename_stations(old, names)
        after = orphan_redefined(memory, list_redefined_criteria(old, new, memory))
        if after != Memory.read(row.state):
            save_memory(connection, new.id, after, new.version, now)
        if after != memory:
            set_apart = sorted({*memory.supporters, *memory.votes} - {*after.supporters, *after.votes})
            detail = {"sha256": new.version, "set_apart": set_apart, "reason": _SET_APART()}
            add_audit(connection, Actor(author), "site.set_apart", f"site:{new.id}", detail, now)
    _rename(connection, new, Actor(author), now, merge=False)
    renew_flags(connection, new, now, changed=save_site(connection, new, author, reason, now))


def _rename(connection: Connection, site: Site, actor: Actor, now: datetime, *, merge: bool) -> None:
    """Rename the rows of renamed stations, and close questions about their references, which are asked again."""
    renamed = apply_renames(connection, site, actor, now, merge=merge)
    closed_questions = [
        health_alarm(f"health:epoch0:{site.id}/{old}", 0, _RENAMED(old=old, new=new), is_open=False, notify=False)
        for old, new in renamed.items()
    ]
    apply_changes(connection, closed_questions, ChangeContext("status", None, (), actor, now, code_version()))


def _list_loosening(connection: Connection, old: Site, new: Site) -> tuple[Message, ...]:
    """Return what in a change needs two people, and stations that cannot have the former id that the file names."""
    return (*find_clashes(connection, new), *find_loosening(old, new))


def require_in_force(connection: Connection, site_id: str) -> Site:
    """Return the site file in force.

    Raises:
        NotFoundError: There is none that this program can read.
    """
    site = find_in_force(connection, site_id)
    if site is None:
        raise NotFoundError(UNREADABLE_FILE(site=site_id))
    return site


def load_in_force(connection: Connection) -> list[Site]:
    """Return the site files in force of all active sites that this program can read."""
    sites = [find_in_force(connection, s.id) for s in load_sites_summary(connection)]
    return [site for site in sites if site is not None]


def explain_refusal(in_force: SiteFileInForce, path: str) -> Message:
    """Return why a loaded file is not in force, which version continues, and which command to run."""
    text = join(in_force.loosens[:_MAX_REASONS])
    remaining = len(in_force.loosens) - _MAX_REASONS
    if remaining > 0:
        text = AND_MORE(text=text, n=remaining)
    return _LOOSENS(path=path, text=text, site=in_force.site.id, version=in_force.site.version[:12])


def explain_unread(in_force: SiteFileInForce) -> Message:
    """Return the notice that a file is in force without a comparison with the version before."""
    version2 = in_force.site.version[:12]
    return _UNREAD(version=in_force.unread[:12], site=in_force.site.id, version2=version2)


def compare(connection: Connection, new: Site) -> ProposedChange:
    """Compare a new site file with the one in force."""
    old = find_in_force(connection, new.id)
    if old is not None:
        loosens = _list_loosening(connection, old, new)
    else:
        is_unreadable = find_version(connection, new.id) is not None
        loosens = (_NOT_COMPARED(),) if is_unreadable else ()
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
        preview: Returns what the old and the new file would have done, JSON-ready. Called outside any transaction.

    Raises:
        ConfigError: The file is not valid.
        RefusedError: The file changes nothing, person or reason are missing, or it loosens a high level and its author
            has no account although accounts exist.
    """
    require_person(actor, reason)
    new = parse_site(text, name)
    with db.read() as connection:
        change = compare(connection, new)
        if change.loosens:
            # Nobody could approve the proposal of a person without an account.
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
    """Put a proposal in force: file, version and audit entry, all or none. Return the path of the file.

    The running service loads the file within seconds. The level does not change.

    Raises:
        NotFoundError: The proposal does not exist.
        RefusedError: The proposal is decided already, was compared with another version, the file was edited meanwhile,
            or it loosens a high level and the approver is its author or has no account although accounts exist.
    """
    require_person(actor, reason)
    with db.write() as connection:
        proposal = store.load_proposal(connection, number, lock=True)
        _require_open(proposal)
        new = parse_site(proposal.source, f"proposal {number}")
        if new.version != proposal.sha256:
            raise RefusedError(_ALTERED(number=number))
        current = find_version(connection, new.id)
        if current not in {proposal.base_sha256, new.version}:
            raise RefusedError(_OTHER_VERSION(number=number))
        # A wrong former id of a station cannot be approved by anybody.
        clashes = find_clashes(connection, new)
        if clashes:
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
        # The file is written last, so that a refusal above leaves it unchanged.
        _write(path, proposal.source)
    return path


def reject(db: Database, number: int, actor: Actor, reason: str, now: datetime) -> None:
    """Reject a proposal. It stays on record.

    Raises:
        NotFoundError: The proposal does not exist.
        RefusedError: The proposal is decided already, or person or reason are missing.
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
    """Return the file in a folder with this version of a site, or None."""
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
    """Replace a file atomically, so that it is complete even after a power failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        with replacing(path, flush=True, mode=mode) as new_file:
            new_file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise RefusedError(_UNWRITTEN(path=str(path), problem=error.strerror or str(error))) from None
