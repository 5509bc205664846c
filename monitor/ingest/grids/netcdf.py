"""netCDF files with CF metadata as stacks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from math import prod
from pathlib import Path
from typing import Any, Final

import xarray as xr

from monitor.errors import ConfigError
from monitor.ingest.grids.cf import (
    Variables,
    choose_grid,
    find_axis,
    find_bounds,
    find_crs,
    find_time,
    is_time,
    list_grids,
    list_layer_dimensions,
    read_axis,
    read_instants,
)
from monitor.ingest.grids.dataset import READ_ERRORS, find_chunk_rows, make_read_error, open_dataset, read_text
from monitor.ingest.grids.packing import make_reader, unpack
from monitor.ingest.grids.quality import (
    NONE,
    GridGeometry,
    OpenCompanions,
    QualityLayer,
    choose_mask,
    find_rule,
    is_quality_name,
)
from monitor.ingest.grids.rain import describe_not_rain_sums, may_be_accumulated
from monitor.ingest.grids.stack import GridStack
from monitor.ingest.grids.units import read_unit
from monitor.sites.quantities import is_unit_of

_REFERENCE_NAMES: Final = frozenset({"reference_time", "reference_date", "ref_date", "reference_datetime"})
_TEXTS: Final = ("long_name", "standard_name", "description", "comment")
_FLAG_TEXTS: Final = ("flag_meanings", "description", "long_name", "comment")
_METHODS: Final = ("cell_methods", "GRIB_stepType")


@contextmanager
def open_netcdf(
    path: Path,
    variable: str | None,
    *,
    use_end: bool,
    mask: str | None = NONE,
    open_companions: OpenCompanions | None = None,
) -> Iterator[GridStack]:
    """Open one variable of a file.

    Args:
        variable: Name of the variable. None: the file has only one grid.
        use_end: Use the end of each interval as its time, if times have bounds: values are sums of an interval.
        mask: Value of `--mask`. None: apply the quality layers whose good values are stated.
        open_companions: Opens masks and quality layers in the same folder. None: there are none.

    Raises:
        ConfigError: it is no netCDF file with such a grid.
    """
    try:
        with ExitStack() as stack:
            dataset = stack.enter_context(open_dataset(path))
            yield _read_stack(
                path.name, dataset, variable, stack, use_end=use_end, mask=mask, open_companions=open_companions
            )
    except READ_ERRORS as error:
        raise make_read_error(path, "netCDF", error) from None


def open_layers(path: Path, geometry: GridGeometry, stack: ExitStack) -> Iterator[QualityLayer | None]:
    """Yield the masks and quality layers of a file beside a grid. The only layer of a file has the name of the file.

    A file that contains a displacement or another length is a product of its own and has no layers, whatever its name.

    Returns:
        The layers. None stands for a layer on other cells or at other times.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        variables = stack.enter_context(open_dataset(path)).variables
        grids = list_grids(variables)
        units = [read_unit(read_text(values.attrs, "units")) for values in grids.values()]
        if any(is_unit_of(unit, "displacement") for unit in units):
            return
        for name, values in grids.items():
            if len(grids) > 1 and not is_quality_name(name):
                continue
            x_dimension = find_axis(path.name, variables, values, "x")
            y_dimension = find_axis(path.name, variables, values, "y")
            crs = find_crs(path.name, variables, values, x_dimension)
            x = read_axis(variables[x_dimension], crs)
            y = read_axis(variables[y_dimension], crs)
            layers = [values.sizes[d] for d in list_layer_dimensions(values, x_dimension, y_dimension)]
            if not geometry.has_cells(x, y) or layers not in ([], [len(geometry.times)]):
                yield None
                continue
            layer = _make_layer(name, values, x_dimension, y_dimension)
            yield layer if len(grids) > 1 else replace(layer, name=path.stem)
    except READ_ERRORS as error:
        raise make_read_error(path, "netCDF", error) from None


