"""`slopeward completion`: a script by which the shell completes verbs, commands and options."""

import importlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(no_args_is_help=True, help=__doc__)

_SCRIPT = """# slopeward completion {shell}: written by the program, for its verbs of version {version}
_slopeward_words() {{
  case "$1" in
{cases}
  esac
}}
_slopeward() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) continue ;; esac
    [ -n "$(_slopeward_words "${{path:+$path }}$word")" ] || break
    path="${{path:+$path }}$word"
  done
  COMPREPLY=($(compgen -W "$(_slopeward_words "$path")" -- "$current"))
}}
complete -o default -F _slopeward slopeward
"""
_HEAD = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


@app.command("completion")
def completion(shell: Annotated[Literal["bash", "zsh"], typer.Argument(metavar="SHELL", help="bash or zsh")]) -> None:
    """Print the script; the shell reads it at its start.

    Example: slopeward completion bash > ~/.local/share/bash-completion/completions/slopeward
    """
    from monitor.domain.canonical import code_version

    cases = "\n".join(f'    "{path}") echo "{" ".join(words)}" ;;' for path, words in list_words())
    print(_HEAD[shell] + _SCRIPT.format(shell=shell, version=code_version(), cases=cases), end="")


def list_words() -> Iterator[tuple[str, list[str]]]:
    """What may follow each path of words: `alerts` is followed by its commands, `alerts list` by its options."""
    from monitor.cli.main import VERBS

    yield "", [*VERBS, "--help", "--version"]
    for verb, (module, _) in VERBS.items():
        yield from _walk(verb, typer.main.get_command(importlib.import_module(module).app))


def _walk(path: str, command: Any) -> Iterator[tuple[str, list[str]]]:
    options = [name for one in command.params for name in one.opts if name.startswith("--")]
    commands = {k: v for k, v in (getattr(command, "commands", None) or {}).items() if not v.hidden}
    hidden = {"--install-completion", "--show-completion"}
    yield path, [*commands, *(name for name in options if name not in hidden), "--help"]
    for name, one in commands.items():
        yield from _walk(f"{path} {name}", one)
