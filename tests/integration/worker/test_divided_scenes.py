"""A scene that is read in strips, in this process: the answer of one worker; what is spoiled is read by one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from detection.imagery.footprints.records import STRIPS
from monitor.config.service import ComputeSection
from monitor.domain.errors import JobError
from monitor.jobs.scenes import divided
from monitor.jobs.scenes.tasks import SceneResult
from monitor.worker.records import record_to_plain
from tests.data.crossing import cross
from tests.data.drawn_scenes import draw_tall, request_scene

STRIPS_OF_TALL = 4  # of 256 rows
CLUSTER = ComputeSection(dask="tls://127.0.0.1:1")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "may"
    draw_tall(folder, 7)
    return folder


@pytest.fixture
def tall(tmp_path, drawn):
    return Path(shutil.copytree(drawn, tmp_path / "may"))


@pytest.fixture
def asked_of(monkeypatch):
    """Jobs run here; what was asked of them, by function."""
    asked = []

    def run(plan, task, question, **terms):
        asked.append((task.function.rpartition(":")[2], question, terms))
        return cross(task, question)

    monkeypatch.setattr(divided, "STRIP_PX", 1)
    monkeypatch.setattr(divided, "run_in_worker", run)
    monkeypatch.setattr(
        divided,
        "run_all_in_workers",
        lambda plan, task, questions, **terms: (run(plan, task, one, **terms) for one in questions),
    )
    return asked


def read(plan, scene, out, **more):
    """The answer, with the files that it left."""
    answer = divided.read_divided(plan, replace(request_scene(scene, out), **more), [scene], out.parent)
    told = json.dumps(answer, default=record_to_plain).replace(str(out), "")
    return {"answer": told} | {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("weights", ["generated", "auto", "index"])
def test_strips_give_what_one_worker_gives(tall, tmp_path, asked_of, weights):
    alone = read(ComputeSection(), tall, tmp_path / "alone", weights=weights)
    assert [name for name, *_ in asked_of] == ["read_one"]
    assert read(CLUSTER, tall, tmp_path / "parted", weights=weights) == alone
    names = [name for name, *_ in asked_of][1:]
    drawn = [(question.number, terms["writes"]) for name, question, terms in asked_of if name == "draw_one_strip"]
    if weights == "index":
        assert names == ["read_one"], "no network reads it: nothing is drawn"
    else:  # by `auto` it is doubted for its quality, and read so by every worker
        assert names == ["read_one", *["draw_one_strip"] * len(drawn), "read_one"]
        assert len(drawn) == STRIPS_OF_TALL or weights == "auto"
        assert drawn == [(k, (tmp_path / "parted" / STRIPS,)) for k in range(len(drawn))], (
            "a strip writes beside strips alone"
        )


def test_strips_stand_on_the_heights_of_the_site_as_the_whole_does(tall, tmp_path, asked_of):
    manifest = tall / "scene.toml"
    manifest.write_text(manifest.read_text().replace('dem = "dem.tif"', ""))
    dem = (tall / "dem.tif").rename(tmp_path / "heights.tif")
    alone = read(ComputeSection(), tall, tmp_path / "alone", dem=dem)
    assert read(CLUSTER, tall, tmp_path / "parted", dem=dem) == alone
    assert [name for name, *_ in asked_of].count("draw_one_strip") == STRIPS_OF_TALL
    assert '"mean_slope_deg"' in alone["making.json"].decode()
    assert '"file": "heights.tif"' in alone["answer"]


@pytest.mark.parametrize("spoil", ["scene", "strip", "task"])
def test_what_is_not_as_it_was_is_read_by_one_worker(tall, tmp_path, asked_of, monkeypatch, spoil, caplog):
    alone = read(ComputeSection(), tall, tmp_path / "alone")
    folder, run_all = tmp_path / "parted" / STRIPS, divided.run_all_in_workers

    def spoiled(*given, **terms):
        if spoil == "task":
            (folder / "task.json").write_text("[")
        if spoil == "scene":
            manifest = tall / "scene.toml"
            manifest.write_text(manifest.read_text().replace("2026-05-07", "2026-05-08"))
        yield from run_all(*given, **terms)
        if spoil == "strip":
            (folder / "strip-01.bin").write_bytes((folder / "strip-02.bin").read_bytes())

    monkeypatch.setattr(divided, "run_all_in_workers", spoiled)
    parted = read(CLUSTER, tall, tmp_path / "parted")
    assert {"scene": "it is not as it was", "strip": "are not those", "task": "cannot be read"}[spoil] in caplog.text
    assert set(parted) == set(alone)
    if spoil == "scene":
        assert '"acquired_at": "2026-05-08' in parted["answer"], "what lies there now is read"
    else:
        assert parted == alone


def test_a_lost_cluster_or_an_end_of_the_service_leaves_nothing(tall, tmp_path, asked_of, monkeypatch):
    def lose(*_, **__):
        raise JobError("killed, the service is stopping")
        yield

    monkeypatch.setattr(divided, "run_all_in_workers", lose)
    with pytest.raises(JobError, match="stopping"):
        read(CLUSTER, tall, tmp_path / "parted")
    assert not (tmp_path / "parted" / STRIPS).exists()


@pytest.mark.parametrize("plan", [ComputeSection(), CLUSTER])
def test_strips_that_a_killed_service_left_go_when_one_worker_reads_the_scene(
    tall, tmp_path, asked_of, monkeypatch, plan
):
    monkeypatch.setattr(divided, "STRIP_PX", 1 << 24)
    left = tmp_path / "out" / STRIPS
    left.mkdir(parents=True)
    (left / "strip-00.bin").write_bytes(b"of before")
    read(plan, tall, tmp_path / "out")
    assert not left.exists()


@pytest.mark.parametrize("count", [-1, 1, 65, 10**9])
def test_a_number_of_strips_that_nobody_meant_is_refused(tall, tmp_path, monkeypatch, count):
    monkeypatch.setattr(divided, "run_in_worker", lambda *_, **__: SceneResult(strips=count))
    with pytest.raises(JobError, match="strips"):
        divided.read_divided(CLUSTER, request_scene(tall, tmp_path / "out"), [tall], tmp_path)


def test_a_small_scene_and_one_with_triage_are_one_job(tall, tmp_path, asked_of, monkeypatch):
    draw_tall(tmp_path / "small", 2)
    read(CLUSTER, tmp_path / "small", tmp_path / "first")
    monkeypatch.setattr(divided, "STRIP_PX", 1 << 24)
    read(CLUSTER, tall, tmp_path / "second")
    monkeypatch.setattr(divided, "STRIP_PX", 1)
    divided.read_divided(CLUSTER, replace(request_scene(tall, tmp_path / "third"), triage="triage"), [tall], tmp_path)
    assert [name for name, *_ in asked_of] == ["read_one"] * 3
