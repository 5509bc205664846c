"""What the name of a column says: quantity, unit, station. Words of the field in six languages."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from monitor.api.ingest import is_sure_unit, join_depths, name_station, read_unit, unit_of_header
from monitor.api.sites import QUANTITIES, is_raw, is_unit_of, split_suffix

# the first that is found counts: the special before the general
_QUANTITIES: Final[tuple[tuple[str, str], ...]] = (
    (r"batt|akku|supply.?volt|versorgung|batterie|bateria|电池|电压", "battery_voltage"),
    (r"rssi|signal|feldst", "signal_strength"),
    # no terrain, drain, strain or grain; no Bregenz and no precipice
    (r"(?<!d)(?<!g)(?<!st)(?<!er)rain|precip(?!i[cz])|niederschlag|(?<!b)regen(?!sburg)", "rain"),
    (r"piogg|pluie|pluvio|pluv[ií]|udomet|lluvia|chuva|降雨|雨量", "rain"),
    (r"snow(?!.?(?:water|fall))|schnee|(?<!ge)neve(?!r)|neige|nieve|积雪|雪深", "snow_depth"),
    (r"pore|poren|intersti[ztc]|pi[eé]zo|孔隙", "pore_pressure"),
    (r"earth.?press|erddruck|土压", "earth_pressure"),
    (r"(?<![a-z])baro(?![a-z])|barom|luftdr|air.?press|atmos|patm|bp[_ ]|气压", "air_pressure"),
    (r"soil.?moist|bodenfeucht|umidit.*(?:suolo|terren)|vwc|water.?content|含水", "soil_moisture"),
    (r"coheren", "coherence"),
    (r"dist\w*\.?.{0,4}to.{0,8}water|(?<![a-z])dtgw(?![a-z])|abstand.{0,8}wasser", "groundwater_level"),
    (r"distan\w+.{0,12}(?:acqua|falda|l?eau|nappe|agua|fre[aá]tic)", "groundwater_level"),
    (r"depth.?to.?(?:ground.?)?water|(?<![a-z])dtw(?![a-z])|soggiacenza|flurabstand|abstich", "groundwater_level"),
    (r"profondit[aà].{0,12}falda|profondeur.{0,12}nappe|profundidad.{0,12}fre[aá]tic|埋深", "groundwater_level"),
    (r"(?<![a-z])gw[ _]?(?:[tls]|level|stand)(?![a-z])|ground.?water|grundwasser|falda", "groundwater_level"),
    (r"nappe|fre[aá]tic|water.?table|地下水", "groundwater_level"),
    (r"(?<![a-z])rwl(?![a-z])|reservoir|stausee|embalse|invaso|(?<![a-z])lake|库水|水库", "reservoir_level"),
    (r"water.?le?v|(?<![a-z])pond|wtr.?lvl|wasserst|pegel|livello|niveau|n[ií]vel|(?<![a-z])stage|水位", "water_level"),
    (r"(?:gau?ge|river|water|tide|wasser).?h(?:eight|öhe)|hauteur.{0,3}eau|altezza.{0,9}(?:acqua|idro)", "water_level"),
    (r"temp|温度|气温", "temperature"),
    (
        r"crack|lvdt|fiss?ur|(?<!b)riss(?!a(?!u))|scheur|joint|fessur|grieta|e[xs]tens[ioòó]|estens|spalt|aperture|opening|[ck]onvergen|裂缝",
        "crack_opening",
    ),
    (r"tilt|inclin|neigung|[ck]lino|倾", "tilt"),
    (r"veloc|speed|geschwind|vitesse|速度", "velocity"),
    (r"strain|dehnung|deformaz.*unit|应变", "strain"),
    (r"downslope|hangab|falllinie|along.?slope", "displacement_downslope"),
    (r"(?<![a-z])los(?![a-z])|line.?of.?sight", "displacement_los"),
    (r"slope.?dist|distan|schr[äa]gdist|(?<![a-z])range|strecke", "displacement_distance"),
    (r"(?<![a-z])easting(?![a-z])|东", "displacement_east"),
    (r"(?<![a-z])northing(?![a-z])|北", "displacement_north"),
    (r"(?<![a-z])(?:up|vert(?:ical)?|hoch|höhe|height|quota|heave)(?![a-z])|垂直", "displacement_up"),
    (
        r"(?<![a-z])(?:settl\w*|setzung|cedimento|abbassamento|tassement|subsidence|asentamiento)(?![a-z])|沉降",
        "displacement_up",
    ),
    (r"disp|verschieb|beweg|spost|d[eé]plac|despl|movement|motion|位移|変位|변위|变形", "displacement"),
)
# a crack at a lake is no level of it: where words of both stand in a name, a person says which it is
_OF_WATER: Final = frozenset({"rain", "snow_depth", "groundwater_level", "reservoir_level", "water_level"})
_OF_MOTION: Final = "|".join(p for p, q in _QUANTITIES if q in {"crack_opening", "tilt", "strain", "displacement"})
# parts of one motion along and across an axis that only people know: none of them is the motion
_ACROSS: Final = re.compile(
    r"(?<![a-z])(?:longitudinal\w*|transvers\w*|trasvers\w*|lateral\w*)(?![a-z])|längs(?!chnitt)|(?<![a-z])quer",
    re.IGNORECASE,
)
_SINCE: Final = re.compile(  # and what moved since the last reading; alone these words may say it of rain
    r"(?<![a-z])(?:incr[ée]ment\w*|inkrement\w*|zuwachs|change|daily|hourly|weekly|monthly|since.last|24 ?h)(?![a-z])|"
    r"(?<![a-z])(?:täglich\w*|giornalier\w*|journali\w*|diari[oa])(?![a-z])",
    re.IGNORECASE,
)
COMPONENTS: Final = {"e": "displacement_east", "n": "displacement_north", "u": "displacement_up"}
# what counts from above: larger values are lower water, or lower ground
_DOWNWARD_WORDS: Final = (
    *(r"dist\w*\.?.{0,4}to.{0,8}water", "(?<![a-z])dtgw(?![a-z])", "abstand.{0,8}wasser"),
    *(r"distan\w+.{0,12}(?:acqua|falda|l?eau|nappe|agua|fre[aá]tic)", "depth.?to", "(?<![a-z])dtw(?![a-z])"),
    "below.{0,5}(?:ground|surface|toc|top|casing|collar|datum|measuring|reference|mp(?![a-z]))",
    r"(?<![a-z])(?:(?:m|cm|ft)? ?b\.?(?:g\.?[ls]|toc)|(?:m|cm|ft) ?b\.?(?:tc|mp|ct|rp|n\.?t))(?![a-z])",
    r"(?<![a-z])g\.?l\.? ?[-\u2212\uff0d] ?\(?m(?![a-z])",  # Japanese: below the ground
    *("(?<![a-z])(?:m|ft) ?toc(?![a-z])", "soggiacenza", "flurabstand", "abstich"),
    r"(?<![a-z])(?:u\.?|unter|ab) ?(?:gok|rok|pok|okt|ok|mp|rohr\w*|mess\w*|gelände\w*)(?![a-z])",
    r"(?<![a-z])(?:da|dal|dalla|sotto) ?(?:il |la )?(?:p\.? ?c|piano|bocca|b\.? ?p|testa)",
    "(?:sous|/) ?(?:le |la )?(?:sol|tn|terrain|rep[eè]re|margelle)(?![a-z])",
    "(?<![a-z])bajo (?:el |la )?(?:brocal|terreno|suelo|boca|superficie|nivel del terreno)",
    r"(?:ground.?water|water.?table|grundwasser)\W{0,2}(?:depth|tiefe)(?!\W{0,3}\d)",
    *("profondit[aà].{0,12}(?:falda|livello)", "profondeur.{0,12}(?:nappe|niveau)"),
    *("profundidad.{0,12}(?:fre[aá]tic|nivel)", "埋深"),
    r"(?<![a-z])(?:settl\w*|setzung\w*|cediment\w*|abbassament\w*)",
    *(r"(?<![a-z])(?:tassement\w*|subsidence|asentamiento\w*)", "沉降"),
)
_DOWNWARD: Final = re.compile("|".join(_DOWNWARD_WORDS), re.IGNORECASE)
_FROM_ABOVE: Final = ("displacement_up", "groundwater_level", "water_level", "reservoir_level")
_ABOVE_SEA: Final = re.compile(
    r"b\.?g\.?[ls]|btoc|gok|a\.?s\.?l|s\.?l\.?m|ü\. ?m|[mü]\. ?[nN]|s\.?n\.?m|m ?ngf", re.IGNORECASE
)
_OTHER_UNITS: Final = {("battery_voltage", "%"): "battery_level", ("crack_opening", "microstrain"): "strain"}
_ABSOLUTE: Final = re.compile(  # a pressure with that of the air in it, which is no pore pressure
    r"(?<![a-z])(?:abs(?:olute?|olu)?|assolut[ao]|absolut[ao]|total[eo]?|gesamt|un(?:corr|comp|korr|komp)\w*)(?![a-z])",
    re.IGNORECASE,
)
_OF_AIR: Final = re.compile(
    r"(?:p|press\w*|pression[ei]?|presi[oó]n|druck|station|qf[ef]|avg|mean|smp|raw|[\W_])*", re.IGNORECASE
)
_OF_SUPPLY: Final = re.compile(
    r"(?:volt\w*|spannung|tension\w*|tensi[oó]n|voltaje|supply|power|logger|device|node|u|v|vb\w*|vin|avg|mean|min|max|smp|[\W\d_])*",
    re.IGNORECASE,
)
_BY_UNIT: Final = {
    "degC": "temperature",
    "degF": "temperature",
    "V": "battery_voltage",
    "mV": "battery_voltage",
    "dBm": "signal_strength",
    "hPa": "air_pressure",
    "mbar": "air_pressure",
}
# says that a column is the standard deviation of another
_ERROR_WORDS: Final = (
    r"standard[ _\-.]*(?:dev\w*|err\w*|abw\w*|fehler)",
    *("(?:deviazione|desviaci[oó]n)[ _]+(?:standard|est[aá]ndar)", r"[eé]cart[ _\-]?type", r"mittl\w*[ _.]+fehler"),
    *(r"st\.?[ _.\-]dev\w*", r"[^\W\d_]*(?:sigma|uncertain|unsicherheit|incert)[^\W\d_]*", "σ", "±", "误差", "标准差"),
)
_ERROR_ALONE: Final = (  # words of their own
    r"std(?:[ _\-.]?(?:dev|err(?:or)?|abw))?|sdev|stddev|stdev|stderr|stdabw|sig|err(?:ors?|ore|eur)?|fehler|"
    r"genauigkeit|accuracy|precision|rmse?|unc"
)
_ERROR: Final = re.compile(rf"{'|'.join(_ERROR_WORDS)}|(?<![^\W\d_])(?:{_ERROR_ALONE})(?![^\W\d_])", re.IGNORECASE)
# might say so: SE is also a side of a slope, S1 an instrument
_MAYBE: Final = re.compile(r"(?<![^\W_])(?:sd|se|s|s\.[de]\.)(?![^\W_])", re.IGNORECASE)
_MAYBE_SIGN: Final = re.compile(r"(?<![^\W_])sd?[_]?(?=[enuhxyz]\d*(?![^\W_]))", re.IGNORECASE)
EXTREME: Final = re.compile(
    r"(?<![^\W_])(?:min|max|minimum|maximum|massim[oa]|minim[oa]|m[aá]xim[oa]|m[ií]nim[oa])(?![^\W_])", re.IGNORECASE
)
# one letter, or a side of the compass: a component only where the others stand beside it
_SIGN: Final = re.compile(r"(?:[dΔ]|delta)?([enuhzxy])(\d*)", re.IGNORECASE)
_AXIS: Final = re.compile(r"(?:([xy])(\d*)|([ab]))[+]?", re.IGNORECASE)  # of a tiltmeter
_AXIS_TERM: Final = re.compile(r"achse|axis|(?<![a-z])ass[ei](?![a-z])|(?<![a-z])axe(?![a-z])", re.IGNORECASE)
_SIDES: Final = {"east": "e", "ost": "e", "est": "e", "este": "e", "north": "n", "nord": "n", "norte": "n"}
_STATION_WORDS: Final = (
    "station|site|point|punkt|pt|messstelle|messpunkt|punto|sensor|logger|marker|instrument|target|prism|prisma|ziel|"
    "name|id|device|node|nodo|capteur|stazione|estación|estacion|borehole|bohrung|sondaggio|forage|测点|测站|点号"
)
_STATION: Final = re.compile(rf"^(?:{_STATION_WORDS})(?:[ _\-]?(?:id|name|no|nr|code))?$|^\w+[ _]id$", re.IGNORECASE)
_SERIAL: Final = re.compile(r"(?<![^\W\d_])(?:serial\w*|s/n|serien\w*|matricola)(?![^\W\d_])", re.IGNORECASE)
_COUNTER: Final = re.compile(
    r"^(?:table|result)$|"
    r"^(?:record|recno|rec|nr\.?|no\.?|n°|(?:s|sr|sl)\.? ?no\.?|num|#|index|idx|seq(?:uence)?|row|lfd.*|id)$",
    re.IGNORECASE,
)
_PLACE: Final = re.compile(
    r"^(?:lat(?:itude)?|lon(?:g(?:itude)?)?|breite|l[äa]nge|elev(?:ation)?|alt(?:itude)?)(?![^\W\d_])", re.IGNORECASE
)
_CALENDAR: Final = re.compile(
    r"^(?:year|month|day|days|doy|hour|minute|min|sec(?:ond)?|ms|jahr|monat|tag|stunde|anno|mese|giorno|julian.*|mjd|week"
    r"|year_day|day_fraction|fraction|group)$",
    re.IGNORECASE,
)
# measured beside slopes and no quantity of this service
_NOT_OF_HERE: Final = (
    *("humidit", "luftfeucht", "solar", "radiat", "strahlung", "slr", "wind", "satell", "hdop", "pdop", "dew.?p"),
    *("taupunkt", "rugiada", "quality", "qualität", "qualità", "qualité", "flag", "status", "azimut", "threshold"),
    r"(?<![a-z])(?:modell?o?|resid\w*|warn\w*)(?![a-z])",
    *("grenzwert", "alarm", "limit(?!e)", "soglia", "umbral", "seuil", "(?<![a-z])valid(?:ity)?(?![a-z])"),
    # of rain what is no amount
    r"intensit",
    r"(?:rain\w*|precip\w*|niederschl\w*|regen\w*|piogg\w*|pluie|lluvia)[ _.-]?(?:rate|typ|tipo|duration|dauer|durata)",
    r"(?:antenn|instrument|reflektor|reflector)\w*[ _.-]?h(?:eight|öhe|gt)",
)
_ALONE: Final = ("rh", r"rel\w*[ _.]?hum\w*", "par", "dp", "q")  # as words of their own
_OTHER: Final = re.compile(f"{'|'.join(_NOT_OF_HERE)}|(?<![a-z])(?:{'|'.join(_ALONE)})(?![a-z])", re.IGNORECASE)
NOT_MEASURED: Final = re.compile(
    r"(?<![^\W\d_])(?:forecast|predict|prognos|vorhersage|previs|prévis|pron[oó]st|simulat|simulier|modell?(?:ed|ier)|"
    r"synthetic|interpol|estimat|geschätzt|stimat|estimé|gap.?fill|aufgefüllt)",
    re.IGNORECASE,
)  # of rows and of columns: what was worked out
_BRACKETS: Final = re.compile(r"[\[(（［][^\])）］]*[\])）］]?")
_TREATED_WORDS: Final = (
    r"raw|roh\w*|grezz[ao]|brut\w*|orig\w*|corr\w*|korr\w*|compens\w*|komp\w*|filt\w*|gefiltert|smooth\w*|geglättet",
    r"adjust\w*|clean\w*|zeroed|(?:since|from|seit|da|depuis)[ -](?:zero|start|null\w*|inizio)|change|delta|median",
    r"moving|rolling|p\d\d|hourly|daily|weekly|monthly|yearly|annual|event",
)
_TREATED: Final = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(_TREATED_WORDS)})(?![^\W\d_])", re.IGNORECASE)
_TIPS: Final = re.compile(r"(?<![^\W\d_])(?:tips?|pulses?|impulse?|impulsi|counts?|kipp\w*)(?![^\W\d_])", re.IGNORECASE)
_FILLER: Final = re.compile(
    r"(?<![a-z])(?:avg|mean|mittel\w*|media|max|min|tot(?:al)?|sum(?:me)?|smp|value|wert|valore|valeur|reading|data|raw|"
    r"in|of|to|the|at|amounts?|level|livello|niveau|nivel|gauges?|"
    r"pressure|pression[ei]?|presi[oó]n|druck|deviation|cum\w*|absolute?|rel(?:ative)?|air|luft|water|wasser|achse|axis|asse|axe|"
    r"[23]d)(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ColumnMeaning:
    """What a column's name says; None where it says nothing."""

    quantity: str | None  # what it measures
    unit: str | None  # in which unit
    station: str  # "" where nothing of the name is left for it
    foreign: str = ""  # what stands where a unit would, and is none that is known
    # e, n, u, x or y: a component, where the others of its station stand beside it
    sign: str = field(default="", repr=False)
    base: str = field(default="", repr=False)  # the station without the sign
    is_side: bool = field(default=False, repr=False)  # the sign is a word such as Nord, not a letter
    # the columns whose standard deviation this would be, by its name; the likeliest first
    error_of: "tuple[ColumnMeaning, ...]" = field(default=(), repr=False)
    is_error: bool = field(default=False, repr=False)  # it says that it is one
    # it is a part of a motion: along or across an axis that only people know, or since the last reading
    is_part: bool = field(default=False, repr=False)


