"""What makes the page a program on a device: service worker, manifest, and the page without a connection."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from monitor.web.context import context_of
from monitor.web.parts.templating import render_part

router = APIRouter(include_in_schema=False)
_STATIC: Final = Path(__file__).parents[1] / "static"


@cache
def _read_worker(version: str) -> str:
    return (_STATIC / "sw.js").read_text(encoding="utf-8").replace("{version}", version)


@router.get("/sw.js")
def send_worker(request: Request) -> Response:
    """The service worker, from the root so that it serves every page; the browser asks for it again and again."""
    text = _read_worker(context_of(request).version)
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/manifest.webmanifest")
def send_manifest(request: Request) -> Response:
    """Name and icons, by which the page can be put on a home screen."""
    version = context_of(request).version
    icons: list[dict[str, Any]] = [
        {"src": f"/static/icon-{size}.png?v={version}", "sizes": f"{size}x{size}", "type": "image/png",
         "purpose": purpose} for size in (192, 512) for purpose in ("any", "maskable")
    ]  # fmt: skip
    manifest = {
        "name": "Slopeward", "short_name": "Slopeward", "id": "/", "start_url": "/", "scope": "/",
        "display": "standalone", "background_color": "#17202a", "theme_color": "#17202a", "icons": icons,
    }  # fmt: skip
    return JSONResponse(
        manifest, media_type="application/manifest+json", headers={"Cache-Control": "private, max-age=86400"}
    )


@router.get("/offline")
def show_offline(request: Request) -> HTMLResponse:
    """What the service worker shows without a connection; it bears nothing of anybody."""
    context = context_of(request)
    return HTMLResponse(render_part("offline.html", context.clock(), {"version": context.version}))
