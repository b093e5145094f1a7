"""Keys, records, ids and addresses, against the published vectors."""

import base64
import json
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.errors import SettingsError
from chainp2p.peer.address import NodeAddress, parse_node, split_host_port
from chainp2p.peer.enr import Enr, EnrError, make_enr, node_pairs
from chainp2p.peer.key import NodeKey, read_key, write_private
from chainp2p.peer.libp2p import base58, libp2p_id, peer_id_of_protobuf
from chainp2p.primitives import rlp
from chainp2p.primitives.keccak import keccak256

VECTORS = json.loads((Path(__file__).parent / "data" / "enr.json").read_text())
KEY = NodeKey(b"\x05" * 32)
GENESIS = b"\x01" * 32


def signed(items, key=KEY):
    """A record of any content, correctly signed."""
    return rlp.encode([key.sign(keccak256(rlp.encode(items)))[:64], *items])


class EnrTest(SynchronousTestCase):
    """The strict reader."""

    def test_valid_vectors(self):
        for vector in VECTORS["valid"]:
            enr = Enr.from_text(vector["text"])
            self.assertEqual(enr.raw.hex(), vector["rlp"], vector["name"])
            self.assertEqual(enr.seq, vector["seq"])
            self.assertEqual(enr.text, vector["text"])
            self.assertEqual(Enr.decode(enr.raw), enr)
            if "node_id" in vector:
                self.assertEqual(enr.peer_id.hex(), vector["node_id"])

    def test_valid_vectors_are_made_again(self):
        """Each field that a vector names, and the record from what was read."""
        fields = "name source note text rlp len private_key seq node_id signature content content_keccak pairs"
        self.assertEqual(len(VECTORS["valid"]), 4)
        for vector in VECTORS["valid"]:
            with self.subTest(vector["name"]):
                self.assertEqual(set(vector) - {*fields.split(), "deterministic", "expect"}, set())
                enr = Enr.from_text(vector["text"])
                self.assertEqual(len(enr.raw), vector["len"])
                signature = rlp.decode_list(enr.raw)[0]
                content = [rlp.encode_uint(enr.seq)]
                for key, value in enr.pairs.items():
                    content += [key, value]
                self.assertEqual(rlp.encode([signature, *content]), enr.raw)
                self.assertEqual(keccak256(enr.public), enr.peer_id)
                if "content" in vector:
                    self.assertEqual(rlp.encode(content).hex(), vector["content"])
                    self.assertEqual(keccak256(rlp.encode(content)).hex(), vector["content_keccak"])
                    self.assertEqual(signature.hex(), vector["signature"])
                    self.assertTrue(vector["deterministic"])
                    self.assertEqual(vector["pairs"].pop("id"), "v4")
                    for name, value in vector["pairs"].items():
                        self.assertEqual(enr.pairs[name.encode()].hex(), value)
                elif "pairs" in vector:
                    self.assertEqual({"ip": enr.ip, "udp": enr.udp, "tcp": enr.tcp}, vector["pairs"])
                key = NodeKey(bytes.fromhex(VECTORS["valid"][0]["private_key"]))
                if vector.get("deterministic"):
                    self.assertEqual(make_enr(key, enr.seq, enr.pairs).text, vector["text"])

    def test_malformed_vectors(self):
        self.assertEqual(len(VECTORS["malformed"]), 5)
        for vector in VECTORS["malformed"]:
            if vector["form"] in ("both", "text"):
                self.assertRaises(EnrError, Enr.from_text, vector["text"])
            if vector["rlp"]:
                self.assertRaises(EnrError, Enr.decode, bytes.fromhex(vector["rlp"]))

    def test_the_example_of_the_specification_is_made_again(self):
        vector = VECTORS["valid"][0]
        key = NodeKey(bytes.fromhex(vector["private_key"]))
        enr = make_enr(key, 1, {b"ip": bytes((127, 0, 0, 1)), b"udp": rlp.encode_uint(30303)})
        self.assertEqual(enr.text, vector["text"])
        self.assertEqual((enr.ip, enr.udp, enr.tcp, enr.tcp_endpoint), ("127.0.0.1", 30303, None, None))
        self.assertIsNone(enr.genesis_prefix)
        self.assertIsNone(enr.version)

    def test_texts(self):
        text = VECTORS["valid"][0]["text"]
        for bad in (text[4:], text + "=", text + "!", text[:-1] + "9", "enr:", text[:-4]):
            self.assertRaises(EnrError, Enr.from_text, bad)

    def test_shapes(self):
        public = KEY.compressed
        good = [b"\x01", b"id", b"v4", b"secp256k1", public]
        self.assertEqual(Enr.decode(signed(good)).seq, 1)
        for items in (
            [b"\x01", b"id", b"v5", b"secp256k1", public],
            [b"\x01", b"id", b"v4"],
            [b"\x01", b"id", b"v4", b"secp256k1", public[:32]],
            [b"\x01", b"id", b"v4", b"secp256k1"],
            [b"\x01", b"id", b"v4", b"id", b"v4", b"secp256k1", public],
            [b"\x01", [b"id"], b"v4", b"secp256k1", public],
            [b"\x00\x01", *good[1:]],
            [bytes(9), *good[1:]],
        ):
            self.assertRaises(EnrError, Enr.decode, signed(items))
        self.assertRaises(EnrError, Enr.decode, rlp.encode([b"short", *good]))
        self.assertRaises(EnrError, Enr.decode, rlp.encode([[], *good]))
        self.assertRaises(EnrError, Enr.decode, rlp.encode(b"text"))
        self.assertRaises(EnrError, Enr.decode, b"")

    def test_endpoints(self):
        enr = make_enr(KEY, 1, node_pairs(GENESIS, 1, "10.1.2.3", 30303, 30304))
        self.assertEqual((enr.ip, enr.tcp, enr.udp), ("10.1.2.3", 30303, 30304))
        self.assertEqual((enr.genesis_prefix, enr.version), (GENESIS[:4], 1))
        six = make_enr(KEY, 1, node_pairs(GENESIS, 1, "2001:db8::1", 30303))
        self.assertEqual(six.tcp_endpoint, ("2001:db8::1", 30303))
        self.assertIsNone(six.ip)
        self.assertIsNone(make_enr(KEY, 1, node_pairs(GENESIS, 1)).tcp_endpoint)
        mixed = make_enr(KEY, 1, {b"ip6": bytes(15) + b"\x01", b"tcp": b"\x50"})
        self.assertEqual(mixed.tcp_endpoint, ("::1", 80))

    def test_odd_values_are_absent(self):
        enr = make_enr(KEY, 1, {b"ip": b"\x01", b"tcp": bytes(3), b"c2p": [b"\x01" * 4, bytes(5)]})
        self.assertEqual((enr.ip, enr.tcp, enr.version, enr.tcp_endpoint), (None, None, None, None))
        self.assertIsNone(make_enr(KEY, 1, {b"c2p": b"text", b"tcp": []}).version)
        for address in (bytes(4), b"\xff" * 4, bytes((224, 0, 0, 1)), bytes(16), b"\xff\x02" + bytes(14)):
            enr = make_enr(KEY, 1, {b"ip" if len(address) == 4 else b"ip6": address, b"udp": b"\x50"})
            self.assertEqual((enr.ip, enr.ip6, enr.udp_endpoint), (None, None, None))

    def test_too_long(self):
        self.assertRaises(EnrError, make_enr, KEY, 1, {b"x": bytes(200)})

    @settings(deadline=None, derandomize=True, max_examples=100)
    @given(st.binary(max_size=320))
    def test_anything_is_an_enr_error_or_a_record(self, data):
        try:
            Enr.decode(data)
        except EnrError:
            pass
        try:
            Enr.from_text("enr:" + base64.urlsafe_b64encode(data).rstrip(b"=").decode())
        except EnrError:
            pass


