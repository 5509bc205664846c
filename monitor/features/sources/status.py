"""Section of `slopeward status` about sources of files."""

from collections.abc import Callable

from sqlalchemy import Connection

from monitor.api.cli import format_in_zone, translate_in_zone
from monitor.api.hooks import StatusSection
from monitor.features.sources.queries import PollState, load_polls


def describe_sources(connection: Connection, zones: Callable[[str], str]) -> StatusSection:
    """Return all sources, with a line for each source whose last poll failed."""
    polls = load_polls(connection)
    entries = [
        {
            "source": poll.source,
            "site": poll.site,
            "polled": poll.polled_at,
            "success": poll.success_at,
            "error": poll.error,
            "error_since": poll.error_since,
            "stored": poll.rows_all,
        }
        for poll in polls
    ]
    lines = [_describe_error(poll, zones(poll.site)) for poll in polls if poll.error is not None]
    return StatusSection("sources", entries, lines)


def _describe_error(poll: PollState, zone: str) -> str:
    since = format_in_zone(poll.error_since, zone)
    return f"{poll.site}: source {poll.source} since {since}: {translate_in_zone(poll.error, zone)}"
