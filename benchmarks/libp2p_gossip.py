"""The yardstick of ``bench_gossip.py``, run by an interpreter that has py-libp2p: gossipsub among hosts of one process.

python libp2p_gossip.py PLAN   prints a line of JSON with the figures; the plan is that of ``bench_gossip.py``
"""

import json
import os
import sys
import time
from random import Random

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service

PROTOCOL, TOPIC = "/meshsub/1.1.0", "items"
#: Seconds in which the mesh is made, and after which an item that is not everywhere is lost.
MEETING, LOST = 4.0, 20.0


class Network:
    def __init__(self, plan):
        self.plan = plan
        self.chance = Random()
        self.publisher = {}
        self.changed = trio.Event()

    async def hear(self, index, subscription):
        while True:
            message = await subscription.get()
            key = bytes(message.data[:8])
            if key in self.missing and self.publisher[key] != index:
                self.delays.append(time.perf_counter() - self.began[key])
                self.missing[key] -= 1
                if not self.missing[key]:
                    del self.missing[key]
                    self.changed.set()

    async def publish(self, number):
        data = self.chance.randbytes(self.plan["size"])
        self.began[data[:8]] = time.perf_counter()
        self.publisher[data[:8]] = number % self.plan["nodes"]
        self.missing[data[:8]] = self.plan["nodes"] - 1
        await self.subs[number % self.plan["nodes"]].publish(TOPIC, data)

    async def until(self, most):
        with trio.move_on_after(LOST):
            while len(self.missing) > most:
                self.changed = trio.Event()
                await self.changed.wait()
            return
        self.missing.clear()

    def begin(self):
        self.began, self.missing, self.delays = {}, {}, []
        self.clocks = time.perf_counter(), time.process_time()

    def figures(self, items):
        wall, cpu = time.perf_counter() - self.clocks[0], time.process_time() - self.clocks[1]
        return {"items": items, "delays": self.delays, "wall": wall, "cpu": cpu}

    async def run(self):
        count, plan = self.plan["nodes"], self.plan
        hosts = [new_host(key_pair=create_new_key_pair()) for _ in range(count)]
        async with trio.open_nursery() as nursery:
            self.subs, addresses = [], []
            for host in hosts:
                await nursery.start(self.host, host)
                router = GossipSub(
                    [PROTOCOL],
                    degree=8,
                    degree_low=6,
                    degree_high=12,
                    heartbeat_interval=1,
                    spam_protection_enabled=False,
                    max_messages_per_topic_per_second=1e9,
                )
                pubsub = Pubsub(host, router, strict_signing=True)
                await nursery.start(self.service, router)
                await nursery.start(self.service, pubsub)
                await pubsub.wait_until_ready()
                self.subs.append(pubsub)
                addresses.append(next(str(one) for one in host.get_addrs() if "127.0.0.1" in str(one)))
            for one in range(count):
                for other in range(one):
                    await hosts[one].connect(info_from_p2p_addr(multiaddr.Multiaddr(addresses[other])))
            for pubsub in self.subs:
                nursery.start_soon(self.hear, self.subs.index(pubsub), await pubsub.subscribe(TOPIC))
            await trio.sleep(MEETING)
            self.begin()
            for number in range(plan["paced"]):
                await self.publish(number)
                await trio.sleep(max(0.0, self.clocks[0] + (number + 1) / plan["rate"] - time.perf_counter()))
            await self.until(0)
            paced = self.figures(plan["paced"])
            self.begin()
            for number in range(plan["flat"]):
                await self.until(plan["window"] - 1)
                await self.publish(number)
            await self.until(0)
            flat = self.figures(plan["flat"])
            print(json.dumps({"paced": paced, "flat": flat}), flush=True)
            os._exit(0)  # its services take many seconds to end

    async def host(self, host, task_status=trio.TASK_STATUS_IGNORED):
        async with host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            task_status.started()
            await trio.sleep_forever()

    async def service(self, service, task_status=trio.TASK_STATUS_IGNORED):
        async with background_trio_service(service):
            task_status.started()
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(Network(json.loads(sys.argv[1])).run)
