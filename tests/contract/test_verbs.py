"""Every verb of the command line exists, shows an example, answers wrong use by status 2, and is in the reference."""

import importlib
import re
from pathlib import Path

import pytest

from monitor.cli.main import VERBS, run_verb

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_exists_and_every_command_shows_an_example(verb):
    import typer

    app = importlib.import_module(VERBS[verb][0]).app
    command = typer.main.get_command(app)
    commands = getattr(command, "commands", None) or {verb: command}
    for name, one in commands.items():
        text = f"{one.help or ''} {one.epilog or ''} {one.callback.__doc__ or ''}"
        assert "slopeward " in text, f"slopeward {verb} {name} --help shows no example"


def test_the_reference_of_the_command_line_names_every_verb_and_option():
    import typer

    text = (ROOT / "docs/reference/cli.md").read_text()
    missing = set()
    for verb, (module, _) in VERBS.items():
        missing |= {verb} - set(re.findall(r"slopeward ([a-z-]+)", text))
        command = typer.main.get_command(importlib.import_module(module).app)
        for name, one in (getattr(command, "commands", None) or {"": command}).items():
            if name and not re.search(rf"`(slopeward {verb} )?{name}\b", text):
                missing.add(f"{verb} {name}")
            options = {p.opts[0] for p in one.params if p.opts[0].startswith("--")}
            missing |= {o for o in options - {"--help"} if o not in text and "completion" not in o}
    assert not missing


def test_a_program_can_read_every_command():
    import typer

    for_people = {"run"}  # a service with a log
    silent = set()
    for verb, (module, _) in VERBS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        for name, one in (getattr(command, "commands", None) or {"": command}).items():
            for last, each in (getattr(one, "commands", None) or {"": one}).items():
                if all("--json" not in option.opts for option in each.params):
                    silent.add(" ".join(filter(None, (verb, name, last))))
    assert silent == for_people


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_use_is_status_2_with_one_line_that_names_it(verb, capsys):
    assert run_verb([verb, "--no-such-option"]) == 2
    said = capsys.readouterr().err
    assert "no-such-option" in said
    assert "Traceback" not in said


def list_numbers(kind):
    """Every option and argument that takes a number, with its bounds."""
    import typer

    def walk(command, path):
        for name, one in (getattr(command, "commands", None) or {}).items():
            yield from walk(one, f"{path} {name}")
        yield from ((path, p) for p in command.params if hasattr(p, "type_descriptor"))

    every = (
        each
        for verb, (module, _) in VERBS.items()
        for each in walk(typer.main.get_command(importlib.import_module(module).app), verb)
    )
    return [(path, p) for path, p in every if p.type_descriptor.annotation is kind]


def test_every_number_of_the_command_line_is_bounded():
    numbers = {f"{path} {p.name}": (p.min, p.max) for path, p in list_numbers(int)}
    assert len(numbers) > 50
    assert not {name: ends for name, ends in numbers.items() if None in ends}
    assert max(top for _, top in numbers.values()) < 2**63  # what a column of the database holds


def test_every_decimal_of_the_command_line_refuses_what_is_no_measure(capsys):
    """Not a number, endless and huge ones: one line and status 2, before anything is opened."""
    decimals = list_numbers(float)
    assert len(decimals) > 40
    assert not {f"{path} {p.name}" for path, p in decimals if None in (p.min, p.max)}
    for path, p in decimals:
        for value in ("nan", "inf", "1e308", "-1e308"):
            said = [f"{p.opts[0]}={value}"] if p.opts[0].startswith("--") else ["--", "x", "x", value]  # the third
            assert run_verb([*path.split(), *said]) == 2, (path, said)
            assert "Input should be" in capsys.readouterr().err, (path, said)


@pytest.mark.parametrize(
    "words",
    [
        "alerts show 9223372036854775808",
        "events list --limit=-5",
        "demo --seed=-1",
        "scenes clouds grid x --out y --cell nan",
    ],
)
def test_a_number_out_of_its_bounds_is_wrong_use(words, capsys):
    assert run_verb(words.split()) == 2
    assert "Input should be" in capsys.readouterr().err
