"""The sentences for the reason codes of `detection`."""

from collections.abc import Mapping
from typing import Any, Final

from detection.anomaly.registry import NETWORK_EXPECTATION, USUAL_INCREMENTS
from detection.reasons import Explanation, Reason
from monitor.text.formats import figure, index_by_code, names, reason_text
from monitor.text.message import (
    LABELLED_TEXT,
    LISTED,
    Duration,
    Figure,
    Message,
    MessageList,
    NameList,
    Template,
    Term,
    Timestamp,
    Value,
    join,
)

# What the score of an anomaly was compared with: the part of a series' own past. Detectors of packages give phrases of
# their own.
PASTS: Final[Mapping[str, str]] = {
    "earlier-readings": "its earlier readings",
    "last-7-to-10-days": "its last 7 to 10 days",
    "level-and-noise": "its level and noise before",
    "lines-of-30-and-60-days": "the lines of its last 30 and 60 days",
    NETWORK_EXPECTATION: "what a network expects of its last 30 readings",
    "usual-interval": "its usual interval",
    "usual-resolution": "its usual resolution",
    USUAL_INCREMENTS: "its usual increments",
}


def _past(value: str | Message) -> Value:
    """Show a part of the past by the phrase of its code; a phrase and a reason are shown as they are."""
    return value if isinstance(value, Message) else Term(PASTS.get(value, value))


def _terms(values: tuple[str, ...]) -> Value:
    return join((Term(value) for value in values), ", ")


def _name_or_names(value: str | tuple[str, ...]) -> Value:
    return NameList(value) if isinstance(value, tuple) else value


