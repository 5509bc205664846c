"""Open a scene and everything that belongs to it on one grid: bands, masks, terrain, susceptibility map."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from detection.imagery.errors import BandOrderError, NoCrsError, SceneError, TooLargeError
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.raster.aoi import make_mask
from detection.imagery.raster.areas import geodesic_pixel_m2, resample_grid
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.raster import inspect
from detection.imagery.raster.terrain import TerrainReader, open_terrain
from detection.imagery.scene.reader import BandReader, ReaderOptions, open_scene
from detection.imagery.scene.sampling import Sampler
from detection.imagery.scene.scene import Scene, find_contradictions, list_masks, read_scene


@dataclass(frozen=True, slots=True)
class OpenScene:
    """A scene that is open for reading."""

    scene: Scene
    reader: BandReader
    terrain: TerrainReader | None
    sampler: Sampler
    warnings: tuple[str, ...]
    coarser_than_m: float | None  # side of the pixels of its files if it is resampled (`resample_to_m`), else None


def read_input_scene(options: DetectionOptions) -> Scene:
    """Return the scene of the options. Files of the options take the place of files of the scene.

    Raises SceneError: one of these files does not exist.
    """
    scene = read_scene(options.scene_path)
    if options.offset is not None:
        scene = replace(scene, gain=1.0, offset=options.offset, calibration="--offset")
    files = {name: path for name in ("dem", "prior", "aoi") if (path := getattr(options, name))}
    for name, path in files.items():
        if not path.is_file():
            raise SceneError(f"{path}: no such file ({name})")
    # The hash of a scene does not depend on its susceptibility map.
    files.pop("prior", None)
    return replace(scene, dem_tiles=options.dem_tiles, **files)


@contextmanager
def open_inputs(
    scene: Scene,
    bands: tuple[str, ...],
    options: DetectionOptions,
    work_dir: Path,
    check_grid: Callable[[Grid], None] = lambda _: None,
) -> Iterator[OpenScene]:
    """Open a scene with its masks, terrain and susceptibility map on one grid.

    Args:
        scene: the scene.
        bands: names of the bands that the model needs.
        options: options of the detection.
        work_dir: folder for masks and for bands on another grid.
        check_grid: raises an error if the scene must not be read on this grid. It is called with the grid before
            terrain is made if the grid is known by then, and again when the scene is open.

    Raises ImageryError: a file of the scene cannot be read, or contradicts the options.
    """
    contradictions = find_contradictions(scene, bands)
    if contradictions and options.strict:
        raise BandOrderError(f"{scene.path}: {'; '.join(contradictions)}")
    with ExitStack() as stack:
        notes: list[str] = []
        masks = list_masks(scene)
        terrain = None
        grid, coarser_than_m = _find_grid(scene, bands, options)
        if grid:
            check_grid(grid)
        if scene.aoi and grid:
            masks = (*masks, make_mask(scene.aoi, grid, work_dir, notes))
        if scene.dem and grid and grid.placed:
            terrain = stack.enter_context(open_terrain(scene.dem, grid, work_dir, bands))
        reader_options = replace(
            _make_reader_options(options),
            allow_unreadable=options.partial,
            warped_folder=work_dir if options.resample_to_m else None,
        )
        reader = stack.enter_context(
            open_scene(
                scene,
                bands,
                masks=masks,
                grid=grid if options.resample_to_m else None,
                terrain=terrain,
                options=reader_options,
            )
        )
        check_grid(reader.grid)
        prior = None
        prior_path = options.prior or scene.prior
        if prior_path and reader.grid.placed:
            prior = stack.enter_context(
                BandReader({"prior": (prior_path, 1)}, grid=reader.grid, options=ReaderOptions(require_coverage=False))
            )
        files = dict.fromkeys(scene.bands[name].path for name in bands if name in scene.bands)
        placing = [f"{file}: {note}" for file in files for note in inspect(file).place_notes]
        if terrain is not None:
            notes += terrain.notes
        warnings = (*scene.remarks, *contradictions, *placing, *notes, *reader.notes)
        yield OpenScene(scene, reader, terrain, Sampler(terrain, prior, reader), warnings, coarser_than_m)


def _make_reader_options(options: DetectionOptions) -> ReaderOptions:
    return ReaderOptions(allow_ungeoreferenced=options.allow_ungeoreferenced, limits=options.limits)


def _find_grid(scene: Scene, bands: tuple[str, ...], options: DetectionOptions) -> tuple[Grid | None, float | None]:
    """Return the grid if terrain, the area of interest or `resample_to_m` need it before the scene is opened.

    The second value is the side of the pixels of the files in metres. It is None if the scene is not resampled.
    """
    if not (scene.dem or scene.aoi or options.resample_to_m):
        return None, None
    files = tuple(name for name in bands if name in scene.bands) or tuple(scene.bands)[:1]
    with open_scene(scene, files, masks=(), options=_make_reader_options(options)) as reader:
        grid = reader.grid
    if not options.resample_to_m:
        return grid, None
    pixel_m = options.resample_to_m
    if not grid.placed:
        raise NoCrsError(f"{scene.path}: has no place on the ground and cannot be resampled to {pixel_m:g} m")
    resampled = resample_grid(grid, pixel_m)
    if resampled.width * resampled.height > options.limits.pixels:
        raise TooLargeError(
            f"{scene.path}: {resampled.width} x {resampled.height} pixels of {pixel_m:g} m, the limit is "
            f"{options.limits.pixels:,}"
        )
    return resampled, geodesic_pixel_m2(grid) ** 0.5
