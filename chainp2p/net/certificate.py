"""The certificate of the libp2p TLS specification: a self-signed one that a host key vouches for.

All checks are our own: OpenSSL reports errors 18 (self-signed) and 34 (unknown critical extension) for legal ones.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

from chainp2p.peer.key import NodeKey
from chainp2p.peer.libp2p import key_protobuf, peer_id_of_protobuf
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import PublicKey

__all__ = ["BadCertificate", "HostKey", "check_certificate", "make_certificate"]

EXTENSION = ObjectIdentifier("1.3.6.1.4.1.53594.1.1")
_PREFIX = b"libp2p-tls-handshake:"
#: A wrong clock must not cut links (wire design): valid from 7 days before the start, for 100 years.
_BEFORE, _AFTER = timedelta(days=7), timedelta(days=36_525)
#: Extensions that may be critical: ours, the one that is checked below, and those that say nothing about a certificate
#: that is its own authority and names nobody.
_KNOWN_CRITICAL = {
    EXTENSION,
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}


class BadCertificate(ValueError):
    """The certificate does not prove a host key; the text says why."""


@frozen
class HostKey:
    """The key that a certificate proves.

    :param peer_id: keccak-256 of x || y for a secp256k1 key; None for other types, which no peer of ours uses.
    :param protobuf: the key as libp2p writes it.
    """

    peer_id: bytes | None
    protobuf: bytes

    @property
    def libp2p_id(self) -> str:
        """The base58 peer id; no handshake needs it, so none pays for it."""
        return peer_id_of_protobuf(self.protobuf)


def _der_length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    width = (size.bit_length() + 7) // 8
    return bytes((0x80 + width,)) + size.to_bytes(width, "big")


def _der(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + _der_length(len(body)) + body


def _read_der(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return (body, rest) of the DER element that *data* begins with."""
    if len(data) < 2 or data[0] != tag:
        raise BadCertificate("extension: not the expected DER element")
    length, start = data[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start], "big")
    body = data[start : start + length]
    if len(body) != length or data[:start] != bytes((tag,)) + _der_length(length):
        raise BadCertificate("extension: not canonical DER")
    return body, data[start + length :]


def _read_key_protobuf(data: bytes) -> tuple[int, bytes]:
    """Return (key type, key bytes) of the canonical protobuf ``08 type 12 length key``."""
    length, start = (data[3], 4) if len(data) > 3 else (0, 4)
    if length >= 0x80 and len(data) > 4:
        length, start = (length & 0x7F) | data[4] << 7, 5
        if not 0 < data[4] < 0x80:
            length = -1  # no varint, or a longer one than needed
    if len(data) < 5 or data[0] != 0x08 or data[1] >= 0x80 or data[2] != 0x12 or len(data) != start + length:
        raise BadCertificate("extension: the public key is not a canonical protobuf")
    return data[1], data[start:]


def make_certificate(key: NodeKey, now: float, serial: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a certificate with a fresh P-256 key that *key* vouches for.

    :param now: Unix time in seconds.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(_PREFIX + spki)
    compact = key.sign(digest.finalize())
    signature = encode_dss_signature(int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:64], "big"))
    value = _der(0x30, _der(0x04, key_protobuf(key.compressed)) + _der(0x04, signature))
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "chainp2p")])
    start = datetime.fromtimestamp(now, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(serial)
        .not_valid_before(start - _BEFORE)
        .not_valid_after(start + _AFTER)
        .add_extension(x509.UnrecognizedExtension(EXTENSION, value), critical=False)
        .sign(private, hashes.SHA256())
    )
    return certificate, private


def _verifies(check: Callable[[], object]) -> bool:
    try:
        check()
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _host_key_signed(kind: int, key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether *signature* over *message* is by the host key of protobuf type *kind*."""
    if kind == 2:
        return PublicKey(key).verify(signature, message)
    if kind == 1:
        return _verifies(lambda: ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, message))
    if kind not in (0, 3):
        raise BadCertificate(f"extension: unknown key type {kind}")
    loaded = serialization.load_der_public_key(key)
    if isinstance(loaded, ec.EllipticCurvePublicKey) and kind == 3:
        return _verifies(lambda: loaded.verify(signature, message, ec.ECDSA(hashes.SHA256())))
    if isinstance(loaded, rsa.RSAPublicKey) and kind == 0:
        return _verifies(lambda: loaded.verify(signature, message, padding.PKCS1v15(), hashes.SHA256()))
    raise BadCertificate("extension: key and key type differ")


def check_certificate(der: bytes, now: float) -> HostKey:
    """Check a certificate as the libp2p TLS specification asks; raises :exc:`BadCertificate`.

    :param now: Unix time in seconds.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = list(certificate.extensions)
        spki_key = certificate.public_key()
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"unreadable: {error}") from None
    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        raise BadCertificate("not valid at this time")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        raise BadCertificate("not signed by its own key") from None
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            raise BadCertificate(f"unknown critical extension {extension.oid.dotted_string}")
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            raise BadCertificate("its key may not sign handshakes")
    values = [
        extension.value.value
        for extension in extensions
        if extension.oid == EXTENSION and isinstance(extension.value, x509.UnrecognizedExtension)
    ]
    if len(values) != 1:
        raise BadCertificate("the libp2p extension is missing")
    sequence, rest = _read_der(values[0], 0x30)
    protobuf, after = _read_der(sequence, 0x04)
    signature, tail = _read_der(after, 0x04)
    if rest or tail:
        raise BadCertificate("extension: bytes follow the signed key")
    kind, key = _read_key_protobuf(protobuf)
    spki = spki_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        good = _host_key_signed(kind, key, signature, _PREFIX + spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise error if isinstance(error, BadCertificate) else BadCertificate(f"host key: {error}") from None
    if not good:
        raise BadCertificate("the host key did not sign this certificate's key")
    peer_id = None
    if kind == 2:
        if len(key) != 33:
            raise BadCertificate("extension: secp256k1 keys are compressed, 33 bytes")
        peer_id = keccak256(PublicKey(key).format(compressed=False)[1:])
    return HostKey(peer_id, protobuf)
