"""The documents on the page: the list by role, one document, its pictures, and the search."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from markupsafe import Markup, escape

from monitor.api.errors import NotFoundError
from monitor.api.text import Template
from monitor.api.web import render_page as render
from monitor.features.help import library
from monitor.features.help.queries import BEGIN, END

router = APIRouter(include_in_schema=False)
_NO_PAGE: Final = Template("help.no_page", "there is no help page '{page}'; search at /help")
_FILE: Final = re.compile(r"[\w.-]+\.(?:png|jpg|svg|json)")
Words = Annotated[str, Query(max_length=200)]


@router.get("/help", response_class=HTMLResponse)
def show_help(request: Request, q: Words = "") -> HTMLResponse:
    """All documents by role, or those that fit what was looked for."""
    library.begin_reference()
    begin, end = Markup("<mark>"), Markup("</mark>")  # round the words that were looked for
    hits = [(hit, escape(hit.excerpt).replace(BEGIN, begin).replace(END, end)) for hit in library.search_help(q)]
    return render(request, "help.html", tabs=library.load_tabs(), query=q, hits=hits)


@router.get("/help/{page}", response_class=HTMLResponse)
def show_page(request: Request, page: str) -> Response:
    """A document that lies in no folder."""
    return show_document(request, page)


@router.get("/help/{folder}/{page}", response_class=HTMLResponse)
def show_page_of_folder(request: Request, folder: str, page: str) -> Response:
    """A document, or a picture of one."""
    path = library.find_folder() / folder / page
    if _FILE.fullmatch(page) and re.fullmatch(r"[a-z-]+", folder) and path.is_file():
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})
    return show_document(request, f"{folder}/{page}")


def show_document(request: Request, name: str) -> HTMLResponse:
    """One document beside the others of its tab."""
    found = library.load_pages().get(name)
    if found is None:
        raise NotFoundError(_NO_PAGE(page=name[:80]))
    tab = next(one for one in library.load_tabs() if found in one.pages)
    html = Markup(library.render_page(name))  # noqa: S704 - of documents that are shipped, without HTML of their own
    return render(request, "help_page.html", tab=tab, page=found, html=html)
