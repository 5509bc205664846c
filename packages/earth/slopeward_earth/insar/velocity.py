"""A map of velocities that somebody else made: zones that move beyond their error, and the velocity at places.

It is read by strips, so a country at 10 m fits. A zone of one component moves where its rate lies beyond k sigma; one
of three where the rates together do, at the same chance (chi squared with three degrees of freedom).
"""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import special
from shapely.geometry import shape as shape_of

from detection.geojson import Geometry
from detection.imagery.errors import NoValidPixelsError, RadiometryError, SceneError
from detection.imagery.footprints.places import VALID_SHARE, outline_of
from detection.imagery.footprints.polygons import STEPS, OutlineRule, find_footprints
from detection.imagery.footprints.preview import paint_signed
from detection.imagery.footprints.records import MeasuredPlace
from detection.imagery.raster.components import NODATA
from detection.imagery.raster.geojson import list_features
from detection.imagery.raster.grid import Grid, lonlat_frame
from detection.imagery.raster.overlay import Layer, burn, strips, to_pixels, window_around
from detection.imagery.raster.raster import ByteRaster, inspect, read_grid, write_png
from detection.imagery.raster.reading.bands import choose_band
from detection.imagery.raster.reading.values import RATE
from detection.whole_file import write_json

# What a positive value means, and what a negative one does; the names of point sets.
KINDS: Final = {
    "los-towards": ("toward", "away"),
    "los-away": ("away", "toward"),
    "east": ("east", "west"),
    "north": ("north", "south"),
    "up": ("up", "down"),
}
ENU: Final = "enu"
COMPONENTS: Final = (*KINDS, ENU)
AXES: Final = (("e", "east", "ve", "v_east"), ("n", "north", "vn", "v_north"), ("u", "up", "vu", "v_up"))
TAGS: Final = ("COMPONENT", "DIRECTION")
NMAD: Final = 1.4826
SAMPLE_STRIPS: Final = 24
SAMPLE_ROWS: Final = 32
SAMPLE_PX: Final = 400_000  # of a zone, at most
PLACE_PX: Final = 4_000_000  # of a place, at most; of a larger one an even share
EMPTY_SHARE: Final = 0.01
FRAME_SHARE: Final = 0.5  # of what is 0
FAR: Final = 3.0
FASTEST_MM_PER_YEAR: Final = 1e8  # 100 km a year: another unit
FILES: Final = {"zones": "velocity.geojson", "picture": "velocity.png", "run": "velocity.json"}
PICTURE_PX: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityRequest:
    """Files of a map of velocities, and what is measured on it."""

    files: tuple[Path, ...]  # one raster, or three of east, north and up
    component: str | None = None  # a name of `COMPONENTS`; None: as the bands or tags say
    factor: float  # by which a value becomes mm/year; of `sigma` too
    factors: Mapping[Path, float] = field(default_factory=dict)  # the same of files in another unit
    # rasters of one sigma in the same unit, as many as components; none: `sigma`, or the scatter
    sigma_files: tuple[Path, ...] = ()
    sigma: float | None = None  # one sigma of every value, in the same unit
    k_sigma: float = 3.0  # a zone moves beyond so many of them
    minimum_area_m2: float = 10_000.0  # smaller zones are left out
    places: tuple[MeasuredPlace, ...] = ()  # where velocities are taken
    # of places, mm/year: ground that is slower, either way, does not count as moving
    bounds: Mapping[str, float] = field(default_factory=dict)
    out_dir: Path | None = None  # for the files


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityZone:
    """Ground that moves beyond its error; rates in mm/year."""

    kind: str  # the way of one component; `moving` of three
    area_m2: float  # true
    mean_mm_per_year: float  # of one component signed as in the file, of three the mean speed
    p95_mm_per_year: float  # 95 % of it are slower
    sigma_mm_per_year: float  # the median error of a pixel
    azimuth_deg: float | None  # whereto it moves on the map, from three components
    down_deg: float | None  # how steeply it sinks, from three components; negative where it rises
    geometry: Geometry  # geoJSON, longitude and latitude


