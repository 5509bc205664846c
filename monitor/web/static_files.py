"""Scripts, styles and images of the page."""

import re
from typing import Any, Final

from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_VERSION_FOLDER: Final = re.compile(r"^v/[^/]+/")


class VersionedFiles(StaticFiles):
    """Static files that browsers may store, because each address contains the version of the program.

    `/static/NAME?v=VERSION` and `/static/v/VERSION/NAME` give the same file. Modules need the second form: a relative
    import such as `./ages.js` keeps the folder of the importing module and drops its query.

    Args:
        cache_control: How long browsers may store a file, as in the header `Cache-Control`.
        options: Arguments of `StaticFiles`.
    """

    def __init__(self, cache_control: str, **options: Any) -> None:
        super().__init__(**options)
        self._cache_control = cache_control

    def get_path(self, scope: Scope) -> str:
        """Return the path of the file below the folder, without the version."""
        return _VERSION_FOLDER.sub("", super().get_path(scope))

    def file_response(self, full_path: object, stat_result: object, scope: Scope, status_code: int = 200) -> Response:
        """Return a file that only the browser of the reader may store, not a proxy."""
        response = super().file_response(full_path, stat_result, scope, status_code)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = f"private, {self._cache_control}"
        return response