def read_name(header: str, unit: str | None = None) -> ColumnMeaning:
    """Quantity, unit and station of a column, and whose error it may be; `unit` stands in a row below its name.

    >>> read_name("Crack 3 [mm]")
    ColumnMeaning(quantity='crack_opening', unit='mm', station='Crack-3', foreign='')
    >>> read_name("GNSS1_displacement_east_mm")
    ColumnMeaning(quantity='displacement_east', unit='mm', station='GNSS1', foreign='')
    >>> read_name("Niederschlag (mm)"), read_name("ATU1/mm").station
    (ColumnMeaning(quantity='rain', unit='mm', station='', foreign=''), 'ATU1')
    >>> read_name("Sigma R1 [mm]").error_of, read_name("Crack S1 [mm]").error_of
    ((ColumnMeaning(quantity=None, unit='mm', station='R1', foreign=''),), ())
    """
    plain = _read_plain(header, unit)
    first = re.sub(r"#\d+$", "", header)  # of several columns of one name
    if _ERROR.search(first) is not None:
        return replace(plain, error_of=(_read_plain(_ERROR.sub(" ", first), unit),), is_error=True)
    bare = _BRACKETS.sub(" ", first)
    fitting = [maybe for maybe in (_MAYBE_SIGN, _MAYBE) if maybe.search(bare) is not None]
    return replace(plain, error_of=tuple(_read_plain(maybe.sub(" ", bare, count=1), plain.unit) for maybe in fitting))


