"""Entries of a signed list: the EIP's own list, go-ethereum's, every kind of corruption, and lists that we make."""

import json
from base64 import b32encode
from collections import deque
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.tree import (
    ROOTS_MAX,
    TEXT_MAX,
    Branch,
    Root,
    TreeError,
    TreeUrl,
    entry_name,
    parse_tree_url,
    read_entry,
    read_root,
)
from chainp2p.discovery.treemaking import CHILDREN_MAX, make_tree, zone_lines
from chainp2p.peer.enr import Enr, make_enr, node_pairs
from chainp2p.peer.key import NodeKey
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import ORDER, PublicKey, recover

DATA = json.loads((Path(__file__).parent / "data" / "eip1459.json").read_text())
URL = parse_tree_url(DATA["url"])
KEY = NodeKey(b"\x05" * 32)


def record(number, seq=1):
    return make_enr(NodeKey(number.to_bytes(32, "big")), seq, node_pairs(b"\x07" * 32, 1, "5.6.7.8", 30303, 30303))


RECORDS = [record(number) for number in range(1, 31)]


def everything(url, texts):
    """What a list holds, read by the plainest walk there is."""
    root = read_root(url, [texts[url.domain]])
    found = []
    for top in (root.enr_root, root.link_root):
        waiting = deque([top])
        while waiting:
            name = waiting.popleft()
            entry = read_entry(name, [texts[f"{name}.{url.domain}"]])
            if isinstance(entry, Branch):
                waiting.extend(entry.children)
            else:
                found.append(entry)
    return found


class VectorTest(SynchronousTestCase):
    def test_the_example_of_the_eip(self):
        public = PublicKey(bytes.fromhex(DATA["public"]))
        self.assertEqual(URL, TreeUrl(public.format(compressed=True), "nodes.example.org"))
        self.assertEqual(str(URL), DATA["url"])
        root = read_root(URL, [DATA["root"]])
        self.assertEqual(str(root), DATA["root"])
        self.assertEqual(root.seq, 1)
        for name, text in DATA["entries"].items():
            entry = read_entry(name, [text])
            self.assertEqual(entry_name(text), name)
            self.assertEqual(entry.text if isinstance(entry, Enr) else str(entry), text)

    def test_the_example_is_read_whole(self):
        domain = URL.domain
        texts = {domain: DATA["root"], **{f"{name}.{domain}": text for name, text in DATA["entries"].items()}}
        found = everything(URL, texts)
        self.assertEqual([type(entry) for entry in found], [Enr, Enr, Enr, TreeUrl])
        self.assertEqual(found[3].domain, "morenodes.example.org")

    def test_roots_of_go_ethereum(self):
        for case in DATA["roots"]["good"]:
            signature = bytes.fromhex(case["signature"])
            content = case["text"].partition(" sig=")[0]
            # whose key signed it is not published with it, but follows from the signature
            public = PublicKey(b"\x04" + recover(signature, keccak256(content.encode())))
            url = TreeUrl(public.format(compressed=True), "n")
            self.assertEqual(read_root(url, [case["text"]]).signature, signature)
            self.assertIn("bad signature", str(self.assertRaises(TreeError, read_root, URL, [case["text"]])))
        for text, why in DATA["roots"]["bad"]:
            self.assertIn(why, str(self.assertRaises(TreeError, read_root, URL, [text])))

    def test_entries_of_go_ethereum(self):
        for text, children in DATA["texts"]["good"]:
            self.assertEqual(read_entry(entry_name(text), [text]), Branch(tuple(children)))
        for text, why in DATA["texts"]["bad"]:
            self.assertIn(why, str(self.assertRaises(TreeError, read_entry, entry_name(text), [text])))


