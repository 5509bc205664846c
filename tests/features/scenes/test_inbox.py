"""The inbox as it can be: one name for every scene, names that are no text, two readers, a folder that is away."""

import fcntl
import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from detection.imagery.change import compare
from detection.imagery.change.alignment import Alignment
from detection.imagery.change.cautions import list_distortion_cautions
from detection.imagery.change.dates import DATES_MOST
from detection.imagery.scene.registration import ImageShift
from monitor.alerts.tables import alert
from monitor.api.scenes import DateAssessment, PlaceValue
from monitor.errors import NoWorkerError
from monitor.features.scenes import inbox as scene_inbox
from monitor.features.scenes import leftovers, rows, worker
from monitor.features.scenes.queries.facts import load_footprint_facts
from monitor.features.scenes.tables import scene, scene_unsure
from monitor.readings.tables import observation
from monitor.storage.service_state import IDLE
from monitor.text.reasons import convert_reason
from tests.data.crossing import cross
from tests.data.drawn_scenes import SITE, add_site, make_config, may, polygons, work_here
from tests.data.surveys.drawn_dates import watch_by_hand, write_date
from tests.data.surveys.fine_scene import write_fine
from tests.fixtures.databases import ON_SQLITE

HOUR = timedelta(hours=1)
SCAR, LARGER = (36, 40, 48, 52), (30, 32, 52, 52)


@pytest.fixture
def config(tmp_path, database_url, monkeypatch):
    return watch_by_hand(monkeypatch, tmp_path, database_url)


@pytest.fixture
def site(database):
    return add_site(database, SITE + "[scenes]\nnear_m = 100.0\n")


@pytest.fixture
def inbox(config):
    return Path(config.paths.inbox) / "bench"


def list_changes(database):
    return [f"{p['scene']} {p['change']}" for p in polygons(database)]


def alerts(database):
    a = alert.c
    with database.read() as c:
        return {r.key: r.state for r in c.execute(select(a.key, a.state).where(a.closed_at.is_(None)))}


@pytest.mark.soak
@ON_SQLITE
def test_scenes_that_come_by_one_name_are_followed(database, config, site, inbox):
    for day, boxes in ((7, []), (12, [SCAR]), (17, [LARGER])):
        write_date(inbox / "latest", may(day), boxes)
        assert "footprints" in scene_inbox.run(database, config, site, may(day) + HOUR)
    assert list_changes(database) == ["latest new", "latest grown"]
    # one from the future is refused, and what was kept of those before stays
    write_date(inbox / "latest", may(30), [SCAR])
    assert "in the future" in scene_inbox.run(database, config, site, may(18))
    write_date(inbox / "late", may(14), [SCAR])
    scene_inbox.run(database, config, site, may(19))
    assert list_changes(database) == ["latest new", "late known", "latest grown"]
    with database.read() as c:  # where the model is least sure: of the larger scar, for the other is 2 % of doubt
        named = select(scene.c.name, scene_unsure.c.tile).where(scene.c.state == "done")
        same = scene.c.scene_hash == scene_unsure.c.scene_hash
        assert c.execute(named.where(same)).all() == [("latest", 0)]


def test_a_scene_waits_while_the_cluster_is_away_and_is_read_later(database, config, site, inbox, monkeypatch):
    def fail(*_, **__):
        raise NoWorkerError("the scheduler does not answer")

    write_date(inbox / "latest", may(7), [])
    with monkeypatch.context() as away:
        away.setattr(scene_inbox, "run_in_worker", fail)
        said = scene_inbox.run(database, config, site, may(7) + HOUR)
        assert "waiting: the scheduler does not answer; told" in said
    assert alerts(database) == {"scene:latest": "unacknowledged"}
    assert "footprints" in scene_inbox.run(database, config, site, may(7) + 2 * HOUR)


def test_the_image_of_another_date_is_no_guard(database, config, site, inbox, monkeypatch):
    """By one name the older image is overwritten: it must not be taken for the image of its date."""
    asked = []
    write_date(inbox / "latest", may(7), [])
    write_date(inbox / "other", may(8), [])
    work_here(monkeypatch)
    scene_inbox.run(database, config, site, may(9))
    run = scene_inbox.compute.run
    monkeypatch.setattr(scene_inbox.compute, "run", lambda j, p, *a, **k: (asked.append(p), run(j, p, *a, **k))[1])
    write_date(inbox / "latest", may(12), [SCAR])
    scene_inbox.run(database, config, site, may(13))
    paths = {d.name: d.scene_path for d in asked[-1].dates}
    assert paths == {"latest": f"{inbox}/latest (replaced)", "other": f"{inbox}/other"}


