"""Read the quarantine once more: after a site file was completed or a decoder mended."""

from dataclasses import dataclass, field
from typing import Final

from monitor.ingest.message import POINTS_TOPIC, BrokerMessage
from monitor.ingest.pipeline import Clock, Pipeline
from monitor.ingest.queries.messages import RejectedMessage, load_rejected, mark_replayed

_PAGE: Final = 500


@dataclass(slots=True)
class ReplayResult:
    """What became of the quarantine."""

    read: int = 0
    stored: int = 0
    duplicates: int = 0
    accepted: int = 0  # messages
    waiting: int = 0  # messages that still cannot be read
    reasons: dict[str, int] = field(default_factory=dict)


def replay_rejected(pipeline: Pipeline, clock: Clock, *, dry_run: bool = False) -> ReplayResult:
    """Read every waiting message again; what can be read now counts as received now, the rest goes on waiting.

    What a message still holds that is bad waits in a new row of its own.
    """
    result = ReplayResult()
    started_at = clock()
    after = 0
    while True:
        with pipeline.database.read() as connection:
            page = load_rejected(connection, after_id=after, limit=_PAGE)
        page = [r for r in page if r.received_at < started_at]  # not what the replay itself left over
        if not page:
            return result
        for rejected in page:
            after = rejected.id or after
            _replay_one(rejected, pipeline, clock, result, dry_run=dry_run)


def _replay_one(
    rejected: RejectedMessage, pipeline: Pipeline, clock: Clock, result: ReplayResult, *, dry_run: bool
) -> None:
    result.read += 1
    if rejected.is_cut or rejected.topic.startswith(POINTS_TOPIC):
        result.waiting += 1
        result.reasons[rejected.code] = result.reasons.get(rejected.code, 0) + 1
        return
    message = BrokerMessage(
        rejected.topic,
        rejected.payload,
        clock(),
        rejected.client,
        first_at=rejected.received_at,
        retained=rejected.retained,
    )
    decoded = pipeline.decode(message)
    if not (decoded.observations or decoded.report or decoded.event or decoded.links):
        result.waiting += 1
        code = decoded.faults[0].code if decoded.faults else rejected.code
        result.reasons[code] = result.reasons.get(code, 0) + 1
        return
    result.accepted += 1
    if dry_run:
        result.stored += len(decoded.observations)
        return
    outcome = pipeline.store([message])
    result.stored += outcome.added.stored
    result.duplicates += outcome.added.duplicates
    with pipeline.database.write() as connection:
        text = f"{outcome.added.stored} stored, {outcome.added.duplicates} known, {outcome.rejected} parts still bad"
        assert rejected.id is not None
        mark_replayed(connection, rejected.id, text, clock())
