"""Where files come from: a real HTTP server with good and bad days, and workers that read them in this process."""

import contextlib
import hashlib
import json
import pickle
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from monitor.errors import JobError
from monitor.worker import compute
from monitor.worker.records import Request, Result, WorkerTask, plain_to_record, record_to_plain


def sign(cert: Path, key: Path, subject: str, names: str) -> None:
    """A certificate that speaks for itself, with its key; of two days."""
    ask = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj".split()
    into = [subject, "-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(ask + into, check=True, capture_output=True)


class FileServer:
    """Serves `files` and what `answers` make; `faults` says what is wrong with a path; `asked`, what was asked."""

    def __init__(self, certificate: str = "") -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}  # path -> function of the query, in place of a file
        self.asked: list[tuple[str, dict[str, str], int]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # a client that does not trust us hangs up
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: Any) -> None:
        path = request.path
        fault = self.faults.get(path.partition("?")[0])
        content = self.files.get(path.partition("?")[0])
        if (make := self.answers.get(path.partition("?")[0])) is not None:
            content = json.dumps(make(path.partition("?")[2])).encode()
        etag = "" if content is None else f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        status = 200
        head = {"ETag": etag, "Content-Type": "text/plain"}
        if isinstance(fault, int):
            status, content = fault, b"something is wrong"
        elif isinstance(fault, str) and "://" in fault:
            status, content, head["Location"] = 302, b"", fault
        elif fault == "login":
            content = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"
        elif content is None:
            status, content = 404, b"not here"
        elif request.headers.get("If-None-Match") == etag:
            status, content = 304, b""
        self.asked.append((path, {k.lower(): v for k, v in request.headers.items()}, status))
        request.send_response(status)
        for key, value in head.items():
            request.send_header(key, value)
        if fault == "packed":
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        half = len(content) // 2 if fault in {"cut", "slow"} else len(content)
        with contextlib.suppress(OSError):
            request.wfile.write(content[:half])
            request.wfile.flush()
            if fault == "slow":
                time.sleep(3.0)
                request.wfile.write(content[half:])
        request.close_connection = fault == "cut"


@contextlib.contextmanager
def serve(certificate: str = "") -> Iterator[FileServer]:
    server = FileServer(certificate)
    try:
        yield server
    finally:
        server.close()


def run_here(
    task: WorkerTask[Request, Result], request: Request, limit_s: float, on_progress: Any = None, **_: Any
) -> Result:
    """Run a job in this process instead of a sandbox, and convert its request and result as `compute.run` does."""
    try:
        copy = pickle.loads(pickle.dumps(request))
        result = compute.call_function(task.function, copy, on_progress or (lambda _: None))
    except Exception as error:
        raise JobError(f"{task.function}: {type(error).__name__}: {error}") from None
    return plain_to_record(
        task.result_type, json.loads(json.dumps(result, default=record_to_plain)), task.describe_reason
    )