class UrlTest(SynchronousTestCase):
    def refused(self, text):
        return str(self.assertRaises(TreeError, parse_tree_url, text))

    def test_what_is_wrong_is_named(self):
        key = DATA["url"].removeprefix("enrtree://").partition("@")[0]
        self.assertIn("begins with enrtree://", self.refused("https://nodes.example.org"))
        self.assertIn("key that signs the tree is missing", self.refused("enrtree://nodes.example.org"))
        self.assertIn("compressed secp256k1 key", self.refused("enrtree://@nodes.example.org"))
        self.assertIn("compressed secp256k1 key", self.refused(f"enrtree://{key[:-2]}@nodes.example.org"))
        self.assertIn("compressed secp256k1 key", self.refused(f"enrtree://{key.lower()}@nodes.example.org"))
        self.assertIn("compressed secp256k1 key", self.refused(f"enrtree://{key[:10]}=@nodes.example.org"))
        self.assertIn("compressed secp256k1 key", self.refused("enrtree://\N{SNOWMAN}@nodes.example.org"))
        for domain in (
            "",
            "a..b",
            ".a",
            "a.",
            "a b",
            "-a",
            "a-",
            "a:53",
            "a/b",
            "ä.org",
            "a" * 64,
            ".".join(["a"] * 101),
        ):
            self.assertIn("is no domain", self.refused(f"enrtree://{key}@{domain}"))

    def test_a_domain_has_no_case(self):
        key = DATA["url"].removeprefix("enrtree://").partition("@")[0]
        self.assertEqual(parse_tree_url(f"enrtree://{key}@Nodes.Example.ORG"), URL)


class RootTest(SynchronousTestCase):
    def setUp(self):
        self.url = TreeUrl(KEY.compressed, "n")
        self.text = make_tree(KEY, "n", 7, RECORDS[:1])["n"]

    def refused(self, *texts):
        return str(self.assertRaises(TreeError, read_root, self.url, texts))

    def signed(self, seq, key=KEY):
        return make_tree(key, "n", seq, RECORDS[:1])["n"]

    def test_every_character_counts(self):
        self.assertEqual(read_root(self.url, [self.text]).seq, 7)
        for place in range(len(self.text) - 2):  # the last character holds the parity, which proves nothing
            for other in "A7":
                if self.text[place] != other:
                    self.refused(self.text[:place] + other + self.text[place + 1 :])

    def test_what_is_wrong_is_named(self):
        self.assertIn("there is no enrtree-root:v1 record", self.refused())
        self.assertIn("there is no enrtree-root:v1 record", self.refused("v=spf1 -all"))
        self.assertIn("is not enrtree-root:v1", self.refused(self.text.replace("v1", "v2")))
        self.assertIn("is not enrtree-root:v1", self.refused(self.text.replace(" seq=7", "")))
        self.assertIn("is not enrtree-root:v1", self.refused(self.text.replace("seq=7", "seq=07")))
        self.assertIn("is not enrtree-root:v1", self.refused(self.text + "A" * TEXT_MAX))
        self.assertIn("64 bits", self.refused(self.text.replace("seq=7", "seq=18446744073709551616")))
        self.assertIn("65 bytes", self.refused(self.text[:-2]))
        self.assertIn("65 bytes", self.refused(self.text[:-4]))
        self.assertIn("no hash", self.refused(self.text.replace("e=", "e=0")))
        self.assertIn("bad signature", self.refused(self.text.replace("seq=7", "seq=8")))
        self.assertIn("bad signature", self.refused(self.signed(9, NodeKey(b"\x06" * 32))))

    def test_a_high_s_is_refused(self):
        root = read_root(self.url, [self.text])
        high = ORDER - int.from_bytes(root.signature[32:64], "big")
        other = Root(root.enr_root, root.link_root, 7, root.signature[:32] + high.to_bytes(32, "big") + b"\0")
        self.assertIn("bad signature", self.refused(str(other)))

    def test_other_texts_are_nobodys_concern(self):
        self.assertEqual(read_root(self.url, ["v=spf1 -all", "enrtree-root:v1 junk", self.text]).seq, 7)

    def test_the_newest_of_several(self):
        self.assertEqual(read_root(self.url, [self.signed(3), self.signed(8), self.text]).seq, 8)

    def test_few_of_many_are_looked_at(self):
        forged = [self.signed(9, NodeKey(b"\x06" * 32))] * ROOTS_MAX
        self.assertIn("bad signature", self.refused(*forged, self.text))


