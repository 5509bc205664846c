"""Read the quarantine again, after a site file was completed or a decoder corrected."""

from dataclasses import dataclass, field
from typing import Final

from monitor.ingest.message import POINTS_TOPIC, BrokerMessage
from monitor.ingest.pipeline import Clock, Pipeline
from monitor.ingest.queries.messages import RejectedMessage, load_rejected, mark_replayed

_PAGE: Final = 500


@dataclass(slots=True)
class ReplayResult:
    """Result of reading the quarantine again.

    Attributes:
        examined: Number of rows of the quarantine that were examined.
        stored: Number of stored readings.
        duplicates: Number of readings that were stored already.
        accepted: Number of messages that could be read.
        waiting: Number of messages that still cannot be read.
        reasons: How many messages still cannot be read, by code.
    """

    examined: int = 0
    stored: int = 0
    duplicates: int = 0
    accepted: int = 0
    waiting: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def count_waiting(self, code: str) -> None:
        """Count a message that still cannot be read."""
        self.waiting += 1
        self.reasons[code] = self.reasons.get(code, 0) + 1


def replay_rejected(pipeline: Pipeline, clock: Clock, *, dry_run: bool = False) -> ReplayResult:
    """Read all messages of the quarantine again. Readings that can be read now count as received now.

    The parts of a message that still cannot be read become a new row of the quarantine.

    Args:
        pipeline: Decodes and stores the messages.
        clock: Wall clock.
        dry_run: Whether to store nothing.
    """
    result = ReplayResult()
    started_at = clock()
    after = 0
    while True:
        with pipeline.database.read() as connection:
            page = load_rejected(connection, after_id=after, limit=_PAGE)
        # Rows that this function added itself are newer.
        page = [rejected for rejected in page if rejected.received_at < started_at]
        if not page:
            return result
        for rejected in page:
            after = rejected.id or after
            _replay_one(rejected, pipeline, clock, result, dry_run=dry_run)


def _replay_one(
    rejected: RejectedMessage, pipeline: Pipeline, clock: Clock, result: ReplayResult, *, dry_run: bool
) -> None:
    result.examined += 1
    if rejected.is_cut or rejected.topic.startswith(POINTS_TOPIC):
        result.count_waiting(rejected.code)
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
        result.count_waiting(decoded.faults[0].code if decoded.faults else rejected.code)
        return
    result.accepted += 1
    if dry_run:
        result.stored += len(decoded.observations)
        return
    # `store` decodes the message again. Its number in the sequence of a Sparkplug node must not count twice.
    pipeline.discard_changes()
    outcome = pipeline.store([message])
    result.stored += outcome.added.stored
    result.duplicates += outcome.added.duplicates
    with pipeline.database.write() as connection:
        text = f"{outcome.added.stored} stored, {outcome.added.duplicates} known, {outcome.rejected} parts still bad"
        assert rejected.id is not None
        mark_replayed(connection, rejected.id, text, clock())
