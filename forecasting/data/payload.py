"""What crosses into a worker as plain lists becomes panels and drivers again; None stands for NaN."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Panel
from forecasting.errors import PanelError


def panel_from_payload(payload: Mapping[str, Any]) -> Panel:
    """Build a panel from plain lists (None stands for NaN), stations brought into sorted order.

    Raises:
        PanelError: A key is missing or a value has the wrong shape or type.
    """
    try:
        names = [str(name) for name in payload["stations"]]
        values = np.array(payload["values"], dtype=np.float64)
        xy = payload.get("xy_m")
        places = None if xy is None else np.array(xy, dtype=np.float64)
        high = payload.get("heights_m")
        heights = None if high is None else np.array(high, dtype=np.float64)
        start_s, step_s = float(payload["start_s"]), float(payload["step_s"])
    except (KeyError, TypeError, ValueError) as error:
        raise PanelError(f"panel payload: {type(error).__name__} {error}") from error
    if values.size == 0:
        raise PanelError("panel payload: there is no row")
    checked = Panel(start_s, step_s, tuple(names), values, places, heights)
    order = sorted(range(len(names)), key=names.__getitem__)
    if places is not None and not np.isfinite(places).all():
        places = None
    if heights is not None and not np.isfinite(heights).all():
        heights = None
    return Panel(
        checked.start_s,
        checked.step_s,
        tuple(names[i] for i in order),
        np.ascontiguousarray(values[:, order]),
        None if places is None else places[order],
        None if heights is None else heights[order],
        drivers=rows_from_payload(payload.get("drivers")),
    )


def rows_from_payload(payload: Mapping[str, Any] | None) -> DriverRows | None:
    """Inverse of `{"names", "kinds", "values"}` as plain lists (None stands for NaN).

    Raises:
        PanelError: A key is missing or a value has the wrong shape or type.
    """
    if payload is None:
        return None
    try:
        values = np.array(payload["values"], dtype=np.float64)
        return DriverRows(tuple(map(str, payload["names"])), tuple(map(str, payload["kinds"])), values)
    except (KeyError, TypeError, ValueError) as error:
        raise PanelError(f"drivers payload: {type(error).__name__} {error}") from error
