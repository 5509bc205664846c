"""Every command has a summary, an example, the common option names and a page in the reference."""

import re
import shlex
from datetime import datetime
from pathlib import Path

import pytest

from monitor.cli.commands import find_full_name, list_commands, load_all_commands, load_app
from monitor.cli.main import run_command
from monitor.cli.overview import OTHER, SUBJECTS, find_subject, summarize
from monitor.cli.usage import FORMER_OPTIONS, OTHER_WORDS
from tests.tables import tabulated

ROOT = Path(__file__).parents[2]
# Options that have one meaning in all commands, by the type of their value.
COMMON_OPTIONS = {
    "--site": str | list[str],
    "--since": "time",
    "--until": "time",
    "--at": "time",
    "--json": bool,
    "--utc": bool,
    "--dry-run": bool,
    "--yes": bool,
    "--all": bool,
    "--config": Path | list[Path],
    "--out": Path,
    "--site-file": Path,
    "--limit": int,
    "--days": float,
    "--seed": int,
    "--by": str,
    "--reason": str,
    "--station": str,
}
# Former names, and spellings of other programs, that no command may use. `usage.FORMER_OPTIONS` names what replaced
# them.
MISNAMED = {"--from", "--to", "--begin", "--start", "--end", "--valid", "--anew", "--output"}


def list_texts():
    """Return the help text and epilog of each command by name."""
    return {name: f"{command.help or ''}\n{command.epilog or ''}" for name, command in load_all_commands().items()}


def test_every_command_has_a_summary():
    summaries = {name: summarize(command) for name, command in load_all_commands().items()}
    assert len(summaries) > 150
    assert not {name: line for name, line in summaries.items() if not re.fullmatch(r"[A-Z].{9,}[.?]", line)}


def test_every_command_shows_an_example_of_itself():
    def names_itself(name, text):
        examples = re.findall(r"Example: .*?slopeward ([^\n]*)", text)
        short_forms = [short for short in list_commands() if find_full_name(short) == name]
        return any(example.startswith((name, find_full_name(name), *short_forms)) for example in examples)

    assert not [name for name, text in list_texts().items() if not names_itself(name, text)]


def test_every_option_and_argument_has_a_description():
    missing = {
        f"{name} {parameter.opts[0]}"
        for name, command in load_all_commands().items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    }
    assert not missing


# `slopeward import --from SOURCE` names where readings come from, not the begin of a period.
NOT_A_PERIOD = {("import", "--from")}


def test_options_have_the_common_names():
    options = {
        (command_name, name)
        for command_name, command in load_all_commands().items()
        for parameter in command.params
        for name in parameter.opts
    }
    assert not {option for option in options if option[1] in MISNAMED} - NOT_A_PERIOD
    names = {name for _, name in options}
    assert names >= COMMON_OPTIONS.keys()
    assert MISNAMED <= FORMER_OPTIONS.keys()


def list_site_parameters():
    """Return each argument and option that is a site id, with the name of its command and its position there."""
    return [
        (name, parameter, [p for p in command.params if p.param_type_name == "argument"])
        for name, command in load_all_commands().items()
        for parameter in command.params
        if name_parameter(parameter) in {"SITE", "--site"}
    ]


def name_parameter(parameter):
    is_option = parameter.param_type_name == "option"
    return parameter.opts[0] if is_option else (parameter.metavar or parameter.name).strip("[]").upper()


def test_a_command_that_needs_a_site_takes_it_as_its_first_argument():
    sites = list_site_parameters()
    required = {name: parameter for name, parameter, _ in sites if parameter.required}
    assert len(required) > 40
    assert not {name for name, parameter in required.items() if parameter.param_type_name == "option"}
    assert not {name for name, parameter, arguments in sites if parameter in arguments and parameter != arguments[0]}


def test_command_with_an_optional_site_takes_it_as_an_option():
    arguments = {name: p for name, p, _ in list_site_parameters() if p.param_type_name == "argument"}
    assert not {name for name, parameter in arguments.items() if not parameter.required}


def test_list_command_covers_all_sites_or_the_site_of_its_option():
    sites = {name: parameter for name, parameter, _ in list_site_parameters() if name.split()[-1] == "list"}
    assert len(sites) > 8
    assert {name_parameter(parameter) for parameter in sites.values()} == {"--site"}


