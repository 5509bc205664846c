"""Find the spans of time that the frozen evidence of decisions names. Retention keeps all rows within them."""

import re
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from monitor.alerts.evaluation_tables import decision
from monitor.text.instants import Span, from_epoch_s, join_spans, parse_time

# Instants in evidence are ISO 8601 texts or seconds since 1970 (from 2001 to 2286). A number that is no instant only
# keeps a row more.
_ISO_8601: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SECONDS: Final = re.compile(r"(?<![\w.\-+])\d{10}(?:\.\d+)?(?![\w.])")
# Instants of one evidence that are closer than this are one span.
_JOINED: Final = timedelta(days=1)


def load_cited_spans(connection: Connection) -> tuple[Span, ...]:
    """Return the spans of time that frozen evidence of any site names, merged."""
    rows = connection.execute(select(decision.c.evidence).execution_options(yield_per=500)).scalars()
    return tuple(join_spans(span for evidence in rows for span in _find_spans(evidence)))


def _find_spans(evidence: str) -> list[tuple[datetime, datetime]]:
    instants = {parse_time(text) for text in _ISO_8601.findall(evidence)}
    instants |= {from_epoch_s(float(text)) for text in _SECONDS.findall(evidence)}
    return join_spans(((instant, instant) for instant in instants), _JOINED)
