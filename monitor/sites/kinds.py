"""Traits of kinds of criteria. Other modules use the traits and not the names of kinds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """Traits of a kind of criterion. Plugins register kinds with the hook `register_criteria`."""

    # Name of the kind in site files.
    id: str
    # Default role of its criteria.
    role: Literal["witness", "advice"] = "witness"
    # Source of its votes. A `suggestion` comes from a model or has no declared series. It may arrive too late, so it
    # does not count for the reachable level.
    source: Literal["instruments", "observers", "suggestion"] = "instruments"
    # Quantity of criteria that only name stations.
    quantity: str | None = None
    # Unit of its bounds relative to the unit of the series, such as `""` or `"/day"`. None if the bounds have another
    # unit or none.
    per: str | None = None
    # True if its bounds are not values or rates of the series, but for example of the difference to earlier years or of
    # the scatter. Then the detection limit does not follow from the bound.
    relative: bool = False
    # Unit of the bounds in the site file, if they are converted before the comparison.
    unit: str | None = None
    # Smallest number of readings that a fit in the window of a bound needs. 0 = no fit.
    epochs: int = 0
    # True if it measures motion of a station. Its series are tested for common motion of a reference.
    motion: bool = False
    # True if it measures the velocity of displacement. Control stations and neighbours are compared with it.
    velocity: bool = False
    # True if its bounds are rates of the series. A bound times its window is then a length, and a jump beyond half of
    # the smallest length must be verified.
    rate: bool = False
    # True if its bounds are values of the series. A jump of a pressure or water level beyond half of the smallest
    # bound must be verified.
    is_level: bool = False
    # True if its bounds are no lengths. A jump beyond six times the noise floor must be verified.
    noise_steps: bool = False
    # True if its series are checked for steps and stuck instruments. Not so for rain, where zeros are normal.
    followed: bool = False
    # True for triggers of motion, such as rain. They are also measured outside of the slope, so stations with
    # `on_slope = false` may vote.
    trigger: bool = False
    # True if its bounds have a natural zero. They can be scaled, and are lowered after an earthquake. A water level
    # has no natural zero, because it is measured from a datum.
    scaled: bool = False
    # Parameters that are bounds and are lowered together with these.
    scaled_params: tuple[str, ...] = ()
    # The single witness of all its votes, if it does not vote per station.
    witness: str | None = None
    # Prefix of its witnesses, `<zone>:<station>`. All of them are one independent witness.
    zone: str | None = None
    # Facts that it reads in addition to readings: a field of `DecisionInputs`, or for a third-party kind a key of
    # `plugin_facts`. They are only loaded if a criterion of the site reads them.
    facts: str | None = None
    # Feature that loads these facts. None if the kernel or the third-party plugin of the kind loads them
    feature: str | None = None
    # Section of the site file that its assessments depend on.
    plan: Literal["forecast", "anomaly", "scenes"] | None = None
    # How a change may loosen the two highest levels. `bounds`: only through its own bounds. `reaching`: it changes the
    # bounds of other criteria. `unknown`: every change counts as loosening.
    loosening: Literal["unknown", "bounds", "reaching"] = "unknown"
    # Parameters and the direction that tightens them: (name, `lower` or `higher`).
    safe_params: tuple[tuple[str, Literal["lower", "higher"]], ...] = ()
    # How the page draws it: `line` (bound with the series), `ray` (rate with the series), `movement` (bound on the page
    # of movement), `rain` (bound with the rain), `curve`.
    drawn: tuple[Literal["line", "ray", "movement", "rain", "curve"], ...] = ()

    def unit_of(self, unit: str) -> str:
        """Return the unit of its bounds for a series in `unit`. Empty if the bounds have no unit.

        >>> Kind("acceleration", per="/day²").unit_of("mm"), Kind("factor_of_safety").unit_of("kPa")
        ('mm/day²', '')
        """
        return "" if self.per is None else f"{unit}{self.per}"

    def __str__(self) -> str:
        return self.id
