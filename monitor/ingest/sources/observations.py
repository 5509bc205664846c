"""Pages of a SensorThings server into the database, by the decoder that reads what such a server publishes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from forecasting.message import TEXT_OF, Template
from monitor.config.sources import SourceSection
from monitor.domain.instants import FUTURE_TOLERANCE, format_iso
from monitor.errors import RefusedError
from monitor.ingest.decoders.sensorthings import find_newest
from monitor.ingest.decoders.strict_json import PAYLOAD_LIMIT
from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.ingest.sources.plan import make_binding
from monitor.ingest.sources.polled import PollSummary
from monitor.ingest.sources.take import SourceTarget
from monitor.ingest.sources.tasks import FetchedFile
from monitor.store.readings.messages import RejectedMessage
from monitor.store.readings.sources import FileState, cut, save_file

OF_THE_TABLE: Final = frozenset(
    {"unit_mismatch", "unknown_quantity"}
)  # they go for a whole Datastream, until it is mended
_NO_FILE: Final = Template("source.answer.none", "the worker answered with a file that is none")
_FILE: Final = re.compile(r"[0-9]{3,}-[0-9]{5,}\.json")


def take_pages(
    found: PollSummary, one: FetchedFile, source: SourceSection, folder: Path, newest: str, place: SourceTarget
) -> None:
    """Store the pages of a Datastream in their order; after each one the newest time is kept, so that a look goes on.

    A time of the future is not kept: nothing that comes would be newer. What cannot be read is quarantined once.

    Raises:
        StoreBusyError: the database did not answer; the next look begins after the last page that was stored.
    """
    site = replace(place.site, decoders=(make_binding(source),))
    pipeline = Pipeline(place.db, {site.id: site}, place.clock, place.config.limits)
    topic, client = f"{source.name}/{one.name}", f"file:{place.who}/{one.name}"
    stored = False
    for _, name in one.files:
        path = folder / name
        if not _FILE.fullmatch(name) or path.is_symlink() or not path.is_file() or path.stat().st_size > PAYLOAD_LIMIT:
            raise RefusedError(TEXT_OF(name=one.name, text=_NO_FILE()))
        message = BrokerMessage(topic, path.read_bytes(), place.clock(), client)
        decoded = pipeline.decode(message)
        faults = [
            RejectedMessage(message.received_at, topic, f.payload, f.code, f.reason, client) for f in decoded.faults
        ]
        if faults:
            found.errors.append(cut(TEXT_OF(name=one.name, text=faults[0].reason)))
        if any(fault.code in OF_THE_TABLE for fault in decoded.faults):
            return  # the next look tries again, and no copy is kept each time
        result = pipeline.store_rows(decoded.observations, faults, by=place.who)
        found.rows, found.revisions = found.rows + result.stored, found.revisions + result.revisions
        found.rejected += len(faults)
        last = find_newest(message.payload, message.received_at + FUTURE_TOLERANCE)
        newest = newest if last is None else max(newest, format_iso(last))
        with place.db.write() as c:
            save_file(c, found.source, FileState(one.name, "", newest, 0, "", place.clock()))
        path.unlink()
        stored = stored or bool(result.stored)
    found.new += stored
    found.same += not stored
