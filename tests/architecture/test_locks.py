"""The lock files hold what pyproject.toml asks for, each file by its hash, and PyTorch only apart."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_lock(name: str) -> dict[str, str]:
    """Versions by package; every one has a hash."""
    text = (ROOT / f"locks/{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all("--hash=sha256:" in entry for entry in entries), name
    found = [re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", entry) for entry in entries]
    return {canonicalize_name(one[1]): one[2] for one in found if one is not None}


def list_asked(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras that an extra names."""
    asked = [Requirement(text) for text in PROJECT["dependencies"]]
    for extra in extras:
        for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
            asked += list_asked(*one.extras) if one.name == PROJECT["name"] else [one]
    return asked


@pytest.mark.parametrize(("name", "extras"), [("service", ()), ("models", ("models",)), ("dev", ("dev",))])
def test_a_lock_holds_what_the_project_asks_for(name, extras):
    locked = read_lock(name) | read_lock("torch-pypi")
    for one in [*list_asked(*extras), Requirement("hatchling")]:
        version = locked.get(canonicalize_name(one.name))
        assert version is not None, f"{one.name} is not in locks/{name}.txt: run make lock"
        assert one.specifier.contains(version), f"{one} does not allow the locked {version}: run make lock"


def test_the_locks_agree_and_only_their_own_file_names_torch():
    service, models, dev = (read_lock(name) for name in ("service", "models", "dev"))
    assert models.items() <= dev.items()
    assert service.items() <= models.items()
    assert not [name for name in dev if name == "torch" or name.startswith("nvidia-")]
    assert read_lock("torch-cpu")["torch"] == f"{read_lock('torch-pypi')['torch']}+cpu"


def test_the_service_asks_for_no_networks():
    assert not {"torch", "statsmodels"} & {one.name for one in list_asked()}


def test_no_lock_names_a_host_of_packages():
    for path in (ROOT / "locks").iterdir():
        assert not re.search(r"https?://|-index-url|--find-links", path.read_text()), path
