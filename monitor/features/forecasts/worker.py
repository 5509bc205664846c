"""Functions that run in a worker process: a record of a site in, forecasts out. They do not open the database."""

import base64
import math
from dataclasses import replace

from forecasting.data.covariates import covariates_from_samples, join_properties, make_season, rows_from_covariates
from forecasting.data.rain_forecasts import lay_outlooks
from forecasting.data.series import Panel, panel_from_samples
from forecasting.decomposition.season import split_season
from forecasting.errors import ForecastingError, OutdatedCheckpointError
from monitor.api.extras import explain_missing
from monitor.api.models import TrainingResult
from monitor.api.text import describe_error
from monitor.features.forecasts import tasks


def forecast_panel(request: tasks.PanelForecastRequest) -> tasks.PanelForecast:
    """Issue the forecasts of one panel; a network that cannot run does not stop the others."""
    from forecasting.serving.issue import issue_forecasts

    panel = make_panel(request.record)
    issue = issue_forecasts(
        panel,
        request.horizons_s,
        checkpoints=request.checkpoints,
        limits=request.record.limits,
        state=base64.b64decode(request.state),
        window_ends={
            label: math.inf if latest_s is None else latest_s for label, latest_s in request.window_ends.items()
        },
    )
    failed = {model_hash: _describe_failure(error) for model_hash, error in issue.failed.items()}
    outdated = [model_hash for model_hash, error in issue.failed.items() if isinstance(error, OutdatedCheckpointError)]
    state = base64.b64encode(issue.state or b"").decode()
    return tasks.PanelForecast(issue.rows, issue.withheld, failed, tuple(outdated), state)


def _describe_failure(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return explain_missing(error) or str(error)
    assert isinstance(error, ForecastingError), "only errors of the library are reported"
    return describe_error(error)


def hindcast_panel(request: tasks.HindcastRequest) -> tasks.PanelForecast:
    """Forecast one panel from moments of the past, spread over the record after the cut."""
    import numpy as np

    from forecasting.serving.hindcast import forecast_past

    panel = make_panel(request.panel.record)
    horizons_s = [h for h in request.panel.horizons_s if round(h / panel.step_s) >= 1]
    if not horizons_s:
        return tasks.PanelForecast(())
    first = int((request.cut_s - panel.start_s) // panel.step_s) + 1
    # at least the nearest target must have been observed
    last = panel.values.shape[0] - 1 - min(map(panel.steps, horizons_s))
    if last < first:
        return tasks.PanelForecast(())
    origins = np.unique(np.linspace(first, last, request.issues).round().astype(np.int64))
    return tasks.PanelForecast(tuple(forecast_past(panel, horizons_s, origins, request.panel.checkpoints)))


def split_seasons(request: tasks.SeasonsRequest) -> tasks.Seasons:
    """Split each series into trend, season and remainder."""
    return tasks.Seasons({label: split_season(*timed) for label, timed in request.series.items()})


def train_forecaster(request: tasks.NetworkTrainingRequest) -> TrainingResult:
    """Train one network on the panel of a site; the result says why if it cannot be trained."""
    from forecasting.serving.training import train

    replay = [make_panel(record) for record in request.replay]
    try:
        trained = train(make_panel(request.record), request.training, replay=replay)
    except ForecastingError as error:
        return TrainingResult(refused=describe_error(error))
    return TrainingResult(trained.model_hash, trained.path, trained.card)


def make_panel(record: tasks.SiteRecord) -> Panel:
    """Lay a record on its grid, with its drivers."""
    panel = panel_from_samples(record.samples, record.step_s, end_s=record.end_s, xy_m=record.xy_m, unit=record.unit)
    season = make_season(panel) if record.season else ()
    covariates = (*covariates_from_samples(record.drivers, panel), *lay_outlooks(record.expected, panel), *season)
    drivers = rows_from_covariates(covariates, panel.step_s)
    return replace(panel, drivers=join_properties(drivers, record.properties, panel))
