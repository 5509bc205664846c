"""What the movement page asks of the decision: once in some seconds, however many look."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from monitor.domain.site import Level, Site
from monitor.web.context import Context
from monitor.web.routes.site import movement


def test_a_dry_run_serves_whoever_looks_meanwhile(monkeypatch):
    clock = [datetime(2026, 3, 1, tzinfo=UTC)]
    asked = []

    def evaluate(_db, site, now, *_, **__):
        asked.append((site.version, now))
        return SimpleNamespace(decision=SimpleNamespace(evidence={"sentence": "green", "words": []}))

    monkeypatch.setattr(movement, "evaluate_site", evaluate)
    levels = (Level(0, "green", auto_lower=True), Level(1, "red", auto_lower=False))
    sites = [Site("s", "S", 46.0, 8.0, "UTC", levels, (), (), version=v) for v in ("one", "two")]
    context = Context(None, None, lambda: clock[0], "1")
    for seconds, count in ((0, 1), (4, 1), (5, 2)):
        clock[0] = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        assert movement.evaluate_now(context, sites[0]).sentence == "green"
        assert len(asked) == count
    movement.evaluate_now(context, sites[1])
    assert [version for version, _ in asked] == ["one", "one", "two"], "each version of the file is asked for itself"
