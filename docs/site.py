"""Hooks of MkDocs: the navigation, pages from outside of docs/, links between pages, and a check of the result."""

import fnmatch
import re
import tomllib
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = ROOT / "build" / "reference"  # written by monitor/features/help/reference.py
# Pages of the start of the site, by their path in the repository.
START_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LAB_BENCHMARKS = "packages/lab/benchmarks"
LAB_EVALUATION = "packages/lab/evaluation"
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")  # groups: text, target
LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon)[^>]*\bhref=[\"']?(?:https?:)?//"
)
BLOCK = re.compile(r"(?:[-*] |\d+\. |\|)")  # start of a list or a table


def map_outside_files():
    """Return the address in the site of each file that the site takes from outside of docs/, by its path."""
    addresses = dict(START_PAGES)
    addresses[f"{LAB_BENCHMARKS}/README.md"] = "evaluation/benchmarks.md"
    for path in (ROOT / LAB_EVALUATION).glob("*.md"):
        addresses[f"{LAB_EVALUATION}/{path.name}"] = f"evaluation/{path.name}"
    for path in (ROOT / LAB_BENCHMARKS / "results").glob("*.json"):
        addresses[f"{LAB_BENCHMARKS}/results/{path.name}"] = f"evaluation/results/{path.name}"
    return addresses


OUTSIDE = map_outside_files()
SOURCES = {address: source for source, address in OUTSIDE.items()}


def list_tabs(docs, addresses=()):
    """Return the titles of the tabs with the pages of each, in the order of docs/contents.toml.

    Args:
        docs: folder of the documents.
        addresses: in the site, of pages that are not in this folder.
    """
    rows = tomllib.loads((docs / "contents.toml").read_text(encoding="utf-8"))["tab"]
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    pages |= {address.removesuffix(".md") for address in addresses}
    unnamed = sorted(pages - {name for row in rows for name in row["pages"]})
    return {
        row["title"]: [
            name for line in row["pages"] for name in (fnmatch.filter(unnamed, line) if "*" in line else [line])
        ]
        for row in rows
    }


def on_config(config):
    """Make the navigation: one tab for each role."""
    addresses = [f"reference/{path.name}" for path in WRITTEN.glob("*.md")]
    addresses += [address for address in SOURCES if address.startswith("evaluation/") and address.endswith(".md")]
    tabs = list_tabs(Path(config.docs_dir), addresses)
    config.nav = [
        {"Slopeward": list(START_PAGES.values())},
        *({title: [f"{name}.md" for name in names]} for title, names in tabs.items()),
    ]
    return config


def on_files(files, config):
    """Add the pages that are written from the program, and the files from outside of docs/."""
    for path in WRITTEN.glob("*.md"):
        files.append(File.generated(config, f"reference/{path.name}", abs_src_path=str(path)))
    for source, address in OUTSIDE.items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, **_):
    """Replace the target of each link by the address of that file in the site.

    A link to a file that the site does not contain becomes text. Raise PluginError if that file does not exist.
    """
    address = page.file.src_uri
    source = SOURCES.get(address, f"docs/{address}")

    def rewrite(match):
        text = LINK.sub(rewrite, match[1])  # the text may contain an image
        link = match[2]
        path, mark, anchor = link.partition("#")
        if not path or ":" in path:
            return match[0]
        target = normpath(join(dirname(source), path))
        if (ROOT / target).is_dir() and (ROOT / target / "README.md").exists():
            target += "/README.md"
        if target in OUTSIDE:
            target_address = OUTSIDE[target]
        elif target.startswith("docs/"):
            target_address = target.removeprefix("docs/")
        elif (ROOT / target).exists():
            return text
        else:
            raise PluginError(f"{source}: {link} does not exist")
        return f"[{text}]({relpath(target_address, dirname(address) or '.')}{mark}{anchor})"

    return LINK.sub(rewrite, separate_blocks(markdown))


def separate_blocks(markdown):
    """Add a blank line before lists and tables and around code blocks. GitHub does not need it; MkDocs does."""
    lines = []
    is_code = False
    previous = ""
    for line in markdown.splitlines():
        is_fence = line.lstrip().startswith("```")
        starts_block = BLOCK.match(line) and not BLOCK.match(previous) and not previous.startswith(" ")
        follows_fence = previous.lstrip().startswith("```")
        if not is_code and previous.strip() and (starts_block or follows_fence) and not line.startswith(" "):
            lines.append("")
        lines.append(line)
        if is_fence:
            is_code = not is_code
        previous = line
    return "\n".join(lines) + "\n"


def on_post_build(config):
    """Refuse a site that loads anything from another host."""
    for path in Path(config.site_dir).rglob("*.html"):
        if match := LOADED.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.relative_to(config.site_dir)} loads from another host: {match[0][:200]}")