def _read_plain(header: str, unit: str | None) -> ColumnMeaning:
    """What a name says, whatever of it may be a word for errors."""
    if (own := _read_own_name(header)) is not None:
        return own
    header = join_depths(header)
    brackets = _BRACKETS.findall(header)
    known, foreign = _read_written_unit(header, unit, brackets)
    bare = _strip_unit(header, known)
    quantity, rest = _find_quantity(bare)
    if quantity == "rain" and known is None and _TIPS.search(bare):
        foreign = "counts"  # each is so many millimetres, which the gauge alone says
    if quantity == "pore_pressure" and any(map(_ABOVE_SEA.search, brackets)):
        quantity = "groundwater_level"  # a piezometer that says the height of its water
    if quantity == "pore_pressure" and _ABSOLUTE.search(bare.replace("_", " ")):
        quantity = None
    tokens = [token for token in re.split(r"[\s_]+", rest) if token]
    known, tokens = _take_unit_token(tokens, quantity, known, foreign)
    quantity, tokens = _fit_quantity(quantity, known, tokens)
    is_part = _is_part(quantity, bare)
    if is_part:
        quantity, tokens = None, [t for t in tokens if _ACROSS.search(t) is None]
    if quantity is not None and QUANTITIES[quantity].unit == "1":
        known = known or "1"
    if quantity == "tilt":
        quantity, tokens, bare = _find_axis(tokens, bare)
    sign, base, is_side = _find_sign(tokens)
    if quantity == "displacement" and is_side and sign in COMPONENTS:  # "displacement North" is one whatever is beside
        quantity, tokens = COMPONENTS[sign], base
    if known is not None and not (unit and is_raw(unit)):
        foreign = ""
    return ColumnMeaning(quantity, known, _name(tokens, bare), foreign, sign, _name(base, ""), is_side, is_part=is_part)


