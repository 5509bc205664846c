"""What the rest of the service may ask of a kind of criterion without knowing it: plain values, no lists of names."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of criterion; plugins register kinds by the hook `register_criteria`."""

    id: str  # how a site file names it
    role: Literal["witness", "advice"] = "witness"  # what it is when the site file does not say: `witness` or `advice`
    # whose word it is. `suggestion`: no declared series stands behind it, or a model suggests it; nobody promises
    # that it comes in time, so it does not count among those who can speak.
    source: Literal["instruments", "observers", "suggestion"] = "instruments"
    quantity: str | None = None  # what is meant where a site file names stations alone
    # what its bounds are of the unit of the series (`""`, `"/day"`); None = bounds of another unit, or none
    per: str | None = None
    # its bounds are not values or rates of the series itself but, for example, of its difference from earlier years or
    # of its spread, so nobody can say from the bound alone which motion it misses
    relative: bool = False
    unit: str | None = None  # the unit in which a site file states its bounds, where they are not compared in that one
    epochs: int = 0  # fewest readings in the window of a bound that its fit takes; 0 = nothing is fitted
    motion: bool = False  # it measures how a station moves: tested for a common motion of a reference
    velocity: bool = False  # it measures the velocity of displacement: controls and neighbours are compared with it
    # its bounds are rates of the series itself: a bound times its window is a length, and a jump over half of the
    # smallest one is asked about
    rate: bool = False
    # its bounds are values of the series itself; a jump of a pressure or a level over half of the smallest one is
    # asked about
    is_level: bool = False
    noise_steps: bool = False  # its bounds are no lengths; a jump is asked about from six noise floors on
    # its series are followed for steps and stuck instruments. Of rain, zeros are no sign of a fault.
    followed: bool = False
    # what sets a slope in motion, measured beside it as well: a gauge in the valley is no control station
    trigger: bool = False
    # its bounds are measured from nothing, so a share of them means something: they are lowered after an
    # earthquake. A water level is measured from a datum.
    scaled: bool = False
    scaled_params: tuple[str, ...] = ()  # parameters that are bounds, lowered along
    witness: str | None = None  # the one witness of all that it says, where stations are not asked one by one
    zone: str | None = None  # its votes are named `<zone>:<station>`, and all of them are one witness
    # the facts that it reads besides readings: a field of `DecisionInputs`, or of a third-party kind a key of its
    # `plugin_facts`. They are loaded only if a criterion of the site reads them.
    facts: str | None = None
    # the feature that loads these facts; None if the kernel or the third-party plugin of the kind loads them
    feature: str | None = None
    # the section of the site file that its assessments depend on
    plan: Literal["forecast", "anomaly", "scenes"] | None = None
    # what a change of it may do to the two highest levels. `bounds`: it decides by its own bounds alone.
    # `reaching`: it changes the bounds of others. `unknown` counts as loosening whatever differs.
    loosening: Literal["unknown", "bounds", "reaching"] = "unknown"
    # parameters that tighten when they go this way: (name, `lower` or `higher`)
    safe_params: tuple[tuple[str, Literal["lower", "higher"]], ...] = ()
    # what the page draws of it: `line` (a bound beside the series), `ray` (a rate beside the series), `movement`
    # (a bound on the page of movement), `rain` (its word beside the rain), `curve`
    drawn: tuple[Literal["line", "ray", "movement", "rain", "curve"], ...] = ()

    def unit_of(self, unit: str) -> str:
        """The unit of its bounds where the series is in `unit`; an empty text for bounds without one.

        >>> Kind("acceleration", per="/day²").unit_of("mm"), Kind("factor_of_safety").unit_of("kPa")
        ('mm/day²', '')
        """
        return "" if self.per is None else f"{unit}{self.per}"

    def __str__(self) -> str:
        return self.id
