"""A scene in its worker; a large one strip by strip in several of a cluster, with the bytes that one would give."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from detection.imagery.footprints.records import STRIPS, STRIPS_MOST
from monitor.config.service import ComputeSection
from monitor.domain.errors import JobError
from monitor.jobs.scenes.tasks import DRAW_STRIP, READ_ONE, SceneRequest, SceneResult, StripRequest
from monitor.worker.configured import run_all_in_workers, run_in_worker

log = logging.getLogger(__name__)

STRIP_PX: Final = 1 << 24  # half a minute of a network of a quarter width, beside five seconds to start


def read_divided(plan: ComputeSection, request: SceneRequest, reads: Sequence[str | Path], writes: Path) -> SceneResult:
    """Read a scene; on a cluster its strips are drawn by all workers that are free.

    The first job measures the whole scene and divides it, the others draw, and the last one reads the drawn strips as
    if it had drawn them. A strip that cannot be drawn leaves the whole scene to one worker, which says why.

    Args:
        plan: where jobs run, and their bounds.
        writes: where the results of the site lie.

    Raises:
        JobError: as `run_in_worker`.
    """
    folder = request.out_dir / STRIPS
    try:
        if not plan.dask:
            return run_in_worker(plan, READ_ONE, request, reads=reads, writes=(writes,))
        request = replace(request, strip_px=STRIP_PX)
        answer = run_in_worker(plan, READ_ONE, request, reads=reads, writes=(writes,))
        if not answer.strips:
            return answer
        digests = _draw(plan, request, answer.strips, reads, folder)
        request = replace(request, drawn=digests) if digests else replace(request, strip_px=None)
        return run_in_worker(plan, READ_ONE, request, reads=reads, writes=(writes,))
    finally:  # also what a process that was killed has left
        shutil.rmtree(folder, ignore_errors=True)


def _draw(
    plan: ComputeSection, request: SceneRequest, count: int, reads: Sequence[str | Path], folder: Path
) -> tuple[str, ...]:
    """The digests of all strips; nothing where one of them cannot be drawn."""
    if not 2 <= count <= STRIPS_MOST:
        raise JobError(f"{READ_ONE.function}: it answered {count} strips, more than {STRIPS_MOST} or too few")
    digests = []
    questions = [StripRequest(request, number) for number in range(count)]
    for one in run_all_in_workers(plan, DRAW_STRIP, questions, reads=reads, writes=(folder,)):
        if one.error:
            log.warning("%s: a strip cannot be drawn, one worker reads the scene: %s", request.scene_path, one.error)
            return ()
        digests.append(one.digest)
        log.info("%s: strip %d of %d is drawn", request.scene_path, len(digests), count)
    return tuple(digests)
