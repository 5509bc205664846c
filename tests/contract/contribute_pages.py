"""Packages that the pages `docs/contribute/write-a-*.md` build."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/contribute"
FEATURE_PAGE = FOLDER / "write-a-feature.md"
PAGES = sorted(FOLDER.glob("write-a-*.md"))
BLOCK = re.compile(r"^```(\w+) (file|try|inside|contract)(?:=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def list_files(page: Path) -> dict[str, str]:
    """Return the text of each file of the package, by its path."""
    return {name: text for _, what, name, text in BLOCK.findall(page.read_text(encoding="utf-8")) if what == "file"}


def list_inside(page: Path) -> dict[str, str]:
    """Return the text of each file that differs if the package is a feature inside Slopeward, by its path."""
    return {name: text for _, what, name, text in BLOCK.findall(page.read_text(encoding="utf-8")) if what == "inside"}


def list_contract_tests(page: Path) -> dict[str, str]:
    """Return the text of each file that runs the contract tests for the package, by its name."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return {name: text for _, what, name, text in found if what == "contract"}


def list_tries(page: Path) -> list[str]:
    """Return the Python code with which the page tries the package."""
    return [code for language, code in _find_tries(page) if language == "python"]


def list_steps(page: Path) -> list[str]:
    """Return what the page does to try the package, in order, as Python code. Commands must end with status 0."""
    return [_run_commands(text) if language == "sh" else text for language, text in _find_tries(page)]


def _find_tries(page: Path) -> list[tuple[str, str]]:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for language, what, _, text in blocks if what == "try"]


def _run_commands(text: str) -> str:
    lines = ["from monitor.cli.main import run_command"]
    for command in text.splitlines():
        program, *words = shlex.split(command)
        assert program == "slopeward"
        lines.append(f"assert run_command({words!r}) == 0")
    return "\n".join(lines)


def write_package(page: Path, folder: Path) -> None:
    """Write the package of a page into a folder. The pages do not show the empty files `__init__.py`."""
    for name, text in list_files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if len(Path(name).parts) == 2:
            (path.parent / "__init__.py").touch()


def install(target: Path, *sources: Path) -> None:
    """Install packages into a folder by pip, as a reader does; nothing is downloaded."""
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--upgrade", "--target", str(target)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options]
    subprocess.run([*pip, *map(str, sources)], check=True)
