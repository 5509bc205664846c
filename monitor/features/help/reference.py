"""Generate the pages of the reference: commands, keys of service file and site file, HTTP paths, views.

python -m monitor.features.help.reference build/reference   # write the pages into a folder, for `make site`
python -m monitor.features.help.reference                   # print the pages as JSON, for the web page
"""

import inspect
import json
import os
import sys
import tempfile
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from monitor.api.cli import find_full_name, load_all_commands
from monitor.api.criteria import CriterionTable
from monitor.api.database import Database, upgrade
from monitor.api.settings import Duration, Horizon, ServiceConfig, find_table, find_tables, parse_service, service
from monitor.api.sites import LevelsTable, LevelTable, load_criteria, make_site_file_model
from monitor.api.text import format_duration
from monitor.api.web import build_app
from monitor.features.help.queries import describe_views

GENERATED_NOTE: Final = "This page is generated from the program. What its parts are for is explained in"
DURATION: Final = tuple(get_args(annotation)[1] for annotation in (Duration, Horizon))
HIDDEN: Final = {"--install-completion", "--show-completion", "--help"}


def write_page(name: str) -> str:
    """Return the text of one page."""
    with tempfile.TemporaryDirectory() as folder:
        db = Database(f"sqlite:///{folder}/empty.db")
        try:
            return "\n".join(PAGES[name](db)) + "\n"
        finally:
            db.close()


def main(folder: Path) -> None:
    """Write every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PAGES:
        (folder / f"{name}.md").write_text(write_page(name), encoding="utf-8")


def describe_commands(_: Database) -> list[str]:
    """Return every command with its help and its options."""
    lines = ["# Every command and option", "", f"{GENERATED_NOTE} [the command line](cli.md).", ""]
    for name, command in sorted(load_all_commands().items()):
        lines += [f"## {name}", ""]
        full_name = find_full_name(name)
        if full_name != name:
            lines += [f"Short form of [`slopeward {full_name}`](#{full_name.replace(' ', '-')}).", ""]
            continue
        lines += [*inspect.cleandoc(command.help or "").splitlines(), ""]
        if command.epilog:
            lines += [command.epilog, ""]
        rows = [describe_parameter(parameter) for parameter in command.params if parameter.opts[0] not in HIDDEN]
        lines += table(("given as", "type", "default", "meaning"), rows)
    return lines


def describe_parameter(parameter: Any) -> tuple[str, ...]:
    """Return a row of the table of a command."""
    is_option = parameter.param_type_name == "option"
    given = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts)) if is_option else parameter.name
    default = parameter.default
    without = default is None or default is False or callable(default) or str(default) in {"()", "[]", ""}
    value_text = "required" if parameter.required else "" if without else f"`{default}`"
    return (
        given,
        "" if getattr(parameter, "is_flag", False) else describe_type(parameter.type_descriptor.annotation),
        value_text,
        getattr(parameter, "help", None) or "",
    )


def list_keys(_: Database) -> list[str]:
    """Return every key of the service file and of a site file, with its type, bounds, default and meaning."""
    lines = ["# Every key of both files", "", f"{GENERATED_NOTE} [configuration](configuration.md).", ""]
    meanings = read_meanings(service)
    for title, tables in (("Service file", find_tables(ServiceConfig)), ("Site file", list_site_tables())):
        lines += [f"## {title}", ""]
        listed = set()
        for head, model in tables:
            if model in listed:
                # Each stage of movement has the same keys.
                continue
            listed.add(model)
            own = meanings.get(head.strip("[]"), {}) if title == "Service file" else {}
            known = CriterionTable.model_fields if issubclass(model, CriterionTable) and head != "[[criterion]]" else ()
            fields = {f.alias or key: f for key, f in model.model_fields.items() if key not in known}
            rows = [describe_key(key, field, own.get(key, "")) for key, field in fields.items()]
            lines += [f"### `{head}`", "", *table(("key", "type", "default", "meaning"), rows)]
    return lines


def describe_key(key: str, field: Any, meaning: str) -> tuple[str, ...]:
    """Return a row of the table of a section."""
    written = ", ".join((describe_type(annotate(field)), *describe_bounds(field)))
    return f"`{key}`", written, describe_default(field), field.description or meaning


def list_site_tables() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the tables of a site file. Keys of levels depend on the names of levels, keys of criteria on the kind."""
    site, *others = find_tables(make_site_file_model())
    yield from (
        site,
        ("[levels]", LevelsTable),
        ("[levels.NAME]", LevelTable),
        *others,
        ("[[criterion]]", CriterionTable),
    )
    for kind, entry in load_criteria().items():
        yield f'[[criterion]] kind = "{kind}"', entry.table
        if entry.bound is not None:
            yield f"LEVEL of {kind}", entry.bound


BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def describe_bounds(field: Any) -> Iterator[str]:
    """Yield the bounds of a number in words."""
    for rule in field.metadata:
        yield from (f"{text} {getattr(rule, name):g}" for name, text in BOUNDS.items() if hasattr(rule, name))


