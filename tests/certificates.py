"""A CA and a certificate of the test's own, which the strictest verifier takes (RFC 5280; Python from 3.13 on)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

USES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign "
    "encipher_only decipher_only"
).split()


def make_ca(folder: Path, name: str = "ca", now_is_ahead: timedelta = timedelta(0)) -> tuple[Path, Path, Path]:
    """Make a CA and a certificate for localhost and 127.0.0.1, by a clock that is so much ahead of this one.

    Returns the files (CA, certificate, key).
    """
    now = datetime.now(UTC) + now_is_ahead
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    ca = _certificate(ca_name, ca_name, ca_key.public_key(), "key_cert_sign", now).sign(ca_key, hashes.SHA256())
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        _certificate(x509.Name([]), ca_name, key.public_key(), "digital_signature", now)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}-web.crt", folder / f"{name}-web.key"
    files[0].write_bytes(ca.public_bytes(Encoding.PEM))
    files[1].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[2].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _certificate(subject: x509.Name, issuer: x509.Name, key, use: str, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=use == "key_cert_sign", path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{name: name == use for name in USES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