def test_a_name_that_is_no_text_or_very_long_keeps_nothing_from_being_read(database, config, site, inbox):
    inbox.mkdir(parents=True)
    write_date(inbox / ("b" * 250), may(12), [SCAR])
    write_date(inbox / "z", may(17), [SCAR])
    strange = os.fsencode(inbox) + b"/a\xff.tif"
    try:
        Path(os.fsdecode(strange)).write_bytes(b"II*")
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    os.utime(strange, (0, 0))
    said = scene_inbox.run(database, config, site, may(18))
    assert "a\\udcff.tif: failed: its name is no text" in said
    assert (said.count("1 footprints"), [p["change"] for p in polygons(database)]) == (2, ["single", "known"])
    assert alerts(database) == {"scene:a\\udcff.tif": "unacknowledged"}
    assert scene_inbox.run(database, config, site, may(18) + HOUR) == IDLE


def test_what_one_entry_does_wrong_is_told_after_the_others_were_read(database, config, site, inbox, monkeypatch):
    for name, day in (("a", 7), ("b", 12)):
        write_date(inbox / name, may(day), [SCAR])
    real = scene_inbox.compute_fingerprint

    def break_down(entry):
        if entry.name == "a":
            raise RuntimeError("nobody thought of this")
        return real(entry)

    monkeypatch.setattr(scene_inbox, "compute_fingerprint", break_down)
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        scene_inbox.run(database, config, site, may(13))
    assert [p["scene"] for p in polygons(database)] == ["b"]


