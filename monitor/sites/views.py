"""Public views of levels, site files, proposals and maintenance."""

from typing import TypedDict

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata


class SiteStatusRow(TypedDict):
    """A row of `site_status`."""

    site: str
    # None for a site that was never evaluated, as are the columns that result from an evaluation.
    level: int | None
    level_name: str | None
    level_source: str | None
    since: str | None
    evaluated_at: str | None
    observability: str | None
    reachable_level: int | None
    health: str | None
    movement_stage: str | None
    trend: str | None
    newest_at: str | None
    catching_up: bool | None
    active_alerts: int
    unacknowledged: int
    config_version: str
    relative_to: str | None
    shadow: bool


site_status = Table(
    "site_status",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("level", Integer, comment="number of the level, 0 = lowest"),
    Column(
        "level_name", Text, comment="name of the level: from the site file for hazards, else clear, notice or urgent"
    ),
    Column("level_source", Text, comment="auto or person"),
    Column("since", Text, comment="start of this level", info={"unit": "time"}),
    Column("evaluated_at", Text, comment="last evaluation", info={"unit": "time"}),
    Column("observability", Text, comment="full, degraded or blind"),
    Column("reachable_level", Integer, comment="highest level that is raised wherever the slope moves"),
    Column("witnesses_available", Integer, comment="independent groups that can vote for the highest level now"),
    Column("health", Text, comment="`ok`, or the stations with faults"),
    Column(
        "movement_stage",
        Text,
        comment=(
            "highest stage of movement of all stations; a silent station counts with its last stage; null before the "
            "first update"
        ),
    ),
    Column("trend", Text, comment="trend of that station"),
    Column("newest_at", Text, comment="newest epoch of the site", info={"unit": "time"}),
    Column(
        "catching_up",
        Boolean,
        comment=(
            "true: a backlog of readings is being evaluated; levels may rise but not fall, and silence is not reported"
        ),
    ),
    Column("active_alerts", BigInteger, comment="open alerts, without drills"),
    Column(
        "unacknowledged",
        BigInteger,
        comment="open alerts of the ledgers hazard and health that nobody acknowledged",
    ),
    Column("config_version", Text, comment="SHA-256 of the site file; see `config_versions`"),
    Column(
        "relative_to",
        Text,
        comment=(
            "stations whose motion `[[relative]]` subtracts; the level does not contain motion that a station shares "
            "with them; null: absolute"
        ),
    ),
    Column("shadow", Boolean, comment="shadow mode: only the people of the trial are notified"),
    comment="One row per active site; null level = never evaluated. Drills are not counted.",
    info={"question": "How do all slopes stand?", "row": SiteStatusRow},
)

maintenance_windows = Table(
    "maintenance_windows",
    view_metadata,
    Column("maintenance_id", BigInteger, comment="number of the window"),
    Column("site", Text, comment="site id"),
    Column("station", Text, comment="station id"),
    Column("from_at", Text, comment="start", info={"unit": "time"}),
    Column("to_at", Text, comment="planned end", info={"unit": "time"}),
    Column("by", Text, comment="person who entered the window"),
    Column("second_by", Text, comment="second person; null = votes for the second highest level still count"),
    Column("reason", Text, comment="reason of the work"),
    Column("added_at", Text, comment="when the window was entered", info={"unit": "time"}),
    Column("ended_at", Text, comment="when a person ended the window early, or null", info={"unit": "time"}),
    Column("ended_by", Text, comment="person who ended it early, or null"),
    comment="Maintenance windows: during work on a station its votes up to a level do not count.",
    info={"question": "What did people see, declare or correct?"},
)

config_versions = Table(
    "config_versions",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("config_version", Text, comment="SHA-256 of the file"),
    Column("loaded_at", Text, comment="when the file was loaded", info={"unit": "time"}),
    Column("author", Text, comment="person who loaded the file"),
    Column("reason", Text, comment="reason of the change, one sentence"),
    Column("reason_id", Text, comment="id of the message in `reason`"),
    Column("reason_values", Text, comment="values of that message, JSON"),
    Column("code_version", Text, comment="version of Slopeward"),
    Column("source", Text, comment="content of the file", info={"unit": "TOML"}),
    comment="Every version of every site file that was loaded.",
    info={"question": "Which site file was in force, and what was proposed?"},
)

