"""What the rest of the service may ask of a kind of criterion without knowing it: plain values, no lists of names."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of criterion; `monitor.decision.criteria.kinds` holds one file for each, with its table and its rule.

    Attributes:
        id: How a site file names it.
        role: What it is when the site file does not say: `witness` or `advice`.
        source: Whose word it is. `suggestion`: no declared series stands behind it, or a model suggests it; nobody
            promises that it comes in time, so it does not count among those who can speak.
        quantity: What is meant where a site file names stations alone.
        per: What its bounds are of the unit of the series (`""`, `"/day"`); None = bounds of another unit, or none.
        unit: The unit in which a site file states its bounds, where they are not compared in that one.
        epochs: Fewest readings in the window of a bound that its fit takes; 0 = nothing is fitted.
        motion: It measures how a station moves: tested for a common motion of a reference.
        velocity: It measures the velocity of displacement: controls and neighbours are compared with it.
        rate: Its bounds are rates of the series itself: a bound times its window is a length, and a jump over half of
            the smallest one is asked about.
        is_level: Its bounds are values of the series itself; a jump of a pressure or a level over half of the smallest
            one is asked about.
        noise_steps: Its bounds are no lengths; a jump is asked about from six noise floors on.
        followed: Its series are followed for steps and stuck instruments. Of rain, zeros are no sign of a fault.
        trigger: What sets a slope in motion, measured beside it as well: a gauge in the valley is no control station.
        scaled: Its bounds are measured from nothing, so a share of them means something: they are lowered after an
            earthquake. A water level is measured from a datum.
        scaled_params: Parameters that are bounds, lowered along.
        witness: The one witness of all that it says, where stations are not asked one by one.
        zone: Its votes are named `<zone>:<station>`, and all of them are one witness.
        facts: The field of the view that it reads beside readings; it is loaded only where a criterion reads it.
        plan: The part of the site file that its answer rests on.
        loosening: What a change of it may do to the two highest levels. `bounds`: it decides by its own bounds alone.
            `reaching`: it changes the bounds of others. `unknown` counts as loosening whatever differs.
        safe_params: Parameters that tighten when they go this way: (name, `lower` or `higher`).
        drawn: What the page draws of it: `line` (a bound beside the series), `ray` (a rate beside the series),
            `movement` (a bound on the page of movement), `rain` (its word beside the rain), `curve`.
    """

    id: str
    role: Literal["witness", "advice"] = "witness"
    source: Literal["instruments", "observers", "suggestion"] = "instruments"
    quantity: str | None = None
    per: str | None = None
    unit: str | None = None
    epochs: int = 0
    motion: bool = False
    velocity: bool = False
    rate: bool = False
    is_level: bool = False
    noise_steps: bool = False
    followed: bool = False
    trigger: bool = False
    scaled: bool = False
    scaled_params: tuple[str, ...] = ()
    witness: str | None = None
    zone: str | None = None
    facts: str | None = None
    plan: str | None = None
    loosening: Literal["unknown", "bounds", "reaching"] = "unknown"
    safe_params: tuple[tuple[str, Literal["lower", "higher"]], ...] = ()
    drawn: tuple[str, ...] = ()

    def unit_of(self, unit: str) -> str:
        """The unit of its bounds where the series is in `unit`; an empty text for bounds without one.

        >>> Kind("acceleration", per="/day²").unit_of("mm"), Kind("factor_of_safety").unit_of("kPa")
        ('mm/day²', '')
        """
        return "" if self.per is None else f"{unit}{self.per}"

    def __str__(self) -> str:
        return self.id
