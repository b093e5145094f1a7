"""The reference page: what people read of each method."""

from unittest import TestCase

from chainp2p.namespaces import Method, Namespace, Param, Subscription
from chainp2p.node.surface import documented_namespaces
from chainp2p.rpc.reference import render_rpc, type_text
from chainp2p.rpc.values import ADDRESS, BOOLEAN, DATA, HASH, QUANTITY, STRING, nullable

SPACE = Namespace(
    "x",
    (
        Method(
            "get",
            lambda *_: None,
            (Param("who", schema=ADDRESS), Param("tag", required=False, schema={"enum": ["safe", True]})),
            nullable(HASH),
            "Gets.",
            7,
        ),
    ),
    (Subscription("news", lambda *_: lambda: None, (Param("full", schema=BOOLEAN),), "Tells."),),
)
PAGE = """\
``x``
-----

``x_get(who, [tag])``
    Gets. Cost 7.

    - ``who``: address
    - ``tag``: ``safe``, ``true``
    - answers hash or null

``x_subscribe("news", [full])``
    Tells.

    - ``full``: boolean
    - answers id of the subscription
"""


class References(TestCase):
    def test_types(self) -> None:
        for schema, text in (
            (QUANTITY, "quantity"),
            (DATA, "data"),
            (STRING, "string"),
            ({}, "any"),
            ({"type": "array"}, "list"),
            ({"type": "array", "items": nullable(ADDRESS)}, "list of address or null"),
            ({"type": "object"}, "object"),
            ({"type": "object", "required": ["a"]}, "object: ``a``"),
            ({"type": "object", "required": ["a"], "properties": {"a": {}, "b": {}}}, "object: ``a``, ``b``"),
        ):
            self.assertEqual(type_text(schema), text)

    def test_a_page(self) -> None:
        self.assertEqual(render_rpc([SPACE]), PAGE)

    def test_every_method_that_is_served_has_an_entry(self) -> None:
        spaces = documented_namespaces()
        page = render_rpc(spaces)
        names = [f"``{space.name}_{method.name}(" for space in spaces for method in space.methods]
        self.assertGreater(len(names), 60)
        self.assertEqual([name for name in names if page.count(name) != 1], [])
