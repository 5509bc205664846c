"""What runs inside a spawned worker: a record of a site in, forecasts out. Nothing here opens the database."""

from dataclasses import replace

from forecasting.data.covariates import covariates_from_samples, join_facts, make_season, rows_from_covariates
from forecasting.data.rain_forecasts import lay_outlooks
from forecasting.data.series import Panel, panel_from_samples
from forecasting.decomposition.season import split_season
from forecasting.errors import ForecastingError, OutdatedCheckpointError
from forecasting.serving.conformal import ConformalState
from forecasting.serving.records import Forecast, Withheld
from monitor.api.extras import explain_missing
from monitor.api.models import TrainingResult
from monitor.api.text import describe_error
from monitor.features.forecasts import tasks


def forecast_site(request: tasks.SiteForecastRequest) -> tasks.SiteForecast:
    """Run every model of a site on one panel; a model that fails does not stop the others."""
    from forecasting.serving.jobs import forecast, measure_motion
    from forecasting.serving.members import join_networks
    from forecasting.serving.shown import choose_shown

    panel = lay_panel(request.record)
    motion = measure_motion(panel, request.horizons_s)
    rows: list[Forecast] = []
    withheld: list[Withheld] = []
    states: dict[str, dict[str, ConformalState]] = {}
    failed: dict[str, str] = {}
    outdated: list[str] = []
    for one in request.models:
        given = request.conformal.get(one.name)
        try:
            made = forecast(
                panel,
                one.model,
                request.horizons_s,
                checkpoint=one.checkpoint,
                conformal=given,
                motion=motion,
                limits=request.record.limits,
            )
        except ForecastingError as error:
            failed[one.name] = describe_error(error)
            outdated += [one.name] if isinstance(error, OutdatedCheckpointError) else []
            continue
        except ModuleNotFoundError as error:  # a network without its extra: baselines forecast all the same
            failed[one.name] = explain_missing(error) or str(error)
            continue
        rows += made.rows
        withheld += made.withheld
        states[one.name] = made.conformal
    rows = join_networks(panel, rows, request.scored, request.record.limits)
    return tasks.SiteForecast(tuple(choose_shown(rows)), tuple(withheld), states, failed, tuple(outdated))


def hindcast_site(request: tasks.HindcastRequest) -> tasks.SiteForecast:
    """What every model would have forecast, from moments spread over the record after the cut."""
    import numpy as np

    from forecasting.serving.jobs import forecast_past

    panel, site = lay_panel(request.site.record), request.site
    horizons_s = tuple(h for h in site.horizons_s if round(h / panel.step_s) >= 1)
    cut = int((request.cut_s - panel.start_s) // panel.step_s) + 1
    # the nearest target of the last one has come
    last = panel.values.shape[0] - 1 - panel.steps(min(horizons_s, default=panel.step_s))
    origins = np.unique(np.linspace(cut, last, request.issues).round().astype(np.int64)) if last >= cut else ()
    rows: list[Forecast] = []
    failed: dict[str, str] = {}
    for one in site.models if horizons_s and len(origins) else ():
        try:
            rows += forecast_past(panel, one.model, horizons_s, cut, np.asarray(origins), one.checkpoint)
        except ForecastingError as error:
            failed[one.name] = describe_error(error)
    return tasks.SiteForecast(tuple(rows), (), {}, failed)


def split_seasons(request: tasks.SeasonsRequest) -> tasks.Seasons:
    """Trend, season and remainder of each series."""
    return tasks.Seasons({label: split_season(*timed) for label, timed in request.series.items()})


def train_forecaster(request: tasks.NetworkTrainingRequest) -> TrainingResult:
    """Train one network on the panel of a site, or say why not."""
    from forecasting.serving.jobs import train

    try:
        made = train(lay_panel(request.record), request.training, replay=[lay_panel(other) for other in request.replay])
    except ForecastingError as error:
        return TrainingResult(refused=describe_error(error))
    return TrainingResult(made.model_hash, made.path, made.card)


def lay_panel(record: tasks.SiteRecord) -> Panel:
    """The record on its grid, with what drives it."""
    panel = panel_from_samples(record.samples, record.step_s, end_s=record.end_s, xy_m=record.xy_m, unit=record.unit)
    season = make_season(panel) if record.season else ()
    covariates = (*covariates_from_samples(record.drivers, panel), *lay_outlooks(record.expected, panel), *season)
    return replace(panel, drivers=join_facts(rows_from_covariates(covariates, panel.step_s), record.facts, panel))
