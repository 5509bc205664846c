"""Build and check audit packs: one file with everything about an alert, which can be checked without the database.

The same rows give the same bytes: names are sorted, times in the archive are fixed, and the time of the export is not
stored.
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
# Earliest time that a ZIP archive can store.
_TIME: Final = (1980, 1, 1, 0, 0, 0)
# A pack with more bytes than this is not read.
_MAX_BYTES: Final = 512 * 1024 * 1024
# Differences of one decision that `check_pack` reports.
_MAX_DIFFERENCES: Final = 5
# Errors that altered JSON can cause.
_ERRORS: Final = (ValueError, KeyError, TypeError, AttributeError)


def build_pack(material: AuditPackMaterial) -> dict[str, bytes]:
    """Return the files of a pack by name, the manifest last."""
    files = {
        # The files of plugins come first, so that they replace none of these.
        **material.attachments,
        "alert.json": format_json(material.row),
        "timeline.json": format_json(material.events),
        "decisions.json": format_json([_describe_decision(d, material) for d in material.decisions]),
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
    """Write a pack, and return the SHA-256 of its manifest. Stored elsewhere, this hash proves the whole pack.

    Raises:
        RefusedError: The file exists or cannot be written.
    """
    try:
        with path.open("xb") as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in files.items():
                part = zipfile.ZipInfo(name, _TIME)
                part.compress_type = zipfile.ZIP_DEFLATED
                part.external_attr = 0o644 << 16
                part.create_system = 3
                archive.writestr(part, data)
    except FileExistsError:
        raise RefusedError(f"{path} exists already; choose another name") from None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be written: {error.strerror or error}") from None
    return _digest(files[MANIFEST])


# ---- checking a pack ------------------------------------------------------------------------------------------
def read_pack(path: Path) -> dict[str, bytes]:
    """Return the files of a pack by name.

    Raises:
        RefusedError: The file is no audit pack.
    """
    try:
        # Reading a device or a pipe might never end.
        if path.exists() and not path.is_file():
            raise RefusedError(f"{path} is no file")
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len({p.filename for p in parts}) < len(parts) or sum(int(p.file_size) for p in parts) > _MAX_BYTES:
                raise RefusedError(f"{path} is no audit pack: it contains a part twice, or it is too large")
            return {p.filename: archive.read(p) for p in parts}
    except DAMAGED as error:
        raise RefusedError(f"{path} cannot be read as an audit pack: {error}") from None


def check_pack(files: Mapping[str, bytes]) -> list[str]:
    """Return the faults of a pack, one line each; empty if no part was altered and each decision recomputes."""
    try:
        manifest = json.loads(files[MANIFEST])
        hashes = {str(name): str(part["sha256"]) for name, part in manifest["files"].items()}
        has_known_format = manifest["format"] == FORMAT
        export_faults = [f"when it was exported: {line}" for line in manifest["findings"]]
    except _ERRORS:
        return [f"{MANIFEST} is missing or cannot be read"]
    if not has_known_format:
        return [f"the pack has format {manifest['format']}, this program reads {FORMAT}"]
    faults = [f"{name} is not listed" for name in files if name not in hashes and name != MANIFEST]
    for name, sha in hashes.items():
        if name not in files:
            faults.append(f"{name} is missing")
        elif _digest(files[name]) != sha:
            faults.append(f"{name} was altered: its SHA-256 differs")
    try:
        audit = json.loads(files["audit.json"])
        rows = _check_rows(files, audit["entries"])
        return [*faults, *export_faults, *_check_decisions(files), *rows, *_check_audit(audit)]
    except _ERRORS as error:
        return [*faults, f"the pack cannot be read: {type(error).__name__}: {error}"]


def _check_decisions(files: Mapping[str, bytes]) -> list[str]:
    events = json.loads(files["timeline.json"])
    described_decisions = json.loads(files["decisions.json"])
    seals = {
        entry["subject"]: json.loads(entry["detail"])["evidence_sha256"]
        for entry in json.loads(files["audit.json"])["entries"]
        if entry["action"] == "decision.freeze"
    }
    faults = []
    missing = {event["decision_id"] for event in events} - {d["id"] for d in described_decisions} - {None}
    faults += [f"decision {i} is cited and not in the pack" for i in sorted(missing)]
    for described_decision in described_decisions:
        row = DecisionRow(
            id=described_decision["id"],
            site=described_decision["site"],
            at=parse_time(described_decision["at"]),
            code_version=described_decision["code_version"],
            config_sha256=described_decision["config_sha256"],
            evidence=files[f"decisions/{described_decision['id']}.json"].decode(),
            evidence_sha256=described_decision["evidence_sha256"],
        )
        seal = seals.get(f"decision:{described_decision['id']}")
        if seal != described_decision["seal"]:
            faults.append(f"decision {described_decision['id']}: its seal differs from the audit log")
        source = files.get(f"sites/{described_decision['config_sha256']}.toml", b"").decode()
        cited = tuple(OrderedChange(**plain_to_messages(change)) for change in described_decision["cited"])
        recorded = {
            (event["to_level"], event["reason"]) for event in events if event["decision_id"] == described_decision["id"]
        }
        if recorded != {(change.level, change.reason) for change in cited}:
            faults.append(f"decision {described_decision['id']}: the timeline contains another change")
        differences = recompute(row, source, seal=seal, cited=cited).differences
        faults += [f"decision {described_decision['id']}: {line}" for line in differences[:_MAX_DIFFERENCES]]
    return faults


def _check_rows(files: Mapping[str, bytes], entries: list[dict[str, Any]]) -> list[str]:
    """Compare the rows of the pack with the newest entries of the audit log that seal them."""
    seals: dict[str, str | None] = {}
    for entry in entries:
        if entry["action"] == ACTION:
            seals |= read_seals(entry["detail"])
    rows = {"alert": [json.loads(files["alert.json"])]}
    for table, file in (("alert_event", "timeline"), ("notification", "messages"), ("alert_outcome", "outcomes")):
        rows[table] = json.loads(files[f"{file}.json"])
    return [
        f"{table} {row['id']}: the audit log in the pack seals another row, or none"
        for table, table_rows in rows.items()
        for row in table_rows
        if seals.get(f"{table} {row['id']}") != digest_row(table, row)
    ]


def _check_audit(audit: Mapping[str, Any]) -> list[str]:
    faults = []
    for entry in audit["entries"]:
        facts = tuple(entry[k] for k in ("at", "actor", "actor_kind", "action", "subject", "detail"))
        if hash_entry(entry["previous_hash"], facts) != entry["hash"]:
            faults.append(f"audit entry {entry['id']} was altered")
    links = audit["links"]
    for before, after in pairwise(links):
        if after["previous_hash"] != before["hash"]:
            faults.append(f"audit entry {after['id']} does not follow entry {before['id']}")
    hashes = {link["id"]: link["hash"] for link in links}
    return faults + [
        f"audit entry {e['id']} is not in the chain" for e in audit["entries"] if hashes.get(e["id"]) != e["hash"]
    ]


# ---- summary ---------------------------------------------------------------------------------------------------
def summarise(material: AuditPackMaterial) -> str:
    """Return a summary of the alert as Markdown, with times in the zone of its site."""
    with use_zone(_find_zone(material)):
        return "\n".join(_list_lines(material))


def _list_lines(material: AuditPackMaterial) -> list[str]:
    alert = material.alert
    lines = [
        f"# Alert {alert.id}, {alert.site}, {alert.ledger}",
        "",
        f"{'EXERCISE. ' if alert.exercise else ''}{translate(alert.reason)}",
        "",
        f"- raised {_format_instant(alert.raised_at)}, newest reading {_format_instant(alert.data_time)}",
        f"- highest level {alert.peak_level}, level now {alert.level}, {alert.state}",
        f"- rule version {alert.rule_version}",
        f"- acknowledged {_format_instant(alert.acknowledged_at)} by {alert.acknowledged_by or 'nobody'}",
        f"- closed {_format_instant(alert.closed_at)}",
        "",
        "## What happened",
        "",
        *_format_table(
            ("at", "from", "to", "level", "who", "why"),
            [
                (
                    _format_stored_instant(event["at"]),
                    event["from_state"] or "normal",
                    event["to_state"],
                    event["to_level"],
                    f"{event['actor']} ({event['actor_kind']})",
                    translate(event["reason"]),
                )
                for event in map(plain_to_messages, material.events)
            ],
        ),
        "",
        "## Who was notified",
        "",
        *_format_table(
            ("queued", "recipient", "channel", "state", "attempts", "sent", "confirmed", "by", "last error"),
            [
                (
                    _format_stored_instant(message["queued_at"]),
                    message["recipient"],
                    message["channel"],
                    message["state"],
                    message["attempts"],
                    _format_stored_instant(message["sent_at"]),
                    _format_stored_instant(message["confirmed_at"]),
                    message["confirmed_by"] or "",
                    translate(message["last_error"] or ""),
                )
                for message in map(plain_to_messages, material.messages)
            ],
        ),
        "",
        "## Outcome",
        "",
        *(
            [
                f"- {_format_stored_instant(outcome['at'])} {outcome['by']}: {outcome['class']}. {outcome['note']}"
                for outcome in material.outcomes
            ]
            or ["Nobody has recorded an outcome."]
        ),
    ]
    for row in material.decisions:
        lines += ["", f"## Decision {row.id}", "", f"SHA-256 of the frozen inputs: `{row.evidence_sha256}`", "", "```"]
        lines += [*explain(json.loads(row.evidence), read_names(material.sources.get(row.config_sha256, ""))), "```"]
    lines += ["", "## Site files", ""]
    lines += [
        f"- `{version['sha256']}`, loaded {_format_stored_instant(version['loaded_at'])} by {version['author']}: "
        f"{translate(version['reason'])}"
        for version in map(plain_to_messages, material.versions)
    ]
    lines += ["", "Check this pack: `slopeward alerts export --check FILE.zip`", ""]
    return lines


def _find_zone(material: AuditPackMaterial) -> str:
    for source in reversed([*material.sources.values()]):
        with suppress(ConfigError):
            return parse_site(source, "stored site file").timezone
    return "UTC"


def _format_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    if not rows:
        return ["None."]
    cells = [[str(v).replace("|", "\\|").replace("\n", " ") for v in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def _describe_decision(row: DecisionRow, material: AuditPackMaterial) -> dict[str, Any]:
    facts = {k: format_iso(v) if isinstance(v, datetime) else v for k, v in asdict(row).items() if k != "evidence"}
    return {
        **facts,
        "seal": material.seals[row.id],
        "cited": [messages_to_plain(asdict(x)) for x in material.cited[row.id]],
    }


def _format_instant(at: datetime | None) -> str:
    return "never" if at is None else format_instant(at)


def _format_stored_instant(text: str | None) -> str:
    return "" if text is None else format_instant(parse_time(text))


def format_json(value: Any) -> bytes:
    """Return a JSON document with sorted keys, so that the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
