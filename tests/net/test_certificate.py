"""Certificates: the published vectors, our own, and one fault at a time."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.net.certificate import EXTENSION, BadCertificate, check_certificate, make_certificate
from chainp2p.net.certificate import _der as der
from chainp2p.peer.key import NodeKey

VECTORS = json.loads((Path(__file__).parent / "data" / "libp2p_tls.json").read_text())
KEY = NodeKey(b"\x05" * 32)
NOW = 1_800_000_000.0
DAY = 86_400.0


def crafted(value=None, extensions=(), signer=None, critical=False, curve=None, days=(-1, 1), private=None):
    """A certificate with chosen faults; *value* replaces the libp2p extension's (b"" leaves it out)."""
    private = private or ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")])
    start = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(start + timedelta(days=days[0]))
        .not_valid_after(start + timedelta(days=days[1]))
    )
    if value is None:
        value = vouched(private)
    if value:
        builder = builder.add_extension(x509.UnrecognizedExtension(EXTENSION, value), critical=critical)
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(signer or private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def spki(private):
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def vouched(private, protobuf=None, signature=None):
    """The extension's value: *protobuf*'s key vouches for *private*."""
    from coincurve import PrivateKey

    if protobuf is None:
        protobuf = b"\x08\x02\x12\x21" + KEY.compressed
    if signature is None:
        signature = PrivateKey(KEY.private).sign(b"libp2p-tls-handshake:" + spki(private))
    return der(0x30, der(0x04, protobuf) + der(0x04, signature))


class VectorTest(SynchronousTestCase):
    def test_valid(self):
        for vector in VECTORS["valid"]:
            found = check_certificate(bytes.fromhex(vector["cert_der"]), NOW)
            self.assertEqual(found.libp2p_id, vector["peer_id"], vector["name"])
            self.assertEqual(found.peer_id is not None, vector["key_type"] == "Secp256k1")

    def test_malformed(self):
        for vector in VECTORS["malformed"]:
            self.assertRaises(BadCertificate, check_certificate, bytes.fromhex(vector["cert_der"]), NOW)


class OwnTest(SynchronousTestCase):
    def test_ours(self):
        certificate, _ = make_certificate(KEY, NOW, 77)
        data = certificate.public_bytes(serialization.Encoding.DER)
        self.assertEqual(certificate.extensions[0].oid, EXTENSION)
        self.assertEqual(certificate.serial_number, 77)
        for moment in (NOW - 6 * DAY, NOW, NOW + 36_000 * DAY):
            found = check_certificate(data, moment)
            self.assertEqual((found.peer_id, found.libp2p_id), (KEY.peer_id, KEY.libp2p_id))
        for moment in (NOW - 8 * DAY, NOW + 36_600 * DAY):
            self.assertRaises(BadCertificate, check_certificate, data, moment)

    def test_fresh_key_each_time(self):
        first, second = (spki(make_certificate(KEY, NOW, 1)[1]) for _ in range(2))
        self.assertNotEqual(first, second)


class FaultTest(SynchronousTestCase):
    def refused(self, data, text):
        error = self.assertRaises(BadCertificate, check_certificate, data, NOW)
        self.assertIn(text, str(error))

    def test_good(self):
        for options in ({}, {"critical": True}, {"curve": ec.SECP384R1()}):
            self.assertEqual(check_certificate(crafted(**options), NOW).peer_id, KEY.peer_id)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        harmless = [(usage, True), (x509.BasicConstraints(ca=False, path_length=None), True)]
        self.assertEqual(check_certificate(crafted(extensions=harmless), NOW).peer_id, KEY.peer_id)

    def test_dates(self):
        self.refused(crafted(days=(1, 2)), "not valid at this time")
        self.refused(crafted(days=(-2, -1)), "not valid at this time")

    def test_signed_by_another(self):
        self.refused(crafted(signer=ec.generate_private_key(ec.SECP256R1())), "not signed by its own key")

    def test_unknown_critical_extension(self):
        unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"x")
        self.assertEqual(check_certificate(crafted(extensions=[(unknown, False)]), NOW).peer_id, KEY.peer_id)
        self.refused(crafted(extensions=[(unknown, True)]), "unknown critical extension 1.2.3.4")
        purpose = x509.ExtendedKeyUsage([ObjectIdentifier("1.3.6.1.5.5.7.3.4")])
        self.refused(crafted(extensions=[(purpose, True)]), ExtensionOID.EXTENDED_KEY_USAGE.dotted_string)

    def test_key_that_may_not_sign(self):
        usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
        self.refused(crafted(extensions=[(usage, True)]), "may not sign")

    def test_extension_missing_or_broken(self):
        self.refused(crafted(b""), "missing")
        private = ec.generate_private_key(ec.SECP256R1())
        good = vouched(private)
        for value in (
            b"\x30",
            b"\x31" + good[1:],
            good + b"\x00",
            good[:-1],
            b"\x30\x81" + good[1:],
            der(0x30, good[2:] + b"\x00"),
            der(0x30, der(0x04, b"\x08\x02\x12\x21" + KEY.compressed)),
        ):
            self.refused(crafted(value, private=private), "extension")

    def test_protobuf_must_be_canonical(self):
        private = ec.generate_private_key(ec.SECP256R1())
        for protobuf in (
            b"",
            b"\x08\x02\x12\x21",
            b"\x12\x21" + KEY.compressed + b"\x08\x02",
            b"\x08\x02\x12\x21" + KEY.compressed + b"\x00",
            b"\x08\x02\x12\xa1\x00" + KEY.compressed,
            b"\x08\x07\x12\x21" + KEY.compressed,
            b"\x08\x82\x00\x12\x21" + KEY.compressed,
            b"\x08\x02\x12\x21" + bytes(33),
        ):
            data = crafted(vouched(private, protobuf), private=private)
            self.assertRaises(BadCertificate, check_certificate, data, NOW)

    def test_uncompressed_key(self):
        private = ec.generate_private_key(ec.SECP256R1())
        protobuf = b"\x08\x02\x12\x41\x04" + KEY.public
        self.refused(crafted(vouched(private, protobuf), private=private), "compressed")

    def test_signature_of_nothing(self):
        private = ec.generate_private_key(ec.SECP256R1())
        self.refused(crafted(vouched(ec.generate_private_key(ec.SECP256R1())), private=private), "did not sign")
        self.refused(crafted(vouched(private, signature=b"no"), private=private), "host key")

    def test_other_key_types(self):
        private = ec.generate_private_key(ec.SECP256R1())
        message = b"libp2p-tls-handshake:" + spki(private)
        host = rsa.generate_private_key(65_537, 2_048)
        from cryptography.hazmat.primitives.asymmetric import padding

        def protobuf(kind, key):
            size = bytes((len(key),)) if len(key) < 128 else bytes((len(key) & 0x7F | 0x80, len(key) >> 7))
            return bytes((0x08, kind, 0x12)) + size + key

        signature = host.sign(message, padding.PKCS1v15(), hashes.SHA256())
        value = vouched(private, protobuf(0, spki(host)), signature)
        self.assertIsNone(check_certificate(crafted(value, private=private), NOW).peer_id)
        value = vouched(private, protobuf(3, spki(host)), signature)
        self.refused(crafted(value, private=private), "differ")
        other = ed25519.Ed25519PrivateKey.generate()
        raw = other.public_key().public_bytes_raw()
        value = vouched(private, protobuf(1, raw), other.sign(b"something else"))
        self.refused(crafted(value, private=private), "did not sign")

    def test_not_a_certificate(self):
        self.refused(b"junk", "unreadable")

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.integers(0, 400), st.integers(1, 255))
    def test_any_changed_octet_is_refused(self, at, by):
        data = bytearray(self.SAMPLE)
        data[at % len(data)] ^= by
        try:
            found = check_certificate(bytes(data), NOW)
        except BadCertificate:
            return
        self.assertEqual(found.peer_id, KEY.peer_id)

    SAMPLE = crafted()
