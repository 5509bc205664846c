"""An audit pack: one file that tells the whole story of an alert to somebody without the database, and proves itself.

The same rows give the same bytes: names are sorted, times in the archive are fixed, and nothing of the moment of
exporting is written into it.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from forecasting.data.bounds import DAMAGED
from monitor.alerts.audit.explain import explain, read_names
from monitor.alerts.audit.queries import AuditPackMaterial, OrderedChange
from monitor.alerts.audit.recompute import recompute
from monitor.alerts.queries.evaluations import DecisionRow
from monitor.errors import ConfigError, RefusedError
from monitor.sites.parsing import parse_site
from monitor.storage.audit import hash_entry
from monitor.storage.seals import ACTION, digest_row, read_seals
from monitor.text.instants import format_iso, parse_time
from monitor.text.local_time import format_instant, use_zone
from monitor.text.message import messages_to_plain, plain_to_messages
from monitor.text.rendering import translate

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows
_LONGEST: Final = 512 * 1024 * 1024  # a part that claims more is not read
_BROKEN: Final = (ValueError, KeyError, TypeError, AttributeError)


def build_pack(material: AuditPackMaterial) -> dict[str, bytes]:
    """The files of a pack by name, the manifest last."""
    files = {
        # The files of plugins come first, so that they replace none of these.
        **material.attachments,
        "alert.json": format_json(material.row),
        "timeline.json": format_json(material.events),
        "decisions.json": format_json([_describe(d, material) for d in material.decisions]),
        "site_versions.json": format_json(material.versions),
        "messages.json": format_json(material.messages),
        "acknowledgements.json": format_json([e for e in material.events if e["actor_kind"] == "person"]),
        "outcomes.json": format_json(material.outcomes),
        "audit.json": format_json({"entries": material.audit, "links": material.links}),
        "summary.md": summarise(material).encode(),
    }
    files |= {f"decisions/{d.id}.json": d.evidence.encode() for d in material.decisions}
    files |= {f"sites/{sha}.toml": source.encode() for sha, source in material.sources.items()}
    parts = {name: {"sha256": _digest(data), "bytes": len(data)} for name, data in sorted(files.items())}
    head = {
        "format": FORMAT,
        "alert": material.alert.id,
        "site": material.alert.site,
        "files": parts,
        "findings": list(material.findings),
    }
    return {**dict(sorted(files.items())), MANIFEST: format_json(head)}


def write_pack(files: Mapping[str, bytes], path: Path) -> str:
    """Write a pack; returns the SHA-256 of its manifest, which proves all of it when it is kept elsewhere.

    Raises:
        RefusedError: the file exists, or cannot be written.
    """
    try:
        with path.open("xb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in files.items():
                part = zipfile.ZipInfo(name, _TIME)
                part.compress_type, part.external_attr, part.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
                archive.writestr(part, data)
    except FileExistsError:
        raise RefusedError(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be written: {error.strerror or error}") from None
    return _digest(files[MANIFEST])


# ---- the other way round ---------------------------------------------------------------------------------------
def read_pack(path: Path) -> dict[str, bytes]:
    """The files of a pack by name.

    Raises:
        RefusedError: it cannot be read as a pack.
    """
    try:
        if path.exists() and not path.is_file():  # a device is read without end, a pipe waits
            raise RefusedError(f"{path} is no file")
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len({p.filename for p in parts}) < len(parts) or sum(int(p.file_size) for p in parts) > _LONGEST:
                raise RefusedError(f"{path} is no audit pack: a part stands in it twice, or it is too large")
            return {p.filename: archive.read(p) for p in parts}
    except DAMAGED as error:
        raise RefusedError(f"{path} cannot be read as an audit pack: {error}") from None


def check_pack(files: Mapping[str, bytes]) -> list[str]:
    """What is wrong with a pack, a line each; empty when every part is as it was and every decision recomputes."""
    try:
        manifest = json.loads(files[MANIFEST])
        listed = {str(name): str(part["sha256"]) for name, part in manifest["files"].items()}
        known = manifest["format"] == FORMAT
        altered = [f"when it was exported: {line}" for line in manifest["findings"]]
    except _BROKEN:
        return [f"{MANIFEST} is missing or cannot be read"]
    if not known:
        return [f"the pack has format {manifest['format']}, this program reads {FORMAT}"]
    found = [f"{name} is not listed" for name in files if name not in listed and name != MANIFEST]
    for name, sha in listed.items():
        if name not in files:
            found.append(f"{name} is missing")
        elif _digest(files[name]) != sha:
            found.append(f"{name} was altered: its SHA-256 differs")
    try:
        audit = json.loads(files["audit.json"])
        rows = _check_rows(files, audit["entries"])
        return [*found, *altered, *_check_decisions(files), *rows, *_check_audit(audit)]
    except _BROKEN as error:
        return [*found, f"the pack cannot be followed: {type(error).__name__}: {error}"]


def _check_decisions(files: Mapping[str, bytes]) -> list[str]:
    events = json.loads(files["timeline.json"])
    described = json.loads(files["decisions.json"])
    seals = {
        entry["subject"]: json.loads(entry["detail"])["evidence_sha256"]
        for entry in json.loads(files["audit.json"])["entries"]
        if entry["action"] == "decision.freeze"
    }
    found = []
    missing = {e["decision_id"] for e in events} - {d["id"] for d in described} - {None}
    found += [f"decision {i} is cited and not in the pack" for i in sorted(missing)]
    for one in described:
        row = DecisionRow(
            id=one["id"],
            site=one["site"],
            at=parse_time(one["at"]),
            code_version=one["code_version"],
            config_sha256=one["config_sha256"],
            evidence=files[f"decisions/{one['id']}.json"].decode(),
            evidence_sha256=one["evidence_sha256"],
        )
        seal = seals.get(f"decision:{one['id']}")
        if seal != one["seal"]:
            found.append(f"decision {one['id']}: its seal is not the one of the audit log")
        source = files.get(f"sites/{one['config_sha256']}.toml", b"").decode()
        cited = tuple(OrderedChange(**plain_to_messages(x)) for x in one["cited"])
        recorded = {(e["to_level"], e["reason"]) for e in events if e["decision_id"] == one["id"]}
        if recorded != {(x.level, x.reason) for x in cited}:
            found.append(f"decision {one['id']}: the timeline says something else of it")
        again = recompute(row, source, seal=seal, cited=cited).differences
        found += [f"decision {one['id']}: {line}" for line in again[:5]]
    return found


def _check_rows(files: Mapping[str, bytes], entries: list[dict[str, Any]]) -> list[str]:
    """The rows of the pack against the newest entries of the audit log that seal them."""
    seals: dict[str, str | None] = {}
    for entry in entries:
        if entry["action"] == ACTION:
            seals |= read_seals(entry["detail"])
    rows = {"alert": [json.loads(files["alert.json"])]}
    for table, file in (("alert_event", "timeline"), ("notification", "messages"), ("alert_outcome", "outcomes")):
        rows[table] = json.loads(files[f"{file}.json"])
    return [
        f"{table} {row['id']}: the audit log in the pack has this row otherwise, or does not know it"
        for table, some in rows.items()
        for row in some
        if seals.get(f"{table} {row['id']}") != digest_row(table, row)
    ]


def _check_audit(audit: Mapping[str, Any]) -> list[str]:
    found = []
    for entry in audit["entries"]:
        facts = tuple(entry[k] for k in ("at", "actor", "actor_kind", "action", "subject", "detail"))
        if hash_entry(entry["previous_hash"], facts) != entry["hash"]:
            found.append(f"audit entry {entry['id']} was altered")
    links = audit["links"]
    for before, after in pairwise(links):
        if after["previous_hash"] != before["hash"]:
            found.append(f"audit entry {after['id']} does not follow entry {before['id']}")
    hashes = {link["id"]: link["hash"] for link in links}
    return found + [
        f"audit entry {e['id']} is not in the chain" for e in audit["entries"] if hashes.get(e["id"]) != e["hash"]
    ]


# ---- for people ------------------------------------------------------------------------------------------------
def summarise(material: AuditPackMaterial) -> str:
    """The story of the alert as Markdown, with times in the zone of its site."""
    with use_zone(_find_zone(material)):
        return "\n".join(_list_lines(material))


def _list_lines(material: AuditPackMaterial) -> list[str]:
    alert = material.alert
    lines = [
        f"# Alert {alert.id}, {alert.site}, {alert.ledger}",
        "",
        f"{'EXERCISE. ' if alert.exercise else ''}{translate(alert.reason)}",
        "",
        f"- raised {_format_instant(alert.raised_at)}, newest datum {_format_instant(alert.data_time)}",
        f"- highest level {alert.peak_level}, level now {alert.level}, {alert.state}",
        f"- rule version {alert.rule_version}",
        f"- acknowledged {_format_instant(alert.acknowledged_at)} by {alert.acknowledged_by or 'nobody'}",
        f"- closed {_format_instant(alert.closed_at)}",
        "",
        "## What happened",
        "",
        *_table(
            ("at", "from", "to", "level", "who", "why"),
            [
                (
                    _minute(e["at"]),
                    e["from_state"] or "normal",
                    e["to_state"],
                    e["to_level"],
                    f"{e['actor']} ({e['actor_kind']})",
                    translate(e["reason"]),
                )
                for e in map(plain_to_messages, material.events)
            ],
        ),
        "",
        "## Who was notified",
        "",
        *_table(
            ("queued", "recipient", "channel", "state", "attempts", "sent", "confirmed", "by", "last error"),
            [
                (
                    _minute(m["queued_at"]),
                    m["recipient"],
                    m["channel"],
                    m["state"],
                    m["attempts"],
                    _minute(m["sent_at"]),
                    _minute(m["confirmed_at"]),
                    m["confirmed_by"] or "",
                    translate(m["last_error"] or ""),
                )
                for m in map(plain_to_messages, material.messages)
            ],
        ),
        "",
        "## What it turned out to be",
        "",
        *(
            [f"- {_minute(o['at'])} {o['by']}: {o['class']}. {o['note']}" for o in material.outcomes]
            or ["Nobody has said."]
        ),
    ]
    for row in material.decisions:
        lines += ["", f"## Decision {row.id}", "", f"SHA-256 of the frozen inputs: `{row.evidence_sha256}`", "", "```"]
        lines += [*explain(json.loads(row.evidence), read_names(material.sources.get(row.config_sha256, ""))), "```"]
    lines += ["", "## Site files", ""]
    lines += [
        f"- `{v['sha256']}`, loaded {_minute(v['loaded_at'])} by {v['author']}: {translate(v['reason'])}"
        for v in map(plain_to_messages, material.versions)
    ]
    lines += ["", "Prove this pack: `slopeward alerts export --check FILE.zip`", ""]
    return lines


def _find_zone(material: AuditPackMaterial) -> str:
    for source in reversed([*material.sources.values()]):
        with suppress(ConfigError):
            return parse_site(source, "stored site file").timezone
    return "UTC"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    if not rows:
        return ["Nothing."]
    cells = [[str(v).replace("|", "\\|").replace("\n", " ") for v in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def _describe(row: DecisionRow, material: AuditPackMaterial) -> dict[str, Any]:
    facts = {k: format_iso(v) if isinstance(v, datetime) else v for k, v in asdict(row).items() if k != "evidence"}
    return {
        **facts,
        "seal": material.seals[row.id],
        "cited": [messages_to_plain(asdict(x)) for x in material.cited[row.id]],
    }


def _format_instant(at: datetime | None) -> str:
    return "never" if at is None else format_instant(at)


def _minute(spelled: str | None) -> str:
    return "" if spelled is None else format_instant(parse_time(spelled))


def format_json(value: Any) -> bytes:
    """Return a JSON document with sorted keys, so that the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
