"""What is rendered from the schema: the table, the dissector, the fuzz dictionary."""

import re

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from chainp2p import wire
from chainp2p.wire.dissector import render_dissector
from chainp2p.wire.document import render_messages
from chainp2p.wire.frames import FrameReader
from chainp2p.wire.fuzzing import dictionary, render_dictionary
from chainp2p.wire.schema import Integer, Message, Registry, on_wire


class Table(SynchronousTestCase):
    def test_it_names_every_message(self) -> None:
        text = render_messages()
        for spec in wire.CORE.by_tag.values():
            self.assertIn(f"{spec.tag}: {spec.name}\n", text)
        self.assertIn("list of at most 64 (32 bytes, u64)", text)
        self.assertIn("UTF-8, at most 256 bytes", text)
        self.assertIn(":from: 32 bytes", text)
        self.assertIn(":answers: Blocks, NotFound, Refused", text)


class Dissector(SynchronousTestCase):
    def test_every_message_and_field_is_in_its_table(self) -> None:
        lines = dict(re.findall(r"^  \[(\d+)\] = (.*),$", render_dissector(), re.MULTILINE))
        self.assertEqual(set(map(int, lines)), set(wire.CORE.by_tag))
        for tag, spec in wire.CORE.by_tag.items():
            for name, _ in spec.fields:
                self.assertIn(f'{{ "{name.rstrip("_")}", ', lines[str(tag)])
        self.assertEqual(lines["3"], '{ "GetBlocks", { "from", { "raw", 32 } }, { "count", { "int", 4 } } }')
        self.assertIn('{ "blocks", { "list", { "tuple", { "raw", 32 }, { "int", 8 } }, 64 } }', lines["17"])
        self.assertIn('{ "detail", { "text", 256 } }', lines["15"])
        self.assertIn('{ "enr", { "blob", 300 } }', lines["22"])

    def test_blocks_are_closed(self) -> None:
        source = re.sub(r"--.*|\"[^\"]*\"", "", render_dissector())
        opened = len(re.findall(r"\b(?:function|if|for)\b", source)) - len(re.findall(r"\belseif\b", source)) * 0
        self.assertEqual(opened, len(re.findall(r"\bend\b", source)))
        for left, right in ("()", "{}", "[]"):
            self.assertEqual(source.count(left), source.count(right))

    def test_messages_of_a_chain_are_in_it(self) -> None:
        registry = Registry()

        @registry.message(2000, wire.Kind.NOTIFICATION, wire.Channel.BULK)
        @frozen
        class Vote(Message):
            height: int = on_wire(Integer(2))

        source = render_dissector(registry, "other/2")
        self.assertIn('  [2000] = { "Vote", { "height", { "int", 2 } } },', source)
        self.assertIn('add("other/2", chainp2p)', source)


class Dictionary(SynchronousTestCase):
    def test_words(self) -> None:
        words = dictionary()
        self.assertEqual(words["tag_Status"], b"\x0c\0\0\0")
        self.assertEqual(words["count_50000"], (50_000).to_bytes(8, "little"))
        self.assertEqual(words["count_50001"], (50_001).to_bytes(8, "little"))
        self.assertEqual(words["raw_32"], bytes(32))
        self.assertIn("count_16", words)

    def test_frame_starts_are_frames(self) -> None:
        words = dictionary()
        (item,) = FrameReader().feed(words["frame_GetMempool"])
        self.assertEqual(item, (wire.Kind.REQUEST, 1, wire.GetMempool(), 4))

    def test_the_format_reads_back(self) -> None:
        lines = render_dictionary().splitlines()
        self.assertTrue(lines[0].startswith("#"))
        read = {}
        for line in lines[1:]:
            name, octets = re.fullmatch(r'(\w+)="((?:\\x[0-9a-f]{2})+)"', line).groups()
            read[name] = bytes.fromhex(octets.replace("\\x", ""))
        self.assertEqual(read, dictionary())
