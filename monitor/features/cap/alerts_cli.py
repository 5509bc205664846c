"""`slopeward alerts cap`."""

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
        list[str] | None, typer.Option("--language", help="One block each; else those of [language] cap")
    ] = None,
    holds: Annotated[
        str | None, typer.Option("--for", help="How long it holds (`24h`): `expires`; else as [cap] expires")
    ] = None,
    is_test: Annotated[bool, typer.Option("--test", help="Status Test: proves that messages arrive")] = False,
) -> None:
    """Print a hazard alert as a CAP 1.2 message, for other warning systems.

    Example: slopeward alerts cap 12 --language it --language en > alert-12.xml
    """
    service = session.read_service()
    try:
        languages = [read_language(one) for one in language or ()]
    except ValueError as error:
        raise RefusedError(f"--language: {error}") from None
    span = None if holds is None else timedelta(seconds=session.read_duration_s("--for", holds))
    with session.open_database() as db, db.read() as c:
        if site := find_site_of("alert", c, alert_id):
            require_readable(c, site)
        text = compose(c, service, alert_id, languages=languages, holds=span, is_test=is_test)
    if not session.print_if_json({"alert": alert_id, "xml": text}):
        typer.echo(text, nl=False)
