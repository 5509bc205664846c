"""Which answers one person may give alone: nothing hides the two highest levels on a single word."""

from collections.abc import Collection

from monitor.decision.series.coseismic_steps import find_shaken
from monitor.decision.series.steps import high_level, requested_level
from monitor.decision.votes import find_height
from monitor.domain.decision import Memory, Signature
from monitor.domain.keys import StepKey
from monitor.domain.site import Site


def measure_height(site: Site, memory: Memory, key: str, steps: Collection[StepKey], now_s: float) -> int:
    """The level that a question's votes, or the steps it asks about, ask for at this moment."""
    shaken = find_shaken(site, memory.steps)
    requested = max(
        (memory.steps[k].level if k in shaken else requested_level(memory.steps[k]) for k in steps), default=0
    )
    return max(requested, find_height(site, key, memory.votes, now_s))


def needs_two(site: Site, height: int) -> bool:
    """True where "no movement" would set aside one of the two highest levels."""
    return height >= high_level(site)


def keep_signatures(memory: Memory, open_questions: Collection[str]) -> dict[str, Signature]:
    """First signatures of questions that still wait for the second one."""
    return {k: s for k, s in sorted(memory.signed.items()) if k in open_questions and k not in memory.answers}
