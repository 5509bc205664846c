"""States of instruments, and what to do about each."""

from typing import Final

from monitor.api.text import Message, Template

# State -> action. The order gives the state that is shown if an instrument has several.
ACTIONS: Final[dict[str, Message]] = {
    "maintenance": Template("instrument.action.maintenance", "nothing; maintenance is declared")(),
    "stale": Template("instrument.action.stale", "check power, antenna and radio")(),
    "offline": Template("instrument.action.offline", "check power and connection of the device and its gateway")(),
    "late": Template(
        "instrument.action.late", "wait for the next reading; if none is received, check power, antenna and radio"
    )(),
    "unusable": Template("instrument.action.unusable", "check the readings that are set aside")(),
    "mistyped": Template(
        "instrument.action.mistyped", "ask who entered it, and enter the correct value for the same time"
    )(),
    "stuck": Template("instrument.action.stuck", "check the sensor and its cable")(),
    "offset": Template("instrument.action.offset", "answer whether the slope or the instrument moved")(),
    "clock": Template("instrument.action.clock", "set the clock of the logger")(),
    "battery": Template("instrument.action.battery", "replace the battery")(),
    "solar": Template("instrument.action.solar", "check the solar panel and its regulator")(),
    "snow_ice": Template("instrument.action.snow_ice", "clear snow from the solar panel and the antenna")(),
    "fix": Template("instrument.action.fix", "check the antenna, obstructions above it, and the base station")(),
    "satellites": Template("instrument.action.satellites", "check for obstructions above the antenna")(),
    "signal": Template("instrument.action.signal", "check the radio and its antenna")(),
    "drift": Template("instrument.action.drift", "compare with a second measurement")(),
    "suspected": Template("instrument.action.suspected", "label the anomaly")(),
    "gap": Template("instrument.action.gap", "fetch the missing readings from the memory of the logger")(),
    "calibration": Template("instrument.action.calibration", "calibrate the instrument")(),
}
UNIT_ACTION: Final = Template("instrument.action.unit", "check whether its unit changed, for example by new firmware")()
RANKS: Final = {state: number for number, state in enumerate(ACTIONS)}
# Findings of the job that people are notified of. Other states have notices of the decision, or are only shown.
PAGED: Final = ("mistyped", "clock", "battery", "solar", "snow_ice", "fix", "satellites", "signal", "calibration")
# State -> kind of parent that causes it, if several parents have the same instruments.
CAUSED_BY: Final = {
    "clock": "logger",
    "battery": "power",
    "solar": "power",
    "snow_ice": "power",
    "fix": "base",
    "satellites": "base",
    "signal": "gateway",
}
# Kind of a detected anomaly -> state that it suggests.
SUSPECTED: Final = {
    "stuck": "stuck",
    "replay": "stuck",
    "flatline": "stuck",
    "drift": "drift",
    "step": "offset",
    "unit": "unusable",
    "timing": "clock",
}
