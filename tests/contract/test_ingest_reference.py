"""The MQTT reference agrees with the decoders."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from monitor.ingest.message import BrokerMessage
from monitor.ingest.pipeline import Pipeline
from monitor.sites.quantities import SUFFIXES
from monitor.sites.records import Level, Origin, Site, Station

ROOT = Path(__file__).parents[2]
TEXT = "".join(
    (ROOT / f"docs/reference/{name}.md").read_text(encoding="utf-8") for name in ("mqtt", "rejected-messages")
)
PRISM = Station("PR03", origin=Origin(datetime(2026, 3, 1, tzinfo=UTC), baseline_m=(1100.0, 2020.0, 490.0)))
SITE = Site("north", "North", 46.0, 9.0, "UTC", (Level(0, "green", False),), (PRISM,), ())


def test_every_example_can_be_read():
    examples = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) >= 6
    pipeline = Pipeline(None, {"north": SITE}, lambda: datetime(2026, 3, 1, 7, tzinfo=UTC))
    for example in examples:
        body = json.loads(example)
        station = "PR03" if "position_east_m" in body else "G1"
        topic = "report" if "by" in body else "event" if "from" in body else f"{station}/obs"
        decoded = pipeline.decode(
            BrokerMessage(f"slopeward/v1/north/{topic}", example.encode(), datetime(2026, 3, 1, 7, tzinfo=UTC), "live")
        )
        assert decoded.faults == (), example
        assert decoded.observations or decoded.report or decoded.event


def test_every_code_and_every_suffix_is_explained():
    sources = [*(ROOT / "monitor" / "ingest").rglob("*.py")]
    codes = set()
    for source in sources:
        text = source.read_text(encoding="utf-8")
        codes |= set(re.findall(r"(?:PayloadError|Fault)\(\s*\"([a-z0-9_]+)\"", text))
    assert len(codes) > 30
    assert sorted(c for c in codes if f"`{c}`" not in TEXT) == []
    assert [s for s, _ in SUFFIXES if not re.search(rf"[ `]{s}[ `]", TEXT)] == []
