"""Packets of NAT-PMP and PCP, byte for byte as the RFCs draw them."""

from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.gateway import Answer, Dialect, Kind, Question, encode_question, parse_answer

CLIENT, NONCE = "192.168.1.7", bytes(range(12))
V4 = "00000000000000000000ffff"
PMP, PCP = Dialect.NAT_PMP, Dialect.PCP


def nat_pmp(question: Question) -> str:
    return encode_question(question, PMP, CLIENT, NONCE).hex()


def pcp(question: Question) -> str:
    return encode_question(question, PCP, CLIENT, NONCE).hex()


class GatewayPacketTests(SynchronousTestCase):
    def test_nat_pmp_questions(self) -> None:
        self.assertEqual(nat_pmp(Question(Kind.ADDRESS)), "0000")
        self.assertEqual(nat_pmp(Question(Kind.UDP, 0x765F, 0x7660, 7200)), "00010000765f766000001c20")
        self.assertEqual(nat_pmp(Question(Kind.TCP, 0x765F, 0x7660, 7200)), "00020000765f766000001c20")
        # removal: port outside and lifetime are 0 (RFC 6886, 3.4)
        self.assertEqual(nat_pmp(Question(Kind.TCP, 0x765F, 0x7660, 0)), "00020000765f000000000000")

    def test_pcp_questions(self) -> None:
        head = V4 + "c0a80107"
        self.assertEqual(pcp(Question(Kind.ADDRESS)), "0200000000000000" + head)
        body = NONCE.hex() + "06000000765f7660" + V4 + "00000000"
        self.assertEqual(pcp(Question(Kind.TCP, 0x765F, 0x7660, 7200)), "0201000000001c20" + head + body)
        self.assertEqual(len(bytes.fromhex(pcp(Question(Kind.UDP, 1, 1, 1)))), 60)
        self.assertIn(NONCE.hex() + "11000000", pcp(Question(Kind.UDP, 1, 1, 1)))
        self.assertIn("0201000000000000", pcp(Question(Kind.UDP, 1, 1, 0)))

    def test_nat_pmp_answers(self) -> None:
        parsed = parse_answer(bytes.fromhex("0080000000000e105db8d822"))
        self.assertEqual(parsed, Answer(PMP, Kind.ADDRESS, 0, 3600, ip="93.184.216.34"))
        parsed = parse_answer(bytes.fromhex("0082000000000e10765f766000001c20"))
        self.assertEqual(parsed, Answer(PMP, Kind.TCP, 0, 3600, 0x765F, 0x7660, 7200))
        parsed = parse_answer(bytes.fromhex("0080000300000e10"))
        self.assertEqual(parsed, Answer(PMP, Kind.ADDRESS, 3, 3600))
        assert parsed is not None
        self.assertEqual(parsed.refusal, "it has no address itself")
        # what a gateway without PCP says to PCP
        self.assertEqual(parse_answer(bytes.fromhex("0081000100000e10")), Answer(PMP, Kind.UDP, 1, 3600))

    def test_pcp_answers(self) -> None:
        head = "0281000000001c2000000e10" + 12 * "00"
        body = NONCE.hex() + "11000000765f7660" + V4 + "5db8d822"
        self.assertEqual(
            parse_answer(bytes.fromhex(head + body)),
            Answer(PCP, Kind.UDP, 0, 3600, 0x765F, 0x7660, 7200, "93.184.216.34", NONCE),
        )
        parsed = parse_answer(bytes.fromhex("0281000c" + head[8:] + body))
        assert parsed is not None
        self.assertEqual(parsed.refusal, "another gateway stands between")
        self.assertEqual(parse_answer(bytes.fromhex("02800004" + head[8:])), Answer(PCP, Kind.ADDRESS, 4, 3600))
        six = parse_answer(bytes.fromhex(head + body[:40] + "20010db8" + 24 * "0"))
        assert six is not None
        self.assertEqual(six.ip, "2001:db8::")

    def test_what_is_no_answer(self) -> None:
        good = "0082000000000e10765f766000001c20"
        for text in ("", "00", good[:14], good[:-2], "0002" + good[4:], "0182" + good[4:], "0083" + good[4:]):
            self.assertIsNone(parse_answer(bytes.fromhex(text)), text)
        self.assertIsNone(parse_answer(bytes.fromhex("0080000000000e10")))
        head = "0281000000001c2000000e10" + 12 * "00"
        for text in (head, head[:-2], "0282" + head[4:] + 36 * "00", head + NONCE.hex() + "07000000" + 20 * "00"):
            self.assertIsNone(parse_answer(bytes.fromhex(text)), text)

    def test_unknown_codes_have_words(self) -> None:
        self.assertEqual(Answer(PMP, Kind.TCP, 77, 0).refusal, "result code 77")

    @settings(deadline=None, derandomize=True)
    @given(st.binary(max_size=80), st.sampled_from([b"", b"\x00\x80", b"\x00\x82\0\0", b"\x02\x81\0\0", b"\x02\x80"]))
    def test_anything(self, data: bytes, start: bytes) -> None:
        answer = parse_answer(start + data)
        if answer is not None:
            self.assertIsInstance(answer.refusal, str)
            if answer.dialect is PMP and answer.ip is not None:
                IPv4Address(answer.ip)
