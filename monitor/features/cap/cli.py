"""`slopeward notify cap`: verify CAP messages, and create the key that signs them."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from monitor.api.cli import Commands, show
from monitor.api.errors import RefusedError
from monitor.api.settings import read_text

app = Commands(no_args_is_help=True, help=__doc__)


@app.command("verify", takes_config=False)
def verify(
    file: Annotated[str, typer.Argument(help="The message, or `-`")],
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="PEM of the sender, received in another way than the message")
    ] = None,
) -> None:
    """Prove a CAP 1.2 message of any sender: that it keeps the standard, and by whom it was signed.

    Without --certificate only the standard is looked at. Exit 1 where anything is wrong.

    Example: slopeward notify cap verify alert-12.xml --certificate slope-office.pem
    """
    from monitor.features.cap.rules import LARGEST_BYTES, find_faults
    from monitor.features.cap.signature import verify_cap

    try:
        with sys.stdin.buffer if file == "-" else Path(file).open("rb") as opened:
            content = opened.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise RefusedError(f"{file}: cannot be read: {error.strerror or error}") from None
    faults = find_faults(content)
    facts: dict[str, object] = {"file": file, "faults": faults, "signed_by": None}
    lines = [f"{file}: {fault}" for fault in faults] or [f"{file}: keeps CAP 1.2"]
    if certificate is None:
        lines.append("signature: not looked at (--certificate names whose it must be)")
    else:
        signed = verify_cap(content, read_text(certificate))
        facts |= {"signed_by": signed.subject, "fingerprint_sha256": signed.fingerprint_sha256}
        lines.append(f"signature: holds, by {signed.subject}, certificate SHA-256 {signed.fingerprint_sha256}")
        if signed.ends_at < datetime.now(UTC):
            faults.append(f"the certificate ended at {signed.ends_at:%Y-%m-%d}")
            lines.append(faults[-1])
    show(facts, "\n".join(lines))
    if faults:
        raise typer.Exit(1)


@app.command("key", takes_config=False)
def make(
    key: Annotated[Path, typer.Argument(help="Where the private key goes, mode 0600")],
    certificate: Annotated[Path, typer.Argument(help="Where its certificate goes: for those who receive")],
    name: Annotated[str, typer.Option("--name", help="Who signs, as the certificate states it")] = "Slopeward",
) -> None:
    """Make a key and a certificate of its own (RSA, ten years) for `[cap] key_file` and `certificate_file`.

    A file that is there is never replaced.

    Example: slopeward notify cap key /etc/slopeward/cap-key.pem /etc/slopeward/cap.pem --name "Slope office"
    """
    from forecasting.whole_file import write_private
    from monitor.features.cap.signature import make_key

    for path in (key, certificate):
        if path.exists():
            raise RefusedError(f"{path} is there already: whoever trusts it would take our messages for forged")
    try:
        private, public = make_key(name, datetime.now(UTC))
        write_private(key, private)
        certificate.write_text(public, encoding="ascii")
    except (OSError, ValueError) as error:
        raise RefusedError(f"cannot be written: {error}") from None
    show({"key": str(key), "certificate": str(certificate)}, f"key {key}, certificate {certificate}")