site_proposals = Table(
    "site_proposals",
    view_metadata,
    Column("proposal_id", BigInteger, comment="number of the proposal"),
    Column("site", Text, comment="site id"),
    Column("sha256", Text, comment="hash of the proposed file"),
    Column("base_sha256", Text, comment="hash of the file that the proposal changes; null for a new site"),
    Column("author", Text, comment="person who proposed the file"),
    Column("reason", Text, comment="reason of the proposal"),
    Column("proposed_at", Text, comment="time of the proposal", info={"unit": "time"}),
    Column("state", Text, comment="proposed, approved, rejected or superseded"),
    Column("differences", Text, comment="changed keys, with their values before and after", info={"unit": "JSON"}),
    Column(
        "effect", Text, comment="levels and alerts of the last months under both files, or null", info={"unit": "JSON"}
    ),
    Column(
        "loosens_high",
        Boolean,
        comment="whether it loosens one of the two highest levels, so that a second user must approve",
    ),
    Column("approved_by", Text, comment="person who approved or rejected the proposal"),
    Column("second_by", Text, comment="second user, or null"),
    Column("decided_at", Text, comment="time of the decision", info={"unit": "time"}),
    Column("decision_reason", Text, comment="reason of the decision"),
    Column("decision_reason_id", Text, comment="id of the message in `decision_reason`"),
    Column("decision_reason_values", Text, comment="values of that message, JSON"),
    comment="Proposed site files and the decisions on them.",
    info={"question": "Which site file was in force, and what was proposed?"},
)


def select_views(dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    open_alerts = "SELECT count(*) FROM alert a WHERE a.site = p.id AND a.closed_at IS NULL AND NOT a.exercise"
    # `[[relative]]` of a site file makes a station STATION-rel of each station that it measures against a reference.
    measured = "substr(k.id, 1, length(k.id) - 4)"
    relative_to = f"""SELECT {dialect.joined("r.reference")} FROM (SELECT DISTINCT k.reference FROM station k
  WHERE k.site = p.id AND k.declared AND k.reference IS NOT NULL AND substr(k.id, length(k.id) - 3) = '-rel'
    AND EXISTS (SELECT 1 FROM station m WHERE m.site = k.site AND m.id = {measured}) ORDER BY k.reference) r"""
    return {
        "site_status": f"""SELECT p.id AS site, t.level, {dialect.level_name("p.levels", "t.level")} AS level_name, t.level_source, t.since,
  t.evaluated_at, t.observability, t.reachable_level, t.witnesses_available, t.health, t.movement_stage, t.trend, t.newest_at, t.catching_up,
  ({open_alerts}) AS active_alerts,
  ({open_alerts} AND a.ledger <> 'advice' AND a.state IN ('unacknowledged', 'returned_unacknowledged')) AS unacknowledged,
  coalesce(t.config_sha256, p.config_sha256) AS config_version, ({relative_to}) AS relative_to,
  p.shadow
FROM site p LEFT JOIN site_state t ON t.site = p.id WHERE p.active""",
        "maintenance_windows": """SELECT id AS maintenance_id, site, station, from_at, to_at, "by", second_by, reason, added_at, ended_at, ended_by
FROM maintenance""",
        "site_proposals": """SELECT id AS proposal_id, site, sha256, base_sha256, author, reason, proposed_at, state, differences, effect,
  loosens_high, approved_by, second_by, decided_at, decision_reason,
  decision_reason_id, decision_reason_values FROM site_proposal""",
        "config_versions": """SELECT site, sha256 AS config_version, loaded_at, author, reason, reason_id, reason_values, code_version,
  source FROM config_version""",
    }