def test_a_common_option_has_one_type_in_all_commands():
    def fits(annotation, expected):
        if expected == "time":
            return annotation in {str, datetime}
        if expected is float:
            return annotation in {int, float}
        return annotation in getattr(expected, "__args__", (expected,))

    wrong = {
        f"{name} {option}": parameter.type_descriptor.annotation
        for name, command in load_all_commands().items()
        for parameter in command.params
        for option in parameter.opts
        if option in COMMON_OPTIONS and not fits(parameter.type_descriptor.annotation, COMMON_OPTIONS[option])
    }
    assert not wrong


def test_every_command_of_slopeward_has_a_subject():
    pytest.importorskip("slopeward_earth")
    subjects = {name: find_subject(name) for name in list_commands()}
    assert not {name: subject for name, subject in subjects.items() if subject not in SUBJECTS}
    assert OTHER not in SUBJECTS


def make_tree():
    """Return the commands as nested dicts by word. The key `...` marks where a word that is no command may follow."""
    import typer

    def grow(command):
        below = getattr(command, "commands", None)
        return {name: grow(one) for name, one in below.items()} if below else {}

    tree = {}
    for path in list_commands():
        command = typer.main.get_command(load_app(path))
        place = tree
        for word in path.split()[:-1]:
            place = place.setdefault(word, {})
        place = place.setdefault(path.split()[-1], {})
        place.update(grow(command))
        if not place or type(command).parse_args is not typer.core.TyperGroup.parse_args:
            place[...] = {}
    for path in ("people", "notify"):
        tree[path].pop(..., None)
    return tree


SPELLED = re.compile(r"(`?)(?<![\w/.@=-])slopeward((?: +(?!slopeward)[a-z][a-z-]*(?![\w./]))+)")
OTHERS = {
    "slopeward susceptibility",  # a kind of file
    "slopeward visits",  # commands of write-a-feature.md
    "slopeward visits add",
    "slopeward visits show north-bench",
}


def find_wrong(text, tree):
    """Return commands in a text that do not exist. Words after `slopeward` that are no command are ordinary text."""
    verbs = {word for path in list_commands() for word in path.split()}
    for quoted, spelling in SPELLED.findall(text):
        words, place = spelling.split(), tree
        if not quoted and words[0] not in verbs:
            continue
        for word in words:
            if not place or (word not in place and ... in place):
                break
            if word not in place:
                yield f"slopeward{spelling}"
                break
            place = place[word]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("see `slopeward users list`", 1),
        ("make one: slopeward tokens add NAME", 1),
        ("`slopeward statsu`", 1),
        ("`slopeward people users list` and slopeward people", 0),
        ("slopeward ingest readings.csv; slopeward ingest folder", 0),
        ("the user of slopeward reads", 0),
    ],
)
def test_wrong_commands_in_a_text_are_found(text, wrong):
    assert len(list(find_wrong(text, make_tree()))) == wrong


def test_every_command_that_a_page_a_message_or_a_comment_names_exists():
    pytest.importorskip("slopeward_earth")  # documents name commands of every package
    tree, wrong, seen = make_tree(), set(), 0
    kept = ("README.md", "Makefile", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "deploy/*", "configs/**/*.toml")
    code = [f"{room}/**/*.{kind}" for room in ("monitor", "detection", "forecasting") for kind in ("py", "html", "po")]
    for path in (path for pattern in (*kept, *code) for path in ROOT.glob(pattern) if path.is_file()):
        text = path.read_text()
        seen += len(SPELLED.findall(text))
        wrong |= {f"{path.relative_to(ROOT)}: {one}" for one in find_wrong(text, tree) if one not in OTHERS}
    assert not wrong
    assert seen > 1000


