"""Which declared events a decision rests on, with who said so and by which way: part of its evidence."""

from typing import Any, Final

from forecasting.message import Message, Template
from monitor.criteria.kinds.earthquake import list_lowering
from monitor.domain.decision import Step
from monitor.domain.keys import StepKey
from monitor.series.assessment import Windows
from monitor.series.steps import EVENT, is_earthquake, list_events_at

_EXPLAINS: Final = Template("event.explains_step", "explains the step {step}")
_LOWERS: Final = Template("event.lowers_bounds", "lowers bounds to {n} of what the site file says")


def describe_events(windows: Windows, steps: dict[StepKey, Step]) -> list[dict[str, Any]]:
    """Events that change this decision: those that explain a step, and those that make bounds stricter."""
    found = {}
    effects: dict[int, list[Message]] = {}
    for key, step in steps.items():
        for event in list_events_at(windows, key, step) if step.state == EVENT else ():
            if is_earthquake(event.kind) and event.words:
                found[event.id] = event
                effects.setdefault(event.id, []).append(_EXPLAINS(step=str(key)))
    for event, factor in list_lowering(windows.site, windows.view, windows.now_s):
        found[event.id] = event
        effects.setdefault(event.id, []).append(_LOWERS(n=factor))
    return [
        {
            "event": number, "kind": event.kind, "from_s": event.from_s, "by": event.by, "via": event.via,
            "confirmed_by": list(event.confirmed_by), "effects": effects[number],
        }
        for number, event in sorted(found.items())
    ]  # fmt: skip
