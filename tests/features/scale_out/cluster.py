"""A Dask cluster on loopback over TLS, each part a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from monitor.features.scale_out import cluster
from monitor.features.scale_out.cluster import DaskCluster
from tests.fixtures.waiting import REPOSITORY, free_port

Process = subprocess.Popen[bytes]


@dataclass(slots=True)
class FarCluster:
    """Where it is, its scheduler and first worker; `start` adds a worker of one thread by its name."""

    where: DaskCluster
    start: Callable[..., Process]
    scheduler: Process
    first: Process


def write_certificate(folder: Path) -> tuple[str, str]:
    """One certificate for all sides, its own authority: what it takes is in the files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "cluster.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "cluster.pem"), str(folder / "key.pem")


@contextmanager
def start_cluster(folder: Path) -> Iterator[FarCluster]:
    """A scheduler and one worker of one thread; workers import what lies in the folder."""
    file, key = write_certificate(folder)
    address = f"tls://127.0.0.1:{free_port()}"
    secrets = ["--tls-ca-file", file, "--tls-cert", file, "--tls-key", key]
    running: list[Process] = []

    def start(*words: str, **more: str) -> Process:
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}", **more}
        command = [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:], *secrets, "--no-dashboard"]
        process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
        running.append(process)
        return process

    place = ["--nthreads", "1", "--no-nanny", "--host", "tls://127.0.0.1", "--local-directory", str(folder)]
    scheduler = start(
        "dask_scheduler", "--host", address, "--no-show", DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1"
    )

    def start_worker(name: str, **more: str) -> Process:
        return start("dask_worker", address, "--name", name, *place, **more)

    where = DaskCluster(address, file, file, key)
    try:
        yield FarCluster(where, start_worker, scheduler, start_worker("first"))
    finally:
        cluster._forget(where)
        for process in reversed(running):
            process.kill()  # a worker that has lost its scheduler may take its time to end in order
        for process in running:
            process.wait()
