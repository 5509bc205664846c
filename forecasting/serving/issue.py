"""Issue forecasts: one call makes all rows of a panel from its last row.

1. Each network runs over the rows that it was not trained on (`networks`).
2. The combination replays the panel row by row: every expert, the networks among them, is weighted by its past errors
   at each station and horizon (`forecasting.combination`).
3. Each station and horizon gets a row `combined`, one row per network, and the simple forecasts `persistence` and
   `line` for comparison. Targets after a failure window are withheld (`failure_limits`), and physical limits are
   applied (`limits`).

The state of the combination is stored after each issue, so that the next one reads only new rows (`state`). After a
late or a corrected reading the combination reads the panel again. A panel contains the newest rows of a record only, so
that forecasts after such a new start can differ slightly from those of a combination that has read the whole record.
"""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecasting.combination.combination import LINE, PERSISTENCE, CombinedForecast
from forecasting.combination.drivers import choose_drivers
from forecasting.data.series import Floats, Panel
from forecasting.errors import ForecastingError, HorizonError
from forecasting.reasons import Reason, Value, join_reasons
from forecasting.registry import COMBINED
from forecasting.serving.experience import Experience, compare_drivers, compare_motion
from forecasting.serving.failure_limits import FailureLimit, find_failure_limits, join_failure_fans
from forecasting.serving.limits import apply_limits
from forecasting.serving.networks import NetworkForecasts, run_network
from forecasting.serving.readiness import Unready, describe_missing_errors, few_errors, find_newest_s, find_unready
from forecasting.serving.records import Checkpoint, Forecast, Issue, Limits, Withheld, name_quantiles
from forecasting.serving.state import PanelState, pack, resume, start

LEAST_NAMED_SHARE = 0.05
"""Share of the combined forecast from which its reason names an expert."""
FINER = Reason("forecast.finer")
FAILING = Reason("forecast.outside.failing")
WIDER = Reason("forecast.wider")
WIDER_FROM = 1.25  # factor of the interval from which the reason of a forecast mentions it


def issue_forecasts(
    panel: Panel,
    horizons_s: Sequence[float],
    *,
    checkpoints: Sequence[Checkpoint] = (),
    limits: Mapping[str, Limits] | None = None,
    state: bytes | None = None,
    window_ends: Mapping[str, float] | None = None,
) -> Issue:
    """Forecast every station of a panel at every horizon from the last row.

    Args:
        panel: The record up to the moment of issue, with its drivers.
        horizons_s: Horizons in seconds. A horizon shorter than the interval of the panel is withheld.
        checkpoints: Networks that take part; a network that cannot run is reported in `Issue.failed`.
        limits: Physical limits by station.
        state: `Issue.state` of the issue before, if there is one.
        window_ends: Late edge of the failure window that the caller has found at a station, epoch seconds; infinite if
            that window is not trusted. A station without a window is absent.

    Raises:
        HorizonError: There is no positive horizon.
    """
    started = time.perf_counter()
    requested_s = sort_horizons(horizons_s)
    reachable_s = tuple(h for h in requested_s if round(h / panel.step_s) >= 1)
    withheld = [
        Withheld(COMBINED, name, h, FINER) for h in requested_s if h not in reachable_s for name in panel.stations
    ]
    if not reachable_s:
        return Issue((), tuple(withheld), {})
    # horizons that are the same number of rows have the same forecast
    horizon_by_steps = {panel.steps(h): h for h in reversed(reachable_s)}
    steps = tuple(sorted(horizon_by_steps))
    distinct_s = tuple(horizon_by_steps[rows] for rows in steps)
    experiences = compare_motion(panel, max(steps))
    failure_limits = find_failure_limits(panel, steps, experiences, window_ends)
    readable = _blank_boundless(panel, failure_limits)
    panel_state, networks, failed = _resume_or_start(state, readable, steps, distinct_s, checkpoints)
    failure_fans = join_failure_fans(panel, steps, failure_limits)
    panel_state, content = _read_panel(panel_state, readable, networks, failure_fans)
    panel_issue = _PanelIssue(
        panel,
        panel_state.combination.forecast(),
        networks,
        find_unready(panel),
        experiences,
        _compare_drivers(panel, networks, max(steps)),
        failure_limits,
    )
    rows: list[Forecast] = []
    for horizon_s in reachable_s:
        index = steps.index(panel.steps(horizon_s))
        for column in range(len(panel.stations)):
            for result in panel_issue.list_results(column, index, horizon_s):
                if isinstance(result, Withheld):
                    withheld.append(result)
                else:
                    rows.append(result)
    rows = apply_limits(panel, rows, limits or {})
    latency_ms = (time.perf_counter() - started) * 1000.0
    rows = [replace(row, latency_ms=latency_ms) for row in rows]
    return Issue(tuple(rows), tuple(withheld), failed, content)


