"""What the database holds: the registry of trained models: versions, checkpoints, scores, samples."""

from monitor.models.lacking import (
    FRESH_STEPS,  # a series without readings for more grid steps gets no forecast
    AwaitedModel,  # a model that does not exist yet
    LackingModels,  # the models that a site lacks, and the jobs that train them
    await_model,  # Yield a model that does not exist yet; nothing if its series have no readings
    list_awaited,  # return the models that do not exist yet of several sites, each with the id of its site
)
from monitor.models.queries.proofs import (
    OUTLINES,  # name of the tested subject for scene outlines, `outlines`
    ModelTest,  # a test of a model that a criterion uses: result, reasons, time span
    add_proof,  # store a test of a model for a criterion, with an audit entry
    list_subjects,  # return what must be tested for a criterion: stored subject to display name
    load_proof_facts,  # load the newest model test of each criterion that needs one, as known at `now`
)
from monitor.models.queries.registry import (
    SHORT_HASH_LENGTH,  # length of an abbreviated model hash, characters
    ModelRow,  # a registered model: hash, kind, task, site, state, path and card
    Transition,  # one state change of a model
    add_model,  # register a model; returns whether it was new
    change_state,  # change the state of a model; False if it changed meanwhile
    find_active,  # return the active model of a task, kind and site, or None
    find_model,  # return the model whose hash starts with a text; raises NotFoundError, RefusedError
    load_explanations,  # load forecast models of a site whose card has an explanation, newest first
    load_models,  # load registered models, newest first, filtered by task, site and kind
    load_transitions,  # load the state changes of a model, oldest first
    needs_torch,  # return whether a forecaster or detector requires PyTorch
    retire_replaced,  # retire an active model because a newer one takes its place
)
from monitor.models.queries.shown_forecasts import (
    ShownForecast,  # the newest forecast of a series that is shown: quantiles by target
    load_shown_forecasts,  # load the newest forecast of each series that was shown at an instant
    load_shown_record,  # load error and coverage of the shown forecasts that a criterion reads
)
from monitor.models.samples import (
    SeriesSamples,  # samples of one series: times and values in its unit, offsets and jumps taken out
    SitePanel,  # series of a site that are forecast together, on a common grid
    average_cells,  # yield usable readings, averaged in each cell of time
    find_history_start,  # return the instant that is a number of grid cells before now
    list_horizons,  # return all forecast horizons of a site, ascending, seconds
    list_panels,  # return the forecast panels of a site, the fastest first
    load_driver,  # load times and values of a driver series; rain as amounts
    load_samples,  # load the cleaned samples of several series, without empty ones
    load_series_samples,  # load the samples of one series with spikes, or None
    load_watched,  # load samples of the displacement series that detectors compare with each other
    plan_xy_m,  # return east and north of stations from the site's centre in metres, or None
)
from monitor.models.training import (
    MAXIMUM_AGE,  # a checkpoint that is older is trained again
    SEED,  # seed of the training of all models
    TrainingOrder,  # a network or detector to train, with the person and the reason
    TrainingOutcome,  # Result of a training
    keep_checkpoint,  # Register a checkpoint
    make_folder,  # return the folder of the checkpoints of a site
)

__all__ = [
    "FRESH_STEPS",
    "MAXIMUM_AGE",
    "OUTLINES",
    "SEED",
    "SHORT_HASH_LENGTH",
    "AwaitedModel",
    "LackingModels",
    "ModelRow",
    "ModelTest",
    "SeriesSamples",
    "ShownForecast",
    "SitePanel",
    "TrainingOrder",
    "TrainingOutcome",
    "Transition",
    "add_model",
    "add_proof",
    "average_cells",
    "await_model",
    "change_state",
    "find_active",
    "find_history_start",
    "find_model",
    "keep_checkpoint",
    "list_awaited",
    "list_horizons",
    "list_panels",
    "list_subjects",
    "load_driver",
    "load_explanations",
    "load_models",
    "load_proof_facts",
    "load_samples",
    "load_series_samples",
    "load_shown_forecasts",
    "load_shown_record",
    "load_transitions",
    "load_watched",
    "make_folder",
    "needs_torch",
    "plan_xy_m",
    "retire_replaced",
]