def _read_own_name(header: str) -> ColumnMeaning | None:
    """What a name such as `displacement_east_mm` says: they are names of our own, taken as they are."""
    if (suffixed := split_suffix(header)) is None:
        return None
    for own in sorted(QUANTITIES, key=len, reverse=True):
        if suffixed[0] == own or suffixed[0].endswith("_" + own):
            rest = _FILLER.sub(" ", suffixed[0].removesuffix(own)).strip(" _-")
            return ColumnMeaning(own, suffixed[1], name_station(rest))
    return None


def _read_written_unit(header: str, unit: str | None, brackets: Sequence[str]) -> tuple[str | None, str]:
    """The unit of a row of units, of the name's end or of its brackets, and what stands for one that is not known."""
    if unit is not None and is_raw(unit):
        known, foreign = None, unit
    else:
        known, foreign = unit or unit_of_header(header), ""
    known = known or next((inside for text in brackets if (inside := read_unit(text)) is not None), None)
    if not foreign and brackets and known is None:
        foreign = brackets[-1].strip("[]()（）［］ ")
    return known, foreign


def _fit_quantity(quantity: str | None, unit: str | None, tokens: list[str]) -> tuple[str | None, list[str]]:
    """The quantity that words and unit say together, None where they disagree, and the words that are left."""
    if quantity is None and (implied := _BY_UNIT.get(unit or "")):
        # a logger of water counts in mbar, a panel in V: the unit alone says it of a name that names nothing else
        bare = {"air_pressure": _OF_AIR, "battery_voltage": _OF_SUPPLY}.get(implied)
        quantity = implied if bare is None or bare.fullmatch(" ".join(tokens)) else None
    if quantity == "temperature":
        tokens = [t for t in tokens if t.lower() != "t"]
    quantity = _OTHER_UNITS.get((quantity or "", unit or ""), quantity)
    fits = quantity is None or unit is None or is_unit_of(unit, quantity)
    return quantity if fits else None, tokens


