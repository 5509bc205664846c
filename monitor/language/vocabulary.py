"""Words that are stored in English and stand alone: levels, stages, states, quantities, kinds of rules, headings."""

from typing import Final

from monitor.language.catalogue import N_

# names that ladders of levels usually have; a site's other names are its own and stay
LEVELS: Final = frozenset({
    N_("green"), N_("blue"), N_("yellow"), N_("amber"), N_("orange"), N_("red"), N_("purple"), N_("white"), N_("grey"),
    N_("black"), N_("normal"), N_("attention"), N_("watch"), N_("advisory"), N_("caution"), N_("warning"), N_("alert"),
    N_("alarm"), N_("emergency"), N_("evacuation"),
})  # fmt: skip
MONTHS: Final = (
    N_("Jan"), N_("Feb"), N_("Mar"), N_("Apr"), N_("May"), N_("Jun"), N_("Jul"), N_("Aug"), N_("Sep"), N_("Oct"),
    N_("Nov"), N_("Dec"),
)  # fmt: skip
DAYS: Final = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))
QUANTITIES: Final = frozenset({
    N_("displacement"), N_("displacement east"), N_("displacement north"), N_("displacement up"),
    N_("displacement downslope"), N_("displacement los"), N_("displacement distance"), N_("velocity"),
    N_("velocity p95"), N_("moving share"), N_("tilt"), N_("tilt x"), N_("tilt y"), N_("strain"), N_("crack opening"),
    N_("pore pressure"), N_("earth pressure"),
    N_("water level"), N_("groundwater level"), N_("reservoir level"), N_("soil moisture"), N_("rain"),
    N_("snow depth"), N_("temperature"), N_("air pressure"), N_("acceleration"), N_("coherence"), N_("ndvi"),
    N_("scene probability"), N_("battery voltage"), N_("battery level"), N_("signal strength"),
})  # fmt: skip
KINDS: Final = frozenset({  # of criteria
    N_("anomaly"), N_("drawdown"), N_("earthquake"), N_("forecast"), N_("insar rate"), N_("inverse velocity"),
    N_("level"), N_("rain antecedent"), N_("rain intensity duration"), N_("rain learned"), N_("rain return period"),
    N_("rain sum"), N_("rate"), N_("report"), N_("scene"), N_("factor of safety"), N_("tangential angle"),
})  # fmt: skip
# stages and trends of movement
MOTION: Final = (
    N_("creep"), N_("intermediate"), N_("progressive"), N_("step"), N_("unknown"), N_("none"), N_("linear"),
    N_("regressive"),
)  # fmt: skip
SITUATIONS: Final = (  # of forecasts, by which their scores are kept apart
    N_("critical"), N_("accelerating"), N_("after a step"), N_("after rain"), N_("steady"), N_("not stated"),
)  # fmt: skip
SIGHT: Final = (N_("full"), N_("degraded"), N_("blind"))
PARENTS: Final = frozenset({N_("logger"), N_("base"), N_("gateway")})  # what instruments hang on
WORDS: Final = QUANTITIES | KINDS | frozenset({
    *MOTION, *SIGHT, *SITUATIONS, *DAYS, N_("on duty"), N_("second"), N_("lead"),
    # ledgers, and the words for levels of health and advice
    N_("hazard"), N_("health"), N_("advice"), N_("clear"), N_("notice"), N_("urgent"), N_("Hazard"), N_("Health"),
    N_("Advice"),
    # states of alerts, messages, proposals, scenes, models
    N_("unacknowledged"), N_("acknowledged"), N_("returned unacknowledged"), N_("shelved"),
    N_("suppressed"), N_("out of service"), N_("closed"), N_("queued"),
    N_("claimed"), N_("sending"), N_("retrying"), N_("sent"), N_("delivered"),
    N_("failed retry"), N_("failed final"), N_("superseded"),
    N_("proposed"), N_("approved"), N_("rejected"), N_("withdrawn"), N_("waiting"), N_("done"), N_("failed"),
    N_("active"), N_("shadow"), N_("retired"), N_("withheld"),
    # states of instruments, flags of readings
    N_("ok"), N_("stuck"), N_("flagged"), N_("silent"), N_("sick"), N_("stale"), N_("out of range"), N_("future"),
    N_("to be verified"), N_("without a stage"),
    N_("undeclared"), N_("suspect"), N_("unusable"), N_("clock"), N_("battery"), N_("solar"), N_("snow ice"),
    N_("mistyped"), N_("decimal point or unit"), N_("sign"), N_("digits swapped"), N_("a digit is missing"),
    N_("a digit too many"), N_("fill"), N_("at stop"), N_("coarse"),
    N_("fix"), N_("satellites"), N_("signal"), N_("drift"), N_("suspected"), N_("calibration"), N_("offline"),
    # what instruments hang on; what anomalies are found to be, and turned out to be
    *PARENTS, N_("power supply"), N_("confirmed"), N_("dismissed"), N_("withdrawn"), N_("spike"),
    N_("noise"), N_("gap"), N_("unit"), N_("common mode"), N_("replay"), N_("shape"),
    N_("timing"), N_("phase jump"), N_("acceleration"),
    # what detectors compared a reading with
    N_("the median of its last 7 days"), N_("its last reading"), N_("the line of its last 60 days"),
    N_("its slope of the 60 days before"), N_("its usual increments"), N_("all its earlier shapes"),
    N_("its last 7 to 10 days"),
    N_("the lines of its last 30 and 60 days"),
    N_("what a network expects of its last 30 readings"),
    N_("its usual resolution"), N_("its earlier readings"), N_("its level and noise before"), N_("its usual interval"),
    # what an alert turned out to be
    N_("true"), N_("false instrument"), N_("false weather"), N_("false work"), N_("drill"),
    # who and by which way
    N_("person"), N_("service"), N_("program"), N_("observers"), N_("page"),
    N_("command"), N_("token"), N_("viewer"), N_("operator"),
    N_("admin"), N_("read"), N_("act"), N_("witness"), N_("part"),
    # what changed on a scene; what was reported
    N_("new"), N_("known"), N_("grown"), N_("single"), N_("vanished"), N_("crack"), N_("rockfall"), N_("disturbance"),
    N_("road damage"), N_("water"), N_("sound"), N_("verification"), N_("other"), N_("landslide"), N_("blast"),
    N_("event"), N_("weather"), N_("work"), N_("instrument"), N_("movement"), N_("maintenance"),
    # sides of bounds
    N_("over"), N_("under"), N_("against"),
    # what a table was understood to be, and answers
    N_("semicolon"), N_("tab"), N_("comma"), N_("bar"), N_("blanks"), N_("point"), N_("leave out"),
    N_("each on its own"), N_("year, day of the year, hhmm"),
    N_("day first"), N_("month first"), N_("decimal years"), N_("seconds since 1970"),
    N_("milliseconds since 1970"), N_("day numbers of a spreadsheet"),
    # choices of answers about a table, names of months
    N_("January"), N_("February"), N_("March"), N_("April"), N_("June"), N_("July"), N_("August"),
    N_("September"), N_("October"), N_("November"), N_("December"), N_("year first"), N_("all of them"),
    N_("none of them"), N_("x east, y north"), N_("x north, y east"), N_("two axes of one tiltmeter"),
    N_("two instruments"), N_("microseconds since 1970"), N_("nanoseconds since 1970"),
    N_("modified Julian days"), N_("day numbers of MATLAB"), N_("minutes since 1970"), N_("hours since 1970"),
    N_("days since 1970"), N_("seconds"), N_("milliseconds"), N_("microseconds"), N_("nanoseconds"),
    N_("minutes"), N_("hours"), N_("days"), N_("GPS time"), N_("Buddhist era"), N_("Persian calendar"),
    N_("common era"), N_("since 1970"), N_("since 1904"), N_("since 2000"), N_("since J2000"), N_("as they are"),
    # figures of a criterion, by its keys
    N_("min sigma"), N_("min coverage"), N_("valid for"), N_("recover"), N_("fast track"),
    N_("dwell, hits"), N_("dwell, of"), N_("dwell, within"),
    # headings of tables, and what stands in them
    N_("decision"), N_("Votes"), N_("What each rule said"), N_("Sudden steps"), N_("Common motion"), N_("Held by"),
    N_("rule"), N_("station"), N_("datum"), N_("newest"), N_("newest datum"), N_("in words"), N_("valid until"),
    N_("set aside because"), N_("state"), N_("reference"), N_("counted"), N_("not counted"), N_("fresh"), N_("old"),
    N_("observed"), N_("received"), N_("revision"), N_("raw"), N_("offset"), N_("value"), N_("sigma"), N_("flags"),
    N_("extra"), N_("reason"), N_("forecasts"), N_("anomalies"), N_("footprints"), N_("reports"), N_("events"),
    N_("failures"), N_("points"), N_("open"), N_("exceeded"), N_("waits"), N_("yes"), N_("no"), N_("not said"),
    N_(" and "),
})  # fmt: skip