class EntryTest(SynchronousTestCase):
    def refused(self, name, *texts):
        return str(self.assertRaises(TreeError, read_entry, name, texts))

    def test_an_entry_has_to_match_its_name(self):
        for text in (RECORDS[0].text, str(Branch((entry_name("a"), entry_name("b")))), DATA["url"], "enrtree-branch:"):
            name = entry_name(text)
            read_entry(name, [text])
            read_entry(name, ["something else", text])
            for place in range(len(text)):
                changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
                self.assertIn("does not match the hash", self.refused(name, changed))
        self.assertIn("there is no TXT record", self.refused(name))

    def test_longer_and_shorter_hashes(self):
        text = "enrtree-branch:"
        for size in (12, 16, 20, 32):
            name = b32encode(keccak256(text.encode())[:size]).rstrip(b"=").decode()
            self.assertEqual(read_entry(name, [text]), Branch(()))

    def test_a_record_has_to_be_good_as_well(self):
        text = RECORDS[0].text
        changed = text[:-1] + ("A" if text[-1] != "A" else "Q")
        self.assertIn("bad signature", self.refused(entry_name(changed), changed))
        self.assertIn("base64", self.refused(entry_name(text + "="), text + "="))

    def test_size(self):
        text = "enrtree-branch:" + ",".join([entry_name("a")] * 40)
        self.assertIn("characters, at most", self.refused(entry_name(text), text))

    def test_unicode(self):
        self.assertIn("is no entry", self.refused(entry_name("\N{SNOWMAN}"), "\N{SNOWMAN}"))

    @settings(deadline=None, derandomize=True)
    @given(st.text(max_size=200), st.sampled_from(["", "enr:", "enrtree://", "enrtree-branch:", "enrtree-root:v1 e="]))
    def test_any_text_is_an_entry_or_an_error(self, text, prefix):
        text = prefix + text
        for read in (lambda: read_entry(entry_name(text), [text]), lambda: read_root(URL, [text])):
            try:
                read()
            except TreeError as error:
                self.assertTrue(str(error))


class MakingTest(SynchronousTestCase):
    url = TreeUrl(KEY.compressed, "nodes.example.org")

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(RECORDS)), st.integers(0, 40), st.integers(0, 2**64 - 1))
    def test_what_was_made_is_read(self, records, links, seq):
        pointers = [TreeUrl(KEY.compressed, f"n{number}.example.org") for number in range(links)]
        texts = make_tree(KEY, self.url.domain, seq, records, pointers)
        found = everything(self.url, texts)
        self.assertEqual({one.text for one in found if isinstance(one, Enr)}, {one.text for one in records})
        self.assertEqual(sorted(str(one) for one in found if isinstance(one, TreeUrl)), sorted(map(str, pointers)))
        self.assertEqual(read_root(self.url, [texts[self.url.domain]]).seq, seq)
        self.assertLessEqual(max(map(len, texts.values())), 412)
        if 1 < len(records) <= CHILDREN_MAX:
            self.assertLessEqual(len(texts), len(set(records)) + links + links // 12 + 4)

    def test_the_newest_record_of_a_node(self):
        texts = make_tree(KEY, self.url.domain, 1, [record(1, 5), record(1, 9), record(1, 7)])
        self.assertEqual([one.seq for one in everything(self.url, texts)], [9])

    def test_a_large_list(self):
        records = [record(number) for number in range(1, 401)]
        texts = make_tree(KEY, self.url.domain, 1, records)
        self.assertEqual(len(everything(self.url, texts)), 400)
        # 400 records, 31 branches above them, 3 above those, 1, a branch without links, the root
        self.assertEqual(len(texts), 400 + 31 + 3 + 1 + 1 + 1)

    def test_numbers(self):
        for seq in (-1, 1 << 64):
            self.assertRaises(ValueError, make_tree, KEY, "n", seq, [])

    def test_lines_of_a_zone_file(self):
        lines = zone_lines(make_tree(KEY, "nodes.example.org", 5, RECORDS[:3]))
        self.assertTrue(lines[0].startswith('nodes.example.org. 60 IN TXT "enrtree-root:v1 e='))
        self.assertEqual(len(lines), 1 + 3 + 1 + 1)
        strings = [part for line in lines for part in line.partition(" IN TXT ")[2].split('" "')]
        self.assertLessEqual(max(len(part.strip('"')) for part in strings), 255)
        joined = [line.partition(" IN TXT ")[2].replace('" "', "").strip('"') for line in lines]
        self.assertEqual(joined, list(make_tree(KEY, "nodes.example.org", 5, RECORDS[:3]).values()))