def _is_part(quantity: str | None, bare: str) -> bool:
    """Whether a name says a part of a motion: along or across an axis, or since the last reading."""
    if quantity not in {None, "displacement"}:
        return False
    return _ACROSS.search(bare) is not None or (quantity is not None and _SINCE.search(bare) is not None)


def _strip_unit(header: str, unit: str | None) -> str:
    """A name without brackets and without a unit behind a slash."""
    bare = _BRACKETS.sub(" ", header)
    before, slash, behind = bare.rpartition("/")
    return before if unit is not None and slash and read_unit(behind) is not None else bare


def _take_unit_token(
    tokens: list[str], quantity: str | None, unit: str | None, foreign: str
) -> tuple[str | None, list[str]]:
    """The unit, by a word of the name where nothing else says it, and the words without it.

    It is the last word, or one that is nothing else, such as kPa. "in" within a name is no inch, and a single letter is
    a unit of the quantity alone.
    """
    if foreign.lstrip("x× ")[:1].isdigit() and not foreign.isdigit():
        return unit, tokens  # "in 1/10 mm" is no inch
    ends = [t for t in tokens if not t.isdigit() and not (_FILLER.fullmatch(t) and t.lower() != "in")]
    for token in tokens:
        known = read_unit(token)
        if known is None or token.isdigit() or (token != ends[-1] and not is_sure_unit(token)):
            continue
        if len(token) > 1 or (quantity is not None and is_unit_of(known, quantity)):
            return unit or known, [t for t in tokens if t != token]
    return unit, tokens


