"""What the name of a column says: quantity, unit, station. Words of the field in six languages."""

import re
from dataclasses import dataclass
from typing import Final

from monitor.domain.quantities import QUANTITIES, is_raw, is_unit_of, split_suffix
from monitor.ingest.files.mapping import name_station
from monitor.ingest.files.units import spell_unit, unit_of_header

# the first that is found counts: the special before the general
_QUANTITIES: Final[tuple[tuple[str, str], ...]] = (
    (r"batt|akku|supply.?volt|versorgung|batterie|bateria|电池|电压", "battery_voltage"),
    (r"rssi|signal|feldst", "signal_strength"),
    (r"rain|precip|niederschlag|regen|pioggia|pluie|lluvia|降雨|雨量", "rain"),
    (r"snow|schnee|neve|neige|nieve|积雪|雪深", "snow_depth"),
    (r"pore|poren|interstiz|piezom|piezo|孔隙", "pore_pressure"),
    (r"earth.?press|erddruck|土压", "earth_pressure"),
    (r"barom|luftdr|air.?press|atmos|patm|bp[_ ]|气压", "air_pressure"),
    (r"soil.?moist|bodenfeucht|umidit.*(?:suolo|terren)|vwc|water.?content|含水", "soil_moisture"),
    (r"coheren", "coherence"),
    (
        r"(?<![a-z])gw[tl](?![a-z])|ground.?water|grundwasser|falda|nappe|fre[aá]tic|water.?table|地下水",
        "groundwater_level",
    ),
    (r"(?<![a-z])rwl(?![a-z])|reservoir|stausee|embalse|invaso|lake|库水|水库", "reservoir_level"),
    (r"water.?le?v|pond|wtr.?lvl|wasserst|pegel|livello|niveau|nivel|stage|gauge.?height|水位", "water_level"),
    (r"temp|温度|气温", "temperature"),
    (
        r"crack|lvdt|fissur|riss|joint|fessur|grieta|extenso|estenso|spalt|aperture|opening|convergen|裂缝",
        "crack_opening",
    ),
    (r"(?:tilt|inclin|neigung|klino|倾).*(?:[ _\-]?x|[ _\-]a)(?![a-z])", "tilt_x"),
    (r"(?:tilt|inclin|neigung|klino|倾).*(?:[ _\-]?y|[ _\-]b)(?![a-z])", "tilt_y"),
    (r"tilt|inclin|neigung|klino|倾", "tilt"),
    (r"veloc|speed|geschwind|vitesse|速度", "velocity"),
    (r"strain|dehnung|deformaz.*unit|应变", "strain"),
    (r"downslope|hangab|falllinie|along.?slope", "displacement_downslope"),
    (r"(?<![a-z])los(?![a-z])|line.?of.?sight", "displacement_los"),
    (r"slope.?dist|distan|schr[äa]gdist|range|strecke", "displacement_distance"),
    (r"(?<![a-z])(?:east(?:ing)?|ost|est|d?e|de|dx|ue)(?![a-z])|东", "displacement_east"),
    (r"(?<![a-z])(?:north(?:ing)?|nord|d?n|dn|dy|un)(?![a-z])|北", "displacement_north"),
    (
        r"(?<![a-z])(?:up|vert(?:ical)?|hoch|höhe|height|quota|d?u|du|dz|settl\w*|setzung|heave)(?![a-z])|垂直|沉降",
        "displacement_up",
    ),
    (r"disp|verschieb|beweg|spost|d[eé]plac|despl|movement|motion|位移|变形", "displacement"),
)  # fmt: skip
_BY_UNIT: Final = {"degC": "temperature", "degF": "temperature", "V": "battery_voltage", "mV": "battery_voltage",
                   "dBm": "signal_strength", "hPa": "air_pressure", "mbar": "air_pressure"}  # fmt: skip
_ERROR: Final = re.compile(
    r"(?:^|[\s_.\-(/])(?:sd|std(?:ev)?|stddev|sigma|sig|err(?:or)?|rms|s[0-9]?|σ)(?=$|[\s_.\-)/\[(])|σ|sigma",
    re.IGNORECASE,
)  # fmt: skip
_STATION_WORDS: Final = [
    "station",
    "site",
    "point",
    "punkt",
    "pt",
    "messstelle",
    "messpunkt",
    "punto",
    "sensor",
    "logger",
    "marker",
    "instrument",
    "target",
    "prism",
    "prisma",
    "ziel",
    "name",
    "id",
    "device",
    "node",
    "nodo",
    "capteur",
    "stazione",
    "estación",
    "estacion",
    "测点",
    "测站",
    "点号",
]
_STATION: Final = re.compile(
    rf"^(?:{'|'.join(_STATION_WORDS)})(?:[ _\-]?(?:id|name|no|nr|code))?$|^\w+[ _]id$", re.IGNORECASE
)
_COUNTER: Final = re.compile(r"^(?:record|recno|rec|nr|no|n°|#|index|idx|seq(?:uence)?|row|lfd.*|id)$", re.IGNORECASE)
_PLACE: Final = re.compile(
    r"^(?:lat(?:itude)?|lon(?:g(?:itude)?)?|breite|l[äa]nge|elev(?:ation)?|alt(?:itude)?)", re.IGNORECASE
)
_CALENDAR: Final = re.compile(
    r"^(?:year|month|day|days|doy|hour|minute|min|sec(?:ond)?|jahr|monat|tag|stunde|anno|mese|giorno|julian.*|mjd|week"
    r"|year_day|day_fraction|fraction|group)$",
    re.IGNORECASE,
)
# measured beside slopes and no quantity of this service
_NOT_OF_HERE: Final = ("humidit", "luftfeucht", "solar", "radiat", "strahlung", "slr", "wind", "satell", "hdop", "pdop",
                       "dew.?p", "taupunkt", "rugiada")  # fmt: skip