def sort_horizons(horizons_s: Sequence[float]) -> tuple[float, ...]:
    """Return the horizons in ascending order, each once.

    Raises:
        HorizonError: There is no horizon, or one is not a positive number.
    """
    sorted_s = tuple(sorted({float(h) for h in horizons_s}))
    if not sorted_s or not all(np.isfinite(h) and h > 0 for h in sorted_s):
        raise HorizonError("horizons_s needs at least one positive number of seconds")
    return sorted_s


def name_family(expert: str) -> str:
    """Return the kind of an expert of the combination, without its memory.

    >>> name_family("fading-line-16"), name_family("last-value")
    ('fading-line', 'last-value')
    """
    return re.sub(r"-[\d.]+$", "", expert)


def _resume_or_start(
    content: bytes | None,
    panel: Panel,
    steps: Sequence[int],
    horizons_s: tuple[float, ...],
    checkpoints: Sequence[Checkpoint],
) -> tuple[PanelState, list[NetworkForecasts], dict[str, Exception]]:
    """Return the stored state if it can be continued, else a new one, and run the networks over the rows to read.

    Args:
        content: `Issue.state` of the issue before, if there is one.
        panel: Readings and drivers.
        steps: Horizons in rows.
        horizons_s: The same horizons in seconds.
        checkpoints: Networks that take part. The stored state is used only if it has read the same ones.

    Returns:
        The state, the forecasts of the networks at the rows that it has not read, and why other networks failed, by
        hash.
    """
    resumed = resume(content, panel, steps)
    if resumed is not None:
        networks, failed = _run_networks(panel, horizons_s, checkpoints, resumed.rows)
        if {*resumed.combination.networks} == {network.checkpoint.model_hash for network in networks}:
            return resumed, networks, failed
    networks, failed = _run_networks(panel, horizons_s, checkpoints)
    return start(panel, steps), networks, failed


def _read_panel(
    state: PanelState, panel: Panel, networks: Sequence[NetworkForecasts], failure_fans: Floats | None
) -> tuple[PanelState, bytes | None]:
    """Let the combination read the rest of a panel; return its state after the last row, and the state to store.

    Readings of the interval of the last row may still arrive, so that the stored state ends one row before.
    """
    rows = panel.values.shape[0]
    state = _advance(state, panel, networks, failure_fans, max(state.rows, rows - 1))
    content = pack(state, panel)
    return _advance(state, panel, networks, failure_fans, rows), content


def _run_networks(
    panel: Panel, horizons_s: tuple[float, ...], checkpoints: Sequence[Checkpoint], first_row: int = 0
) -> tuple[list[NetworkForecasts], dict[str, Exception]]:
    """Return what the networks forecast, and why others failed, by hash."""
    networks: list[NetworkForecasts] = []
    failed: dict[str, Exception] = {}
    for checkpoint in checkpoints:
        try:
            networks.append(run_network(panel, horizons_s, checkpoint, first_row))
        except (ForecastingError, ModuleNotFoundError) as error:  # everything else is forecast anyway
            failed[checkpoint.model_hash] = error
    return networks, failed


