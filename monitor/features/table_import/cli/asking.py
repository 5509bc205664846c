"""Ask the questions about files at the terminal, and show what was understood."""

import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

import typer

from monitor.api.cli import options, print_json, print_note
from monitor.api.text import list_names
from monitor.features.table_import.folder import FileGuess, ImportGuess, ImportReader, SharedQuestion
from monitor.features.table_import.guess.preview import HEAD
from monitor.features.table_import.guess.questions import KEYS

# Rows of a file that are shown at its beginning and at its end.
SHOWN_ROWS: Final = 3


def read_pairs(option: str, example: str, given: Sequence[str]) -> dict[str, str]:
    """Return the values of a repeated option `KEY=VALUE`.

    Raises:
        BadParameter: A value has another form.
    """
    pairs = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not mark or not key or not value:
            raise typer.BadParameter(f"{option}: expected KEY=VALUE such as {example}, got {text!r}")
        pairs[key.strip()] = value.strip()
    return pairs


def read_answers(given: Sequence[str]) -> dict[str, str]:
    """Return the answers of the option `--answer`.

    Raises:
        BadParameter: There is no question with this key.
    """
    answers = read_pairs("--answer", "zone=Europe/Rome", given)
    for key in answers:
        # A key may follow the name of a file, and the name of a column may follow a key: `a.csv/unit:Level/m`.
        candidates = {key.partition(":")[0].rpartition("/")[2], key.rpartition("/")[2].partition(":")[0]}
        if candidates.isdisjoint(KEYS):
            near = get_close_matches(key.rpartition("/")[2].partition(":")[0], KEYS, 1)
            meant = f"; did you mean {near[0]}?" if near else f": there are {', '.join(KEYS)}"
            raise typer.BadParameter(f"--answer: no question is about {key!r}{meant}")
    return answers


def can_ask() -> bool:
    """Return whether questions can be asked: standard input is a terminal, and `--json` is not given."""
    return sys.stdin.isatty() and not options().as_json


def ask_until_answered(reader: ImportReader, answers: dict[str, str]) -> ImportGuess:
    """Understand the files, ask what they leave open, and repeat until no question is open.

    Args:
        answers: Gains what the person answers.

    Raises:
        Exit: A question is open and no person is at the terminal. Each was printed with the option that answers it.
        ConfigError: No file is a table of readings, or an answer is none of the choices.
    """
    found = reader.guess(answers)
    if found.questions:
        for file in found.files:
            print_facts(file, is_titled=len(found.files) > 1)
    while found.questions:
        if options().as_json:
            print_json({"questions": [_question_to_json(shared) for shared in found.questions]})
            raise typer.Exit(1)
        if not can_ask():
            print_note("the files leave questions open; repeat the command with these answers:")
            for shared in found.questions:
                print_question(shared)
            raise typer.Exit(1)
        for number, shared in enumerate(found.questions, 1):
            print_note(f"Question {number} of {len(found.questions)}")
            answers[shared.key] = _prompt(shared)
        found = reader.guess(answers)
    return found


def _question_to_json(shared: SharedQuestion) -> Mapping[str, object]:
    question = shared.question
    return {
        "key": shared.key,
        "text": str(question.text),
        "choices": list(question.choices),
        "default": question.default,
        "examples": {choice: str(example) for choice, example in question.examples.items()},
        "files": list(shared.files),
    }


def print_question(shared: SharedQuestion) -> None:
    """Print a question with its files, what each answer means for the first rows, and the option that answers it."""
    about = f" ({list_names(shared.files)})" if shared.files else ""
    print_note(f"  {describe_question(shared)}{about}")
    _print_details(shared)
    if len(shared.files) > 1:
        print_note(f"      for one file alone: --answer 'FILE/{shared.key}=...'")


def describe_question(shared: SharedQuestion) -> str:
    """Return a question with its choices and the option that answers it."""
    question = shared.question
    choices = f" One of: {', '.join(question.choices)}." if question.choices else ""
    return f"{question.text}{choices} Answer: --answer '{shared.key}=...'"


def _print_details(shared: SharedQuestion) -> None:
    """Print the question in the words of other files, and what each answer means for the first rows."""
    for text in shared.other_texts:
        print_note(f"      also: {text}")
    for choice, example in shared.question.examples.items():
        print_note(f"      {choice}: {example}")


def _prompt(shared: SharedQuestion) -> str:
    """Ask until the answer is one of the choices. The beginning of a choice suffices if no other begins like it."""
    question, choices = shared.question, shared.choices
    _print_details(shared)
    if len(shared.files) > 1:
        print_note(f"      asked for {len(shared.files)} files: {list_names(shared.files)}")
    offered = f" [{', '.join(choices)}]" if choices else ""
    while True:
        typed = str(typer.prompt(f"{question.text}{offered}", default=question.default, err=True)).strip()
        if not choices or typed in choices:
            return typed
        near = [choice for choice in choices if choice.startswith(typed)]
        if len(near) == 1:
            return near[0]
        print_note(f"one of: {', '.join(choices)}")


def print_facts(file: FileGuess, *, is_titled: bool) -> None:
    """Print what was understood of a file, with its first and last rows as they would be stored."""
    if options().as_json:
        return
    if is_titled:
        print(f"{file.path}:")
    for name, text in file.guess.facts:
        print(f"{name:>20}  {text}")
    preview = file.preview
    if preview is None:
        return
    rows = [*preview.first[:SHOWN_ROWS], *preview.last[-SHOWN_ROWS:]]
    widths = [max(len(row[column]) for row in (HEAD, *rows)) for column in range(len(HEAD))]
    for row in (HEAD, *preview.first[:SHOWN_ROWS]):
        print("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if preview.last:
        print("    ...")
    for row in preview.last[-SHOWN_ROWS:]:
        print("    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if preview.refused:
        print(f"    {preview.refused} of {preview.values} values would be refused; the first: {preview.first_refused}")


def preview_to_json(file: FileGuess) -> Mapping[str, object]:
    """Return what was understood of a file as plain values."""
    found: dict[str, object] = {"file": str(file.path), "facts": {name: str(text) for name, text in file.guess.facts}}
    if file.preview is not None:
        preview = file.preview
        found |= {
            "first": [dict(zip(HEAD, row, strict=True)) for row in preview.first],
            "last": [dict(zip(HEAD, row, strict=True)) for row in preview.last],
            "values": preview.values,
            "refused": preview.refused,
        }
    return found