_ALONE: Final = ("rh", r"rel\w*[ _.]?hum\w*", "par", "dp", "q")  # as words of their own
_OTHER: Final = re.compile(f"{'|'.join(_NOT_OF_HERE)}|(?<![a-z])(?:{'|'.join(_ALONE)})(?![a-z])", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"[\[(（［][^\])）］]*[\])）］]?")
_FILLER: Final = re.compile(
    r"(?<![a-z])(?:avg|mean|mittel\w*|media|max|min|tot(?:al)?|sum(?:me)?|smp|value|wert|valore|valeur|reading|data|raw|"
    r"level|pressure|druck|deviation|uncertainty|cum\w*|absolute?|rel(?:ative)?|air|luft|water|wasser)(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Name:
    """What a column's name says; None where it says nothing."""

    quantity: str | None
    unit: str | None
    station: str  # "" where nothing of the name is left for it
    is_error: bool = False  # the standard deviation of another column
    foreign: str = ""  # what stands where a unit would, and is none that is known


def read_name(header: str, unit: str | None = None) -> Name:
    """Quantity, unit and station of a column.

    >>> read_name("Crack 3 [mm]")
    Name(quantity='crack_opening', unit='mm', station='Crack-3', is_error=False, foreign='')
    >>> read_name("GNSS1_displacement_east_mm")
    Name(quantity='displacement_east', unit='mm', station='GNSS1', is_error=False, foreign='')
    >>> read_name("Niederschlag (mm)"), read_name("ATU1/mm").station
    (Name(quantity='rain', unit='mm', station='', is_error=False, foreign=''), 'ATU1')

    Args:
        header: the name.
        unit: of a row of units below the header.
    """
    # `displacement_east_mm` and the like are names of our own: taken as they are
    suffixed = split_suffix(header)
    if suffixed is not None:
        for own in sorted(QUANTITIES, key=len, reverse=True):
            if suffixed[0] == own or suffixed[0].endswith("_" + own):
                rest = _FILLER.sub(" ", suffixed[0].removesuffix(own)).strip(" _-")
                return Name(own, suffixed[1], name_station(rest))
    raw = unit if unit is not None and is_raw(unit) else ""
    said = None if raw else unit or unit_of_header(header)
    bracketed = _BRACKETS.findall(header)
    inside = [u for text in bracketed if (u := spell_unit(text)) is not None]
    said = said or (inside[0] if inside else None)
    foreign = raw or (bracketed[-1].strip("[]()（）［］ ") if bracketed and said is None else "")
    bare = _BRACKETS.sub(" ", header)
    if said is not None and "/" in bare:
        bare = bare.rsplit("/", 1)[0]
    quantity, rest = _find_quantity(bare)
    tokens = re.split(r"[\s_]+", rest)
    for token in tokens:
        spelled = spell_unit(token)
        if spelled is None or token.isdigit():
            continue
        if len(token) > 1 or (quantity is not None and is_unit_of(spelled, quantity)):
            said = said or spelled
            tokens = [t for t in tokens if t != token]
            break
    quantity = quantity or _BY_UNIT.get(said or "")
    if quantity is not None and said is not None and not is_unit_of(said, quantity):
        quantity = None
    if quantity is not None and QUANTITIES[quantity].unit == "1":
        said = said or "1"
    rest = " ".join(tokens)
    is_error = _ERROR.search(rest) is not None
    station = name_station(_FILLER.sub(" ", _ERROR.sub(" ", rest)).strip(" _-.:"))
    if station.isdigit():  # "Crack 3" is a better name than "3"
        station = (
            name_station(" ".join(t for t in re.split(r"[\s_]+", bare) if t.isdigit() or spell_unit(t) is None))
            or station
        )
        station = f"S{station}" if station.isdigit() else station
    return Name(quantity, said, station, is_error, raw or (foreign if said is None else ""))


def _find_quantity(text: str) -> tuple[str | None, str]:
    """The quantity that a name says, and the name without the words that say it."""
    for pattern, quantity in _QUANTITIES:
        plain = text.replace("_", " ")
        if re.search(pattern, plain, re.IGNORECASE) is None:
            continue
        while match := re.search(pattern, plain, re.IGNORECASE):
            begin, end = match.span()
            while begin > 0 and _is_letter(plain[begin - 1]):
                begin -= 1
            while end < len(plain) and _is_letter(plain[end]):
                end += 1
            if end == begin:
                break
            plain = plain[:begin] + " " + plain[end:]
        return quantity, plain
    return None, text


def _is_letter(char: str) -> bool:
    return char.isalpha() and char < "\u2e80"  # of words that blanks part


def is_station_column(header: str) -> bool:
    """Whether a column of texts by this name says whose row it is."""
    return _STATION.match(_BRACKETS.sub("", header).strip()) is not None


def is_no_measurement(header: str) -> bool:
    """Whether a column of numbers by this name is a counter, a place, part of a date or nothing of this service."""
    bare = _BRACKETS.sub("", header).strip()
    return any(p.match(bare) for p in (_COUNTER, _PLACE, _CALENDAR)) or _OTHER.search(bare) is not None
