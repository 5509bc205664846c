"""Scripts and styles: addresses with a version, and what the service worker saves for reading without a connection."""

import re
from pathlib import Path, PurePosixPath

import pytest

from monitor import web
from tests.web.served import client, database, filled

__all__ = ["client", "database", "filled"]  # fixtures
STATIC = Path(web.__file__).parent / "static"
IMPORT = re.compile(r'^import .* from "(\./[^"]+|\.\./[^"]+)";$', re.MULTILINE)


def list_imports(name):
    """Return a module and all modules that it imports."""
    names = {name}
    for target in IMPORT.findall((STATIC / name).read_text()):
        folder = PurePosixPath(name).parent
        names |= list_imports(str(folder / target.removeprefix("./")))
    return names


def test_a_file_has_an_address_with_the_version_as_folder(client):
    plain = client.get("/static/live/ages.js?v=1.2.3")
    versioned = client.get("/static/v/1.2.3/live/ages.js")
    assert versioned.content == plain.content == (STATIC / "live" / "ages.js").read_bytes()
    assert versioned.headers["content-type"].startswith("text/javascript")
    assert versioned.headers["cache-control"] == "private, max-age=86400"


@pytest.mark.parametrize(
    "path", ["v/1/../../app.py", "v/1/%2e%2e/%2e%2e/app.py", "v//etc/passwd", "v/1//etc/passwd", "v/1/", "v/1"]
)
def test_the_version_folder_leads_to_no_other_files(client, path):
    assert client.get(f"/static/{path}").status_code == 404


def test_the_service_worker_saves_every_module_of_a_saved_page(client):
    text = client.get("/sw.js").text
    saved = set(re.findall(r'"([\w/-]+\.js)"', text))
    needed = set().union(*map(list_imports, ("live/start.js", "offline.js", "translations.js")))
    assert needed <= saved
    for name in saved:
        assert (STATIC / name).is_file()


def test_every_script_of_a_page_exists(client):
    for path in ("/", "/sites/north-bench", "/login", "/offline", "/alerts/1", "/sites/north-bench/instruments"):
        text = client.get(path).text
        scripts = re.findall(r'<script[^>]* src="([^"]+)"', text)
        assert scripts
        assert {script: client.get(script).status_code for script in scripts} == dict.fromkeys(scripts, 200)
