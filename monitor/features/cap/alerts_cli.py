"""`slopeward alerts cap`: print a hazard alert as a CAP message."""

from datetime import timedelta
from typing import Annotated

import typer

from monitor.api.cli import AlertId, require_readable, session
from monitor.api.errors import RefusedError
from monitor.api.queries.alerts import find_site_of
from monitor.api.text import read_language
from monitor.features.cap.chain import compose

app = session.Commands()


@app.command("cap")
def write_message(
    alert_id: AlertId,
    language: Annotated[
        list[str] | None,
        typer.Option("--language", help="Language of a block, can be repeated; else [language] cap"),
    ] = None,
    valid_for: Annotated[
        str | None, typer.Option("--for", help="How long the message is valid, such as 24h. Default: [cap] expires")
    ] = None,
    is_test: Annotated[bool, typer.Option("--test", help="Set the status Test, to test the delivery")] = False,
) -> None:
    """Print a hazard alert as a CAP 1.2 message, for other warning systems.

    Example: slopeward alerts cap 12 --language it --language en > alert-12.xml
    """
    service = session.read_service()
    try:
        languages = [read_language(code) for code in language or ()]
    except ValueError as error:
        raise RefusedError(f"--language: {error}") from None
    validity = None if valid_for is None else timedelta(seconds=session.read_duration_s("--for", valid_for))
    with session.open_database() as db, db.read() as c:
        site = find_site_of("alert", c, alert_id)
        if site:
            require_readable(c, site)
        text = compose(c, service, alert_id, languages=languages, validity=validity, is_test=is_test)
    if not session.print_if_json({"alert": alert_id, "xml": text}):
        typer.echo(text, nl=False)
