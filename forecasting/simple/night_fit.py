"""Parameters of SARIMAX and unobserved components as a night found them: a record that crosses to a worker and back."""

from dataclasses import dataclass
from typing import Final

from forecasting.data.series import DAY_S
from forecasting.message import Figure, Message, Template

OLDEST_S: Final = 7.0 * DAY_S
"""Age of parameters from which a forecast is withheld: each night since failed to find others."""
ONE_NIGHT_S: Final = 1.5 * DAY_S
"""Age that a reason does not mention."""

SHORT: Final = Template("forecast.short", "the record is too short for this model")()
ENDED: Final = Template("forecast.fit_ended", "its fit was ended before its best")()
AGED: Final = Template("forecast.fit_aged", "its parameters are {days} d old")
_OUTDATED: Final = Template("forecast.fit_outdated", "its parameters are {days} d old: no night since found others")


@dataclass(frozen=True, slots=True)
class NightFit:
    """The parameters of one model at one station.

    Attributes:
        station: Of the panel.
        model: `sarimax` or `uc`.
        start_s: First row that was read, epoch seconds.
        step_s: Between rows.
        rows: Rows from there to the end of the fit.
        season: Rows of a yearly season, 0 without one.
        columns: Drivers that proved their worth.
        params: Zero, unit and parameters; empty where none could be found.
        settled: Whether the fit came to its best within its rounds.
        reason: Why there are no parameters; empty where there are.
        statsmodels: The version that fitted.
        age_s: Since they were found; 0 when they are new.
    """

    station: str
    model: str
    start_s: float
    step_s: float
    rows: int
    season: int
    columns: tuple[str, ...]
    params: tuple[float, ...]
    settled: bool
    reason: str
    statsmodels: str
    age_s: float = 0.0

    def why_withheld(self) -> str | None:
        """Why no forecast may be made of it, one plain sentence; None where one may."""
        if not self.params:
            return self.reason or SHORT
        days = Figure(self.age_s / DAY_S, ".0f")
        return _OUTDATED(days=days) if self.age_s > OLDEST_S else None

    def list_doubts(self) -> tuple[Message, ...]:
        """What follows the reason of its forecasts: an early end of the fit, and an age of more than one night."""
        aged = (AGED(days=Figure(self.age_s / DAY_S, ".0f")),) if self.age_s > ONE_NIGHT_S else ()
        return aged if self.settled else (ENDED, *aged)


@dataclass(frozen=True, slots=True)
class Refits:
    """What a night found: parameters, why a model was refused for the whole panel, and seconds per model."""

    fits: tuple[NightFit, ...]
    refused: dict[str, str]
    seconds: dict[str, float]
