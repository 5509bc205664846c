"""Words that are stored in English and stand alone: levels, stages, states, quantities, kinds of rules, headings."""

from collections.abc import Iterator
from typing import Any, Final

from monitor.text.names import split_table

# names that ladders of levels usually have; a site's other names are its own and stay
LEVELS: Final = frozenset(
    split_table("""
        green; blue; yellow; amber; orange; red; purple; white; grey; black; normal; attention; watch;
        advisory; caution; warning; alert; alarm; emergency; evacuation
    """)
)
MONTHS: Final = split_table("Jan; Feb; Mar; Apr; May; Jun; Jul; Aug; Sep; Oct; Nov; Dec")
QUANTITIES: Final = frozenset(
    split_table("""
        displacement; displacement east; displacement north; displacement up; displacement downslope;
        displacement los; displacement distance; velocity; velocity p95; moving share; tilt; tilt x; tilt y;
        strain; crack opening; pore pressure; earth pressure; water level; groundwater level;
        reservoir level; soil moisture; rain; snow depth; temperature; air pressure; acceleration;
        coherence; ndvi; scene probability; battery voltage; battery level; signal strength
    """)
)
KINDS: Final = frozenset(
    split_table("""
        anomaly; drawdown; earthquake; forecast; insar rate; inverse velocity; level; rain antecedent;
        rain intensity duration; rain learned; rain return period; rain sum; rate; report; scene;
        survey rate; factor of safety; tangential angle
    """)
)
# stages and trends of movement
MOTION: Final = split_table("creep; intermediate; progressive; step; unknown; none; linear; regressive")
SIGHT: Final = split_table("full; degraded; blind; starting")
WORDS: Final = QUANTITIES.union(
    KINDS,
    MOTION,
    SIGHT,
    (" and ",),
    # situations of forecasts, by which their scores are kept apart
    split_table("critical; accelerating; after a step; after rain; steady; not stated"),
    split_table("Mon; Tue; Wed; Thu; Fri; Sat; Sun; on duty; second; lead"),
    # ledgers, and the words for levels of health and advice
    split_table("hazard; health; advice; clear; notice; urgent; Hazard; Health; Advice"),
    # states of alerts, messages, proposals, scenes, models
    split_table("""
        unacknowledged; acknowledged; returned unacknowledged; shelved; suppressed; out of service; closed;
        queued; claimed; sending; retrying; sent; delivered; failed retry; failed final; superseded;
        proposed; approved; rejected; withdrawn; waiting; done; failed; active; retired; withheld
    """),
    # states of instruments, flags of readings
    split_table("""
        ok; stuck; flagged; late; silent; sick; stale; out of range; future; to be verified; without a stage;
        undeclared; suspect; unusable; clock; battery; solar; snow ice; mistyped; decimal point or unit;
        sign; digits swapped; a digit is missing; a digit too many; fill; at stop; coarse; fix; satellites;
        signal; drift; suspected; calibration; offline
    """),
    # what instruments hang on; what anomalies are found to be, and turned out to be
    split_table("""
        logger; base; gateway; power supply; confirmed; dismissed; withdrawn; spike; noise; gap; unit;
        common mode; replay; shape; timing; phase jump; acceleration; rate; change of the rate
    """),
    # what detectors compared a reading with, those of slopeward-lab included
    split_table("""
        the median of its last 7 days; its last reading; the line of its last 60 days;
        its slope of the 60 days before; its usual increments; all its earlier shapes;
        its last 7 to 10 days; the lines of its last 30 and 60 days;
        what a network expects of its last 30 readings; its usual resolution; its earlier readings;
        its level and noise before; its usual interval
    """),
    # what an alert turned out to be
    split_table("true; false instrument; false weather; false work; drill"),
    # who and by which way
    split_table("""
        person; service; program; observers; page; command; token; viewer; operator; admin; read; act;
        witness; part
    """),
    # what changed on a scene; what was reported
    split_table("""
        new; known; grown; single; vanished; crack; rockfall; disturbance; road damage; water; sound;
        verification; other; landslide; blast; event; weather; work; instrument; movement; maintenance
    """),
    # sides of bounds
    split_table("over; under; against"),
    # what a table was understood to be, and answers
    split_table("""
        semicolon; tab; comma; bar; blanks; point; leave out; each on its own; year, day of the year, hhmm;
        day first; month first; decimal years; seconds since 1970; milliseconds since 1970;
        day numbers of a spreadsheet
    """),
    # choices of answers about a table, names of months
    split_table("""
        January; February; March; April; June; July; August; September; October; November; December;
        year first; all of them; none of them; x east, y north; x north, y east; two axes of one tiltmeter;
        every row; no label; one instrument; 24 instruments;
        two instruments; microseconds since 1970; nanoseconds since 1970; modified Julian days;
        day numbers of MATLAB; minutes since 1970; hours since 1970; days since 1970; seconds; milliseconds;
        microseconds; nanoseconds; minutes; hours; days; GPS time; Buddhist era;
        common era; since 1970; since 1904; since 2000; since J2000; as they are
    """),
    # figures of a criterion, by its keys
    split_table("min sigma; min coverage; valid for; recover; fast track; dwell, hits; dwell, of; dwell, within"),
    # headings of tables, and what stands in them
    split_table("""
        decision; Votes; What each rule said; Sudden steps; Common motion; Held by; rule; station; datum;
        newest; newest datum; in words; valid until; set aside because; state; reference; counted;
        not counted; fresh; old; observed; received; revision; raw; offset; value; sigma; flags; extra;
        reason; forecasts; anomalies; footprints; reports; events; failures; points; open; exceeded; waits;
        yes; no; not said
    """),
)


def extract(fileobj: object, keywords: object, comment_tags: object, options: object) -> Iterator[tuple[Any, ...]]:
    """The words for babel."""
    del fileobj, keywords, comment_tags, options
    yield from ((1, "gettext", text, []) for text in sorted({*LEVELS, *MONTHS, *WORDS}))
