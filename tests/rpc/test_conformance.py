"""JSON-RPC 2.0 word for word, and malformed requests, over both transports in memory."""

from collections.abc import Iterator, Sequence
from typing import Any

from chainp2p.namespaces import Method, Namespace, Param
from chainp2p.node.surface import documented_namespaces
from chainp2p.rpc.registry import Registry
from tests.rpc.cases import exact, malformed, specification
from tests.rpc.web.test_websocket import Harness, Pair
from tests.rpc.wire import post, replies

#: Methods of the specification's examples; here each belongs to a namespace, so ``subtract`` is ``spec_subtract``.
NAMES = ("subtract", "update", "foobar", "sum", "foo.get", "notify_hello", "notify_sum", "get_data")
#: Namespaces that the daemon's RPC port serves; the others are the admin port's.
PUBLIC = ("eth", "net", "web3", "txpool", "chain", "rpc")


def _spec_namespaces() -> list[Namespace]:
    def ignore(*_: Any) -> None: ...

    many = tuple(Param(letter, required=False) for letter in "abcde")
    return [
        Namespace(
            "spec",
            (
                Method("subtract", lambda a, b: a - b, (Param("minuend"), Param("subtrahend"))),
                Method("update", ignore, many),
                Method("sum", lambda *numbers: sum(filter(None, numbers)), many),
            ),
        ),
        Namespace("notify", (Method("hello", ignore, many), Method("sum", ignore, many))),
        Namespace("get", (Method("data", lambda: ["hello", 5]),)),
    ]


def _named(text: bytes) -> bytes:
    for name in NAMES:
        if "_" not in name:
            text = text.replace(f'"method": "{name}"'.encode(), f'"method": "spec_{name}"'.encode())
    return text


def _without_texts(value: Any) -> Any:
    """The text of an unknown method's error is go-ethereum's, by which libraries know it: all but that is compared."""
    for answer in value if isinstance(value, list) else [value]:
        if isinstance(answer, dict) and answer.get("error", {}).get("code") == "-32601":
            del answer["error"]["message"]
    return value


def is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class Both(Harness):
    """What is answered over HTTP and over WebSocket."""

    def serve(self, namespaces: Sequence[Namespace]) -> None:
        self.remake(registry=Registry(namespaces))
        self.pair = Pair(self)

    def answers(self, text: bytes) -> Iterator[tuple[str, bytes | None]]:
        wire = self.connect()
        wire.protocol.dataReceived(post(text))
        ((status, _, body),) = replies(wire.take())
        self.assertIn((status, bool(body)), ((200, True), (204, False)))
        wire.cut()
        yield "http", body or None
        # text messages are UTF-8 or no messages (see below); as binary ones these bytes do arrive
        self.pair.send(text, binary=not is_utf8(text))
        texts, self.pair.client.texts = self.pair.client.texts, []
        self.assertLessEqual(len(texts), 1)
        yield "websocket", texts[0] if texts else None


class SpecificationTests(Both):
    def setUp(self) -> None:
        super().setUp()
        self.serve(_spec_namespaces())

    def test_every_example_is_answered_as_it_says(self) -> None:
        examples = list(specification())
        self.assertEqual(len(examples), 15)
        for name, request, response in examples:
            for transport, answer in self.answers(_named(request)):
                expected = _without_texts(exact(response))
                self.assertEqual(_without_texts(exact(answer)), expected, (name, transport, request))


class MalformedTests(Both):
    def setUp(self) -> None:
        super().setUp()
        self.serve([space for space in documented_namespaces() if space.name in PUBLIC])

    def test_every_case_is_answered_byte_for_byte(self) -> None:
        cases = list(malformed())
        self.assertGreater(len(cases), 100)
        for name, request, expected in cases:
            for transport, answer in self.answers(request):
                self.assertEqual(answer, expected, (name, transport, request[:200]))

    def test_a_text_message_that_is_no_utf8_ends_the_websocket(self) -> None:
        broken = [request for _, request, _ in malformed() if not is_utf8(request)]
        self.assertGreater(len(broken), 5)
        for request in broken:
            pair = Pair(self)
            pair.send(request)
            self.assertEqual((pair.client.texts, pair.client.closed[1]), ([], 1007), request)
