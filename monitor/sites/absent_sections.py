"""Sections of site files that belong to features which may be absent.

A site file is shared by installations with different features. A section of a feature that is not installed is ignored
with a warning. A section that no feature has is refused, because it is probably misspelt.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

# The feature that reads each section. A new section of a feature gets a line here.
FEATURES: Final[Mapping[str, str]] = {
    "derived": "derived",
    "profile": "profiles",
    "relative": "derived",
}


def list_absent_sections(document: Mapping[str, Any], installed: Iterable[str]) -> list[str]:
    """Return the sections of a site file that belong to features which are not installed.

    >>> list_absent_sections({"site": {}, "profile": [], "profle": []}, ["site", "station"])
    ['profile']
    """
    return sorted(document.keys() & (FEATURES.keys() - set(installed)))


def describe_absent_section(section: str) -> str:
    """Say that a section is ignored, and what to do.

    >>> describe_absent_section("profile")
    "[[profile]] is ignored, because the feature 'profiles' is not installed; install all of Slopeward, or delete it"
    """
    return (
        f"[[{section}]] is ignored, because the feature {FEATURES[section]!r} is not installed; "
        "install all of Slopeward, or delete it"
    )
