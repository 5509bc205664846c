"""Sign CAP messages with an enveloped XML signature (CAP 1.2, 3.3.4.1), and verify signatures with a certificate."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from monitor.api.errors import ConfigError, RefusedError
from monitor.api.extras import require
from monitor.features.cap.rules import NAMESPACE, SIGNATURE, read_cap

RSA_BITS: Final = 3072  # sufficient beyond 2030 (NIST SP 800-57)
CERTIFICATE_VALIDITY: Final = timedelta(days=3653)
_UNUSED_KEY_USAGES: Final = (
    *("key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"),
    *("crl_sign", "encipher_only", "decipher_only"),
)


class Signed(NamedTuple):
    """The certificate of a valid signature."""

    subject: str
    fingerprint_sha256: str
    ends_at: datetime


def sign_cap(text: str, key_pem: str, certificate_pem: str) -> str:
    """Return a message with an enveloped signature as its last element. The same message gives the same bytes.

    Raises:
        ConfigError: Key and certificate cannot be used, or signxml is not installed.
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
    # The library raises many types. Its texts are not shown, because they might contain parts of the key.
    except Exception as error:
        raise ConfigError(f"cap: the message cannot be signed with this key: {type(error).__name__}") from None
    content: str = etree.tostring(signed, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n'


def verify_cap(content: bytes, certificate_pem: str) -> Signed:
    """Verify that a message is complete and was signed with the key of a certificate.

    The certificate must be received from the sender in another way. A certificate in the message proves nothing.

    Raises:
        RefusedError: The message has no signature or that of another key, or it was altered.
        ConfigError: The certificate cannot be read, or signxml is not installed.
    """
    root = read_cap(content)
    if [child.tag for child in root].count(SIGNATURE) != 1 or root[-1].tag != SIGNATURE:
        raise RefusedError("the message has no signature as its last element")
    require("signxml", ConfigError)
    from cryptography import x509
    from signxml.verifier import XMLVerifier

    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError as error:
        raise ConfigError(f"the certificate cannot be read: {error}") from None
    try:
        results = XMLVerifier().verify(content, x509_cert=certificate_pem, expect_references=1)
    # signxml and lxml raise many types. Each of them means that the signature is not valid.
    except Exception as error:
        raise RefusedError(f"the signature is not valid: {' '.join(str(error).split())[:200]}") from None
    result = results[0] if isinstance(results, list) else results
    signed = result.signed_xml
    if signed is None or signed.tag != f"{{{NAMESPACE}}}alert":
        raise RefusedError("the signature does not cover the whole message")
    from cryptography.hazmat.primitives.hashes import SHA256

    return Signed(
        certificate.subject.rfc4514_string(), certificate.fingerprint(SHA256()).hex(), certificate.not_valid_after_utc
    )


def make_key(name: str, now: datetime) -> tuple[str, str]:
    """Return a new private key and a self-signed certificate that is valid for ten years, both PEM."""
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
        .not_valid_after(now.astimezone(UTC) + CERTIFICATE_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, content_commitment=True, **dict.fromkeys(_UNUSED_KEY_USAGES, False)),
            critical=True,
        )
        .sign(key, SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
