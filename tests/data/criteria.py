"""The kinds of criteria that are registered."""

from monitor.sites.criteria.registry import load_criteria

CRITERIA = load_criteria()
KINDS = {name: entry.kind for name, entry in CRITERIA.items()}