class KeyTest(SynchronousTestCase):
    """The node key and its file."""

    def test_one_key_one_id(self):
        self.assertEqual(len(KEY.peer_id), 32)
        self.assertEqual(KEY.peer_id, keccak256(KEY.public))
        self.assertTrue(KEY.libp2p_id.startswith("16Uiu2HA"))
        self.assertNotIn(KEY.private.hex(), repr(KEY))

    def test_generate_skips_what_is_no_key(self):
        numbers = [bytes(32), b"\xff" * 32, b"\x05" * 32]
        self.assertEqual(NodeKey.generate(lambda size: numbers.pop(0)), KEY)

    def test_load_or_create(self):
        path = Path(self.mktemp())
        key = NodeKey.load_or_create(path, lambda size: b"\x05" * size)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(NodeKey.load_or_create(path, lambda size: b"\x06" * size), key)
        write_private(path, b"0x" + b"07" * 32)
        self.assertEqual(read_key(path), b"\x07" * 32)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_bad_files(self):
        path = Path(self.mktemp())
        self.assertRaises(SettingsError, read_key, path)
        for text in ("zz", "00" * 31, "00" * 32, "ff" * 32):
            path.write_text(text)
            self.assertRaises(SettingsError, read_key, path)


class Libp2pTest(SynchronousTestCase):
    """Forms of libp2p."""

    def test_base58(self):
        self.assertEqual(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U")
        self.assertEqual(base58(b"\x00\x00\x28\x7f\xb4\xcd"), "11233QC4")
        self.assertEqual(base58(b""), "")

    def test_ids(self):
        self.assertEqual(len(libp2p_id(KEY.compressed)), 53)
        self.assertTrue(peer_id_of_protobuf(bytes(100)).startswith("Qm"))


class AddressTest(SynchronousTestCase):
    """How people name nodes."""

    def test_both_forms(self):
        peer_id = KEY.peer_id
        self.assertEqual(parse_node(f"{peer_id.hex()}@h.example:1"), NodeAddress(peer_id, "h.example", 1))
        six = parse_node(f"{peer_id.hex()}@[::1]:99")
        self.assertEqual((six.host, six.port), ("::1", 99))
        self.assertEqual(parse_node(str(six)), six)
        enr = make_enr(KEY, 1, node_pairs(GENESIS, 1, "10.1.2.3", 30303))
        self.assertEqual(parse_node(enr.text), NodeAddress(peer_id, "10.1.2.3", 30303, enr))
        self.assertEqual(str(parse_node(enr.text)), f"{peer_id.hex()}@10.1.2.3:30303")

    def test_refused(self):
        silent = make_enr(KEY, 1, node_pairs(GENESIS, 1)).text
        for text in ("", "enr:x", silent, "ab@h:1", "zz" * 32 + "@h:1", KEY.peer_id.hex(), f"{KEY.peer_id.hex()}@h"):
            self.assertRaises(SettingsError, parse_node, text)
        for text in ("h", "h:", ":1", "h:0", "h:65536", "::1:5", "h:x", "h:\u0663"):
            self.assertRaises(SettingsError, split_host_port, text)
