"""The header tree against a model that looks at everything each time."""

import random

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.chain.tree import HeaderTree, better


@define(eq=False)
class Plain:
    info: HeaderInfo
    parent: "Plain | None"
    body: bool = False
    bad: bool = False

    def chain(self) -> "list[Plain]":
        found, step = [], self
        while step is not None:
            found.append(step)
            step = step.parent
        return found


class Model:
    def __init__(self, info: HeaderInfo) -> None:
        self.root = self.finalized = Plain(info, None, body=True)
        self.all = [self.root]

    def live(self, one: Plain) -> bool:
        return self.finalized in one.chain()

    def bad(self, one: Plain) -> bool:
        return any(step.bad for step in one.chain())

    def ready(self, one: Plain) -> bool:
        return all(step.body for step in one.chain()) and one.chain()[-1] is self.root

    def best(self, ready: bool) -> Plain:
        found = self.finalized
        for one in self.all:
            if self.live(one) and not self.bad(one) and (not ready or self.ready(one)) and better(one.info, found.info):
                found = one
        return found


def info(number: int, parent: HeaderInfo | None, chance: random.Random) -> HeaderInfo:
    height = 0 if parent is None else parent.height + 1
    below = bytes(32) if parent is None else parent.rank
    rank = int.from_bytes(below, "big") + chance.randint(1, 3)  # ranks grow along a chain and tie across branches
    hash = chance.getrandbits(200).to_bytes(28, "big") + number.to_bytes(4, "big")
    return HeaderInfo(hash, bytes(32) if parent is None else parent.hash, height, rank.to_bytes(32, "big"))


class TreeTests(SynchronousTestCase):
    def compare(self, tree: HeaderTree[int], model: Model) -> None:
        best = model.best(ready=False)
        self.assertEqual(tree.best.info, best.info)
        self.assertEqual(tree.best_ready.info, model.best(ready=True).info)
        self.assertEqual(tree.finalized.info, model.finalized.info)
        chain = {one.info.height: one.info for one in best.chain()}
        for height in range(max(chain) + 2):
            node = tree.at(height)
            self.assertEqual(None if node is None else node.info, chain.get(height))
        for one in model.all:
            node = tree.get(one.info.hash)
            self.assertEqual((node.live, node.bad, node.body), (model.live(one), model.bad(one), one.body))
            self.assertEqual(node.ready, model.ready(one))

    @settings(deadline=None, derandomize=True, max_examples=60)
    @given(st.integers(0, 2**32))
    def test_any_life_agrees_with_the_model(self, seed: int) -> None:
        chance = random.Random(seed)
        root = info(0, None, chance)
        tree: HeaderTree[int] = HeaderTree(root, 0)
        model = Model(root)
        for number in range(1, 45):
            act = chance.random()
            some = chance.choice(model.all)
            if act < 0.55:
                parent = model.all[-1] if chance.random() < 0.6 else some
                made = Plain(info(number, parent.info, chance), parent, chance.random() < 0.5)
                model.all.append(made)
                tree.add(made.info, number, made.body)
            elif act < 0.8 and not some.body:
                some.body = True
                tree.add_body(tree.get(some.info.hash))
            elif act < 0.86 and model.live(some) and some is not model.finalized:
                fresh = [one for one in model.all if some in one.chain() and not model.bad(one)]
                some.bad = True
                marked = tree.condemn(tree.get(some.info.hash))
                self.assertEqual({node.info for node in marked}, {one.info for one in fresh})
            elif act < 0.93 and model.live(some) and not model.bad(some):
                lived = [one for one in model.all if model.live(one)]
                below = some.chain()
                model.finalized = some
                died = tree.advance(tree.get(some.info.hash))
                gone = {one.info for one in lived if not model.live(one) and one not in below}
                self.assertEqual({node.info for node in died}, gone)
            elif act < 0.96 and not model.bad(some):
                model.finalized = some
                tree.finalize(tree.get(some.info.hash))
            self.compare(tree, model)
            one, other = chance.choice(model.all), chance.choice(model.all)
            first, second = tree.get(one.info.hash), tree.get(other.info.hash)
            self.assertEqual(tree.descends(first, second), other in one.chain())
            left, entered = tree.route(first, second)
            common = next(step for step in one.chain() if step in other.chain())
            up = one.chain()
            down = other.chain()
            self.assertEqual(tree.fork(first, second).info, common.info)
            self.assertEqual([node.info for node in left], [step.info for step in up[: up.index(common)]])
            self.assertEqual([node.info for node in entered], [step.info for step in down[: down.index(common)]][::-1])
            missing = [node.info for node in tree.missing(first, 3)]
            best = model.best(ready=False)
            apart = next(step for step in one.chain() if step in best.chain())
            path = best.chain()[: best.chain().index(apart)][::-1]
            self.assertEqual(missing, [step.info for step in path if not step.body][:3])

    def chain(self, length: int) -> tuple[HeaderTree[int], list[HeaderInfo]]:
        chance = random.Random(1)
        infos = [info(0, None, chance)]
        tree: HeaderTree[int] = HeaderTree(infos[0], 0)
        for number in range(1, length):
            infos.append(info(number, infos[-1], chance))
            tree.add(infos[-1], number, True)
        return tree, infos

    def test_pruning_forgets_what_is_below(self) -> None:
        tree, infos = self.chain(20)
        side = tree.add(info(99, infos[4], random.Random(2)), 99, True)
        tree.advance(tree.get(infos[15].hash))
        tree.prune(10)
        self.assertEqual(len(tree), 10)
        self.assertEqual(tree.floor, 10)
        self.assertIsNone(tree.get(infos[9].hash))
        self.assertIsNone(tree.get(side.info.hash))
        self.assertIsNone(tree.at(9))
        self.assertIsNone(tree.get(infos[10].hash).parent)
        self.assertEqual([node.info for node in tree.nodes()], infos[10:])
        tree.prune(5)
        self.assertEqual(tree.floor, 10)

    def test_a_late_root_never_lives(self) -> None:
        tree, infos = self.chain(5)
        chance = random.Random(3)
        stranger = HeaderInfo(b"\1" * 32, b"\2" * 32, 2, b"\xf0" * 32)
        node = tree.add(stranger, 0, True)
        child = tree.add(info(9, stranger, chance), 1, True)
        self.assertFalse(node.live or child.live or node.ready or child.ready)
        self.assertEqual(tree.best.info, infos[-1])
        self.assertRaises(LookupError, tree.route, tree.best, child)
        self.assertIsNone(tree.fork(tree.best, child))
        self.assertFalse(tree.descends(child, tree.best))
        self.assertEqual(tree.missing(child, 5), [])

    def test_ties_go_to_the_smaller_hash(self) -> None:
        one, other = (HeaderInfo(bytes([n]) * 32, bytes(32), 1, bytes(32)) for n in (1, 2))
        self.assertTrue(better(one, other))
        self.assertFalse(better(other, one))
        self.assertFalse(better(one, one))
