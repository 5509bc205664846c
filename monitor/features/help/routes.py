"""Routes of the documentation: the list of pages, a page, its pictures, and the search."""

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
    """Show all pages by role, or the results of a search."""
    library.start_generating_reference()
    begin = Markup("<mark>")
    end = Markup("</mark>")
    hits = [(hit, escape(hit.excerpt).replace(BEGIN, begin).replace(END, end)) for hit in library.search_help(q)]
    return render(request, "help.html", tabs=library.load_tabs(), query=q, hits=hits)


@router.get("/help/{page}", response_class=HTMLResponse)
def show_page(request: Request, page: str) -> Response:
    """Show a page that is in no folder."""
    return show_document(request, page)


@router.get("/help/{folder}/{page}", response_class=HTMLResponse)
def show_page_of_folder(request: Request, folder: str, page: str) -> Response:
    """Show a page of a folder, or return a picture."""
    path = library.find_folder() / folder / page
    if _FILE.fullmatch(page) and re.fullmatch(r"[a-z-]+", folder) and path.is_file():
        return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})
    return show_document(request, f"{folder}/{page}")


def show_document(request: Request, name: str) -> HTMLResponse:
    """Show a page beside the list of the pages of its tab."""
    page = library.load_pages().get(name)
    if page is None:
        raise NotFoundError(_NO_PAGE(page=name[:80]))
    tab = next(tab for tab in library.load_tabs() if page in tab.pages)
    html = Markup(library.render_page(name))  # noqa: S704 - shipped pages, which contain no HTML
    return render(request, "help_page.html", tab=tab, page=page, html=html)
