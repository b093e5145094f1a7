"""The official vectors of Node Discovery v5.1, bytes equal in both directions."""

import json
from hashlib import sha256
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.answers import nodes_of
from chainp2p.discovery.keys import decrypt, derive_keys, encrypt, identity_proof, proves_identity, shared_secret
from chainp2p.discovery.messages import (
    REQUEST_ID_MAX,
    FindNode,
    Nodes,
    Ping,
    Pong,
    TalkRequest,
    TalkResponse,
    decode_message,
    encode_message,
)
from chainp2p.discovery.packets import (
    PACKET_MAX,
    PACKET_MIN,
    Challenge,
    Handshake,
    Ordinary,
    additional_data,
    encode_packet,
    open_packet,
)
from chainp2p.discovery.table import BUCKET_SIZE
from chainp2p.peer.enr import SIZE_LIMIT, Enr
from chainp2p.peer.key import NodeKey
from chainp2p.primitives import rlp

VECTORS = json.loads((Path(__file__).parent / "data" / "discv5.json").read_text())
HEX = bytes.fromhex
A, B = (NodeKey(HEX(VECTORS["keys"][name])) for name in ("node_a_key", "node_b_key"))


def without(fields, *names):
    """The fields that a test has not named: a vector that gains one is not passed over."""
    return set(fields) - set(names)


