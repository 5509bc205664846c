"""Test jobs on a Dask cluster with TLS: results equal to the last bit, lost workers and different versions."""

import json
import os
import signal
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from forecasting.serving.records import Checkpoint, TrainingRequest
from monitor.errors import JobError, NoWorkerError
from monitor.features.forecasts import tasks
from monitor.features.scale_out import cluster
from monitor.features.scale_out.cluster import DaskCluster, make_cluster
from monitor.features.scenes.tasks import READ_ONE
from monitor.settings.service import ComputeSection
from monitor.worker import compute
from monitor.worker.records import WorkerTask, record_to_plain
from monitor.worker.service_jobs import list_checkpoint_files, run_in_worker
from tests.data.drawn_scenes import draw, may, request_scene
from tests.features.scale_out.cluster import TestCluster, start_cluster
from tests.fixtures.waiting import REPOSITORY, wait_for

BODY = """
import os, time
def double(payload): return {"x": list(payload["x"] * 2), "pid": os.getpid(), "parent_pid": os.getppid()}
def fail(payload): raise ValueError("no\\n  data")
def sleep(payload): open(payload["path"], "a").write(f"{os.getpid()}\\n"); time.sleep(payload["s"]); return {}
"""
DOUBLE, FAIL, SLEEP = (WorkerTask(f"cluster_jobs:{name}", dict, dict) for name in ("double", "fail", "sleep"))


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    folder = tmp_path_factory.mktemp("dask")
    (folder / "cluster_jobs.py").write_text(BODY)
    with start_cluster(folder) as test_cluster:
        yield test_cluster


def test_job_runs_in_a_process_of_the_worker(dask: TestCluster) -> None:
    result = compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=dask.cluster)
    assert result["x"] == [0.0, 2.0, 4.0]
    assert result["pid"] != os.getpid()
    with pytest.raises(JobError, match=f"ValueError: no data .on {dask.cluster.address}") as error:
        compute.run(FAIL, {}, 60, cluster=dask.cluster)
    assert "\n" not in str(error.value)


@pytest.mark.soak
def test_forecasts_of_a_site_in_parts_are_equal_to_the_last_bit(dask, monkeypatch):
    monkeypatch.setattr(tasks, "POINTS_AT_ONCE", 3)
    pieces = tasks.split_points(draw_site(8))
    assert [len(piece.record.samples) for piece in pieces] == [3, 3, 2]
    local = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60))
    remote = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60, dask.cluster))
    assert len(local.rows) == 8 * 3
    assert list(map(drop_latency, remote.rows)) == list(map(drop_latency, local.rows))


@pytest.mark.soak
def test_forecasts_on_a_local_cluster_are_equal_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cluster_jobs.py").write_text(BODY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")  # for the workers and their jobs
    monkeypatch.setattr(tasks, "POINTS_AT_ONCE", 2)
    pieces = tasks.split_points(draw_site(4))
    local = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60))
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any free port; None means 8787
        local_directory=str(tmp_path),
    ) as local_cluster:
        dask_cluster = make_cluster(ComputeSection(dask=local_cluster.scheduler_address))
        try:
            assert dask_cluster.count_threads() == 2
            result = compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=dask_cluster)
            remote = tasks.join_points(compute.run_all(tasks.FORECAST_PANEL, pieces, 60, dask_cluster))
        finally:
            cluster._disconnect(dask_cluster)
        assert result["x"] == [0.0, 2.0, 4.0]
        assert result["parent_pid"] in {worker.pid for worker in local_cluster.workers.values()}
    assert len(local.rows) == 4 * 3
    assert list(map(drop_latency, remote.rows)) == list(map(drop_latency, local.rows))


@pytest.mark.soak
def test_training_backtest_and_scene_on_the_cluster_give_the_same_bytes(dask: TestCluster, tmp_path: Path) -> None:
    tls = {f"dask_{name}": getattr(dask.cluster, name) for name in ("ca_file", "cert_file", "key_file")}
    scene = tmp_path / "inbox" / "may"
    draw(scene, may(7), 1.0)
    local = train_backtest_and_read(ComputeSection(), scene, tmp_path / "local")
    remote = train_backtest_and_read(ComputeSection(dask=dask.cluster.address, **tls), scene, tmp_path / "remote")
    for name, value in local.items():
        assert remote[name] == value, name


