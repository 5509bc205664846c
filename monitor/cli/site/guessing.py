"""The part of `slopeward ingest --guess`: from a stranger's table to a mapping, a site file, levels and forecasts."""

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import typer

from monitor.cli.session import print_json, say
from monitor.cli.site.sites import FIRST_SITE
from monitor.config.service import load_service, parse_site, scan_sites
from monitor.domain.instants import spell
from monitor.domain.quantities import convert
from monitor.domain.site import Site
from monitor.errors import ConfigError, SlopewardError, UnitDoubtError
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import TableMapping, name_station
from monitor.ingest.files.reader import Said
from monitor.ingest.guess.guess import Guess, Question, Sensor, guess
from monitor.ingest.guess.look import Look, look_at
from monitor.ingest.guess.spell import spell_mapping, spell_stations

PLACE: Final = "place"
MOTION: Final = ("displacement", "crack_opening")


def guess_file(
    path: Path, site_id: str | None, given: Sequence[str], out: Path, config: Path | None, *,
    accepts: bool, as_json: bool,
) -> None:  # fmt: skip
    """Understand a file, put questions where it leaves something open, write mapping and site file, show the record.

    Args:
        path: the file.
        site_id: a site that exists gets the stations it lacks in a file of their own; else it becomes a new site.
        given: answers as `KEY=VALUE`.
        out: folder of what is written.
        config: the service file.
        accepts: a person has said that the units are right.
        as_json: one JSON object on stdout, in place of tables.

    Raises:
        typer.Exit: a question is open and nobody is at the keyboard; each was printed with the option that answers it.
        ConfigError: the file is no table that is recognised, or something else stands where it would be written.
    """
    answers = _read_answers(given)
    look = look_at(path)
    known = _known_sites(config)
    site = None if site_id is None else known.get(site_id)
    found = _ask_until_known(lambda: _understand(look, answers, is_new=site is None), answers, as_json=as_json)
    assert found.mapping is not None
    mapping = _write(out / f"{path.stem}.mapping.toml", spell_mapping(found.mapping, path.name))
    written = [mapping]
    if site is None:
        name = site_id or name_station(path.stem).lower().replace("_", "-") or "slope"
        zone = found.mapping.time.zone.key if found.mapping.time.zone else "UTC"
        body = write_site(name, read_place(answers[PLACE]), zone, found.sensors)
        site = parse_site(body, name)
        folder = (_sites_folder(config) if site_id else None) or out
        written.append(_write(folder / f"{name}.toml", body))
    elif absent := [s for s in found.sensors if site.station(s.station) is None]:
        written.append(_write(out / f"{path.stem}.stations.toml", spell_stations(absent)))
        say(
            f"{site.id} does not name {len({s.station for s in absent})} of the stations: add {written[-1]} to its file"
        )
    if as_json:
        print_json({
            "file": str(path), "facts": dict(found.facts), "written": [str(w) for w in written],
            "sensors": [asdict(sensor) for sensor in found.sensors],
        })  # fmt: skip
    for file in written:
        say(f"{file} written")
    if all(site.station(s.station) is not None for s in found.sensors):
        _show_past(path, mapping, site, accepts=accepts, as_json=as_json)
    _score_forecasts(path, found.mapping, as_json=as_json)
    say(
        f"next: set the bounds in the site file, slopeward check, then store the readings:\n"
        f"  slopeward ingest {path} --site {site.id} --mapping {mapping}"
    )


def _read_answers(given: Sequence[str]) -> dict[str, str]:
    answers = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key or not value:
            raise typer.BadParameter(f"--answer: expected KEY=VALUE such as zone=Europe/Rome, got {text!r}")
        answers[key.strip()] = value.strip()
    return answers


def _ask_until_known(understand: Callable[[], Guess], answers: dict[str, str], *, as_json: bool) -> Guess:
    """Understand, ask a person at the keyboard what is open, and again, until nothing is."""
    shown = False
    while True:
        found = understand()
        if not shown and not as_json:
            for name, text in found.facts:
                print(f"{name:>20}  {text}")
        shown = True
        if not found.questions:
            return found
        if not sys.stdin.isatty() or as_json:
            say("the file does not say everything:")
            for question in found.questions:
                say(f"  {_explain(question)}")
            raise typer.Exit(1)
        for question in found.questions:
            answers[question.key] = _ask(question)


