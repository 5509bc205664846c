"""Public views on duty plans and hand-overs."""

from sqlalchemy import BigInteger, Column, Table, Text

from monitor.storage.dialect import Dialect
from monitor.storage.metadata import view_metadata

duty = Table(
    "duty",
    view_metadata,
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("day", Text, comment="local date of the site, such as `2026-03-06`"),
    Column("from_at", Text, comment="start", info={"unit": "time"}),
    Column("to_at", Text, comment="end; the next row starts then", info={"unit": "time"}),
    Column("person", Text, comment="person on duty; null = nobody, so messages go to the whole team"),
    Column("second_person", Text, comment="person who is notified next; null = nobody"),
    comment=(
        "People on duty, day by day: in the past as they were, and in the next five weeks as planned "
        "([duty](../how-to/duty.md)). A row ends at local midnight or at the end of a shift. A team without a "
        "plan has no rows."
    ),
    info={"question": "Who is on duty, and which hand-overs and drills took place?"},
)

duty_plans = Table(
    "duty_plans",
    view_metadata,
    Column("plan_id", BigInteger, comment="number of the plan"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column(
        "valid_from",
        Text,
        comment="start of the plan; a plan is in force until a later plan starts",
        info={"unit": "time"},
    ),
    Column("begins", Text, comment="Monday of the first week of the plan"),
    Column("zone", Text, comment="time zone of the hours in the plan"),
    Column("plan", Text, comment="lines of the plan, `DAYS HH:MM NAME, SECOND`"),
    Column("by", Text, comment="person who entered it"),
    Column("reason", Text, comment="reason"),
    Column("added_at", Text, comment="time of entry", info={"unit": "time"}),
    comment="Plans of teams. The plan that started last is in force.",
    info={"question": "Who is on duty, and which hand-overs and drills took place?"},
)

duty_changes = Table(
    "duty_changes",
    view_metadata,
    Column("change_id", BigInteger, comment="number of the change"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("from_at", Text, comment="start", info={"unit": "time"}),
    Column("to_at", Text, comment="end", info={"unit": "time"}),
    Column("person_out", Text, comment="person who is replaced; null = the person on duty"),
    Column("person_in", Text, comment="person who is on duty instead; null = nobody, so the second person moves up"),
    Column("by", Text, comment="person who entered it"),
    Column("reason", Text, comment="reason"),
    Column("added_at", Text, comment="time of entry", info={"unit": "time"}),
    Column("withdrawn_at", Text, comment="time of the withdrawal; null = not withdrawn", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="person who withdrew it"),
    comment="Changes of plans: a person replaces another one for a time.",
    info={"question": "Who is on duty, and which hand-overs and drills took place?"},
)

duty_handovers = Table(
    "duty_handovers",
    view_metadata,
    Column("handover_id", BigInteger, comment="number of the hand-over"),
    Column("site", Text, comment="site id"),
    Column("team", Text, comment="name of the team"),
    Column("since_at", Text, comment="start of the shift that ends", info={"unit": "time"}),
    Column("at", Text, comment="signature of the person who leaves", info={"unit": "time"}),
    Column("outgoing", Text, comment="person who leaves"),
    Column("notes", Text, comment="what the person who takes over must know"),
    Column(
        "open_items",
        Text,
        comment="level, open and shelved alerts, instruments with faults, reports and maintenance at that time",
        info={"unit": "JSON"},
    ),
    Column(
        "signed_at",
        Text,
        comment="signature of the person who takes over; null = not signed yet",
        info={"unit": "time"},
    ),
    Column("incoming", Text, comment="person who takes over"),
    Column("remark", Text, comment="remark of the person who takes over"),
    Column("withdrawn_at", Text, comment="time of the withdrawal; null = not withdrawn", info={"unit": "time"}),
    Column("withdrawn_by", Text, comment="person who withdrew it"),
    comment="Hand-overs between shifts, signed by the person who leaves and by the person who takes over.",
    info={"question": "Who is on duty, and which hand-overs and drills took place?"},
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