def is_term_of_field(text: str) -> bool:
    """Whether a text is a quantity or a unit and nothing else, and so no name of a station.

    >>> [is_term_of_field(text) for text in ("Rain", "mm", "pore pressure", "Crack 3", "Upper")]
    [True, True, True, False, False]
    """
    plain = " ".join(re.split(r"[\s_-]+", text)).strip()
    if len(plain) < 2 or plain.isdigit():
        return False  # letters and numbers are names of instruments
    if read_unit(plain) is not None or plain.lower().replace(" ", "_") in QUANTITIES:
        return True
    quantity, rest = _find_quantity(plain)
    return quantity is not None and not any(sign.isalnum() for sign in _FILLER.sub(" ", rest))


def _name(tokens: Sequence[str], bare: str) -> str:
    """A station's name made of what is left; `bare`: the whole name, where only a number is left."""
    station = name_station(_FILLER.sub(" ", " ".join(tokens)).strip(" _-.:"))
    station = "" if is_term_of_field(station) else station
    if station.isdigit() and bare:  # "Crack 3" is a better name than "3"
        words = " ".join(t for t in re.split(r"[\s_]+", bare) if t.isdigit() or read_unit(t) is None)
        station = name_station(words) or station
        station = f"S{station}" if station.isdigit() else station
    return station