TEXTS: Final = index_by_code(
    # ---- anomalies ---------------------------------------------------------------------------------------------
    reason_text(Template("compared.past", "{past}"), past=_past),
    reason_text(Template("compared.others", "{past}, and with {n} other series"), past=_past),
    reason_text(
        Template("compared.named", "{past}, and with {n} other series ({names})"),
        past=_past,
        names=names(conjunction=True),
    ),
    reason_text(
        Template("compared.among", "{past}, and with {n} other series ({names} among them)"),
        past=_past,
        names=names(conjunction=True),
    ),
    reason_text(
        Template(
            "vote.short",
            "{months} sensor-months were held out: {needed} are needed to count {budget} false alarms per sensor-month",
        ),
        months=figure(".1f"),
        needed=figure(".0f"),
    ),
    reason_text(
        Template("vote.loud", "{rate} alarms per sensor-month on held-out time, more than the budget of {budget}"),
        rate=figure(".3g"),
    ),
    reason_text(
        Template(
            "vote.no_gain",
            "its recall at equal false alarms cannot be compared with that of {names}; {needed} is needed",
        ),
        names=names(conjunction=True),
        needed=figure("+g"),
    ),
    reason_text(
        Template(
            "vote.small_gain",
            "its recall at equal false alarms differs by {gain} from that of {names}; {needed} is needed",
        ),
        gain=figure("+.3f"),
        names=names(conjunction=True),
        needed=figure("+g"),
    ),
    # ---- GeoJSON -----------------------------------------------------------------------------------------------
    reason_text(Template("geojson.none", "not GeoJSON")),
    reason_text(Template("geojson.system", "its coordinates are in '{name}', which nobody knows")),
    reason_text(
        Template(
            "geojson.beyond", "coordinates beyond longitude and latitude; no member `crs` says that they are others"
        )
    ),
    # ---- map tiles ---------------------------------------------------------------------------------------------
    reason_text(Template("tiles.empty", "no pixel shows anything")),
    reason_text(Template("tiles.no_place", "has no place on the ground")),
    reason_text(Template("tiles.off_grid", "cannot be brought onto the grid of web maps")),
    reason_text(Template("tiles.beyond", "lies beyond the grid of web maps (85 degrees north or south)")),
    reason_text(Template("tiles.too_wide", "crosses the date line, or is wider than half of the world")),
    # ---- weights that do not fit a scene -----------------------------------------------------------------------
    reason_text(Template("weights.pixels", "pixels of {pixel} m, trained on {trained} m"), pixel=figure(".3g")),
    reason_text(
        Template(
            "weights.logistic",
            "on pictures that neither learnt, logistic regression is better (F1 {logistic} instead of {network})",
        ),
        logistic=figure(".2f"),
        network=figure(".2f"),
    ),
    reason_text(Template("weights.unused", "no network was used")),
    reason_text(Template("weights.none_fits", "no network fits this image")),
    reason_text(Template("weights.unfit", "{model} does not fit: {text}")),
    reason_text(
        Template("weights.none_serves", "your own weights {weights} cannot be read: no network serves instead")
    ),
    reason_text(
        Template("weights.shipped_serve", "your own weights {weights} cannot be read: shipped weights serve instead")
    ),
    reason_text(Template("weights.others_serve", "your own weights {weights} cannot be read: others serve instead")),
    reason_text(Template("weights.nor_coarser", "{text}, and read at {at} m: {text2}")),
    reason_text(Template("weights.few_pixels", "{width} x {height} pixels are too few to know ground by")),
    reason_text(
        Template("weights.too_long", "it would be read as {width} x {height} pixels of {pixel} m, which takes too long")
    ),
    reason_text(
        Template(
            "weights.all_the_same",
            "{command} reads it coarser all the same; {command2} learns a network for such pixels",
        )
    ),
    reason_text(Template("weights.refused_finer", "refused by {model}: {text}; {mend}")),
    reason_text(Template("weights.nor_dates", "nor can dates be compared: {text}")),
    # ---- a scene unlike the training ---------------------------------------------------------------------------
    reason_text(Template("domain.types", "values of {types}, trained on {trained}"), types=names()),
    reason_text(
        Template("domain.months", "taken in {month}, trained on images of {months}"), month=Term, months=_terms
    ),
    reason_text(
        Template(
            "domain.interpolated",
            "steps differ by {seen} from the next, trained on {limit} and more: interpolated from other pixels, or "
            "blurred",
        )
    ),
    reason_text(
        Template(
            "domain.even",
            "the grain is as even as {seen}, trained on {limit} at most: noise, or evenly covered ground",
        )
    ),
    reason_text(
        Template("domain.neighbours", "correlation of neighbouring pixels {seen}, trained on {limit} and more")
    ),
    reason_text(
        Template(
            "domain.noisy_steps",
            "steps from pixel to pixel correlate by {seen} between bands, trained on {limit}: each band has noise of "
            "its own",
        )
    ),
    reason_text(
        Template(
            "domain.noisy",
            "noise of about {seen} counts of 255; beyond {limit} these weights miss or invent landslides",
        ),
        seen=figure(".1f"),
    ),
    reason_text(
        Template("domain.too_noisy", "noise of about {seen} counts of 255; no more than {limit} was tried"),
        seen=figure(".0f"),
    ),
    # ---- cautions on a scene and its footprints ----------------------------------------------------------------
    reason_text(Template("pixels.coarser", "read coarser: at {at} m, the scene has {pixel} m"), pixel=figure(".3g")),
    reason_text(
        Template("pixels.read_at", "read at {at} m, the pixels of its training; the image has {pixel} m"),
        pixel=figure(".3g"),
    ),
    reason_text(
        Template(
            "pixels.read_near",
            "read at {at} m, near the {trained} m of its training; the image has {pixel} m, and what is small in it "
            "may be missed",
        ),
        pixel=figure(".3g"),
    ),
    reason_text(
        Template("caution.border", "touches nearly black ground at the edge of the scene, which may be a border")
    ),
    reason_text(
        Template(
            "caution.border_of",
            "touches nearly black ground at the edge of the scene of {day}, which may be a border",
        )
    ),
    reason_text(Template("caution.cloud", "lies beside a cloud, whose rim can look like a landslide")),
    reason_text(Template("caution.one_date", "one date only: a footprint may be old, or bare ground; it is advice")),
    reason_text(Template("caution.outside", "outside of the training of {model}: {text}")),
    reason_text(Template("caution.unlike", "unlike the training: {text}")),
    reason_text(Template("caution.index_alone", "change of an index between dates goes on alone, as advice")),
    reason_text(
        Template(
            "caution.no_clouds",
            "white clouds were not looked for, as nobody knows the size of these pixels and their rule was measured at "
            "{least} to {most} m; mask the clouds",
        ),
        least=figure(".2g"),
        most=figure(".2g"),
    ),
    reason_text(
        Template(
            "caution.no_clouds_at",
            "white clouds were not looked for in pixels of {pixel} m, as their rule was measured at {least} to {most} "
            "m; mask the clouds",
        ),
        pixel=figure(".3g"),
        least=figure(".2g"),
        most=figure(".2g"),
    ),
    # ---- change between dates ----------------------------------------------------------------------------------
    reason_text(Template("change.not_compared", "not compared with {scene}: {text}"), scene=_name_or_names),
    reason_text(Template("change.compared", "compared with {scene}: {text}")),
    reason_text(Template("change.another", "{file} is of another scene now")),
    reason_text(
        Template("change.shifted", "no change is claimed against {day}: its image lies {shift} px off"),
        shift=figure(".1f"),
    ),
    reason_text(
        Template(
            "change.shifted_by",
            "no change is claimed against {day}: its image lies {shift} px off ({columns} columns, {rows} rows)",
        ),
        shift=figure(".1f"),
        columns=figure("+.1f"),
        rows=figure("+.1f"),
    ),
    reason_text(
        Template(
            "change.registered",
            "the image of {day} was {shift} px off ({columns} columns, {rows} rows) and was moved onto the newer image",
        ),
        shift=figure(".1f"),
        columns=figure("+.1f"),
        rows=figure("+.1f"),
    ),
    reason_text(
        Template(
            "change.out_of_reach",
            "the index would have to rise by {limit} to count, and ground that becomes bare raises it by {most} at "
            "most: the images differ too much",
        ),
        limit=figure(".2f"),
        most=figure(".1f"),
    ),
    reason_text(Template("change.no_red_green", "one of the images has no red and green, which the index is made of")),
    reason_text(
        Template(
            "change.index_beside",
            "outlines that became barer since {day} by an index of red and green, beside the network: {outlines} "
            "({area} m²), not found by the network: {alone}; they are advice",
        ),
        area=figure(",.0f"),
    ),
    reason_text(
        Template(
            "change.white",
            "{area} km² ({share} %) of the image of {day} is white (snow, ice or cloud, or pale bare ground): outlines "
            "on or beside it, {outlines} here, count for no warning level",
        ),
        area=figure(".2f"),
        share=figure(".1f"),
    ),
    reason_text(
        Template(
            "change.built",
            "{area} km² ({share} %) of the image of {day} has much bright grey ground around it (town, road, quarry, "
            "gravel, snow or cloud): outlines there, {outlines} here, count for no warning level",
        ),
        area=figure(".2f"),
        share=figure(".1f"),
    ),
    reason_text(
        Template(
            "change.white_bands",
            "snow, cloud and towns were not looked for on the image of {day}: it has no red, green and blue",
        )
    ),
    reason_text(
        Template(
            "change.white_pixels",
            "snow, cloud and towns were not looked for on the image of {day}: it has pixels of {pixel} m, and their "
            "rule was measured at {least} to {most} m",
        ),
        pixel=figure(".3g"),
        least=figure(".2g"),
        most=figure(".2g"),
    ),
    reason_text(
        Template(
            "change.white_unknown",
            "snow, cloud and towns were not looked for on the image of {day}: the size of its pixels is not known, and "
            "their rule was measured at {least} to {most} m",
        ),
        least=figure(".2g"),
        most=figure(".2g"),
    ),
    reason_text(Template("caution.by_index", "found by an index of red and green beside the network, as advice")),
    reason_text(
        Template("caution.white", "lies on or beside white ground of {day}: snow, ice or cloud, or pale bare ground")
    ),
    reason_text(
        Template(
            "caution.built",
            "has much bright grey ground within {reach} m on the image of {day}: town, road, quarry, gravel, snow or "
            "cloud",
        ),
        reach=figure(".0f"),
    ),
    reason_text(
        Template(
            "caution.distorted",
            "the images are rotated or distorted against each other, by {shift} px at their corners",
        ),
        shift=figure(".1f"),
    ),
    reason_text(
        Template("caution.pixels", "the images have pixels of different size: {pixel} m, and {other} m on {day}"),
        pixel=figure(".3g"),
        other=figure(".3g"),
    ),
    reason_text(Template("caution.seen", "seen on {day}, not on {other}")),
    reason_text(Template("caution.below", "just below the threshold on {day}")),
    reason_text(Template("caution.other_class", "lies where {kind} was seen before"), kind=Term),
    reason_text(Template("caution.flat", "flat ground ({slope} degrees)"), slope=figure(".0f")),
)


# ---- messages that return to the library -----------------------------------------------------------------------
def read_reason(text: str) -> Explanation:
    """Return the reason that a stored message describes, for a library that continues with it; text stays text.

    >>> from monitor.text.reasons import convert_reason
    >>> doubt = Reason("pixels.coarser", {"at": 1.2, "pixel": 0.31})
    >>> read_reason(convert_reason(doubt)) == doubt, read_reason("seen from the road")
    (True, 'seen from the road')
    """
    if not isinstance(text, Message):
        return text
    if text.id in TEXTS or text.id in {LISTED.id, LABELLED_TEXT.id}:
        return Reason(text.id, {name: _read_value(value) for name, value in text.values.items()})
    return text


def _read_value(value: Any) -> Any:
    match value:
        case Message():
            return read_reason(value)
        case Figure():
            return value.value
        case Timestamp():
            return value.at_s
        case Duration():
            return value.seconds
        case Term():
            return value.word
        case NameList():
            return value.names
        case MessageList():
            return tuple(map(_read_value, value.items))
        case _:
            return value
