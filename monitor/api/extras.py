"""Optional dependencies: whether one is installed, and what to say if it is not."""

from monitor.extras import (
    describe_missing,  # return one line: what needs a missing module, and how to install it
    describe_package,  # return one line: what needs a missing package of ours, and how to install it
    explain_missing,  # return the install hint for a failed import of an optional module, or None
    is_installed,  # return whether a module can be imported, without loading it
    require,  # raise an error with the install hint unless a module is installed
)

__all__ = [
    "describe_missing",
    "describe_package",
    "explain_missing",
    "is_installed",
    "require",
]
