"""`slopeward notify cap`: verify CAP messages, and create the key that signs them."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import Commands, print_result
from monitor.api.errors import RefusedError
from monitor.api.settings import read_text

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("verify", takes_config=False)
def verify(
    file: Annotated[str, typer.Argument(help="File with the message, or `-` for standard input")],
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", help="PEM of the sender, received in another way than the message"),
    ] = None,
) -> None:
    """Check that a CAP 1.2 message of any sender is valid, and who signed it.

    Without --certificate the signature is not checked. Exit 1 if anything is wrong.

    Example: slopeward notify cap verify alert-12.xml --certificate slope-office.pem
    """
    from monitor.features.cap.rules import MAX_BYTES, find_faults
    from monitor.features.cap.signature import verify_cap

    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise RefusedError(f"{file}: cannot be read: {error.strerror or error}") from None
    faults = find_faults(content)
    facts: dict[str, object] = {"file": file, "faults": faults, "signed_by": None}
    lines = [f"{file}: {fault}" for fault in faults] or [f"{file}: valid CAP 1.2"]
    if certificate is None:
        lines.append("signature: not checked; give the certificate of the sender with --certificate")
    else:
        signed = verify_cap(content, read_text(certificate))
        facts |= {"signed_by": signed.subject, "fingerprint_sha256": signed.fingerprint_sha256}
        lines.append(f"signature: valid, by {signed.subject}, certificate SHA-256 {signed.fingerprint_sha256}")
        if signed.ends_at < datetime.now(UTC):
            faults.append(f"the certificate expired on {signed.ends_at:%Y-%m-%d}")
            lines.append(faults[-1])
    print_result(facts, "\n".join(lines))
    if faults:
        raise typer.Exit(1)


@app.command("key", takes_config=False)
def create_key(
    key: Annotated[Path, typer.Argument(help="File for the private key, mode 0600")],
    certificate: Annotated[Path, typer.Argument(help="File for the certificate, for the receivers")],
    name: Annotated[str, typer.Option("--name", help="Name of the signer in the certificate")] = "Slopeward",
) -> None:
    """Create a key and a self-signed certificate (RSA, ten years) for `[cap] key_file` and `certificate_file`.

    Existing files are never replaced.

    Example: slopeward notify cap key /etc/slopeward/cap-key.pem /etc/slopeward/cap.pem --name "Slope office"
    """
    from forecasting.whole_file import write_private
    from monitor.features.cap.signature import make_key

    for path in (key, certificate):
        if path.exists():
            raise RefusedError(f"{path} exists; receivers who trust it would reject messages of a new key")
    try:
        private, public = make_key(name, datetime.now(UTC))
        write_private(key, private)
        certificate.write_text(public, encoding="ascii")
    except (OSError, ValueError) as error:
        raise RefusedError(f"the key cannot be written: {error}") from None
    print_result({"key": str(key), "certificate": str(certificate)}, f"key {key}, certificate {certificate}")