class PacketsTest(SynchronousTestCase):
    def test_nothing_is_left_out(self):
        sections = "about sources keys packets crypto messages limits"
        self.assertEqual(without(VECTORS, *sections.split()), set())
        self.assertEqual([len(VECTORS[name]) for name in ("packets", "crypto", "messages", "limits")], [4, 4, 8, 6])
        for vector in VECTORS["packets"]:
            self.assertEqual(
                without(vector, *["name", "source", "flag", "params", "packet", "packet_len", "decoded"]), set()
            )
            decoded = "masking_iv header nonce authdata authdata_size message_ciphertext message_plaintext"
            shaken = "id_signature_is_rfc6979 id_signature eph_pubkey record record_enr shared_secret"
            keys = "initiator_key recipient_key"
            self.assertEqual(without(vector["decoded"], *f"{decoded} {shaken} {keys}".split()), set())
            asked = "whoareyou_challenge_data whoareyou_request_nonce whoareyou_id_nonce whoareyou_enr_seq"
            params = f"src_node_id dest_node_id nonce read_key ping_req_id ping_enr_seq ephemeral_key {asked}"
            self.assertEqual(without(vector["params"], *f"{params} ephemeral_pubkey".split()), set())

    def test_limits(self):
        limits = VECTORS["limits"]
        self.assertEqual((PACKET_MIN, PACKET_MAX), (limits["min_packet"], limits["max_packet"]))
        self.assertEqual(REQUEST_ID_MAX, limits["request_id_max"])
        self.assertEqual(BUCKET_SIZE, limits["findnode_max_results"])
        self.assertEqual(SIZE_LIMIT, limits["enr_max"])
        # as many records as an answer may have, each as long as may be: every part fits
        longest = rlp.wrap_list(bytes(limits["enr_max"] - 3))
        head = additional_data(Ordinary(bytes(12), A.peer_id), bytes(16))
        parts = nodes_of(bytes(REQUEST_ID_MAX), [longest] * BUCKET_SIZE)
        self.assertEqual(sum(len(part.records) for part in parts), BUCKET_SIZE)
        for part in parts:
            sealed = encrypt(bytes(16), bytes(12), encode_message(part), head)
            self.assertLessEqual(len(encode_packet(B.peer_id, head, sealed)), limits["max_packet"])
            self.assertEqual(decode_message(encode_message(part)), part)

    def test_ids(self):
        for vector in VECTORS["packets"]:
            params = vector["params"]
            self.assertEqual((params["src_node_id"], params["dest_node_id"]), (A.peer_id.hex(), B.peer_id.hex()))
        self.assertEqual([A.peer_id.hex(), B.peer_id.hex()], [VECTORS["keys"][f"node_{x}_id"] for x in "ab"])

    def test_decoded(self):
        for vector in VECTORS["packets"]:
            with self.subTest(vector["name"]):
                packet, decoded = open_packet(B.peer_id, HEX(vector["packet"])), vector["decoded"]
                self.assertEqual(packet.additional.hex(), decoded["masking_iv"] + decoded["header"])
                self.assertEqual(packet.ciphertext.hex(), decoded["message_ciphertext"])
                self.assertEqual(packet.head.nonce.hex(), decoded["nonce"])
                self.assertEqual(len(HEX(vector["packet"])), vector["packet_len"])
                authdata = packet.additional[16 + 23 :]
                self.assertEqual((authdata.hex(), len(authdata)), (decoded["authdata"], decoded["authdata_size"]))
                again = encode_packet(
                    B.peer_id, additional_data(packet.head, packet.additional[:16]), packet.ciphertext
                )
                self.assertEqual(again.hex(), vector["packet"])
                kinds = {0: Ordinary, 1: Challenge, 2: Handshake}
                self.assertIs(type(packet.head), kinds[vector["flag"]])
                if isinstance(packet.head, Challenge):
                    params = vector["params"]
                    self.assertEqual(packet.additional.hex(), params["whoareyou_challenge_data"])
                    self.assertEqual(packet.head.id_nonce.hex(), params["whoareyou_id_nonce"])
                    self.assertEqual(packet.head.nonce.hex(), params["whoareyou_request_nonce"])
                    self.assertEqual(packet.head.enr_seq, params["whoareyou_enr_seq"])
                else:
                    self.assertEqual(packet.head.source, A.peer_id)
                    key = HEX(vector["params"]["read_key"])
                    plain = decrypt(key, packet.head.nonce, packet.ciphertext, packet.additional)
                    self.assertEqual(plain.hex(), decoded["message_plaintext"])
                    ping = Ping(HEX(vector["params"]["ping_req_id"]), vector["params"]["ping_enr_seq"])
                    self.assertEqual(decode_message(plain), ping)
                    self.assertEqual(packet.head.nonce.hex(), vector["params"]["nonce"])
                if isinstance(packet.head, Handshake):
                    self.assertEqual(packet.head.signature.hex(), decoded["id_signature"])
                    self.assertEqual(packet.head.ephemeral.hex(), decoded["eph_pubkey"])
                    self.assertEqual(decoded["eph_pubkey"], vector["params"]["ephemeral_pubkey"])
                    self.assertEqual(packet.head.record.hex(), decoded["record"] or "")

    def test_made(self):
        for vector in VECTORS["packets"]:
            with self.subTest(vector["name"]):
                params, decoded = vector["params"], vector["decoded"]
                nonce, iv = HEX(decoded["nonce"]), HEX(decoded["masking_iv"])
                head, key, message = Ordinary(nonce, A.peer_id), params.get("read_key"), b""
                if vector["flag"] == 1:
                    head = Challenge(nonce, HEX(params["whoareyou_id_nonce"]), params["whoareyou_enr_seq"])
                if vector["flag"] == 2:
                    challenge, ephemeral = (
                        HEX(params["whoareyou_challenge_data"]),
                        NodeKey(HEX(params["ephemeral_key"])),
                    )
                    secret = shared_secret(ephemeral.private, b"\x04" + B.public)
                    self.assertEqual(secret.hex(), decoded["shared_secret"])
                    self.assertEqual(shared_secret(B.private, ephemeral.compressed), secret)
                    asked = Challenge(HEX(params["whoareyou_request_nonce"]), HEX(params["whoareyou_id_nonce"]), 0)
                    asked = evolve(asked, enr_seq=params["whoareyou_enr_seq"])
                    self.assertEqual(additional_data(asked, bytes(16)), challenge)
                    keys = derive_keys(secret, A.peer_id, B.peer_id, challenge)
                    self.assertEqual(keys.initiator.hex(), decoded["initiator_key"])
                    self.assertEqual(keys.recipient.hex(), decoded["recipient_key"])
                    proof = identity_proof(A.private, challenge, ephemeral.compressed, B.peer_id)
                    self.assertEqual(proof.hex(), decoded["id_signature"])
                    self.assertTrue(decoded["id_signature_is_rfc6979"])
                    self.assertTrue(proves_identity(A.public, proof, challenge, ephemeral.compressed, B.peer_id))
                    record = HEX(decoded["record"] or "")
                    if record:
                        self.assertEqual(Enr.decode(record).text, decoded["record_enr"])
                    head = Handshake(nonce, A.peer_id, proof, ephemeral.compressed, record)
                additional = additional_data(head, iv)
                if key is not None:
                    plain = encode_message(Ping(HEX(params["ping_req_id"]), params["ping_enr_seq"]))
                    message = encrypt(HEX(key), nonce, plain, additional)
                self.assertEqual(encode_packet(B.peer_id, additional, message).hex(), vector["packet"])


