"""Signatures of CAP messages: XML signature, enveloped, as CAP 1.2 (3.3.4.1) has them; proven with one certificate."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError, RefusedError
from monitor.api.extras import require
from monitor.features.cap.rules import NAMESPACE, SIGNATURE, read_cap

RSA_BITS: Final = 3072  # NIST SP 800-57: good beyond 2030
LASTS: Final = timedelta(days=3653)
_UNUSED: Final = (
    *("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"),
    *("crl_sign", "encipher_only", "decipher_only"),
)


class Signed(NamedTuple):
    """What a proven signature was made with."""

    subject: str
    fingerprint_sha256: str
    ends_at: datetime


def sign_cap(text: str, key_pem: str, certificate_pem: str) -> str:
    """A message with an enveloped signature as its last element; the same message gives the same bytes.

    Raises ConfigError: key and certificate cannot be used, or signxml is not installed.
    """
    require("signxml", ConfigError)
    from lxml import etree
    from signxml.algorithms import SignatureConstructionMethod
    from signxml.signer import XMLSigner

    root = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    signer = XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm="rsa-sha256",
        digest_algorithm="sha256",
        c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
    )
    try:
        signed = signer.sign(root, key=key_pem.encode(), cert=certificate_pem)
    except Exception as error:  # of many kinds; the secret stands in none of our texts
        raise ConfigError(f"cap: the message cannot be signed with this key: {type(error).__name__}") from None
    content: str = etree.tostring(signed, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n'


def verify_cap(content: bytes, certificate_pem: str) -> Signed:
    """Prove that a message is whole and was signed with the key of a certificate.

    The certificate is the one that the sender handed over; one that stands in the message proves nothing.

    Raises:
        RefusedError: there is no signature, it is of another key, or the message was altered.
        ConfigError: the certificate cannot be read, or signxml is not installed.
    """
    root = read_cap(content)
    if [child.tag for child in root].count(SIGNATURE) != 1 or root[-1].tag != SIGNATURE:
        raise RefusedError("the message bears no signature, or not as its last element")
    require("signxml", ConfigError)
    from cryptography import x509
    from signxml.verifier import XMLVerifier

    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError as error:
        raise ConfigError(f"the certificate cannot be read: {error}") from None
    try:
        proven = XMLVerifier().verify(content, x509_cert=certificate_pem, expect_references=1)
    except Exception as error:  # signxml and lxml raise many kinds: each means that nothing is proven
        raise RefusedError(f"the signature does not hold: {' '.join(str(error).split())[:200]}") from None
    signed = (proven[0] if isinstance(proven, list) else proven).signed_xml
    if signed is None or signed.tag != f"{{{NAMESPACE}}}alert":
        raise RefusedError("the signature is of another part than the whole message")
    from cryptography.hazmat.primitives.hashes import SHA256

    return Signed(
        certificate.subject.rfc4514_string(), certificate.fingerprint(SHA256()).hex(), certificate.not_valid_after_utc
    )


def make_key(name: str, now: datetime) -> tuple[str, str]:
    """A new private key and a certificate of its own for ten years, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC))
        .not_valid_after(now.astimezone(UTC) + LASTS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, content_commitment=True, **dict.fromkeys(_UNUSED, False)),
            critical=True,
        )
        .sign(key, SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
