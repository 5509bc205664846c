"""`slopeward alerts explain` and `export`: explain a decision, recompute it, and pack it for others to check."""

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from sqlalchemy import Connection

from monitor.alerts.audit.queries import list_alterations, load_material, load_sent_messages
from monitor.alerts.queries.alerts import Alert, find_alert, load_alert_events, require_alert
from monitor.alerts.queries.decision_seals import find_seal
from monitor.alerts.queries.evaluations import DecisionRow, load_decision
from monitor.canonical import code_version
from monitor.cli.identity import require_readable
from monitor.cli.session import LARGEST_ID, Commands, UtcOption, find_zones, open_database, print_note, print_result
from monitor.errors import NotFoundError, RefusedError
from monitor.sites.queries.sites import load_site_source
from monitor.storage.engine import Database
from monitor.text.instants import format_iso, parse_time, record_to_json
from monitor.text.local_time import format_instant, use_zone
from monitor.text.message import messages_to_plain
from monitor.text.rendering import translate

if TYPE_CHECKING:
    from monitor.alerts.audit.as_of import AsOf

app = Commands()
# Exit status if a decision or a pack differs from what was stored.
EXIT_DIFFERENT: Final = 1
# Differences that `--recompute` prints; `--json` contains all.
_MAX_DIFFERENCES: Final = 10
AlertId = Annotated[int, typer.Argument(min=1, max=LARGEST_ID, help="Number of the alert, see `slopeward alerts list`")]


@app.command("explain")
def explain(
    alert_id: AlertId,
    inputs: Annotated[
        bool,
        typer.Option("--inputs", help="Show the readings that were used, and the assessment of every criterion"),
    ] = False,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Recompute all decisions of the alert from their frozen inputs; exit 1 if any bit differs",
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            help="Show how the tables of today differ from the frozen inputs, as known at this time, "
            "at the decision (`then`) or `now`",
        ),
    ] = None,
    utc: UtcOption = False,
) -> None:
    """Show why an alert was raised, who was notified and who acknowledged it.

    Example: slopeward alerts explain 12 --inputs
    """
    with open_database() as db:
        with db.read() as connection:
            alert = require_alert(connection, alert_id)
            require_readable(connection, alert.site)
            if alert.decision_id is None:
                raise NotFoundError(f"alert {alert_id} has no frozen decision")
            row = load_decision(connection, alert.decision_id)
            zone = find_zones(connection, utc=utc)(alert.site)
        with use_zone(zone):
            facts, lines = _describe(db, alert, row, inputs=inputs)
            if as_of is not None:
                comparison = _compare(db, row, as_of)
                facts["as_of"] = comparison.to_json()
                lines += _describe_comparison(comparison)
            if recompute:
                facts["differences"] = recompute_all(db, alert)
                facts["story"] = db.run_read(list_alterations, alert.id, alert.site)
                lines += _describe_recomputation(row, facts)
    print_result(facts, "\n".join(lines))
    if facts.get("differences") or facts.get("story"):
        raise typer.Exit(EXIT_DIFFERENT)


def _describe(db: Database, alert: Alert, row: DecisionRow, *, inputs: bool) -> tuple[dict[str, Any], list[str]]:
    """Return the alert and its newest decision as values for `--json`, and as lines for people."""
    from monitor.alerts.audit.explain import describe_alert, describe_inputs, list_inputs, read_names

    with db.read() as connection:
        seal = find_seal(connection, row.id)
        names = read_names(_load_source(connection, row))
        events = load_alert_events(connection, alert.id)
        messages = load_sent_messages(connection, alert.id)
    try:
        frozen = json.loads(row.evidence)
        series = list_inputs(frozen)
        lines = describe_alert(alert, events, messages, frozen, names)
        input_lines = describe_inputs(frozen, names)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        frozen, series, input_lines = None, (), []
        lines = describe_alert(alert, events, messages, {}, names)
        lines.append(f"The frozen inputs cannot be read: {type(error).__name__}: {error}; were they altered?")
    facts: dict[str, Any] = {
        **record_to_json(alert),
        "decision": row.id,
        "at": format_iso(row.at),
        "evidence_sha256": row.evidence_sha256,
        "sealed": seal is not None,
        "code_version": row.code_version,
        "config_sha256": row.config_sha256,
        "events": [messages_to_plain(record_to_json(event)) for event in events],
        "messages": [messages_to_plain(record_to_json(message)) for message in messages],
        "inputs": [{**asdict(item), "offsets": list(item.offsets)} for item in series],
        "evidence": frozen,
    }
    if frozen == {}:
        lines.append("A notice of the service: no inputs were frozen.")
    if inputs:
        lines += input_lines
    elif input_lines:
        lines.append(f"Readings and criteria: slopeward alerts explain {alert.id} --inputs")
    lines.append(
        f"Proof: decision {row.id}, rules {alert.rule_version}, SHA-256 of the frozen inputs {row.evidence_sha256}"
    )
    if seal is None and frozen and {"view", "act"} & set(frozen):
        lines.append("Not sealed: the audit log has no entry of this decision (its beginning was cut off).")
    return facts, lines