@dataclass(frozen=True, slots=True)
class PlaceVelocity:
    """What a map says of a place, mm/year."""

    name: str  # of the place
    values: tuple[float, ...]  # the mean of each component
    sigma: tuple[float, ...]  # the error of one pixel: neighbours err together, so no mean is better
    p95: float  # 95 % of the pixels are slower, either way; of three components the speed
    moving_share: float  # of the pixels, those beyond their error and beyond the bound of the place
    pixels: int  # so many have a velocity

    @property
    def speed(self) -> float:
        """Of one component its value, of three their length."""
        return self.values[0] if len(self.values) == 1 else float(np.linalg.norm(self.values))

    @property
    def speed_sigma(self) -> float:
        """One sigma of that; of three that of the component along the movement."""
        if len(self.values) == 1:
            return self.sigma[0]
        length = float(np.linalg.norm(self.values))
        along = np.array(self.values) / length if length else np.full(3, 3**-0.5)
        return float(np.sqrt(np.sum((along * np.array(self.sigma)) ** 2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class VelocityMap:
    """What a map of velocities says."""

    component: str  # a name of `COMPONENTS`
    crs: str  # of the map
    valid_share: float  # of its pixels, that have a value
    noise_mm_per_year: tuple[float, ...]  # by how much the whole map scatters, a number for each component
    sigma_from: str  # `file`, `given`, or `scatter`
    zones: tuple[VelocityZone, ...]  # the fastest first
    places: tuple[PlaceVelocity, ...]  # that have a value
    lost_places: dict[str, str]  # name -> why it has none
    too_small: int  # zones left out
    warnings: tuple[str, ...]  # one sentence each
    outputs: dict[str, str]  # name to path


class VelocitySource:
    """The components and their errors on one grid; what is opened is closed with the stack."""

    def __init__(self, request: VelocityRequest, stack: ExitStack) -> None:
        bands, self.component = find_components(request.files, request.component)
        self.grid: Grid = read_grid(bands[0][0])
        self.layers = [stack.enter_context(Layer(path, self.grid, index, quantity=RATE)) for path, index in bands]
        errors = [(path, 1) for path in request.sigma_files]
        if len(errors) == 1:  # a file with a band for each component
            errors = [(request.sigma_files[0], k) for k in range(1, len(bands) + 1)]
        if errors and len(errors) != len(bands):
            raise SceneError(f"{len(errors)} files of errors for {len(bands)} components")
        self._errors = [stack.enter_context(Layer(path, self.grid, index, quantity=RATE)) for path, index in errors]
        self._request = request
        self.empty: float | None = None  # a value that means nothing, where no tag says so
        self.sigma_from = "file" if errors else "given" if request.sigma is not None else "scatter"
        self.fixed = np.full(len(bands), 0.0 if request.sigma is None else request.sigma * request.factor)
        self.warnings = [line for layer in (*self.layers, *self._errors) for line in layer.notes]
        self.warnings += [
            f"{layer.path.name} was warped onto the grid of the first file"
            for layer in (*self.layers, *self._errors)
            if layer.warped
        ]

    def factor_of(self, layer: Layer) -> float:
        """By what a value of a layer becomes mm/year."""
        return self._request.factors.get(layer.path, self._request.factor)

    def read(self, *box: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Velocities and one sigma, mm/year, components x rows x columns; and where all are known."""
        known = np.ones((box[3], box[2]), bool)
        values = np.empty((len(self.layers), box[3], box[2]))
        sigma = np.broadcast_to(self.fixed[:, None, None], values.shape).copy()
        for k, layer in enumerate(self.layers):
            found, valid = layer.read(*box)
            values[k] = found.astype(np.float64) * self.factor_of(layer)
            known &= valid if self.empty is None else valid & (found != np.float32(self.empty))
        for k, layer in enumerate(self._errors):
            found, valid = layer.read(*box)
            sigma[k] = found.astype(np.float64) * self.factor_of(layer)
            known &= valid & (sigma[k] > 0)
        return values, sigma, known


def find_components(files: tuple[Path, ...], component: str | None) -> tuple[list[tuple[Path, int]], str]:
    """The bands of the components and what they are; nothing is guessed.

    Raises SceneError: nobody says it, or it contradicts the files.
    """
    if len(files) == 1:
        return _find_in_one(files[0], component)
    if len(files) != 3:
        raise SceneError(f"{len(files)} files: give one, or three of east, north and up")
    if component not in {None, ENU}:
        raise SceneError(f"three files are east, north and up, not {component}")
    for path, names in zip(files, AXES, strict=True):
        axes = _find_axes(inspect(path).descriptions)
        if any(axes) and not axes[AXES.index(names)]:
            raise SceneError(f"{path}: its band is not {names[1]}; give three files as east, north and up")
    return [(path, 1) for path in files], ENU


def _find_in_one(path: Path, component: str | None) -> tuple[list[tuple[Path, int]], str]:
    facts = inspect(path)
    axes = _find_axes(facts.descriptions)
    tags = {key.upper(): value.strip().lower() for key, value in facts.tags.items()}
    tagged = next((tags[tag] for tag in TAGS if tags.get(tag) in COMPONENTS), None)
    if component is None:
        component = ENU if all(axes) else tagged
    if component is None:
        raise SceneError(f"{path}: what is a positive velocity? give --component: {', '.join(COMPONENTS)}")
    if tagged not in {None, component}:
        raise SceneError(f"{path}: its tag says {tagged}, not {component}")
    if component != ENU:
        index = next((at for at, names in zip(axes, AXES, strict=True) if component in names), 0)
        if not index and (all(axes) or 1 in axes):
            raise SceneError(f"{path}: its bands say their components, none of them is {component}")
        return [(path, index or choose_band(path, facts, "velocity"))], component
    if facts.count < 3:
        raise SceneError(f"{path}: {facts.count} bands; east, north and up are needed")
    return [(path, index if all(axes) else k) for k, index in enumerate(axes, start=1)], ENU


def _find_axes(descriptions: tuple[str | None, ...]) -> list[int]:
    """The numbers of the bands that say of themselves that they are east, north and up; 0 where none does."""
    named = [(text or "").strip().lower().split(" ")[0] for text in descriptions]
    return [next((named.index(name) + 1 for name in names if name in named), 0) for names in AXES]


def measure_velocity(request: VelocityRequest) -> VelocityMap:
    """Find the zones that move, and the velocities of places.

    Raises:
        NoValidPixelsError: no pixel has a value.
        SceneError: a file that cannot be meant.
    """
    with ExitStack() as stack:
        source = VelocitySource(request, stack)
        noise = _measure_noise(source)
        warnings = source.warnings
        if source.sigma_from == "scatter":
            source.fixed = noise
            warnings.append(
                "no error is given: the scatter of the whole map is taken, which is too large where much of it moves"
            )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slopeward-velocity-")))
        kinds = ("moving",) if source.component == ENU else KINDS[source.component]
        steps = ByteRaster(folder / "steps.tif", source.grid, count=len(kinds))
        share = _write_steps(source, steps, request.k_sigma)
        zones, small = _list_zones(source, steps, kinds, request.minimum_area_m2)
        places, lost = _measure_places(source, request)
        found = VelocityMap(
            component=source.component,
            crs=source.grid.crs_name,
            valid_share=round(share, 4),
            noise_mm_per_year=tuple(round(float(one), 2) for one in noise),
            sigma_from=source.sigma_from,
            zones=tuple(zones),
            places=tuple(places),
            lost_places=lost,
            too_small=small,
            warnings=tuple(warnings),
            outputs={},
        )
        if (out := request.out_dir) is None:
            return found
        out.mkdir(parents=True, exist_ok=True)
        _draw(found, source, out / FILES["picture"])
        found = replace(found, outputs={name: str(out / file) for name, file in FILES.items()})
        write_json(out / FILES["zones"], {"type": "FeatureCollection", "features": list_features(found.zones)})
        write_json(out / FILES["run"], asdict(found))
        return found


def _measure_noise(source: VelocitySource) -> NDArray[np.float64]:
    """Scatter of each component over rows spread over the map: the median absolute deviation as a sigma.

    Rounded values scatter by no less than the step between them.

    Raises RadiometryError: no velocities; or most are equal, and nothing else says their error.
    """
    _find_empty(source)
    rows = min(SAMPLE_ROWS, source.grid.height)
    every = max(1, source.grid.width * rows * SAMPLE_STRIPS // (1 << 22))
    samples = []
    for top in np.unique(np.linspace(0, source.grid.height - rows, SAMPLE_STRIPS).astype(int)):
        values, _, known = source.read(0, int(top), source.grid.width, rows)
        samples.append(values[:, known][:, ::every])
    every_one = np.concatenate(samples, axis=1)
    if not every_one.size:
        raise NoValidPixelsError(f"{source.component}: no pixel of the sample has a velocity")
    if (most := float(np.abs(every_one).max())) > FASTEST_MM_PER_YEAR:
        raise RadiometryError(f"a velocity of {most:.3g} mm/year: is the unit right, or a value for nodata not said?")
    middle = np.median(every_one, axis=1)
    scatter = NMAD * np.median(np.abs(every_one - middle[:, None]), axis=1)
    if source.sigma_from == "scatter" and not scatter.all():
        raise RadiometryError(
            "half of the values or more are equal, so their scatter is no error: give an error, or say nodata in the "
            "file where a value means nothing"
        )
    steps = [np.diff(np.unique(values)).min(initial=np.inf) for values in every_one]
    return np.asarray(np.maximum(scatter, np.where(np.isfinite(steps), steps, 1e-6)))


def _find_empty(source: VelocitySource) -> None:
    """A value that stands again and again and lies far off all others means nothing: it is set aside.

    So is 0 where most of it lies at the edges, as a frame does; rounded velocities are 0 anywhere.
    """
    layer, grid = source.layers[0], source.grid
    rows = min(SAMPLE_ROWS, grid.height)
    tops = np.unique(np.linspace(0, grid.height - rows, 4).astype(int))
    parts = [layer.read(0, int(top), grid.width, rows) for top in tops]
    sample = np.concatenate([values[valid] for values, valid in parts])
    if not sample.size:
        return
    values, counts = np.unique(sample, return_counts=True)
    most = int(np.argmax(counts))
    others = sample[sample != values[most]]
    if counts[most] < EMPTY_SHARE * sample.size or not others.size:
        return
    far = float(np.abs(values[most])) > FAR * max(float(np.percentile(np.abs(others), 99)), 1e-9)
    is_zero = values[most] == 0
    stands = f"{values[most]:g} stands in {100 * counts[most] / sample.size:.0f} % of the pixels"
    if far or (is_zero and _frames([(found == 0) & valid for found, valid in parts])):
        source.empty = float(values[most])
        source.warnings.append(f"{stands} and is taken as no value")
    elif is_zero:
        source.warnings.append(f"{stands} and is taken as a velocity; say nodata in the file where it means none")


def _frames(strips_: list[NDArray[np.bool_]]) -> bool:
    """Whether most of what is marked hangs together with the left or right edge of its row.

    >>> _frames([np.array([[1, 1, 0, 0], [1, 0, 0, 1]], bool)]), _frames([np.array([[0, 1, 0, 0]], bool)])
    (True, False)
    """
    marked = framed = 0
    for strip in strips_:
        left, right = np.logical_and.accumulate(strip, axis=1), np.logical_and.accumulate(strip[:, ::-1], axis=1)
        marked += int(strip.sum())
        framed += int((left | right[:, ::-1]).sum())
    return framed > FRAME_SHARE * marked


def _write_steps(source: VelocitySource, steps: ByteRaster, k_sigma: float) -> float:
    seen = 0
    with steps.writing() as write:
        for box in strips(source.grid):
            values, sigma, known = source.read(*box)
            seen += int(known.sum())
            moves = _find_moving(values, sigma, k_sigma)
            ways = [moves & (values[0] > 0), moves & (values[0] < 0)] if len(values) == 1 else [moves]
            marks = [np.where(known, np.where(one, STEPS, 0), NODATA).astype(np.uint8) for one in ways]
            write(np.stack(marks), box[0], box[1])
    if not seen:
        raise NoValidPixelsError("no pixel has a velocity and an error")
    return seen / (source.grid.width * source.grid.height)


def _find_moving(values: NDArray[np.float64], sigma: NDArray[np.float64], k_sigma: float) -> NDArray[np.bool_]:
    """Where velocities, components first, lie beyond so many of their errors; three together, by the same chance."""
    ratio = values / np.maximum(sigma, 1e-9)
    if len(values) == 1:
        return np.asarray(np.abs(ratio[0]) > k_sigma)
    limit = float(np.sqrt(special.chdtri(3, 2 * special.ndtr(-k_sigma))))
    return np.asarray(np.sqrt((ratio**2).sum(axis=0)) > limit)


def _list_zones(
    source: VelocitySource, steps: ByteRaster, kinds: tuple[str, ...], minimum_area_m2: float
) -> tuple[list[VelocityZone], int]:
    zones: list[VelocityZone] = []
    small = 0

    def count() -> None:
        nonlocal small
        small += 1

    with steps.reading() as read:
        for band, kind in enumerate(kinds, start=1):
            zones += [
                _describe(source, kind, float(one.area_m2 or 0.0), one.geometry)
                for one in find_footprints(
                    lambda *box, number=band: read(*box, number),
                    source.grid,
                    OutlineRule(0.5, minimum_area_m2, 0.0, "velocity", kind),
                    on_small=count,
                )
            ]
    return sorted(zones, key=lambda zone: (-abs(zone.p95_mm_per_year), -zone.area_m2)), small


def _describe(source: VelocitySource, kind: str, area_m2: float, geometry: Geometry) -> VelocityZone:
    outline = to_pixels(shape_of({**geometry}), source.grid)
    box = window_around(outline, source.grid, 0)
    assert box is not None
    values, sigma, _ = _gather(source, outline, box, SAMPLE_PX)
    azimuth_deg = down_deg = None
    if source.component == ENU:
        size, error, sign = np.linalg.norm(values, axis=0), np.linalg.norm(sigma, axis=0) / 3**0.5, 1.0
        east, north, up = values.mean(axis=1)
        azimuth_deg = round(float(np.degrees(np.arctan2(east, north)) % 360), 1)
        down_deg = round(float(np.degrees(np.arctan2(-up, np.hypot(east, north)))), 1)
    else:
        size, error, sign = values[0], sigma[0], 1.0 if kind == KINDS[source.component][0] else -1.0
    return VelocityZone(
        kind=kind,
        area_m2=area_m2,
        mean_mm_per_year=round(float(size.mean()), 2),
        p95_mm_per_year=round(sign * float(np.percentile(np.abs(size), 95)), 2),
        sigma_mm_per_year=round(float(np.median(error)), 2),
        azimuth_deg=azimuth_deg,
        down_deg=down_deg,
        geometry=geometry,
    )


def _gather(
    source: VelocitySource, outline: Any, box: tuple[int, int, int, int], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Values and errors beneath an outline within a box, components x pixels, strip by strip; how many there are.

    Of an outline of more than `most` pixels an even share.
    """
    column, row, width, height = box
    every = max(1, round(float(outline.area)) // most)
    rows = max(1, (1 << 22) // width)
    values, sigmas, pixels = [], [], 0
    for top in range(row, row + height, rows):
        part = (column, top, width, min(rows, row + height - top))
        found, sigma, known = source.read(*part)
        body = known & burn(outline, part)
        pixels += int(body.sum())
        values.append(found[:, body][:, ::every])
        sigmas.append(sigma[:, body][:, ::every])
    return np.concatenate(values, axis=1), np.concatenate(sigmas, axis=1), pixels


def _measure_places(source: VelocitySource, request: VelocityRequest) -> tuple[list[PlaceVelocity], dict[str, str]]:
    found, lost = [], {}
    for place in request.places:
        outline = outline_of(place, source.grid)
        box = window_around(outline, source.grid, 1)
        if box is None:
            lost[place.name] = "off the map"
            continue
        values, sigma, pixels = _gather(source, outline, box, PLACE_PX)
        if pixels < max(1.0, VALID_SHARE * float(outline.area)):
            lost[place.name] = "less than half of its ground has a velocity"
            continue
        speed = np.linalg.norm(values, axis=0)
        moving = _find_moving(values, sigma, request.k_sigma) & (speed > request.bounds.get(place.name, 0.0))
        found.append(
            PlaceVelocity(
                place.name,
                tuple(round(float(one), 3) for one in values.mean(axis=1)),
                tuple(round(float(one), 3) for one in np.median(sigma, axis=1)),
                round(float(np.percentile(speed, 95)), 3),
                round(float(moving.mean()), 4),
                pixels,
            )
        )
    return found, lost


def _draw(found: VelocityMap, source: VelocitySource, path: Path) -> None:
    """Signed rates from red over white to blue, speeds from white to red; zones outlined black."""
    frame = lonlat_frame(source.grid, PICTURE_PX)
    layers = []
    for layer in source.layers:
        with Layer(layer.path, frame, layer.index, nearest=True, quantity=RATE) as small:
            layers.append(small.read(0, 0, frame.width, frame.height))
    known = np.all([valid for _, valid in layers], axis=0)
    values = np.stack(
        [
            value.astype(np.float64) * source.factor_of(layer)
            for layer, (value, _) in zip(source.layers, layers, strict=True)
        ]
    )
    rate = values[0] if len(values) == 1 else -np.linalg.norm(values, axis=0)
    if found.component == "los-away":
        rate = -rate
    write_png(path, paint_signed(rate, known, [zone.geometry for zone in found.zones], frame))
