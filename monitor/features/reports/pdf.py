"""Convert an HTML document into PDF with WeasyPrint. The worker process loads nothing but the text of the document."""

import base64
from dataclasses import dataclass
from typing import Final

from monitor.api.errors import JobError
from monitor.api.extras import require
from monitor.api.settings import ComputeSection
from monitor.api.worker import WorkerTask, run_in_worker

FONT_FOLDERS: Final = ("/etc/fonts", "/var/cache/fontconfig")


@dataclass(frozen=True, slots=True)
class PdfRequest:
    """A document to convert."""

    html: str


@dataclass(frozen=True, slots=True)
class PdfResult:
    """The PDF file, encoded in base 64."""

    content: str


def print_document(request: PdfRequest) -> PdfResult:
    """Return the document as PDF/UA. Runs in the worker process."""
    import mimetypes

    # A worker may not read the files of the system that list MIME types.
    mimetypes.knownfiles.clear()
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    data_fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    content = HTML(string=request.html, url_fetcher=data_fetcher).write_pdf(pdf_variant="pdf/ua-1")
    return PdfResult(base64.b64encode(content).decode())


PRINT: Final = WorkerTask("monitor.features.reports.pdf:print_document", PdfRequest, PdfResult)


def make_pdf(plan: ComputeSection, html: str) -> bytes:
    """Return an HTML document as PDF.

    Raises:
        JobError: WeasyPrint or a library that it needs is not installed, or WeasyPrint failed.
    """
    require("weasyprint", JobError)
    try:
        result = run_in_worker(plan.model_copy(update={"dask": ""}), PRINT, PdfRequest(html), reads=FONT_FOLDERS)
    except JobError as error:
        if "cannot load library" in str(error):
            raise JobError("WeasyPrint finds no Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0") from None
        raise
    return base64.b64decode(result.content)
