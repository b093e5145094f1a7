"""The yardstick of ``bench_libp2p.py``, run by an interpreter that has py-libp2p: a stream a request.

python libp2p_peer.py serve                       prints its address, serves until its input ends
python libp2p_peer.py ask ADDRESS PID EXCHANGES…  prints a line of JSON with the figures
"""

import json
import sys
import time

import multiaddr
import trio
from libp2p import new_host
from libp2p.peer.peerinfo import info_from_p2p_addr

PROTOCOL = "/bench/1"
REQUEST, REPLY = bytes(50), bytes(74)


def cpu_of(pid):
    """CPU seconds that a process of this machine has used (Linux: its clock id)."""
    return time.clock_gettime(~pid << 3 | 2)


async def serve():
    host = new_host()

    async def handle(stream):
        await stream.read(len(REQUEST))
        await stream.write(REPLY)
        await stream.close()

    async with host.run(listen_addrs=[multiaddr.Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        host.set_stream_handler(PROTOCOL, handle)
        address = next(str(one) for one in host.get_addrs() if "127.0.0.1" in str(one))
        print(address, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def ask(address, pid, plan):
    host = new_host()
    async with host.run(listen_addrs=[]):
        peer = info_from_p2p_addr(multiaddr.Multiaddr(address))
        await host.connect(peer)
        left = 0

        async def worker():
            nonlocal left
            while left > 0:
                left -= 1
                stream = await host.new_stream(peer.peer_id, [PROTOCOL])
                await stream.write(REQUEST)
                reply = b""
                while len(reply) < len(REPLY):
                    part = await stream.read(len(REPLY) - len(reply))
                    assert part
                    reply += part
                await stream.close()

        results = []
        for in_flight, exchanges in plan:
            left = exchanges
            wall, own, other = time.perf_counter(), time.process_time(), cpu_of(pid)
            async with trio.open_nursery() as nursery:
                for _ in range(in_flight):
                    nursery.start_soon(worker)
            wall, own, other = time.perf_counter() - wall, time.process_time() - own, cpu_of(pid) - other
            results.append([in_flight, exchanges, wall, own + other])
        print(json.dumps(results), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve)
    else:
        trio.run(ask, sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