def _advance(
    state: PanelState, panel: Panel, networks: Sequence[NetworkForecasts], failure_fans: Floats | None, end: int
) -> PanelState:
    """Let the combination read the rows of a panel up to a row.

    Args:
        state: The combination, which is changed.
        panel: Readings and drivers.
        networks: Forecasts of the networks at every row.
        failure_fans: Forecasts of failure windows at every row, shape (T, S, H, 5), or None.
        end: Row after the last one that is read.
    """
    drivers = choose_drivers(panel.drivers)
    channels = None if drivers is None else drivers.in_order(state.combination.driver_names)
    for row in range(state.rows, end):
        state.combination.advance(
            panel.values[row],
            networks={network.checkpoint.model_hash: network.fans[row] for network in networks},
            failure_fans=None if failure_fans is None else failure_fans[row],
            drivers=None if channels is None else channels[row],
        )
    return PanelState(state.combination, end)


def _blank_boundless(panel: Panel, limits: Mapping[str, FailureLimit]) -> Panel:
    """Return the panel without the readings of stations that are too large to compute with."""
    is_boundless = np.array([limits[name].is_boundless for name in panel.stations])
    return replace(panel, values=np.where(is_boundless, np.nan, panel.values)) if is_boundless.any() else panel


def _compare_drivers(panel: Panel, networks: Sequence[NetworkForecasts], longest_rows: int) -> Reason | None:
    """Return why the rain or water that the networks read is outside experience; None if it is not."""
    names = {name for network in networks for name in network.drivers}
    drivers = panel.drivers and panel.drivers.only(sorted(names))
    return compare_drivers(drivers, longest_rows).reason


