"""Start a Dask cluster on loopback with TLS. The scheduler and each worker are processes."""

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

from monitor.features.scale_out import cluster as cluster_module
from monitor.features.scale_out.cluster import DaskCluster
from tests.fixtures.waiting import REPOSITORY, free_port

Process = subprocess.Popen[bytes]


@dataclass(slots=True)
class TestCluster:
    """A cluster, its scheduler and first worker. `start_worker` adds a worker with one thread by name."""

    __test__ = False
    cluster: DaskCluster
    start_worker: Callable[..., Process]
    scheduler: Process
    first_worker: Process


def write_certificate(folder: Path) -> tuple[str, str]:
    """Write a certificate that is its own authority, with its key, and return both paths. All sides use it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    certificate = (
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
    (folder / "cluster.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "cluster.pem"), str(folder / "key.pem")


@contextmanager
def start_cluster(folder: Path) -> Iterator[TestCluster]:
    """Start a scheduler and a worker with one thread. Workers can import modules in the folder."""
    file, key = write_certificate(folder)
    address = f"tls://127.0.0.1:{free_port()}"
    tls_options = ["--tls-ca-file", file, "--tls-cert", file, "--tls-key", key]
    running: list[Process] = []

    def start(program: str, *arguments: str, **variables: str) -> Process:
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}", **variables}
        command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments, *tls_options, "--no-dashboard"]
        process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
        running.append(process)
        return process

    worker_options = ["--nthreads", "1", "--no-nanny", "--host", "tls://127.0.0.1", "--local-directory", str(folder)]
    scheduler = start(
        "dask_scheduler", "--host", address, "--no-show", DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1"
    )

    def start_worker(name: str, **variables: str) -> Process:
        return start("dask_worker", address, "--name", name, *worker_options, **variables)

    cluster = DaskCluster(address, file, file, key)
    try:
        yield TestCluster(cluster, start_worker, scheduler, start_worker("first"))
    finally:
        cluster_module._disconnect(cluster)
        for process in reversed(running):
            process.kill()  # a worker without its scheduler may take long to terminate
        for process in running:
            process.wait()
