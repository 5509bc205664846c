"""The plugins that are loaded: a feature that offers hooks of its own calls them here."""

from monitor.plugins import (
    hooks,  # return the plugin hooks; calling one calls all implementations
    implementations,  # return the implementations of a hook, to be called one by one
)

__all__ = [
    "hooks",
    "implementations",
]
