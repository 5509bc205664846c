"""Public views on duty rotas and handovers."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

duty = Table(
    "duty",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("day", Text, comment="date of the site's own clock, `2026-03-06`"),
    Column("from_at", Text, comment="from when", info={"unit": "time"}),
    Column("to_at", Text, comment="until when; the next row begins then", info={"unit": "time"}),
    Column("person", Text, comment="on duty; null = nobody, and messages go to the whole team"),
    Column("second_person", Text, comment="who is notified next"),
    comment=(
        "Who is on duty, day by day: the past as it was, and the next five weeks as they are planned "
        "([duty](../how-to/duty.md)). A row ends at local midnight or at a hand-over. A team without a "
        "plan has no rows."
    ),
    info={"question": "Who is on duty, and what was handed over or exercised?"},
)

duty_plans = Table(
    "duty_plans",
    view_metadata,
    Column("plan_id", BigInteger, comment="number of the plan"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("valid_from", Text, comment="in force from then on", info={"unit": "time"}),
    Column("begins", Text, comment="Monday of its first week"),
    Column("zone", Text, comment="time zone of its hours"),
    Column("plan", Text, comment="its lines, `DAYS HH:MM NAME, SECOND`"),
    Column("by", Text, comment="who entered it"),
    Column("reason", Text, comment="why"),
    Column("added_at", Text, comment="when it was entered", info={"unit": "time"}),
    comment="Plans of teams; of those that have begun the newest is in force.",
    info={"question": "Who is on duty, and what was handed over or exercised?"},
)

duty_changes = Table(
    "duty_changes",
    view_metadata,
    Column("change_id", BigInteger, comment="number of the change"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("from_at", Text, comment="from when", info={"unit": "time"}),
    Column("to_at", Text, comment="until when", info={"unit": "time"}),
    Column("person_out", Text, comment="who is replaced; null = whoever is on duty"),
    Column("person_in", Text, comment="who is on duty instead; null = nobody, the second moves up"),
    Column("by", Text, comment="who entered it"),
    Column("reason", Text, comment="why"),
    Column("added_at", Text, comment="when it was entered", info={"unit": "time"}),
    Column("withdrawn_at", Text, comment="when it was taken back", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="by whom"),
    comment="For a time somebody takes the place of somebody else.",
    info={"question": "Who is on duty, and what was handed over or exercised?"},
)

duty_handovers = Table(
    "duty_handovers",
    view_metadata,
    Column("handover_id", BigInteger, comment="number of the hand-over"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("since_at", Text, comment="when the shift that ends had begun", info={"unit": "time"}),
    Column("at", Text, comment="when who goes signed", info={"unit": "time"}),
    Column("outgoing", Text, comment="who goes"),
    Column("notes", Text, comment="what who comes must know"),
    Column(
        "open_items",
        Text,
        comment="level, open alerts, shelved ones, sick instruments, maintenance, as they stood then",
        info={"unit": "JSON"},
    ),
    Column("signed_at", Text, comment="when who comes signed; null = nobody has", info={"unit": "time"}),
    Column("incoming", Text, comment="who comes"),
    Column("remark", Text, comment="what who comes added"),
    Column("withdrawn_at", Text, comment="when who goes took it back", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="by whom"),
    comment="Hand-overs of the watch, signed by who goes and by who comes.",
    info={"question": "Who is on duty, and what was handed over or exercised?"},
)


def select_views(_dialect: Dialect) -> dict[str, str]:
    """Return the SELECT statements of these views by name."""
    return {
        "duty": """SELECT site, team, day, from_at, to_at, person, second_person FROM duty_turn""",
        "duty_plans": """SELECT id AS plan_id, site, team, valid_from, begins, zone, plan, "by", reason, added_at FROM duty_rota""",
        "duty_changes": """SELECT id AS change_id, site, team, from_at, to_at, person_out, person_in, "by", reason, added_at, withdrawn_at,
  withdrawn_by FROM duty_override""",
        "duty_handovers": """SELECT id AS handover_id, site, team, since_at, at, outgoing, notes, open_items, signed_at, incoming, remark,
  withdrawn_at, withdrawn_by FROM duty_handover""",
    }
