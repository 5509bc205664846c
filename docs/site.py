"""What the site of the documents needs beside them: its navigation, the files above them, and that it stands alone."""

import fnmatch
import re
import tomllib
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = ROOT / "build" / "reference"  # by monitor/features/help/reference.py
ABOVE = {  # files of the repository root that become pages of the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")  # its text, its target
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon)[^>]*\bhref=[\"']?(?:https?:)?//"
)
BLOCK = re.compile(r"(?:[-*] |\d+\. |\|)")  # a list or a table begins


def list_tabs(docs, written=()):
    """Titles of the tabs and the documents of each, as docs/contents.toml orders them."""
    rows = tomllib.loads((docs / "contents.toml").read_text(encoding="utf-8"))["tab"]
    found = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    found |= {f"reference/{path.stem}" for path in written}
    free = sorted(found - {name for row in rows for name in row["pages"]})
    return {
        row["title"]: [
            name for line in row["pages"] for name in (fnmatch.filter(free, line) if "*" in line else [line])
        ]
        for row in rows
    }


def on_config(config):
    """Lay out the tabs, one for each role."""
    tabs = list_tabs(Path(config.docs_dir), WRITTEN.glob("*.md"))
    config.nav = [
        {"Slopeward": list(ABOVE.values())},
        *({title: [f"{n}.md" for n in names]} for title, names in tabs.items()),
    ]
    return config


def on_files(files, config):
    """Documents of the folder above and pages written from the program become pages; links are those of their place."""
    for path in WRITTEN.glob("*.md"):
        files.append(File.generated(config, f"reference/{path.name}", content=path.read_text(encoding="utf-8")))
    for name, page in ABOVE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=LINK.sub(_from_root, text).replace("](docs/", "](")))
    return files


def _from_root(match):
    target, mark, anchor = match[2].partition("#")
    if target.startswith("docs/"):
        return f"[{match[1]}]({target.removeprefix('docs/')}{mark}{anchor})"
    return f"[{match[1]}]({ABOVE[target]}{mark}{anchor})" if target in ABOVE else match[0]


def on_page_markdown(markdown, page, config, **_):
    """Links that leave the documents: to a page that came from above, or to a file of the sources, which must exist."""
    docs, came_from_above = Path(config.docs_dir), page.file.src_uri in ABOVE.values()

    def resolve(match):
        target, mark, anchor = match[2].partition("#")
        if not target or ":" in target or (came_from_above and target in ABOVE.values()):
            return match[0]
        here = (docs / page.file.src_uri).parent / target
        if came_from_above and not here.exists():
            here = ROOT / target
        here = here.resolve()
        if here.is_relative_to(docs):
            whole = here.is_dir() and (here / "README.md").exists()
            return f"[{match[1]}]({target.rstrip('/')}/README.md)" if whole else match[0]
        name = here.relative_to(ROOT).as_posix() if here.is_relative_to(ROOT) else str(here)
        if name in ABOVE:
            return f"[{match[1]}]({'../' * page.file.src_uri.count('/')}{ABOVE[name]}{mark}{anchor})"
        if not here.exists():
            raise PluginError(f"{page.file.src_uri}: {match[2]} leads nowhere")
        return match[1]  # a file of the sources is no page

    return LINK.sub(resolve, set_apart(markdown))


def set_apart(markdown):
    """A blank line before each list and table and behind each block of code: GitHub needs none, this builder does."""
    found, is_code, before = [], False, ""
    for line in markdown.splitlines():
        fence = line.lstrip().startswith("```")
        begins = BLOCK.match(line) and not BLOCK.match(before) and not before.startswith(" ")
        if (
            not is_code
            and before.strip()
            and (begins or before.lstrip().startswith("```"))
            and not line.startswith(" ")
        ):
            found.append("")
        found.append(line)
        is_code, before = is_code is not fence, line
    return "\n".join(found) + "\n"


def on_post_build(config):
    """Refuse a site that loads anything from another host."""
    for path in Path(config.site_dir).rglob("*.html"):
        if found := LOADED.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(config.site_dir)} loads from another host: {found[0][:200]}")