def _ask(question: Question) -> str:
    choices = f" [{', '.join(question.choices)}]" if question.choices else ""
    while True:
        said = str(typer.prompt(f"{question.text}{choices}", default=question.default, err=True)).strip()
        if not question.choices or said in question.choices:
            return said
        near = [c for c in question.choices if c.startswith(said)]
        if len(near) == 1:
            return near[0]
        say(f"one of: {', '.join(question.choices)}")


def _explain(question: Question) -> str:
    """What is open, and the option that answers it."""
    choices = f" One of: {', '.join(question.choices)}." if question.choices else ""
    return f"{question.text}{choices} Answer: --answer '{question.key}=...'"


def _understand(look: Look, answers: Mapping[str, str], *, is_new: bool) -> Guess:
    """What the table says, and for a new site where it is: no table says that."""
    found = guess(look, answers)
    if not is_new or PLACE in answers:
        return found
    asked = Question(PLACE, "where is the slope? latitude,longitude in degrees, such as 46.2,8.9")
    return replace(found, questions=(*found.questions, asked))


def read_place(text: str) -> tuple[float, float]:
    """Latitude and longitude in degrees; raises ConfigError where a text is no such pair."""
    parts = text.split(",")
    with suppress(ValueError):
        latitude, longitude = (float(part) for part in parts)
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    raise ConfigError(f"{PLACE}: expected latitude,longitude in degrees such as 46.2,8.9, got {text!r}")


def _known_sites(config: Path | None) -> dict[str, Site]:
    folder = _sites_folder(config)
    return {} if folder is None else {s.id: s for s in scan_sites(folder)[0]}


def _sites_folder(config: Path | None) -> Path | None:
    """Where site files are; None: there is no service here yet, a file can be looked at all the same."""
    try:
        folder = load_service(config).paths.sites
    except ConfigError:
        if config is not None:
            raise
        return None
    return folder if folder.is_dir() else None


