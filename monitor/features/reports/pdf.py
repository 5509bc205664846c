"""A document as PDF, printed by WeasyPrint in a worker: it reads nothing but the text that it is given."""

import base64
from dataclasses import dataclass
from typing import Final

from monitor.api.errors import JobError
from monitor.api.extras import require
from monitor.api.settings import ComputeSection
from monitor.api.worker import WorkerTask, run_in_worker

FONTS: Final = ("/etc/fonts", "/var/cache/fontconfig")


@dataclass(frozen=True, slots=True)
class PdfRequest:
    """A document."""

    html: str


@dataclass(frozen=True, slots=True)
class PdfResult:
    """The PDF, in base 64."""

    content: str


def print_document(request: PdfRequest) -> PdfResult:
    """In the worker."""
    import mimetypes

    mimetypes.knownfiles.clear()  # files of the system that a worker may not read
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    itself = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    content = HTML(string=request.html, url_fetcher=itself).write_pdf(pdf_variant="pdf/ua-1")
    return PdfResult(base64.b64encode(content).decode())


PRINT: Final = WorkerTask("monitor.features.reports.pdf:print_document", PdfRequest, PdfResult)


def make_pdf(plan: ComputeSection, html: str) -> bytes:
    """Print a document; raises JobError: weasyPrint or its libraries are not installed, or it failed; one line."""
    require("weasyprint", JobError)
    try:
        printed = run_in_worker(plan.model_copy(update={"dask": ""}), PRINT, PdfRequest(html), reads=FONTS)
    except JobError as error:
        if "cannot load library" in str(error):
            raise JobError("WeasyPrint finds no Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0") from None
        raise
    return base64.b64decode(printed.content)