def describe_type(annotation: Any) -> str:
    """Return a type in words.

    >>> describe_type(tuple[str, ...]), describe_type(float | None), describe_type(Literal["a", "b"])
    ('list of text', 'number', '`a`, `b`')
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in parts if one)
    if origin is types.UnionType or str(origin) == "typing.Union":
        return " or ".join(describe_type(one) for one in parts if one is not type(None))
    if origin in {tuple, list}:
        return f"list of {describe_type(parts[0])}"
    if origin is dict:
        return "table"
    if hasattr(annotation, "__metadata__"):
        if is_duration(annotation.__metadata__):
            return "duration"
        return describe_type(parts[0])
    plain = {str: "text", float: "number", int: "whole number", bool: "true or false", Path: "path"}
    model = find_table(annotation)
    return plain.get(annotation) or ("table" if model else str(annotation.__name__))


def annotate(field: Any) -> Any:
    """Return the declared type of a key. The metadata of a number show whether it is a duration."""
    return Duration if is_duration(field.metadata) else field.annotation


def is_duration(metadata: Any) -> bool:
    """Return whether the metadata of a number parse it as a duration."""
    return any(one in DURATION for one in metadata)


def describe_default(field: Any) -> str:
    """Return the default of a key as it would be written in a file."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or isinstance(value, BaseModel) or value in ("", (), {}):
        return ""
    return f"`{write(value, is_duration='duration' in describe_type(annotate(field)))}`"


def write(value: Any, *, is_duration: bool) -> str:
    """Return a value as it is written in a file.

    >>> write(86400.0, is_duration=True), write(("a", "b"), is_duration=False), write(True, is_duration=False)
    ('"1d"', '["a", "b"]', 'true')
    """
    if isinstance(value, tuple):
        return f"[{', '.join(write(one, is_duration=is_duration) for one in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if is_duration and isinstance(value, float):
        return f'"{format_duration(value)}"'
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def list_paths(db: Database) -> list[str]:
    """Return every path of the HTTP interface for programs."""
    upgrade(db)
    found = build_app(parse_service("", "reference"), db).openapi()["paths"]
    lines = ["# Every path of the HTTP interface", "", f"{GENERATED_NOTE} [the HTTP interface](http-api.md).", ""]
    for path, methods in sorted(found.items()):
        for method, operation in methods.items():
            lines += [
                f"## {method.upper()} {path}",
                "",
                *inspect.cleandoc(operation.get("description", "")).splitlines(),
                "",
            ]
            rows: list[tuple[str, ...]] = [
                (f"`{p['name']}`", p["in"], "required" if p.get("required") else "", p.get("description", ""))
                for p in operation.get("parameters", ())
            ]
            lines += table(("parameter", "in", "", "meaning"), rows)
    return lines


# The order in which the page of views lists its questions.
QUESTIONS: Final = (
    "How do all slopes stand?",
    "Which stations move fastest now, and how near is the next level?",
    "When may a slope fail?",
    "What was measured, and what is missing?",
    "How deep does it slip?",
    "What will it do next, and how likely is a bound to be crossed?",
    "Why is there no forecast, and from when on?",
    "Was the forecast right?",
    "What is usual for the season and the hour?",
    "What was wrong last night?",
    "Which alerts are open, what happened to them, and were they right?",
    "Who was notified, did it arrive, and who answered?",
    "Who is on duty, and which hand-overs and drills took place?",
    "Which instruments need something?",
    "Which readings were unusual, and how often was an alarm right?",
    "Where did the ground change on an image?",
    "What do satellite points do?",
    "What did people see, declare or correct?",
    "Which site file was in force, and what was proposed?",
    "What could not be read, or came late?",
    "Is the service well, and who did what?",
)


def list_views(_db: Database) -> list[str]:
    """Return every public view with its columns, their units and meanings."""
    views = describe_views()
    links_by_question: dict[str, list[str]] = {question: [] for question in QUESTIONS}
    for view in views:
        # A plugin may have a question of its own.
        links_by_question.setdefault(view.question, []).append(f"[`{view.name}`](#{view.name})")
    index: list[tuple[str, ...]] = [
        (question, ", ".join(links)) for question, links in links_by_question.items() if links
    ]
    lines = ["# Every public view and column", "", f"{GENERATED_NOTE} [SQL](sql.md).", ""]
    lines += ["## By question", "", *table(("question", "views"), index)]
    for view in sorted(views, key=lambda view: view.name):
        rows: list[tuple[str, ...]] = [(f"`{name}`", unit, meaning) for name, unit, meaning in view.columns]
        lines += [f"## {view.name}", "", view.about, "", *table(("column", "unit", "meaning"), rows)]
    return lines


def read_meanings(module: types.ModuleType) -> dict[str, Any]:
    """Return the content of `meanings.toml` in the folder of a module."""
    return tomllib.loads(Path(str(module.__file__)).with_name("meanings.toml").read_text(encoding="utf-8"))


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as a Markdown table; no lines if there are no rows."""
    if not rows:
        return []
    cells = [[" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (list(heads), ["---"] * len(heads), *cells)] + [""]


PAGES: Final[dict[str, Callable[[Database], list[str]]]] = {
    "all-commands": describe_commands,
    "all-keys": list_keys,
    "all-paths": list_paths,
    "all-views": list_views,
}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        # The web page has priority.
        os.nice(10)
        json.dump({f"reference/{name}": write_page(name) for name in PAGES}, sys.stdout)
