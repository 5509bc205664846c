"""`slopeward people signatures`: list and withdraw signatures that wait for a second person."""

from dataclasses import asdict
from datetime import UTC, datetime

from monitor.alerts.acts.answer_acts import list_first_answers
from monitor.alerts.queries.offsets import load_waiting_offsets
from monitor.alerts.queries.signatures import load_waiting
from monitor.cli.acts import add_acts
from monitor.cli.identity import sites_of_reader
from monitor.cli.session import Commands, open_database, print_result, require_any
from monitor.text.instants import format_iso

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people signatures")


@app.command("list")
def list_signatures() -> None:
    """List the signatures that wait for a second person.

    A second person who agrees gives the same command. A signature lapses after four hours. A first answer to the
    question what a step was has no number and does not lapse; `slopeward alerts withdraw ALERT_ID` withdraws it. An
    offset waits for `slopeward offsets confirm ID` by a second person, or ends by `slopeward offsets revoke ID`. An OS
    user whose account is for some sites sees the signatures of these sites. Exit 4 if there are none.

    Example: slopeward people signatures list
    """
    with open_database() as db, db.read() as c:
        sites = sites_of_reader(c)
        found = [one for one in load_waiting(c, datetime.now(UTC)) if sites is None or one.site in sites]
        offsets = [o for o in load_waiting_offsets(c, datetime.now(UTC)) if sites is None or o.site in sites]
        words = [answer for answer in list_first_answers(c) if sites is None or answer.site in sites]
    for one in found:
        until = format_iso(one.lapses_at)
        facts = {
            "signature_id": one.id,
            "site": one.site,
            "act": one.act,
            "subject": one.subject,
            "terms": one.terms,
            "by": one.by,
            "reason": one.reason,
            "signed_at": format_iso(one.signed_at),
            "lapses_at": until,
        }
        terms = "".join(f", {name} {value}" for name, value in one.terms.items())
        line = f"{one.id:>4} {one.act} of {one.subject}{terms}: signed by {one.by}, until {until[:16]}Z: {one.reason}"
        print_result(facts, line)
    for answer in words:
        line = (
            f"   - {answer.site} {answer.question}: {answer.answer}, says {answer.by}; alert {answer.alert_id or '-'}"
        )
        print_result({"signature_id": None, "act": "step.sign", **asdict(answer)}, line)
    for waiting in offsets:
        series, number = f"{waiting.site} {waiting.station} {waiting.quantity}", waiting.offset.id
        author, reason = waiting.offset.author, waiting.offset.reason
        line = f"   - offset {number} of {series}, {waiting.text}: declared by {author}: {reason}"
        facts = {
            "signature_id": None,
            "act": "offset.confirm",
            "site": waiting.site,
            "subject": f"offset:{number}",
            "by": author,
            "reason": reason,
        }
        print_result(facts, line)
    require_any(found or words or offsets, "no signature waits for a second person")
