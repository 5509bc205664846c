"""The lock files contain the requirements of pyproject.toml with hashes, and PyTorch in separate files."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from monitor.extras import OPTIONAL_MODULES
from tests.architecture.syntax import STATEMENTS, walk
from tests.tables import tabulated

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PACKAGES = {
    project["name"]: project
    for name in ("earth", "lab")
    for project in [tomllib.loads((ROOT / f"packages/{name}/pyproject.toml").read_text())["project"]]
}
OURS = {"slopeward", "slopeward-weights", *PACKAGES}  # Built from the sources by locks/install.sh.
LOCKED = sorted(PROJECT["optional-dependencies"].keys() - {"all", "dev", "weights"})


def read_lock(name: str) -> dict[str, str]:
    """Return the version of each package, and check that each has a hash."""
    text = (ROOT / f"locks/{name}.txt").read_text()
    if not text:
        return {}
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all("--hash=sha256:" in entry for entry in entries), name
    matches = [re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", entry) for entry in entries]
    return {canonicalize_name(match[1]): match[2] for match in matches if match is not None}


def list_requirements(*extras: str) -> list[Requirement]:
    """Return the requirements of pyproject.toml, with the extras that an extra includes."""
    requirements = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
            requirements += (
                list_requirements(*requirement.extras) if requirement.name == PROJECT["name"] else [requirement]
            )
            requirements += map(
                Requirement, PACKAGES[requirement.name]["dependencies"] if requirement.name in PACKAGES else ()
            )
    return [requirement for requirement in requirements if requirement.name not in OURS]


@tabulated("name", ["core", "dev", *LOCKED])
def test_lock_contains_the_requirements_of_the_project(name):
    locked = read_lock(name) | read_lock("torch-pypi") | ({} if name == "dev" else read_lock("core"))
    for requirement in [*list_requirements(*{name} - {"core"}), Requirement("hatchling")]:
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in locks/{name}.txt: run make lock"
        assert requirement.specifier.contains(version), (
            f"{requirement} does not allow the locked {version}: run make lock"
        )


def test_locks_agree_and_only_the_files_for_pytorch_contain_it():
    core, dev = read_lock("core"), read_lock("dev")
    assert core.items() <= dev.items()
    for name in LOCKED:
        extra = read_lock(name)
        assert name == "compare" or extra.items() <= dev.items()
        assert not extra.keys() & core.keys(), name
    assert not [name for name in dev if name == "torch" or name.startswith("nvidia-")]
    assert read_lock("torch-cpu")["torch"] == f"{read_lock('torch-pypi')['torch']}+cpu"


def test_service_requires_no_network_packages():
    assert not {"torch", "statsmodels"} & {one.name for one in list_requirements()}


def list_imported() -> dict[str, str]:
    """Return each third-party top-level module that our packages import, with one importing file."""
    found: dict[str, str] = {}
    for path in (path for name in ("monitor", "forecasting", "detection") for path in (ROOT / name).rglob("*.py")):
        for node in walk(ast.parse(path.read_bytes()), inside=STATEMENTS):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    own = {"monitor", "forecasting", "detection", "_typeshed", *sys.stdlib_module_names}
    return {name: path for name, path in found.items() if name not in own}


def test_every_imported_package_is_required():
    """The core or an extra in `extras.py` requires it, so that errors for missing modules name the installation."""
    core, brought = (
        {canonicalize_name(one.name) for one in list_requirements(*extras)} for extras in ((), ("all", "compare"))
    )
    brings, imported = packages_distributions(), list_imported()
    assert len(imported) > 40
    for module, path in imported.items():
        packages = {canonicalize_name(name) for name in brings.get(module, ())}
        assert packages & core or module in OPTIONAL_MODULES, (
            f"{path} imports {module}: neither of the core nor in extras.py"
        )
        assert packages & (core | brought) or not packages, f"{path} imports {module}: pyproject.toml lacks {packages}"


def test_extra_contains_the_documented_packages():
    brings = packages_distributions()
    for module, (_, extra) in OPTIONAL_MODULES.items():
        packages = {canonicalize_name(name) for name in brings.get(module, ())}
        core, whole = ({canonicalize_name(one.name) for one in list_requirements(*extras)} for extras in ((), (extra,)))
        assert not packages & core, f"{module} is of the core"
        assert packages & (whole - core) or module == "statsforecast", f"{extra} does not bring {module}"


# Used unchanged by import. An operator can replace their version, as the LGPL requires.
LESSER = {"psycopg", "psycopg-binary"}
OTHER = {"pyphen", "asyncssh"}  # Also offered under the MPL or EPL, which we use.


def test_no_shipped_package_is_under_the_gpl():
    known = 0
    for package in {name: "" for lock in ("core", *LOCKED) for name in read_lock(lock)}:
        try:
            found = metadata(package)
        except PackageNotFoundError:
            continue  # package of another platform
        told = [found.get("License-Expression") or "", *(found.get_all("Classifier") or ())]
        # a text of many lines is the licence itself, which may name other licences
        told.append((found.get("License") or "").partition("\n")[0])
        licence = " ".join(line for line in told if "License" in line or " :: " not in line)
        assert licence.strip() or found.get_all("License-File"), f"{package}: no licence is named"
        assert package in LESSER | OTHER or not re.search(r"GPL|General Public", licence), f"{package}: {licence}"
        known += 1
    assert known > 60


def test_no_lock_names_a_package_host():
    for path in (ROOT / "locks").glob("*.txt"):
        assert not re.search(r"https?://|-index-url|--find-links", path.read_text()), path


# A Python that records installations instead of executing them, and finds PyTorch after a file named in HAS.
PYTHON = """#!/bin/sh
case "$*" in
*metadata*) [ ! -e "$0.torch" ] || echo 2.13.0 ;;
*" -r "*)
    for last; do case "$last" in *.txt) echo "$last" >> "$0.log" ;; esac; done
    case "$last" in *torch*) [ "$last" = "$HAS" ] && touch "$0.torch" ;; esac ;;