def list_command_lines():
    """Yield the commands of `slopeward` in code blocks of the documents, split as a shell splits them."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for kind, block in re.findall(r"^ *```(.*)\n((?:.*\n)*?) *```", path.read_text(), re.MULTILINE):
            for line in block.replace("\\\n", " ").splitlines() if kind in ("", "sh", "console") else ():
                if "slopeward " in line:
                    parts = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
                    parts.whitespace_split = True
                    yield path.name, list(parts)


def list_documented_commands():
    """Yield page, command and words of each command line, without users and folders called `slopeward`."""
    for page, parts in list_command_lines():
        while "slopeward" in parts:
            parts = parts[parts.index("slopeward") + 1 :]
            end = next((i for i, part in enumerate(parts) if set(part) <= set("|&;<>")), len(parts))
            words, verb = parts[: end - (parts[end - 1 : end + 1] == ["3", "<"])], " ".join(parts[:2])
            verb = verb if verb in list_commands() else next(iter(parts), "")
            if verb in list_commands():  # The test above finds misspelt commands.
                yield page, verb, words


def parse_command(command, name, words):
    context = command.make_context(name, words)
    if hasattr(command, "commands") and (rest := [*context._protected_args, *context.args]):
        name, below, rest = command.resolve_command(context, rest)
        parse_command(below, name, rest)


def test_every_command_line_of_a_document_is_valid():
    pytest.importorskip("slopeward_earth")  # documents name commands of every package
    import typer
    from typer._click.exceptions import ClickException

    seen, wrong = 0, []
    for page, verb, words in list_documented_commands():
        try:
            parse_command(typer.main.get_command(load_app(verb)), verb, words[len(verb.split()) :])
        except typer.Exit:
            pass  # raised by --help
        except ClickException as error:
            wrong.append(f"{page}: {' '.join(words)}: {error.format_message()}")
        seen += 1
    assert not wrong
    assert seen > 150


def list_examples():
    """Return the words of each example that the help of a command shows, with the name of the command."""
    for name, text in list_texts().items():
        for paragraph in re.split(r"\n\s*\n|(?=Example: )", text):
            if paragraph.startswith("Example: "):
                line = " ".join(paragraph.removeprefix("Example: ").split())
                parts = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
                parts.whitespace_split = True
                yield name, list(parts)


def test_every_example_of_a_command_is_valid():
    import typer
    from typer._click.exceptions import ClickException

    count = 0
    wrong = []
    for name, parts in list_examples():
        words = parts[parts.index("slopeward") + 1 :]
        end = next((index for index, part in enumerate(words) if set(part) <= set("|&;<>()")), len(words))
        words = words[:end]
        verb = next(verb for verb in (" ".join(words[:2]), words[0]) if verb in list_commands())
        try:
            parse_command(typer.main.get_command(load_app(verb)), verb, words[len(verb.split()) :])
        except ClickException as error:
            if "does not exist" not in error.format_message():
                wrong.append(f"{name}: {' '.join(words)}: {error.format_message()}")
        count += 1
    assert not wrong
    assert count > 160


def test_every_command_except_run_has_the_option_json():
    for_people = {"run"}  # a service that writes a log
    without_json = {
        name
        for name, command in load_all_commands().items()
        if all("--json" not in option.opts for option in command.params)
    }
    assert without_json == for_people


@tabulated("name", list_commands())
def test_an_unknown_option_is_status_2_with_one_line_that_names_it(name, capsys):
    assert run_command([*name.split(), "--no-such-option"]) == 2
    message = capsys.readouterr().err
    assert "--no-such-option" in message
    assert message.count("\n") == 1


def list_numbers(kind):
    """Return every option and argument that takes a number, with the name of its command."""
    every = [(name, parameter) for name, command in load_all_commands().items() for parameter in command.params]
    return [(name, p) for name, p in every if hasattr(p, "type_descriptor") and p.type_descriptor.annotation is kind]


def test_every_number_of_the_command_line_is_bounded():
    numbers = {f"{path} {p.name}": (p.min, p.max) for path, p in list_numbers(int)}
    assert len(numbers) > 50
    assert not {name: ends for name, ends in numbers.items() if None in ends}
    assert max(top for _, top in numbers.values()) < 2**63  # the largest value of a database column


def test_every_decimal_option_refuses_nan_infinite_and_huge_numbers(capsys):
    """NaN, infinite and huge numbers give one line and status 2 before any file is opened."""
    decimals = list_numbers(float)
    assert decimals
    assert not {f"{path} {p.name}" for path, p in decimals if None in (p.min, p.max)}
    for path, p in decimals:
        for value in ("nan", "inf", "1e308", "-1e308"):
            arguments = (
                [f"{p.opts[0]}={value}"] if p.opts[0].startswith("--") else ["--", "x", "x", value]
            )  # the third argument
            assert run_command([*path.split(), *arguments]) == 2, (path, arguments)
            assert "Input should be" in capsys.readouterr().err, (path, arguments)


@pytest.mark.parametrize(
    "words",
    [
        "alerts show 9223372036854775808",
        "demo --seed=-1",
    ],
)
def test_number_out_of_its_bounds_is_wrong_usage(words, capsys):
    assert run_command(words.split()) == 2
    assert "Input should be" in capsys.readouterr().err


def test_command_names_of_other_programs_are_answered_with_ours():
    names = {*list_commands(), *load_all_commands()}
    assert names.issuperset(OTHER_WORDS.values())
    assert names.isdisjoint(OTHER_WORDS)