def _find_axis(tokens: Sequence[str], bare: str) -> tuple[str, list[str], str]:
    """The axis of a tiltmeter, and its name without it; A and B may also be two instruments of one axis each."""
    parts = [part for token in tokens for part in token.split("-") if part]
    for k, part in enumerate(parts):
        axis = _AXIS.fullmatch(part)
        if axis is None:
            continue
        number = axis[2] or ""
        rest = [*parts[:k], *([number] if number else []), *parts[k + 1 :]]
        if axis[1] or _name(rest, "") or _AXIS_TERM.search(bare):
            plain = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", f" {number}", bare)
            return "tilt_x" if part[0].lower() in "xa" else "tilt_y", rest, plain
    return "tilt", list(tokens), bare


def _find_sign(tokens: Sequence[str]) -> tuple[str, list[str], bool]:
    for k, token in enumerate(tokens):
        lower = token.lower().strip(".-")
        letter = _SIGN.fullmatch(lower)
        if lower in _SIDES:
            return _SIDES[lower], [*tokens[:k], *tokens[k + 1 :]], True
        if letter is not None:
            sign = "u" if letter[1] in "hz" else letter[1]
            number = [letter[2]] if letter[2] else []
            return sign, [*tokens[:k], *number, *tokens[k + 1 :]], False
    return "", list(tokens), False


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
        if quantity in _OF_WATER and re.search(_OF_MOTION, plain, re.IGNORECASE):
            return None, text
        return quantity, plain
    return None, text


def _is_letter(char: str) -> bool:
    return char.isalpha() and char < "\u2e80"  # of words that blanks part


def strip_treatment(station: str) -> tuple[str, bool]:
    """A name without words for what was done with the values, and whether there were any.

    >>> strip_treatment("C1-corrected"), strip_treatment("median"), strip_treatment("Upper")
    (('C1', True), ('', True), ('Upper', False))
    """
    bare = _TREATED.sub("", station)
    return _find_quantity(bare)[1].strip("-_ "), bare != station  # "3" is called "Crack-3" where nothing else is left


def is_station_column(header: str) -> bool:
    """Whether a column of texts by this name says whose row it is."""
    return _STATION.match(_BRACKETS.sub("", header).strip()) is not None


def may_count_downward(header: str, quantity: str) -> bool:
    """Whether a name says that larger values are lower ground or lower water.

    >>> may_count_downward("Depth to water", "groundwater_level"), may_count_downward("Setzung 3", "displacement_up")
    (True, True)
    >>> may_count_downward("Water level (m)", "water_level"), may_count_downward("Depth to water (m)", "temperature")
    (False, False)
    """
    return quantity in _FROM_ABOVE and _DOWNWARD.search(header.replace("_", " ")) is not None


def is_no_measurement(header: str) -> bool:
    """Whether a column of numbers by this name is a counter, a place, part of a date or nothing of this service."""
    bare = _BRACKETS.sub("", header).strip()
    is_other = any(p.search(bare) for p in (_OTHER, NOT_MEASURED)) or is_serial(header)
    return is_other or any(p.match(bare) for p in (_COUNTER, _PLACE, _CALENDAR))


def is_serial(header: str) -> bool:
    """Whether a column by this name holds the serial numbers of instruments."""
    return _SERIAL.search(_BRACKETS.sub("", header)) is not None
