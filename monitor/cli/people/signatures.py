"""`slopeward people signatures`: list and withdraw signatures that wait for a second person."""

from dataclasses import asdict
from datetime import UTC, datetime

from monitor.alerts.acts.answer_acts import list_first_answers
from monitor.alerts.queries.offsets import load_waiting_offsets
from monitor.alerts.queries.signatures import load_waiting
from monitor.cli.acts import add_acts
from monitor.cli.identity import find_sites_of_os_user
from monitor.cli.session import Commands, open_database, print_result, require_any
from monitor.text.instants import format_iso

app = Commands(no_args_is_help=True, help=__doc__)
add_acts(app, "people signatures")


@app.command("list")
def list_signatures() -> None:
    """List the signatures that wait for a second person.

    A second person who agrees gives the same command. A signature lapses after four hours. The first answer
    to a question "verify now" has no number and does not lapse; `slopeward alerts withdraw ALERT_ID` withdraws it. An
    offset waits for `slopeward offsets confirm ID` by a second person, or ends by `slopeward offsets revoke ID`. An OS
    user whose account is for some sites sees the signatures of these sites. Exit 4 if there are none.

    Example: slopeward people signatures list
    """
    now = datetime.now(UTC)
    with open_database() as db, db.read() as c:
        sites = find_sites_of_os_user(c)
        signatures = [row for row in load_waiting(c, now) if sites is None or row.site in sites]
        offsets = [row for row in load_waiting_offsets(c, now) if sites is None or row.site in sites]
        answers = [answer for answer in list_first_answers(c) if sites is None or answer.site in sites]
    for signature in signatures:
        until = format_iso(signature.lapses_at)
        facts = {
            "signature_id": signature.id,
            "site": signature.site,
            "act": signature.act,
            "subject": signature.subject,
            "terms": signature.terms,
            "by": signature.by,
            "reason": signature.reason,
            "signed_at": format_iso(signature.signed_at),
            "lapses_at": until,
        }
        terms = "".join(f", {name} {value}" for name, value in signature.terms.items())
        subject = f"{signature.act} of {signature.subject}{terms}"
        line = f"{signature.id:>4} {subject}: signed by {signature.by}, until {until[:16]}Z: {signature.reason}"
        print_result(facts, line)
    for answer in answers:
        question = f"{answer.site} {answer.question}"
        line = f"   - {question}: {answer.answer}, answered by {answer.by}; alert {answer.alert_id or '-'}"
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
    require_any(signatures or answers or offsets, "no signature waits for a second person")