def train_backtest_and_read(settings: ComputeSection, scene: Path, folder: Path) -> dict[str, Any]:
    """Train a network, backtest it on the newest quarter of the record, read a scene, and return all results."""
    folder.mkdir()
    panel = draw_site(1, 290)
    training = TrainingRequest("gru", (86400.0,), folder, epochs=1, stride=4, time_limit_s=120.0)
    cut_s = 217 * 86400.0
    training_request = tasks.NetworkTrainingRequest(tasks.cut_record(panel.record, cut_s), training)
    trained = run_in_worker(settings, tasks.TRAIN_FORECASTER, training_request, writes=[folder])
    assert not trained.refused
    checkpoint = Checkpoint("gru", trained.model_hash, trained.path)
    backtest_request = tasks.HindcastRequest(replace(panel, checkpoints=(checkpoint,)), cut_s, issues=12)
    files = list_checkpoint_files(trained.path)
    backtest = run_in_worker(settings, tasks.HINDCAST_PANEL, backtest_request, reads=files)
    assert {row.model for row in backtest.rows} >= {"combined", "gru", "persistence"}
    assert len({row.issued_s for row in backtest.rows}) == 12
    read = run_in_worker(settings, READ_ONE, request_scene(scene, folder / "scene"), reads=[scene], writes=[folder])
    assert read.read is not None, read
    assert len(read.read.polygons) == 1
    return {
        "weights": Path(trained.path).with_suffix(".safetensors").read_bytes(),
        "hash": trained.model_hash,
        "losses": trained.card["training"]["losses"],
        "backtest": json.dumps([drop_latency(row) for row in backtest.rows], default=record_to_plain).encode(),
        "outlines": read.read.polygons,
        "probabilities": (folder / "scene" / "prob.tif").read_bytes(),
    }


def drop_latency(row: Any) -> Any:
    """Return a forecast as plain values without the time that it took."""
    return {key: value for key, value in record_to_plain(row).items() if key != "latency_ms"}


def draw_site(points: int, days: int = 90) -> tasks.PanelForecastRequest:
    day_s = 86400.0
    walk = np.random.default_rng(7).normal(0.3, 1.0, (points, days)).cumsum(axis=1)
    times = array("d", (day_s * k for k in range(days)))
    samples = {f"P{k}": (times, array("d", walk[k])) for k in range(points)}
    record = tasks.SiteRecord(samples, day_s, (days - 1) * day_s)
    return tasks.PanelForecastRequest(record, (day_s,))


def test_job_on_the_cluster_is_killed_at_its_limit(dask: TestCluster, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pytest.raises(JobError, match="killed at its limit of 6 s"):  # the start may take seconds on a busy machine
        compute.run(SLEEP, {"path": str(path), "s": 60}, 6, cluster=dask.cluster)
    wait_for(
        lambda: not Path(f"/proc/{path.read_text().split()[0]}").exists(), description="the end of the job's process"
    )


@pytest.mark.soak
def test_job_is_rejected_if_versions_differ(dask: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cluster.list_versions()
    monkeypatch.setattr(cluster, "list_versions", lambda: before | {"numpy": "1.0"})
    with pytest.raises(NoWorkerError, match=r"numpy is 1\.0 here and .* there .*install the same on all machines"):
        compute.run(DOUBLE, {"x": 1}, 60, cluster=dask.cluster)


@pytest.mark.soak
def test_job_of_a_lost_worker_runs_again_on_another_one(dask: TestCluster, tmp_path: Path) -> None:
    path = tmp_path / "pids"

    def has_started(times: int) -> Callable[[], bool]:
        return lambda: path.exists() and len(path.read_text().split()) == times

    results: list[Any] = []

    def run_job() -> None:
        try:
            results.append(compute.run(SLEEP, {"path": str(path), "s": 3}, 60, cluster=dask.cluster))
        except JobError as error:
            results.append(str(error))

    before = tmp_path / "before"  # longer than POLL_S
    compute.run(SLEEP, {"path": str(before), "s": 1.5}, 60, cluster=dask.cluster)
    thread = Thread(target=run_job)
    thread.start()
    wait_for(has_started(1), description="the job to begin")
    second = dask.start_worker("second")
    os.kill(dask.first_worker.pid, signal.SIGKILL)
    thread.join(60)
    assert results == [{}]
    assert has_started(2)(), "the job runs again from its beginning"
    thread = Thread(target=run_job)
    thread.start()
    wait_for(has_started(3), description="the job to begin")
    third = dask.start_worker("third")
    second.kill()
    wait_for(has_started(4), description="the job to begin again")
    third.kill()
    thread.join(60)
    dask.first_worker = dask.start_worker("fourth")  # other tests need a worker
    assert results[1:] == [f"sleep: 2 workers of {dask.cluster.address} were lost under it"]
    compute.run(DOUBLE, {"x": np.arange(3.0)}, 60, cluster=dask.cluster)
    assert len(before.read_text().split()) == 1, "a finished job does not run again if its worker is lost"


@pytest.mark.soak
def test_missing_certificate_or_scheduler_is_one_line_of_error(dask, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 1.0)
    for unreachable in (DaskCluster("tcp://127.0.0.1:1"), DaskCluster(dask.cluster.address.replace("tls", "tcp"))):
        monkeypatch.setattr(compute, "_start_problems", {})
        with pytest.raises(NoWorkerError, match=rf"\(on {unreachable.address}\)") as error:
            compute.run(DOUBLE, {"x": 1}, 5, cluster=unreachable)
        with pytest.raises(JobError, match="No module named"):  # it starts, on this machine
            compute.run(DOUBLE, {}, 60)
        assert unreachable.address in compute.find_start_problem(), (
            "a local job does not clear the problem of the cluster"
        )
        monkeypatch.setattr(compute, "_start_problems", {})
        with pytest.raises(NoWorkerError):
            list(compute.run_each(DOUBLE, [{"x": 1}, {"x": 2}], 5, cluster=unreachable))
        assert unreachable.address in compute.find_start_problem(), "run_each records the problem too"
        assert "\n" not in str(error.value)