def _write(path: Path, text: str) -> Path:
    """A new file; the same text again is no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{path} exists already and says something else; move it away, or give --out") from None
    return path


# ---- the site file -----------------------------------------------------------------------------------------------


def write_site(name: str, place: tuple[float, float], zone: str, sensors: Sequence[Sensor]) -> str:
    """A first site file for the stations of a table; its bounds are examples."""
    head, _, rest = FIRST_SITE.partition("[[station]]")
    tail = rest[rest.index("[fusion]") :]
    head = head.replace("@ID@", name).replace("@NAME@", name.replace("-", " ").capitalize())
    head = head.replace("latitude = 46.2\n", f"latitude = {place[0]}\n")
    head = head.replace("longitude = 8.9\n", f"longitude = {place[1]}\n").replace(
        'timezone = "UTC"', f'timezone = "{zone}"'
    )
    moving = {s.station for s in sensors if s.quantity.startswith(MOTION)}
    if len(moving) < 2:
        tail = tail.replace("top_needs = 2 ", "top_needs = 1 ", 1)
    return head + spell_stations(sensors) + "\n" + "\n".join(_write_criteria(sensors)) + "\n" + tail


def _write_criteria(sensors: Iterable[Sensor]) -> Iterable[str]:
    """Bounds to begin with, for what moves and for rain."""
    known = list(sensors)
    stations = sorted({s.station for s in known if s.quantity.startswith("displacement")})
    if stations:
        every = max((s.interval_s or 3600.0) for s in known if s.quantity.startswith("displacement"))
        days = max(1, round(12 * every / 86400.0))  # a dozen readings in the shortest window
        yield (
            "[[criterion]]\n"
            'kind = "velocity"\n'
            f"stations = [{', '.join(f'{chr(34)}{s}{chr(34)}' for s in stations)}]\n"
            f'yellow = {{over = 2.0, window = "{14 * days}d"}}  # mm/day; change all of them: they are examples\n'
            f'orange = {{over = 20.0, window = "{4 * days}d"}}\n'
            f'red = {{over = 100.0, window = "{days}d"}}\n'
            "min_sigma = 3.0\n"
            f'valid_for = "{2 * days}d"\n'
        )
    for s in known:
        every_days = max(1, round(12 * (s.interval_s or 3600.0) / 86400.0))
        if s.quantity == "crack_opening":
            yield (
                "[[criterion]]\n"
                'kind = "rate"\n'
                f'series = "{s.station}.crack_opening"\n'
                f'yellow = {{over = 2.0, window = "{4 * every_days}d"}}  # mm per day\n'
                f'orange = {{over = 20.0, window = "{2 * every_days}d"}}\n'
                f'red = {{over = 100.0, window = "{every_days}d"}}\n'
            )
        elif s.quantity == "rain" and (s.interval_s or 0.0) <= 86400.0:
            yield (
                "[[criterion]]\n"
                'kind = "rain_sum"\n'
                f'series = "{s.station}.rain"\n'
                'yellow = {over = 60.0, window = "2d"}  # mm\n'
                "min_coverage = 0.8\n"
            )


# ---- what it makes of the record ---------------------------------------------------------------------------------


def _show_past(path: Path, mapping: Path, site: Site, *, accepts: bool, as_json: bool) -> None:
    """The levels of the record as the site file would have decided them."""
    from monitor.cli.site.backtest import answer, progress_bar
    from monitor.replay.backtest import Terms, run_backtest
    from monitor.replay.known import Known
    from monitor.replay.offline import open_files
    from monitor.store.alerting.history import find_span

    with ExitStack() as stack:
        try:
            past = stack.enter_context(open_files(path, site, mapping, accept_units=accepts))
        except UnitDoubtError as doubt:
            if as_json or not sys.stdin.isatty() or not typer.confirm(f"{doubt}\nAre the units right?", err=True):
                raise
            past = stack.enter_context(open_files(path, site, mapping, accept_units=True))
        for result in past.results:
            counts = f"{result.valid} readings, {result.rejected} refused, {result.missing} without a value"
            say(f"{result.file}: {result.rows} rows, {counts}")
            if result.rejected:
                say(f"  first reason: {result.first_reason}")
        with past.db.read() as c:
            span = find_span(c, site.id)
        assert span is not None
        with progress_bar() as tell:
            card = run_backtest(
                past.db, site, span[0], span[1], on_progress=tell, terms=Terms(known=Known("observed", 0.0, None))
            )
    say(f"levels from {spell(span[0])[:16]} to {spell(span[1])[:16]}, with bounds that are examples:")
    answer(card, None, as_json=as_json)


def _score_forecasts(path: Path, mapping: TableMapping, *, as_json: bool) -> None:
    """How well each quantity of motion could have been forecast; a record that is too short is said to be."""
    from forecasting.errors import ForecastingError
    from monitor.cli.forecast.trials import backtest

    quantities = sorted({c.quantity for c in mapping.columns if c.quantity.startswith(MOTION)})
    if not quantities:
        say("no series of motion: there is nothing to forecast")
        return
    with TemporaryDirectory(prefix="slopeward-guess-") as folder:
        for quantity in quantities:
            long = Path(folder) / f"{quantity}.csv"
            _write_long(path, mapping, quantity, long)
            say(f"forecasts of {quantity}, scored on the newest part of the record:")
            try:
                backtest(data=str(long), as_json=as_json)
            except (SlopewardError, ForecastingError, typer.Exit) as error:
                say(f"  none: {error}")


def _write_long(path: Path, mapping: TableMapping, quantity: str, long: Path) -> None:
    """One quantity of motion in mm, in the form that the trials of forecasts read."""
    with open_wide(path, Said(mapping)) as lines, long.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("time", "station", "quantity", "value"))
        for row, error in (judged for line in lines for judged in line.rows):
            if error is not None or row["quantity"] != quantity:
                continue
            with suppress(ValueError):
                value = convert(float(row["value"]), row["unit"], "mm")
                rows.writerow((spell(row["time"]), row["station"], "displacement_mm", repr(value)))
