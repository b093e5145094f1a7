"""Walks through lists against a world that is a table: what is found, in which order, and how much is asked at most."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.tree import Branch, Root, TreeError, TreeUrl, entry_name
from chainp2p.discovery.treemaking import make_tree
from chainp2p.discovery.treewalk import (
    DEPTH_MAX,
    FAILURES_MAX,
    JITTER,
    LEAD,
    NAMES_MAX,
    NUMBERS_MAX,
    RECHECK,
    RECORDS_MAX,
    RETRY,
    TREES_MAX,
    TRIES,
    WAITING_MAX,
    Forest,
)
from chainp2p.peer.key import NodeKey
from tests.discovery.test_tree import record

KEY = NodeKey(b"\x05" * 32)
RECORDS = [record(number) for number in range(1, 251)]


def url(domain, key=KEY):
    return TreeUrl(key.compressed, domain)


class World:
    """The zone that all lists are in, and a forest that asks it."""

    def __init__(self, *urls, seed=1, seqs=None):
        self.texts = {}
        self.forest = Forest(urls, Random(seed), seqs or {})
        self.now = 0.0
        self.forest.start(self.now)
        self.asked, self.errors, self.found = [], [], []

    def add(self, domain, records=(), links=(), seq=1, key=KEY):
        self.texts.update(make_tree(key, domain, seq, records, links))

    def sign(self, domain, enr_root, link_root, seq=1):
        root = Root(enr_root, link_root, seq)
        self.texts[domain] = str(Root(enr_root, link_root, seq, KEY.sign(root.digest)))

    def put(self, domain, text):
        name = entry_name(text)
        self.texts[f"{name}.{domain}"] = text
        return name

    def step(self, wanted=True):
        question = self.forest.poll(wanted, self.now)
        if question is None:
            return False
        self.asked.append(question.domain)
        self.answer(question)
        return True

    def answer(self, question):
        text = self.texts.get(question.domain)
        if text is None:
            self.forest.failed(question, self.now)
            return
        try:
            enr = self.forest.answered(question, [text], self.now)
        except TreeError as error:
            self.errors.append(str(error))
            return
        if enr is not None:
            self.found.append((question.source, enr.peer_id))

    def run(self, wanted=True, limit=100_000):
        for _ in range(limit):
            if not self.step(wanted):
                return
        raise AssertionError("it asks without end")

    @property
    def ids(self):
        return [peer_id for _, peer_id in self.found]


def ids(records):
    return {one.peer_id for one in records}


class WalkTest(SynchronousTestCase):
    def test_all_of_a_list_once(self):
        world = World(url("n"))
        world.add("n", RECORDS[:100], [url("m")])
        world.run()
        self.assertEqual(world.asked[0], "n")
        self.assertEqual(world.asked[1].partition(".")[2], "n")
        self.assertEqual(set(world.ids), ids(RECORDS[:100]))
        self.assertEqual(len(world.ids), 100)
        self.assertEqual(len(set(world.asked) - {"m"}), len([one for one in world.asked if one != "m"]))

    def test_links_come_first_and_the_order_is_random(self):
        orders = []
        for seed in range(5):
            world = World(url("n"), seed=seed)
            world.add("n", RECORDS[:13])
            world.run()
            orders.append(tuple(world.ids))
        self.assertEqual(len(set(orders)), 5)

    def test_nothing_below_the_root_unless_nodes_are_wanted(self):
        world = World(url("n"))
        world.add("n", RECORDS[:5])
        world.run(wanted=False)
        self.assertEqual(world.asked, ["n"])
        world.run(wanted=True)
        self.assertEqual(len(world.found), 5)

    def test_linked_lists_count_as_the_word_of_the_first(self):
        world = World(url("a"))
        world.add("a", RECORDS[:5], [url("b")])
        world.add("b", RECORDS[5:9], [url("c")])
        world.add("c", RECORDS[9:12])
        world.run()
        self.assertEqual(set(world.ids), ids(RECORDS[:12]))
        self.assertEqual({source for source, _ in world.found}, {"a"})

    def test_circles_of_links_end(self):
        world = World(url("a"), url("b"))
        world.add("a", RECORDS[:5], [url("b"), url("a"), url("c")])
        world.add("b", RECORDS[5:9], [url("a"), url("c")])
        world.add("c", RECORDS[9:12], [url("a"), url("b"), url("c")])
        world.run()
        self.assertEqual(sorted(world.ids), sorted(ids(RECORDS[:12])))
        self.assertEqual([world.asked.count(name) for name in "abc"], [1, 1, 1])

    def test_a_list_of_another_key_is_another_list(self):
        other = NodeKey(b"\x06" * 32)
        world = World(url("a"), url("a", other))
        world.add("a", RECORDS[:5])
        world.run()
        self.assertEqual(len(world.found), 5)
        self.assertEqual(len(world.errors), 1)
        self.assertIn("bad signature", world.errors[0])

    def test_a_record_alone_and_nothing(self):
        world = World(url("a"), url("b"))
        world.add("a", RECORDS[:1])
        world.add("b")
        world.run()
        self.assertEqual(len(world.found), 1)
        self.assertEqual(world.errors, [])

    def test_records_and_links_in_the_wrong_half(self):
        world = World(url("a"))
        link, enr = world.put("a", str(url("b"))), world.put("a", RECORDS[0].text)
        world.sign("a", link, enr)
        world.run()
        self.assertEqual(sorted(world.errors), ["a link among the records", "a record among the links"])
        self.assertEqual((world.found, "b" in world.asked), ([], False))

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(st.randoms(use_true_random=False), st.integers(0, 40), st.floats(0, 0.4), st.floats(0, 0.4))
    def test_whatever_is_lost_or_changed_only_that_is_missing(self, chance, count, lost, changed):
        world = World(url("n"), seed=chance.random())
        world.add("n", RECORDS[:count])
        for name in sorted(world.texts):
            if name != "n" and chance.random() < lost:
                del world.texts[name]
            elif name != "n" and chance.random() < changed:
                world.texts[name] = world.texts[name][:-1] + "*"
        world.run()
        self.assertLessEqual(set(world.ids), ids(RECORDS[:count]))
        reachable = self.reachable(world)
        missing = reachable - set(world.ids)
        # too many failures in a row end a walk early; it begins again later
        self.assertTrue(not missing or world.forest.next_at(True) <= world.now + RECHECK)
        for _ in range(60):
            world.now = max(world.now, world.forest.next_at(True))
            world.run()
            missing = reachable - set(world.ids)
            if not missing:
                return
        self.fail(f"{len(missing)} were never found")

    def reachable(self, world):
        """The records that can be had, by the plainest way there is."""
        found, waiting = set(), [part.partition("=")[2] for part in world.texts["n"].split()[1:3]]
        while waiting:
            name = waiting.pop()
            text = world.texts.get(f"{name}.n", "")
            if entry_name(text) != name:
                continue
            if text.startswith("enr:"):
                found |= {one.peer_id for one in RECORDS if one.text == text}
            else:
                waiting += text.partition(":")[2].split(",") if text != "enrtree-branch:" else []
        return found


class RootTest(SynchronousTestCase):
    def test_the_number_never_goes_back(self):
        world = World(url("n"), seqs={str(url("n")): 5})
        world.add("n", RECORDS[:3], seq=4)
        world.run()
        self.assertEqual(world.errors, ["the root is older than one seen before: number 4 after 5"])
        self.assertEqual(world.found, [])
        world.add("n", RECORDS[:3], seq=5)
        world.now = RETRY
        world.run()
        self.assertEqual(len(world.found), 3)
        self.assertEqual(world.forest.seqs, {str(url("n")): 5})

    def test_a_walk_begins_anew_with_a_new_root(self):
        world = World(url("n"))
        world.add("n", RECORDS[:3], [url("a")])
        world.add("a", RECORDS[10:12])
        world.run()
        self.assertEqual(len(world.found), 5)
        self.assertTrue(RECHECK * (1 - JITTER) <= world.forest.next_at(True) <= RECHECK * (1 + JITTER))
        world.texts.clear()
        world.add("n", RECORDS[3:9], seq=2)
        world.found.clear()
        world.now = world.forest.next_at(True)
        world.run()
        self.assertEqual(set(world.ids), ids(RECORDS[3:9]))  # and nothing of the list that it links to no more
        self.assertEqual(world.forest.seqs[str(url("n"))], 2)

    def test_answers_of_an_earlier_walk_change_nothing(self):
        world = World(url("n"))
        world.add("n", RECORDS[:3])
        question = world.forest.poll(True, 0.0)
        world.now = world.forest._restart_at
        again = world.forest.poll(True, world.now)
        world.answer(question)
        self.assertIsNone(world.forest.poll(True, world.now))
        world.answer(again)
        world.run()
        self.assertEqual(len(world.found), 3)

    def test_a_list_that_cannot_be_read_is_left_alone_ever_longer(self):
        world = World(url("n"))
        pauses, world.now = [], 0.0
        while world.now < RECHECK * 4:
            before = world.now
            world.run()
            world.now = world.forest.next_at(True)
            pauses.append(world.now - before)
        self.assertEqual(pauses[:5], [RETRY, 2 * RETRY, 4 * RETRY, 8 * RETRY, 16 * RETRY])
        self.assertLess(len(world.asked), 20)

    def test_names_without_an_answer(self):
        world = World(url("n"))
        world.add("n", RECORDS[:13])
        for name in sorted(world.texts)[:20]:
            if world.texts[name].startswith("enr:"):
                del world.texts[name]
        world.run()
        # each is tried twice at most, and after five in a row the root is due again, later
        self.assertEqual(len(world.asked), 1 + 1 + 1 + FAILURES_MAX)
        self.assertLessEqual(max(map(world.asked.count, world.asked)), TRIES)
        self.assertEqual(world.forest.next_at(True), RETRY)
        self.assertFalse(world.step())

    def test_remembered_numbers_are_bounded(self):
        seqs = {str(url(f"n{number}")): number for number in range(NUMBERS_MAX + 10)}
        world = World(url("n"), seqs=seqs)
        world.add("n", RECORDS[:1])
        world.run()
        self.assertEqual(len(world.forest.seqs), NUMBERS_MAX)
        self.assertEqual(world.forest.seqs[str(url("n"))], 1)


class BoundsTest(SynchronousTestCase):
    def test_a_list_that_is_too_deep(self):
        world = World(url("n"))
        # a chain that is deeper than any list has to be
        name = world.put("n", RECORDS[0].text)
        for _ in range(DEPTH_MAX + 2):
            name = world.put("n", str(Branch((name,))))
        world.sign("n", name, world.put("n", "enrtree-branch:"))
        world.run()
        self.assertEqual(world.errors, [f"more than {DEPTH_MAX} branches above an entry"])
        self.assertEqual(world.found, [])

    def test_a_circle_of_branches_is_not_possible_and_a_repeated_name_is_asked_once(self):
        world = World(url("n"))
        enr = world.put("n", RECORDS[0].text)
        first = world.put("n", str(Branch((enr,) * 10)))
        second = world.put("n", str(Branch((enr, first))))
        world.sign("n", world.put("n", str(Branch((first, second, enr)))), world.put("n", "enrtree-branch:"))
        world.run()
        self.assertEqual(len(world.found), 1)
        self.assertEqual(len(world.asked), len(set(world.asked)))

    def test_names_and_waiting_names(self):
        world = World(url("n"))
        pool = [world.put("n", one.text) for one in RECORDS[:36]]
        rows = [[world.put("n", str(Branch((one, other)))) for other in pool] for one in pool]
        branches = [world.put("n", str(Branch(tuple(row)))) for row in rows]
        world.sign("n", world.put("n", str(Branch(tuple(branches)))), world.put("n", "enrtree-branch:"))
        tree, most = world.forest._sources[0].trees[0], 0
        while world.step():
            most = max(most, len(tree._records))
        # 1,369 entries in all
        self.assertEqual(len(tree._seen), WAITING_MAX)
        self.assertLessEqual(most, WAITING_MAX)
        self.assertTrue(NAMES_MAX - 2 <= len(world.asked) <= NAMES_MAX)
        self.assertEqual(world.errors, [])

    def test_records(self):
        world = World(url("n"))
        world.add("n", RECORDS)
        world.run()
        self.assertEqual(len(world.found), RECORDS_MAX)
        self.assertGreater(world.forest.next_at(True), RECHECK / 2)

    def test_lists(self):
        world = World(url("n"))
        world.add("n", [], [url(f"n{number}") for number in range(30)])
        for number in range(30):
            world.add(f"n{number}", [RECORDS[number]])
        world.run()
        self.assertEqual(len(world.found), TREES_MAX - 1)

    def test_no_list_gets_far_ahead_of_another(self):
        world = World(url("a"), url("b"))
        world.add("a", RECORDS[:120])
        world.add("b", RECORDS[120:240])
        held = []
        for _ in range(500):
            question = world.forest.poll(True, world.now)
            if question is None:
                break
            if question.source == "b":
                held.append(question)  # it answers late
            else:
                world.answer(question)
        self.assertLessEqual(len(world.found), LEAD)
        for question in held:
            world.answer(question)
        world.run()
        self.assertEqual(len(world.found), 240)
        counts = {"a": 0, "b": 0}
        for source, _ in world.found[:100]:
            counts[source] += 1
        self.assertGreater(min(counts.values()), 30)

    def test_a_list_that_fails_keeps_nobody_waiting(self):
        world = World(url("a"), url("dead"))
        world.add("a", RECORDS[:120])
        world.run()
        self.assertEqual(len(world.found), 120)


class MixTest(SynchronousTestCase):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, 45), min_size=1, max_size=4), st.integers(0, 2**32), st.data())
    def test_whatever_the_order_of_answers(self, sizes, seed, data):
        chance = Random(seed)
        domains = [f"n{number}" for number in range(len(sizes))]
        links = {one: [url(other) for other in domains if chance.random() < 0.4] for one in domains}
        named = data.draw(st.lists(st.sampled_from(domains), min_size=1, unique=True))
        world, start, lists = World(*map(url, named), seed=seed), 0, {}
        for domain, size in zip(domains, sizes, strict=True):
            lists[domain] = RECORDS[start : start + size]
            world.add(domain, lists[domain], links[domain])
            start += size
        held, done = [], dict.fromkeys(named, 0)
        while True:
            asks = not held or (len(held) < 30 and chance.random() < 0.6)
            question = world.forest.poll(True, 0.0) if asks else None
            if question is not None:
                held.append(question)
                world.asked.append(question.domain)
                ahead = sum(one.source == question.source for one in held) + done[question.source]
                unfinished = [one for one in named if any(two.source == one for two in held)]
                self.assertLessEqual(ahead, min(done[one] for one in unfinished) + LEAD)
            elif held:
                question = held.pop(chance.randrange(len(held)))
                done[question.source] += 1
                world.answer(question)
            else:
                break
        self.assertEqual(len(world.asked), len(set(world.asked)))
        reached, waiting = set(), list(named)
        while waiting:
            domain = waiting.pop()
            if domain not in reached:
                reached.add(domain)
                waiting += [one.domain for one in links[domain]]
        self.assertEqual(sorted(world.ids), sorted(one.peer_id for name in reached for one in lists[name]))
        self.assertEqual(world.errors, [])
