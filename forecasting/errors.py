"""The errors of the library: one root, one class per cause."""

from forecasting.reasons import Reason


class ForecastingError(Exception):
    """Root of every error that this library raises on purpose, constructed from a reason or an English sentence."""

    @property
    def reason(self) -> Reason | None:
        """The reason that the error was constructed from; None if that was a sentence."""
        given = self.args[0] if self.args else None
        return given if isinstance(given, Reason) else None


class PanelError(ForecastingError):
    """A panel or the samples it is built from cannot be used as given."""


class HorizonError(ForecastingError):
    """A horizon does not fit the grid or the model."""


class NotEnoughDataError(ForecastingError):
    """There are too few observations for what was asked."""


class CheckpointError(ForecastingError):
    """A checkpoint is missing, damaged or not of this library."""


class OutdatedCheckpointError(CheckpointError):
    """A whole checkpoint whose weights an earlier version of the network had: it must be trained again."""


class OtherIntervalError(OutdatedCheckpointError, HorizonError):
    """A whole checkpoint that was trained on another interval: it must be trained again."""


class UnknownModelError(ForecastingError):
    """No model of that name exists."""


class RecipeError(ForecastingError):
    """A recipe or the record it names cannot be read; names file, key and what was expected."""


class RefusedInputError(ForecastingError):
    """A record on which no score means anything, for instance an interpolated one."""


class LeakError(ForecastingError):
    """A forecast changed when only its future was changed."""