esac
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the public index has no CUDA build")
@pytest.mark.parametrize(
    ("what", "has", "torch", "files", "said"),
    [
        (["core"], "", "", ["core"], ""),
        (["core", "sources", "grids"], "", "", ["core", "sources", "grids"], ""),
        (["core", "dev"], "", "", [], "unknown extra dev"),
        (["core", "models"], "locks/torch-cpu.txt", "", ["core", "models", "torch-cpu"], ""),
        (["cluster"], "locks/torch-pypi.txt", "", ["core", "cluster", "torch-cpu", "torch-pypi"], "CUDA: 2.7 GB"),
        (
            ["models"],
            "locks/torch-pypi.txt",
            "cpu",
            ["core", "models", "torch-cpu"],
            "install.sh .venv/bin/python core",
        ),
    ],
)
def test_install_script_prefers_pytorch_for_the_cpu(tmp_path, what, has, torch, files, said):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "locks/install.sh", python, *what],
        env=os.environ | {"HAS": has, "TORCH": torch},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [Path(line).stem for line in (python.with_suffix(".log").read_text().split() if files else ())] == files
    assert done.returncode == (2 if not files else 1 if torch == "cpu" else 0), done.stderr
    assert said in done.stderr
    assert ("was not installed" in done.stderr) == (bool(said) and bool(files))


def test_each_push_tests_locked_and_lowest_versions():
    commands = re.findall(r"- run: (.+)", (ROOT / ".github/workflows/tests.yml").read_text())
    assert {"bash .ci/run", "make test-lowest"} <= set(commands)
    assert (ROOT / ".ci/run").is_file()
    assert re.search(r"^test-lowest:.*\n\tlocks/lowest\.sh", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert os.access(ROOT / "locks/lowest.sh", os.X_OK)