def _read_stack(
    file: str,
    dataset: xr.Dataset,
    wanted: str | None,
    stack: ExitStack,
    *,
    use_end: bool,
    mask: str | None,
    open_companions: OpenCompanions | None,
) -> GridStack:
    variables: Variables = dataset.variables
    name, values = choose_grid(file, variables, wanted)
    x_dimension = find_axis(file, variables, values, "x")
    y_dimension = find_axis(file, variables, values, "y")
    time = find_time(file, variables, values, list_layer_dimensions(values, x_dimension, y_dimension))
    times = read_instants(file, variables, time, use_end=use_end)
    crs = find_crs(file, variables, values, x_dimension)
    x = read_axis(variables[x_dimension], crs)
    y = read_axis(variables[y_dimension], crs)
    texts = [read_text(values.attrs, key) for key in _TEXTS]
    methods = " ".join(read_text(values.attrs, key) for key in _METHODS)
    quality = None
    if mask != NONE:
        layers = list(_list_quality_layers(variables, name, x_dimension, y_dimension))
        if open_companions is not None:
            layers += open_companions(GridGeometry(times, x, y, crs), stack)
        quality = choose_mask(file, layers, mask)
    return GridStack(
        file,
        times,
        x,
        y,
        crs,
        read_text(values.attrs, "units"),
        make_reader(values, x_dimension, y_dimension),
        find_chunk_rows(values, y_dimension),
        _is_accumulated(variables, time),
        may_be_accumulated(name, texts),
        describe_not_rain_sums([name, *texts[:2]], methods),
        _find_reference(file, variables),
        mask_name="" if quality is None else quality.name,
        read_good=None if quality is None else quality.read_good,
    )


def _list_quality_layers(
    variables: Variables, values_name: str, x_dimension: str, y_dimension: str
) -> Iterator[QualityLayer]:
    """Yield the other variables on the cells of the values, with the same times or without times."""
    values = variables[values_name]
    ancillary = read_text(values.attrs, "ancillary_variables").split()
    for key, variable in variables.items():
        name = str(key)
        if name == values_name or not {x_dimension, y_dimension} <= set(variable.dims):
            continue
        others = list_layer_dimensions(variable, x_dimension, y_dimension)
        if any(values.sizes.get(dimension) != variable.sizes[dimension] for dimension in others):
            continue
        layer = _make_layer(name, variable, x_dimension, y_dimension)
        yield layer if name in ancillary or is_quality_name(name) else replace(layer, rule=None)


def _make_layer(name: str, variable: xr.Variable, x_dimension: str, y_dimension: str) -> QualityLayer:
    attributes: dict[str, Any] = {key: read_text(variable.attrs, key) for key in _FLAG_TEXTS}
    attributes["flag_values"] = variable.attrs.get("flag_values", ())
    reader = make_reader(variable, x_dimension, y_dimension, has_undeclared_fills=False)
    return QualityLayer(name, reader, find_rule(name, attributes))


def _is_accumulated(variables: Variables, time: xr.Variable) -> bool | None:
    """Return whether the bounds of the times show that values accumulate; None if they do not show it.

    Intervals of accumulated values have one start. Intervals of sums follow each other.
    """
    bounds = find_bounds(variables, time)
    if bounds is None or prod(time.shape) < 2:
        return None
    starts, ends = unpack(bounds).reshape(-1, 2).T
    if (starts == starts[0]).all():
        return True
    tolerance = 0.01 * (ends[:-1] - starts[:-1])
    return False if (starts[1:] >= ends[:-1] - tolerance).all() else None


def _find_reference(file: str, variables: Variables) -> datetime | None:
    """Return the date from which displacements count, if the file has one.

    Raises:
        ConfigError: the layers count from different dates.
    """
    variable = next((v for name, v in variables.items() if str(name).lower() in _REFERENCE_NAMES and is_time(v)), None)
    instants = set() if variable is None else set(read_instants(file, {}, variable, use_end=False))
    if len(instants) > 1:
        raise ConfigError(
            f"{file}: its layers count from {len(instants)} reference dates; write each layer into a file of its own"
        )
    return instants.pop() if instants else None
