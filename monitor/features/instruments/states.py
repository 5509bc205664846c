"""States of instruments, the gravest first, and the act that each asks of a person."""

from typing import Final

from monitor.api.text import Message, Template

# a state -> what is done about it; the order is that of importance where several hold
ACTIONS: Final[dict[str, Message]] = {
    "maintenance": Template("instrument.action.maintenance", "nothing, work is declared")(),
    "stale": Template("instrument.action.stale", "look at power, antenna and radio")(),
    "offline": Template("instrument.action.offline", "look at power and connection of the device or its gateway")(),
    "late": Template(
        "instrument.action.late", "wait for its next reading; if none comes, look at power, antenna and radio"
    )(),
    "unusable": Template("instrument.action.unusable", "look at the readings that are set aside")(),
    "mistyped": Template("instrument.action.mistyped", "ask who read it")(),
    "stuck": Template("instrument.action.stuck", "look at the sensor and its cable")(),
    "offset": Template("instrument.action.offset", "say whether it is movement or the instrument")(),
    "clock": Template("instrument.action.clock", "set the clock of the logger")(),
    "battery": Template("instrument.action.battery", "swap the battery")(),
    "solar": Template("instrument.action.solar", "look at the solar panel and its regulator")(),
    "snow_ice": Template("instrument.action.snow_ice", "clear the panel and the antenna of snow")(),
    "fix": Template("instrument.action.fix", "look at the antenna and its sky, and at the base")(),
    "satellites": Template("instrument.action.satellites", "look at what hides the sky")(),
    "signal": Template("instrument.action.signal", "look at the radio and its antenna")(),
    "drift": Template("instrument.action.drift", "compare with a second measurement")(),
    "suspected": Template("instrument.action.suspected", "say what the anomaly was")(),
    "gap": Template("instrument.action.gap", "fetch the missing readings from the logger, if it kept them")(),
    "calibration": Template("instrument.action.calibration", "calibrate")(),
}
UNIT_ACTION: Final = Template("instrument.action.unit", "see whether its unit changed, such as by a new firmware")()
# no reading is set aside by itself
RANKS: Final = {state: number for number, state in enumerate(ACTIONS)}
# what of a job's findings somebody is notified of; the others are notified by decisions, or wait on the board
PAGED: Final = ("mistyped", "clock", "battery", "solar", "snow_ice", "fix", "satellites", "signal", "calibration")
# where several parents have the same instruments, the one that a state is of
CAUSED_BY: Final = {
    "clock": "logger",
    "battery": "power",
    "solar": "power",
    "snow_ice": "power",
    "fix": "base",
    "satellites": "base",
    "signal": "gateway",
}
# kinds of detectors' findings -> the state that they suspect
SUSPECTED: Final = {
    "stuck": "stuck",
    "replay": "stuck",
    "flatline": "stuck",
    "drift": "drift",
    "step": "offset",
    "unit": "unusable",
    "timing": "clock",
}
