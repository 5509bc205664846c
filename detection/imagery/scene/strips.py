"""A scene drawn in strips by several workers: what each of them is told, and how what they drew is put together.

The stretch is measured once, over the whole scene. A strip holds what one worker alone would have written of its rows,
piece by piece, and counts only with the digest that its worker answered.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import SceneError
from detection.imagery.scene.moments import Moments
from detection.imagery.scene.radiometry import RadiometricStretch
from forecasting.whole_file import replacing, write_json

FEWEST: Final = 4  # fewer are not worth the start of so many processes
TASK, STRETCH = "task.json", "stretch.npz"
HEAD: Final = struct.Struct("<6Q")  # column, row, maps, height, width, bytes that follow
BLOCK_BYTES: Final = 1 << 20

Write = Callable[[NDArray[np.uint8], int, int], None]
Rows = tuple[int, int]
"""The first row of a strip, and the one after its last."""


class DividedError(Exception):
    """No failure: the scene is left to several workers; what they need lies in its folder."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} strips")
        self.count = count


@dataclass(frozen=True, slots=True)
class StripTask:
    """What every strip of a scene is drawn by: the facts of the result, the weights, and the stretch."""

    facts: Mapping[str, Any]
    weights: str
    stretch: RadiometricStretch


def cut_strips(step: int, width: int, height: int, strip_px: int, most: int) -> list[Rows]:
    """Strips of whole rows of tiles, of about so many pixels; one where that would be few.

    Args:
        step: rows from one row of tiles to the next.
        strip_px: pixels of a strip; more where there would be too many strips.

    >>> cut_strips(512, 1000, 2500, 512_000, 64)
    [(0, 512), (512, 1024), (1024, 1536), (1536, 2048), (2048, 2500)]
    >>> cut_strips(512, 1000, 5000, 1, 4)
    [(0, 1536), (1536, 3072), (3072, 4608), (4608, 5000)]
    >>> cut_strips(512, 1000, 1500, 512_000, 64)
    [(0, 1500)]
    """
    rows_of_tiles = -(-height // step)
    high = max(1, strip_px // (width * step), -(-rows_of_tiles // most)) * step
    found = [(top, min(height, top + high)) for top in range(0, height, high)]
    return found if len(found) >= FEWEST else [(0, height)]


def write_task(folder: Path, task: StripTask) -> None:
    """Keep what the strips are drawn by; strips of an earlier try go."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink(missing_ok=True)
    values = {field.name: getattr(task.stretch, field.name) for field in fields(RadiometricStretch)}
    moments = values.pop("moments")
    arrays = {name: values.pop(name) for name in list(values) if isinstance(values[name], np.ndarray)}
    if moments is not None:
        arrays |= {f"moments_{name}": getattr(moments, name) for name in ("count", "total", "square")}
        values["moments_px"] = moments.block_px
    with (folder / STRETCH).open("wb") as file:
        np.savez(file, **arrays)
    write_json(folder / TASK, {"facts": task.facts, "weights": task.weights, "stretch": values})


def read_task(folder: Path) -> StripTask:
    """What was kept.

    Raises:
        SceneError: it is not there, or cannot be read.
    """
    try:
        kept = json.loads((folder / TASK).read_text(encoding="utf-8"))
        values = kept["stretch"]
        with np.load(folder / STRETCH, allow_pickle=False) as arrays:
            known = {name: arrays[name] for name in arrays.files}
        px = values.pop("moments_px", None)
        sums = [known.pop(f"moments_{name}", None) for name in ("count", "total", "square")]
        moments = None if px is None else Moments(sums[0], sums[1], sums[2], px)
        values |= {"colours": tuple(values["colours"]), "cloudy": tuple(map(tuple, values["cloudy"]))}
        return StripTask(kept["facts"], kept["weights"], RadiometricStretch(moments=moments, **values, **known))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SceneError(f"{folder}: what the strips are drawn by cannot be read ({error})") from None


@contextmanager
def writing_strip(path: Path, found: list[str]) -> Iterator[Write]:
    """Write a strip piece by piece, by temporary name and rename; its digest then stands in `found`."""
    digest = hashlib.sha256()
    with replacing(path, flush=True) as partial:
        with partial.open("wb") as file:

            def write(steps: NDArray[np.uint8], column: int, row: int) -> None:
                packed = zlib.compress(np.ascontiguousarray(steps).tobytes(), 1)
                for part in (HEAD.pack(column, row, *steps.shape, len(packed)), packed):
                    digest.update(part)
                    file.write(part)

            yield write
        found.append(digest.hexdigest())


def name_strip(number: int) -> str:
    """The file of a strip."""
    return f"strip-{number:02}.bin"


def are_whole(folder: Path, digests: Sequence[str]) -> bool:
    """Whether every strip lies there as its worker left it."""
    return all(_digest(folder / name_strip(number)) == digest for number, digest in enumerate(digests))


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def join_strips(
    folder: Path, count: int, size: Sequence[int], nodata: int, write: Write, progress: Callable[[float], None]
) -> int:
    """Write the pieces of all strips, in their order, and return how many pixels are valid.

    Args:
        folder: of the strips, which were looked at by `are_whole`.
        size: maps, height and width of the scene.
        write: as `probabilities.map_scene` is given.

    Raises:
        SceneError: pieces do not fit the scene, or do not cover it.
    """
    maps, height, width = size
    covered = valid = 0
    for number in range(count):
        with (folder / name_strip(number)).open("rb") as file:
            while (piece := _read_piece(file, maps, height, width)) is not None:
                steps, column, row = piece
                write(steps, column, row)
                covered += steps[0].size
                valid += int(np.count_nonzero(steps[0] != nodata))
        progress((number + 1) / count)
    if covered != height * width:
        raise SceneError(f"{folder}: the strips hold {covered} pixels of {height * width}")
    return valid


def _read_piece(file: BinaryIO, maps: int, height: int, width: int) -> tuple[NDArray[np.uint8], int, int] | None:
    """The next piece with its column and row; None at the end."""
    head = file.read(HEAD.size)
    if not head:
        return None
    wrong = SceneError(f"{file.name}: a piece does not fit the scene")
    if len(head) != HEAD.size:
        raise wrong
    column, row, bands, high, wide, packed = HEAD.unpack(head)
    size = bands * high * wide
    fits = bands == maps and column + wide <= width and row + high <= height and packed <= size + BLOCK_BYTES
    if not fits:
        raise wrong
    try:
        plain = zlib.decompressobj().decompress(file.read(packed), size + 1)
    except zlib.error:
        raise wrong from None
    if len(plain) != size:
        raise wrong
    return np.frombuffer(plain, np.uint8).reshape(bands, high, wide), column, row


def same_facts(kept: Mapping[str, object], now: Mapping[str, object]) -> bool:
    """Whether a scene and all that reads it are those that the strips are of."""
    return bool(dict(kept) == json.loads(json.dumps(now)))
