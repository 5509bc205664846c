"""Choose the band that contains a quantity, by the names of the bands."""

import re
from pathlib import Path
from typing import Final

from detection.imagery.errors import RadiometryError
from detection.imagery.raster.raster import RasterFacts

COLOURS: Final = frozenset({"red", "green", "blue", "palette"})
# Content of a band -> names of such bands. The first matching entry counts: `vel_std` is an error, not a velocity.
_CONTENTS: Final = tuple(
    (content, re.compile(rf"(?<![a-z])(?:{names})(?![a-z])", re.IGNORECASE))
    for content, names in (
        ("mask", r"\w*mask\w*|conn\w*comp\w*|connected\w*|labels?|quality|qa|flags?|count"),
        ("coherence", r"\w*coherence\w*|coh\w*|corr?|correlation|cc"),
        (
            "backscatter",
            r"\w*(?:sigma|gamma|beta)_?(?:0|n[oa]ught)\w*|backscatter|[hv][hv]\w*|\w*_[hv][hv](?:_db)?",
        ),
        ("error", r"errors?|uncertainty|variance|\w*(?:std|stdev|sigma|err)"),
        ("phase", r"\w*phase|phs|unw\w*|ifg|interferogram"),
        ("amplitude", r"amp\w*|magnitude|mag|brightness|intensity|power"),
        ("angle", r"inc|incidence\w*|\w*angle|theta|azimuth\w*"),
        ("height", r"dem|dtm|dsm|elev\w*|heights?|altitude|z"),
        ("velocity", r"\w*vel\w*|\w*rates?|speed|v|los\w*"),
    )
)
_PLURALS: Final = {
    "phase": "phases",
    "coherence": "coherences",
    "angle": "angles of incidence",
    "velocity": "velocities",
    "backscatter": "backscatter",
}
# Content -> the contents that are accepted for it: amplitude is backscatter in another unit.
_ACCEPTED: Final = {"backscatter": frozenset({"backscatter", "amplitude"})}


def find_content(name: str | None) -> str | None:
    """Return the content of a band by its name, a key of `_CONTENTS`; None if the name states none.

    >>> [find_content(name) for name in ("unwrapped phase", "Sigma0_VV_db", "vel_std", "amplitude", "band 1", None)]
    ['phase', 'backscatter', 'error', 'amplitude', None, None]
    """
    return next((content for content, pattern in _CONTENTS if pattern.search(name or "")), None)


def choose_band(path: Path, facts: RasterFacts, content: str, remedy: str = "") -> int:
    """Return the number of the band that contains a quantity: the only band with such a name, or the only unnamed band.

    Args:
        path: the file, for messages.
        facts: header of the file.
        content: a key of `_PLURALS`.
        remedy: how the user can name the band, for messages; by default, how to write it into a file of its own.

    Raises:
        RadiometryError: several bands are plausible, none is, or the plausible band is a colour of a picture.
    """
    accepted = _ACCEPTED.get(content, frozenset({content}))
    bands = [
        (number, name, find_content(name))
        for number, (name, colour) in enumerate(zip(facts.descriptions, facts.colours, strict=True), start=1)
        if colour != "alpha"
    ]
    matching = [number for number, _, band_content in bands if band_content in accepted]
    unnamed = [number for number, _, band_content in bands if band_content is None]
    plausible = matching or unnamed
    colour = facts.colours[plausible[0] - 1] if plausible else ""
    if not matching and len(plausible) > 1 and colour in COLOURS:
        raise RadiometryError(f"{path}: band {plausible[0]} is the {colour} of a picture: no {_PLURALS[content]}")
    if len(plausible) == 1:
        return plausible[0]
    listed = ", ".join(f"{number} {name!r}" if name else f"{number} without a name" for number, name, _ in bands)
    if not plausible:
        raise RadiometryError(f"{path}: no band contains the {content}; the bands are: {listed}")
    raise RadiometryError(
        f"{path}: bands {', '.join(map(str, plausible))} may contain the {content}; the bands are: {listed}. "
        f"{remedy or 'Write this band alone into a file (gdal_translate -b N)'}, or name the bands in the file"
    )