@dataclass(frozen=True, slots=True)
class _PanelIssue:
    """What the rows of one panel have in common."""

    panel: Panel
    forecast: CombinedForecast
    networks: Sequence[NetworkForecasts]
    unready: Mapping[str, Unready]  # by station
    experiences: Sequence[Experience]  # how unusual the motion of each station is
    driver_reason: Reason | None  # why rain or water is outside experience
    failure_limits: Mapping[str, FailureLimit]  # by station

    def list_results(self, column: int, index: int, horizon_s: float) -> Iterator[Forecast | Withheld]:
        """Yield the forecasts of one station and horizon, or why they are withheld."""
        station = self.panel.stations[column]
        fan = self.forecast.fans[column, index]
        if self.failure_limits[station].is_boundless:
            yield Withheld(COMBINED, station, horizon_s, Reason("forecast.boundless"))
            return
        unready = self.unready.get(station)
        if unready is None and not np.isfinite(fan).all():
            unready = describe_missing_errors(self.panel, horizon_s, int(self.forecast.counts[column, index]))
        until_s = find_newest_s(self.panel, column)
        if unready is not None or until_s is None:
            assert unready is not None, "a station without any reading is not ready"
            yield Withheld(COMBINED, station, horizon_s, unready.reason, until_s, unready.lack)
            yield from self._refuse_networks(column, index, horizon_s, until_s)
            return
        combined = self._make_row(column, index, horizon_s, until_s)
        refusal = self.failure_limits[station].refuse(horizon_s, combined.target_s, self.panel.end_s)
        if refusal is None:
            yield combined
        else:
            yield Withheld(COMBINED, station, horizon_s, refusal, until_s)
        yield from self._list_simple(combined, column, index)
        yield from self._list_networks(combined, column, index)
        yield from self._refuse_networks(column, index, horizon_s, until_s)

    def _make_row(self, column: int, index: int, horizon_s: float, until_s: float) -> Forecast:
        panel = self.panel
        station = panel.stations[column]
        newest_row = round((until_s - panel.start_s) / panel.step_s)
        baseline = self._choose_baseline(column, index)
        return Forecast(
            station=station,
            model=COMBINED,
            horizon_s=horizon_s,
            issued_s=panel.end_s,
            target_s=panel.end_s + panel.steps(horizon_s) * panel.step_s,
            data_until_s=until_s,
            data_value=float(panel.values[newest_row, column]),
            **name_quantiles(self.forecast.fans[column, index]),
            baseline=baseline,
            baseline_q50=float(self.forecast.simple[baseline][column, index, 2]),
            shown=True,
            reason=join_reasons(self._explain(column, index)),
            novelty=self.experiences[column].novelty,
        )

    def _choose_baseline(self, column: int, index: int) -> str:
        """Return the simple forecast with the smaller past error."""
        errors = self.forecast.errors_mm[:, column, index]
        of_family = {PERSISTENCE: "last-value", LINE: "level-slope"}
        families = np.array([name_family(expert) for expert in self.forecast.experts])
        smallest = {}
        for name, family in of_family.items():
            family_errors = errors[(families == family) & np.isfinite(errors)]
            smallest[name] = float(family_errors.min()) if family_errors.size else np.inf
        return min(smallest, key=lambda name: smallest[name])

    def _explain(self, column: int, index: int) -> Iterator[Reason]:
        """Yield how the combined forecast came about, then what is unusual."""
        station = self.panel.stations[column]
        yield Reason("forecast.combined", {"weights": self._name_shares(column, index)})
        if self.failure_limits[station].is_expected:
            yield FAILING
        elif (unusual_reason := self.experiences[column].reason or self.driver_reason) is not None:
            yield unusual_reason
        if self.forecast.stretch[column, index] >= WIDER_FROM:
            yield WIDER

    def _name_shares(self, column: int, index: int) -> tuple[Value, ...]:
        """Return the groups of experts with their shares in percent, the largest first."""
        models = {network.checkpoint.model_hash: network.checkpoint.model for network in self.networks}
        shares: dict[str, float] = {}
        for expert, weight in zip(self.forecast.experts, self.forecast.weights[:, column, index], strict=True):
            group = models.get(expert) or name_family(expert)
            shares[group] = shares.get(group, 0.0) + float(weight)
        ordered = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        return tuple((group, round(100 * share)) for group, share in ordered if share >= LEAST_NAMED_SHARE)

    def _list_simple(self, combined: Forecast, column: int, index: int) -> Iterator[Forecast]:
        for name, fans in self.forecast.simple.items():
            if np.isfinite(fans[column, index]).all():
                yield replace(
                    combined,
                    model=name,
                    **name_quantiles(fans[column, index]),
                    shown=False,
                    reason=Reason("forecast.simple", {"model": name}),
                )

    def _list_networks(self, combined: Forecast, column: int, index: int) -> Iterator[Forecast]:
        for network in self.networks:
            checkpoint = network.checkpoint
            fan = self.forecast.network_fans[checkpoint.model_hash][column, index]
            if not np.isfinite(fan).all():
                continue
            weight = self._weight_of(checkpoint.model_hash, column, index)
            yield replace(
                combined,
                model=checkpoint.model,
                model_hash=checkpoint.model_hash,
                **name_quantiles(fan),
                weight=weight,
                shown=False,
                reason=Reason("forecast.network", {"model": checkpoint.model, "share": weight}),
            )

    def _weight_of(self, expert: str, column: int, index: int) -> float:
        return float(self.forecast.weights[self.forecast.experts.index(expert), column, index])

    def _refuse_networks(self, column: int, index: int, horizon_s: float, until_s: float | None) -> Iterator[Withheld]:
        """Yield why networks have no row for a station and horizon."""
        station = self.panel.stations[column]
        for network in self.networks:
            model = network.checkpoint.model
            expert = self.forecast.experts.index(network.checkpoint.model_hash)
            has_median = np.isfinite(self.forecast.medians[expert, column, index])
            has_interval = np.isfinite(self.forecast.network_fans[network.checkpoint.model_hash][column, index]).all()
            if station in network.unready:
                unready = network.unready[station]
                yield Withheld(model, station, horizon_s, unready.reason, until_s, unready.lack)
            elif horizon_s in network.refused:
                reason, lack = network.refused[horizon_s]
                yield Withheld(model, station, horizon_s, reason, until_s, lack)
            elif has_median and not has_interval:
                # the network was trained on most rows of the record, so that few errors are known
                yield Withheld(model, station, horizon_s, few_errors(horizon_s), until_s)