def _load_source(connection: Connection, row: DecisionRow) -> str:
    """Return the site file of a decision; empty if the decision used no readings and the file is not stored."""
    if '"view":' in row.evidence:
        return load_site_source(connection, row.config_sha256)
    with suppress(NotFoundError):
        return load_site_source(connection, row.config_sha256)
    return ""


def recompute_all(db: Database, alert: Alert) -> list[str]:
    """Recompute all decisions of an alert, and return their differences, one line each."""
    from monitor.alerts.audit import recompute

    request = db.run_read(recompute.gather_decisions, alert)
    return list(recompute.recompute_all(request).differences)


def _describe_recomputation(row: DecisionRow, facts: dict[str, Any]) -> list[str]:
    differences = facts["differences"]
    lines = [f"altered: {line}" for line in facts["story"]]
    equal = "equal bit for bit" if facts["evidence"] != {} else "there is nothing to recompute"
    lines.append("recomputed: " + ("; ".join(differences[:_MAX_DIFFERENCES]) or equal))
    if differences and row.code_version != code_version():
        lines.append(f"decided by version {row.code_version}, recomputed by {code_version()}")
    return lines


def _compare(db: Database, row: DecisionRow, as_of: str) -> "AsOf":
    from monitor.alerts.audit.as_of import decide_as_of

    try:
        known_at = None if as_of == "then" else datetime.now(UTC) if as_of == "now" else parse_time(as_of)
    except ValueError as error:
        raise RefusedError(f"--as-of: {error}; for example 2026-03-01T06:00:00Z, `then` or `now`") from error
    with db.read() as connection:
        return decide_as_of(connection, row, _load_source(connection, row), known_at)


def _describe_comparison(comparison: "AsOf") -> list[str]:
    from monitor.alerts.audit.as_of import summarise

    sentence = translate(comparison.decision.evidence["sentence"])
    return [
        f"as known at {format_instant(comparison.known_at)}:",
        *(f"  {line}" for line in summarise(comparison.departures)),
        f"  they would give level {comparison.decision.level} instead of {comparison.level_then}: {sentence}"
        if comparison.decision.level != comparison.level_then
        else f"  they give the same level {comparison.level_then}: {sentence}",
    ]


@app.command("export")
def export(
    alert_id: Annotated[int | None, typer.Argument(min=1, max=LARGEST_ID, metavar="[ID]", help="The alert")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write. Default: alert-ID.zip")] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", help="Check this pack instead; exit 1 if anything in it was altered; needs no database"
        ),
    ] = None,
) -> None:
    """Write everything about an alert into one file that anybody can check, or check such a file.

    Example: slopeward alerts export 12 --out alert-12.zip
    """
    from monitor.alerts.audit.audit_pack import build_pack, check_pack, read_pack, write_pack

    if (alert_id is None) == (check is None):
        raise typer.BadParameter("give the number of an alert, or a pack with --check")
    if check is not None and out is not None:
        raise typer.BadParameter("--check writes no file: omit --out")
    if check is not None:
        files = read_pack(check)
        findings = check_pack(files)
        line = f"{check}: {len(files)} parts, every decision recomputes bit for bit" if not findings else ""
        print_result({"file": str(check), "findings": findings}, line or "\n".join(findings))
        if findings:
            raise typer.Exit(EXIT_DIFFERENT)
        return
    assert alert_id is not None
    path = out or Path(f"alert-{alert_id}.zip")
    with open_database() as db, db.read() as connection:
        if (alert := find_alert(connection, alert_id)) is not None:
            require_readable(connection, alert.site)
        files = build_pack(load_material(connection, alert_id))
    digest = write_pack(files, path)
    print_note(f"SHA-256 of the manifest (store it elsewhere: it proves the whole pack): {digest}")
    print_result({"file": str(path), "parts": len(files), "manifest_sha256": digest}, str(path))