def test_another_process_at_the_same_scenes_is_waited_for(database, config, site, inbox):
    write_date(inbox / "b", may(12), [SCAR])
    results = Path(config.paths.inbox).parent / "scenes" / "bench"
    results.mkdir(parents=True)
    with (results / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "being read by another process" in scene_inbox.run(database, config, site, may(13))
        assert (polygons(database), alerts(database)) == ([], {})
    assert "1 footprints" in scene_inbox.run(database, config, site, may(13))
    said = scene_inbox.detect_scene(database, config, site, inbox / "b", may(13), wait=True)
    assert said == "was read by the service"


def test_an_inbox_that_is_away_for_a_moment_ends_no_alarm(database, config, site, inbox, monkeypatch):
    write_date(inbox / "b", may(30), [SCAR])
    assert "in the future" in scene_inbox.run(database, config, site, may(13))
    assert alerts(database) == {"scene:b": "unacknowledged"}
    away = inbox.rename(inbox.with_name("away"))
    assert scene_inbox.run(database, config, site, may(13) + HOUR) == IDLE
    assert alerts(database) == {"scene:b": "unacknowledged"}
    away.rename(inbox)
    # taken out, it is over; put back, it is looked at and told anew
    entry = (inbox / "b").rename(inbox.parent / "b")
    scene_inbox.run(database, config, site, may(13) + 2 * HOUR)
    assert alerts(database) == {"scene:b": "returned_unacknowledged"}
    entry.rename(inbox / "b")
    assert "in the future" in scene_inbox.run(database, config, site, may(13) + 3 * HOUR)
    assert alerts(database) == {"scene:b": "unacknowledged"}


def say_more(monkeypatch, more):
    """Let the answer of each scene say more, by its name."""
    by_hand = worker.detect
    monkeypatch.setattr(worker, "detect", lambda options: by_hand(options) | more(options.scene_path.name))


def test_what_may_be_a_border_takes_the_vote_of_what_touches_it_alone(database, config, site, inbox, monkeypatch):
    """The rest of the scene keeps its votes; what is compared with the doubtful ground has none; judged anew alike."""

    def border(name):
        left = [[0, 0, 16, 64]] if name == "b" else []
        return {"borders": [{"colour": "black", "share": 0.0, "left_share": 0.25 if left else 0.0, "left": left}]}

    say_more(monkeypatch, border)
    touching, apart = (8, 8, 24, 24), SCAR
    write_date(inbox / "a", may(7), [])
    write_date(inbox / "b", may(12), [touching, apart])
    scene_inbox.run(database, config, site, may(13))
    write_date(inbox / "late", may(8), [])  # the date of the 12th is judged again
    write_date(inbox / "c", may(17), [touching, apart, (0, 44, 8, 60)])
    scene_inbox.run(database, config, site, may(18))
    found = {(p["scene"], p["change"], p["caution"]) for p in polygons(database)}
    why = "touches nearly black ground at the edge of the scene{}, which may be a border"
    assert {one for one in found if one[0] == "b"} == {("b", "new", None), ("b", "new", why.format(""))}
    then = why.format(" of 2026-05-12")
    assert {one for one in found if one[0] == "c"} == {("c", "known", None), ("c", "known", then), ("c", "new", then)}


@pytest.mark.parametrize("beside", [(8, 8, 24, 24), (28, 28, 50, 36)])
def test_an_outline_beside_a_cloud_has_no_vote_until_it_is_seen_on_a_clear_date(
    database, config, site, inbox, monkeypatch, beside
):
    say_more(monkeypatch, lambda name: {"cloudy": [[0, 0, 32, 32]] if name == "b" else []})
    write_date(inbox / "a", may(7), [])
    write_date(inbox / "b", may(12), [beside, SCAR])
    write_date(inbox / "c", may(17), [beside, SCAR])
    scene_inbox.run(database, config, site, may(18))
    found = {(p["scene"], p["change"], p["caution"]) for p in polygons(database)}
    why = "lies beside a cloud, whose rim can look like a landslide"
    assert {one for one in found if one[0] == "b"} == {("b", "new", None), ("b", "new", why)}
    assert {one for one in found if one[0] == "c"} == {("c", "known", None), ("c", "new", None)}


def test_a_worker_is_given_the_footprints_that_it_needs_and_no_others(database, config, site, inbox, monkeypatch):
    """Those of the newest dates and of the anchor for a scene newer than all; all of them for one that comes late."""
    asked = []
    run = scene_inbox.run_in_worker

    def watch(plan, task, question, **paths):
        asked.append([date.name for date in question.dates if date.polygons is not None])
        return run(plan, task, question, **paths)

    monkeypatch.setattr(scene_inbox, "run_in_worker", watch)
    assert rows.OUTLINED_DATES_MOST == DATES_MOST
    names = [f"d{day:02}" for day in range(1, 10)]
    for day, name in enumerate(names, start=1):
        write_date(inbox / name, may(day), [] if day < 3 else [SCAR])
        assert "footprints" in scene_inbox.run(database, config, site, may(day) + HOUR)
    assert asked[-1] == ["d08", "d07", "d06", "d05", "d04", "d03"], "its outline was declared on the third"
    write_date(inbox / "late", may(2) + 2 * HOUR, [SCAR])
    assert "1 footprints" in scene_inbox.run(database, config, site, may(10))
    assert [len(one) for one in asked[-2:]] == [6, 9]
    assert list_changes(database) == ["late new", *(f"{name} known" for name in names[2:])]


def test_results_that_no_scene_names_are_swept(database, config, site, inbox):
    write_date(inbox / "b", may(12), [SCAR])
    scene_inbox.run(database, config, site, may(13))
    (kept,) = (inbox.parents[1] / "scenes" / "bench" / "b").iterdir()
    os.utime(inbox / "b" / "scene.toml", (1e9, 1e9))  # touched: it is read again
    scene_inbox.run(database, config, site, may(14))
    (new,) = set(kept.parent.iterdir()) - {kept}
    now = datetime.now(UTC)
    assert leftovers.run(database, config, None, now) == IDLE, "a new one is left alone"
    removed = leftovers.run(database, config, None, now + timedelta(days=2))
    assert (removed, set(kept.parent.iterdir())) == ("1 folders of scenes removed", {new})


@pytest.mark.parametrize(
    "more",
    [
        {"series": (PlaceValue("G1", "displacement", may(12), 900.0),)},
        {"series": (PlaceValue("G9", "ndvi", may(12), 0.1),)},
        {"replaced": ("f" * 64,)},
        {"judgements": (DateAssessment("f" * 64, {}, (), {}),)},
    ],
)
def test_result_for_an_image_that_was_not_requested_is_refused(database, config, site, inbox, monkeypatch, more):
    """A worker that was taken over by a scene makes up no reading of an instrument."""

    def run(task, asked, *_args, **_kwargs):
        told = cross(task, asked)
        return replace(told, read=replace(told.read, **more))

    monkeypatch.setattr(scene_inbox.compute, "run", run)
    write_date(inbox / "b", may(12), [SCAR])
    assert "which was not requested" in scene_inbox.run(database, config, site, may(13))
    assert polygons(database) == []
    with database.read() as c:
        assert c.execute(select(func.count()).select_from(observation)).scalar() == 0


@pytest.mark.soak
def test_a_scene_that_no_network_knows_so_fine_is_read_coarser_and_is_advice(
    database, database_url, tmp_path, monkeypatch
):
    """The log says at which pixels; the rows keep it, so that the outline proves nothing."""
    work_here(monkeypatch)
    config = make_config(tmp_path, database_url)
    inbox = Path(config.paths.inbox) / "bench"
    site = add_site(database, SITE + '[scenes]\nweights = "auto"\nminimum_area_m2 = 100.0\n')
    (inbox / "drone").mkdir(parents=True)
    write_fine(inbox / "drone" / "a.tif", 0.5)
    bands = "".join(f'B{5 - k} = {{ file = "a.tif", index = {k} }}\n' for k in (1, 2, 3))
    manifest = f"acquired_at = {may(7).isoformat()}\ncomplete = true\n[bands]\n{bands}"
    (inbox / "drone" / "scene.toml").write_text(manifest)
    said = scene_inbox.run(database, config, site, may(7) + HOUR)
    assert said.endswith("; read coarser: at 10 m, the scene has 0.5 m")
    with database.read() as c:
        (run,) = c.execute(select(scene.c.run)).scalars()
        (row,) = rows.load_dates(c, site.id)
        facts = load_footprint_facts(c, site.id, may(1), may(8))
    assert [convert_reason(one) for one in row.doubts] == ["read coarser: at 10 m, the scene has 0.5 m"]
    assert facts
    assert all("read coarser" in str(one.caution) for one in facts)
    assert run


def test_a_later_scene_whose_kept_files_are_gone_stays_as_it_was_judged(database, config, site, inbox):
    write_date(inbox / "c", may(17), [SCAR])
    scene_inbox.run(database, config, site, may(17) + HOUR)
    shutil.rmtree(inbox.parents[1] / "scenes" / "bench" / "c")
    write_date(inbox / "b", may(12), [SCAR])
    assert scene_inbox.run(database, config, site, may(18)).startswith("b: 1 footprints")
    assert list_changes(database) == ["b single", "c single"]


def test_a_scene_stored_meanwhile_is_judged_with(database, config, site, inbox, monkeypatch):
    """Two processes at once: the second finds that the scenes have changed under its worker and asks anew."""
    calls = []

    def run(task, asked, *_args, **_kwargs):
        calls.append([d.name for d in asked.dates])
        if len(calls) == 1:
            scene_inbox.detect_scene(database, config, site, write_date(inbox / "a", may(7), []), may(13))
        return cross(task, asked)

    monkeypatch.setattr(scene_inbox.compute, "run", run)
    monkeypatch.setattr(scene_inbox, "lock_scene_results", lambda *_, **__: nullcontext(True))  # as on two machines
    scene_inbox.detect_scene(database, config, site, write_date(inbox / "b", may(12), [SCAR]), may(13))
    assert (calls, list_changes(database)) == ([[], [], ["a"]], ["b new"])


def test_images_that_are_rotated_against_each_other_are_in_the_database_and_in_the_log(
    database, config, site, inbox, monkeypatch, caplog
):
    def align_date(date, *_):
        date.cautions += list_distortion_cautions(3.5)
        return date

    monkeypatch.setattr(compare, "_align_date", align_date)
    write_date(inbox / "a", may(7), [])
    scene_inbox.run(database, config, site, may(7) + HOUR)
    write_date(inbox / "b", may(12), [SCAR])
    scene_inbox.run(database, config, site, may(12) + HOUR)
    reason = "the images are rotated or distorted against each other, by 3.5 px at their corners"
    (outline,) = polygons(database)
    assert reason in outline["caution"]
    logged = [record.getMessage() for record in caplog.records if "advice only" in record.getMessage()]
    assert logged == [f"bench: b: what changed since 2026-05-07 is advice only: {reason}"]


def test_shift_that_cannot_be_corrected_is_in_the_database_in_the_log_and_in_the_line(
    database, config, site, inbox, monkeypatch, caplog
):
    """The images of two dates are 33 px apart: nobody learns of a landslide as new, so everybody learns why."""

    def align_date(date, *_):
        date.alignment = Alignment(None, ImageShift(33.0, 0.0, 4))
        return date

    monkeypatch.setattr(compare, "_align_date", align_date)
    write_date(inbox / "a", may(7), [])
    scene_inbox.run(database, config, site, may(7) + HOUR)
    write_date(inbox / "b", may(12), [SCAR])
    said = scene_inbox.run(database, config, site, may(12) + HOUR)
    (outline,) = polygons(database)
    assert outline["change"] == "single"
    assert "no change is claimed against 2026-05-07: its image lies 33.0 px off" in outline["caution"]
    assert outline["caution_id"] == "change.shifted_by"
    line = "no change is claimed against 2026-05-07: its image is 33.0 px off"
    assert line in said
    assert [record.getMessage() for record in caplog.records if "no change" in record.getMessage()] == [
        f"bench: b: {line}"
    ]
