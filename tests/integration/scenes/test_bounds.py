"""A scene whose worker reaches a bound is a failed scene with one clear line; the scenes after it are read."""

from datetime import timedelta

import pytest

from monitor.jobs.scenes import inbox
from monitor.store.scenes.arrivals import load_scenes
from tests.data.drawn_scenes import add_site, arrive, draw, make_config, may

pytest.importorskip("torch")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the worker, whose bounds they are, knows none
def test_a_bound_fails_the_scene_and_not_the_service(database, database_url, tmp_path):
    config, site = make_config(tmp_path, database_url), add_site(database)
    bounds = {
        7: ({"job_memory_gib": 0.5}, "needs more memory than its bound of 0.5 GiB (compute.job_memory_gib)"),
        9: ({"job_file_gib": 2**-20}, "writes a file larger than its bound of 9.53674e-07 GiB (compute.job_file_gib)"),
        12: ({}, "footprint"),
    }
    for day, (bound, line) in bounds.items():
        settings = config.model_copy(update={"compute": config.compute.model_copy(update=bound)})
        draw(tmp_path / "drawn" / str(day), may(day), 1.0)
        arrive(config, tmp_path / "drawn" / str(day), f"d{day}")
        said = inbox.run(database, settings, site, may(day) + timedelta(hours=1))
        assert line in said
        assert ("bound" in said) == bool(bound), said
    with database.read() as c:
        rows = {row.name: row for row in load_scenes(c, "bench")}
    assert [rows[f"d{day}"].state for day in bounds] == ["failed", "failed", "done"]
    assert all(bounds[day][1] in rows[f"d{day}"].error for day in (7, 9))
