"""By what the units in use for a quantity differ, and how many readings tell another unit from a step of the ground.

A step of the ground may have the ratio of two units by chance, but it leaves the noise as it was. The smaller the
factor, the more readings tell the two apart. `running.suspects` sifts by the numbers of LENGTHS; others use no other.
"""

from collections.abc import Mapping
from typing import Final

LENGTHS: Final = {3.2808: 20, 10.0: 8, 25.4: 5, 100.0: 5, 304.8: 5, 1000.0: 5}
FACTORS: Final[Mapping[str, Mapping[float, int]]] = {
    "length": LENGTHS,
    "angle": {17.4533: 8, 57.2958: 5, 206.265: 5, 1000.0: 5, 3600.0: 5},  # mrad, deg, rad, arcsec
    "pressure": {6.8948: 20, 10.0: 8, 100.0: 5, 1000.0: 5},  # kPa, psi, metres of water, bar, Pa
    "share": {100.0: 5, 1000.0: 5},  # per cent, and prefixes
    "": {},  # its unit is not judged
}
