"""Why an alert is as it is: explained, decided again, held against today's tables, and packed for others to check."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.alerts.audit.queries import list_alterations, load_material
from monitor.alerts.queries.alerts import Alert, find_alert, require_alert
from monitor.alerts.queries.decision_seals import find_seal
from monitor.alerts.queries.evaluations import DecisionRow, load_decision
from monitor.canonical import code_version
from monitor.cli.identity import require_readable
from monitor.cli.session import LARGEST_ID, Commands, UtcOption, find_zones, open_database, print_note, show
from monitor.errors import NotFoundError, RefusedError
from monitor.sites.queries.sites import load_site_source
from monitor.storage.engine import Database
from monitor.text.instants import format_iso, parse_time, record_to_json
from monitor.text.local_time import format_instant, use_zone
from monitor.text.rendering import translate

if TYPE_CHECKING:
    from monitor.alerts.audit.as_of import AsOf
    from monitor.alerts.audit.explain import SeriesInput

app = Commands()
DIFFERS = 1
AlertId = Annotated[int, typer.Argument(min=1, max=LARGEST_ID, help="Number of the alert, see `slopeward alerts list`")]


@app.command("explain")
def explain(
    alert_id: AlertId,
    again: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Decide again from the frozen inputs, of every change of "
            "the alert; exit 1 if anything differs in a single bit",
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="Read today's tables as known at this instant (`then` = "
            "that of the decision, `now`) and print_note what differs",
        ),
    ] = None,
    utc: UtcOption = False,
) -> None:
    """Say why: inputs, margins, who voted, who was set aside, by which version of the rules.

    Example: slopeward alerts explain 12 --recompute --as-of now
    """
    with open_database() as db:
        alert, row, seal = _find(db, alert_id)
        with db.read() as c:
            source = load_site_source(c, row.config_sha256) if '"view":' in row.evidence else ""
            zone = find_zones(c, utc=utc)(alert.site)
        with use_zone(zone):
            facts, lines = _describe(db, alert, row, seal, source, as_of, again=again)
    show(facts, "\n".join(lines))
    if facts.get("differences") or facts.get("story"):
        raise typer.Exit(DIFFERS)


def _describe(
    db: Database, alert: Alert, row: DecisionRow, seal: str | None, source: str, as_of: str | None, *, again: bool
) -> tuple[dict[str, Any], list[str]]:
    frozen, inputs, summary = _read(row, source)
    facts: dict[str, Any] = {
        **record_to_json(alert),
        "decision": row.id,
        "at": format_iso(row.at),
        "evidence_sha256": row.evidence_sha256,
        "sealed": seal is not None,
        "code_version": row.code_version,
        "config_sha256": row.config_sha256,
        "inputs": [{**asdict(one), "offsets": list(one.offsets)} for one in inputs],
        "evidence": frozen,
    }
    lines = [
        f"alert {alert.id}: {translate(alert.reason)}",
        f"rule version {alert.rule_version}, decision {row.id}, SHA-256 of the frozen inputs {row.evidence_sha256}",
        *(["no inputs were frozen: a notice of the service, decided on no reading"] if frozen == {} else summary),
    ]
    if seal is None and frozen and {"view", "act"} & set(frozen):
        lines.append("not sealed: the audit log has no entry of it (it was cut off)")
    if as_of is not None:
        found, compared = _compare(db, row, as_of)
        facts["as_of"], lines = found.to_json(), lines + compared
    if again:
        facts["differences"] = differences = recompute_all(db, alert)
        facts["story"] = db.run_read(list_alterations, alert.id, alert.site)
        lines += [f"altered: {line}" for line in facts["story"]]
        same = "equal bit for bit" if frozen else "there is nothing to recompute"
        lines.append("recomputed: " + ("; ".join(differences[:10]) or same))
        if differences and row.code_version != code_version():
            lines.append(f"decided by version {row.code_version}, recomputed by {code_version()}")
    return facts, lines


def _find(db: Database, alert_id: int) -> tuple[Alert, DecisionRow, str | None]:
    with db.read() as c:
        alert = require_alert(c, alert_id)
        require_readable(c, alert.site)
        if alert.decision_id is None:
            raise NotFoundError(f"alert {alert_id} has no frozen decision")
        return alert, load_decision(c, alert.decision_id), find_seal(c, alert.decision_id)


def _read(row: DecisionRow, source: str) -> "tuple[Any, tuple[SeriesInput, ...], list[str]]":
    """Frozen inputs, their summary and what they say; altered ones may say nothing any more."""
    from monitor.alerts.audit.explain import explain, list_inputs, read_units

    try:
        frozen = json.loads(row.evidence)
        return frozen, list_inputs(frozen), explain(frozen, read_units(source))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        return None, (), [f"the frozen inputs cannot be read: {type(error).__name__}: {error}; were they altered?"]


def recompute_all(db: Database, alert: Alert) -> list[str]:
    """Decide again for every change of an alert; what differs, a line each."""
    from monitor.alerts.audit.recompute import gather_decisions
    from monitor.alerts.audit.recompute import recompute_all as decide_all

    decisions = db.run_read(gather_decisions, alert)
    return list(decide_all(decisions).differences)


def _compare(db: Database, row: DecisionRow, as_of: str) -> "tuple[AsOf, list[str]]":
    from monitor.alerts.audit.as_of import decide_as_of, summarise

    try:
        known_at = None if as_of == "then" else datetime.now(UTC) if as_of == "now" else parse_time(as_of)
    except ValueError as error:
        raise RefusedError(f"--as-of: {error}; for example 2026-03-01T06:00:00Z, `then` or `now`") from error
    with db.read() as c:
        source = load_site_source(c, row.config_sha256) if '"view":' in row.evidence else ""
        found = decide_as_of(c, row, source, known_at)
    levels = f"level {found.decision.level}, then it was {found.level_then}"
    return found, [
        f"as known at {format_instant(found.known_at)}:",
        *(f"  {line}" for line in summarise(found.departures)),
        f"  from them would be decided: {levels}; {translate(found.decision.evidence['sentence'])}",
    ]


@app.command("export")
def export(
    alert_id: Annotated[int | None, typer.Argument(min=1, max=LARGEST_ID, metavar="[ID]", help="The alert")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; alert-ID.zip when not given")] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", help="Prove this pack instead; exit 1 where it is not as it was written; needs no database"
        ),
    ] = None,
) -> None:
    """Pack everything about an alert into one file that proves itself, or prove such a file.

    Example: slopeward alerts export 12 --to alert-12.zip
    """
    from monitor.alerts.audit.audit_pack import build_pack, check_pack, read_pack, write_pack

    if (alert_id is None) == (check is None):
        raise typer.BadParameter("name the alert to pack, or a pack by --check")
    if check is not None:
        files = read_pack(check)
        findings = check_pack(files)
        line = f"{check}: {len(files)} parts, every decision recomputes bit for bit" if not findings else ""
        show({"file": str(check), "findings": findings}, line or "\n".join(findings))
        if findings:
            raise typer.Exit(DIFFERS)
        return
    assert alert_id is not None
    path = to or Path(f"alert-{alert_id}.zip")
    with open_database() as db, db.read() as c:
        if (alert := find_alert(c, alert_id)) is not None:
            require_readable(c, alert.site)
        files = build_pack(load_material(c, alert_id))
    digest = write_pack(files, path)
    print_note(f"SHA-256 of the manifest (keep it elsewhere: it proves the whole pack): {digest}")
    show({"file": str(path), "parts": len(files), "manifest_sha256": digest}, str(path))