class CryptoTest(SynchronousTestCase):
    def test_vectors(self):
        crypto = VECTORS["crypto"]
        ecdh = crypto["ecdh"]
        self.assertEqual(shared_secret(HEX(ecdh["secret_key"]), HEX(ecdh["public_key"])).hex(), ecdh["shared_secret"])
        kdf = crypto["key_derivation"]
        secret = shared_secret(HEX(kdf["ephemeral_key"]), HEX(kdf["dest_pubkey"]))
        keys = derive_keys(secret, HEX(kdf["node_id_a"]), HEX(kdf["node_id_b"]), HEX(kdf["challenge_data"]))
        self.assertEqual([keys.initiator.hex(), keys.recipient.hex()], [kdf["initiator_key"], kdf["recipient_key"]])
        proof = crypto["id_nonce_signing"]
        about = HEX(proof["challenge_data"]), HEX(proof["ephemeral_pubkey"]), HEX(proof["node_id_B"])
        self.assertEqual(identity_proof(HEX(proof["static_key"]), *about).hex(), proof["id_signature"])
        self.assertTrue(proof["deterministic_rfc6979_matches"])
        signed = sha256(b"discovery v5 identity proof" + b"".join(about)).hexdigest()
        self.assertEqual(signed, proof["signature_input_sha256"])
        static = NodeKey(HEX(proof["static_key"]))
        self.assertTrue(proves_identity(static.public, HEX(proof["id_signature"]), *about))
        gcm = crypto["aes_gcm"]
        key, nonce, extra = HEX(gcm["encryption_key"]), HEX(gcm["nonce"]), HEX(gcm["ad"])
        self.assertEqual(encrypt(key, nonce, HEX(gcm["pt"]), extra).hex(), gcm["message_ciphertext"])
        self.assertEqual(decrypt(key, nonce, HEX(gcm["message_ciphertext"]), extra).hex(), gcm["pt"])
        self.assertIsNone(decrypt(key, nonce, HEX(gcm["message_ciphertext"])[::-1], extra))


class MessagesTest(SynchronousTestCase):
    def message(self, fields):
        id = HEX(fields["request_id"])
        match fields["type"]:
            case "PING":
                return Ping(id, fields["enr_seq"])
            case "PONG":
                return Pong(id, fields["enr_seq"], fields["ip"], fields["port"])
            case "FINDNODE":
                return FindNode(id, tuple(fields["distances"]))
            case "NODES":
                return Nodes(id, fields["total"], tuple(Enr.from_text(text).raw for text in fields["enrs"]))
            case "TALKREQ":
                return TalkRequest(id, HEX(fields["protocol"]), HEX(fields["request"]))
            case _:
                return TalkResponse(id, HEX(fields["response"]))

    def test_vectors(self):
        for vector in VECTORS["messages"]:
            with self.subTest(vector["name"]):
                message = self.message(vector["message"])
                self.assertEqual(encode_message(message).hex(), vector["hex"])
                self.assertEqual(decode_message(HEX(vector["hex"])), message)
