"""Follow a chain and lose nothing: ``python follow.py STORE WS_URL [WS_URL ...]``.

STORE is a file with one line an event: the cursor, and blocks that were put on top of those below them. So what is
stored and how far one has come are one write. Kill this program, kill nodes, part the network: it goes on from the last
cursor, at the next URL. ``load`` answers the chain.
"""

import json
import os
import sys
import time
from base64 import urlsafe_b64encode
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


def load(store):
    """The hashes that a store holds, by height, and the last cursor; half a line at the end does not count."""
    data = store.read_bytes() if store.exists() else b""
    chain, cursor, whole = [], None, data.rfind(b"\n") + 1
    for line in data[:whole].splitlines():
        cursor, *blocks = json.loads(line)
        for height, hash in blocks:
            chain[height:] = [hash]
    return chain, cursor, whole


def ask(socket, method, *params):
    socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer = json.loads(socket.recv(timeout=30))
    if "error" in answer:
        raise RuntimeError(f"{method}: {answer['error']['message']}")
    return answer["result"]


def missing(url, gap):
    """The blocks of a gap, the lowest first; each is asked for by the hash that the one above names."""
    blocks, hash = [gap["to"]] if not gap["lost"] else [], gap["to"]["hash"]
    with connect(url) as socket:
        for _ in range(gap["lost"]):
            blocks.insert(0, ask(socket, "chain_getHeader", hash))
            hash = blocks[0]["parent"]
    return blocks


def follow(url, store):
    with connect(url, open_timeout=5, max_size=None) as socket, store.open("a") as file:
        cursor = load(store)[1]
        if cursor is None:
            genesis = ask(socket, "chain_info")["genesis"]
            cursor = urlsafe_b64encode(bytes(8) + bytes.fromhex(genesis[2:]) + bytes(56)).decode()
            file.write(json.dumps([cursor, [0, genesis]]) + "\n")
        ask(socket, "chain_subscribe", ["heads"], cursor)
        for message in socket:
            event = json.loads(message)["params"]["result"]
            kind, blocks = event["type"], [event]
            if kind == "gap" and event["reason"] == "slow":
                return  # begin again at the last cursor, where nothing is missing
            if kind in ("rollback", "gap"):
                blocks = [event["to"]] if kind == "rollback" else missing(url, event)
            if kind in ("block", "rollback", "gap"):
                file.write(json.dumps([event["cursor"], *([one["height"], one["hash"]] for one in blocks)]) + "\n")
                file.flush()


if __name__ == "__main__":
    store, urls = Path(sys.argv[1]), sys.argv[2:]
    if store.exists():
        os.truncate(store, load(store)[2])
    while True:
        try:
            follow(urls[0], store)
        except (OSError, WebSocketException, RuntimeError) as error:
            print(f"{urls[0]}: {error}", file=sys.stderr, flush=True)
            time.sleep(0.5)
        urls.append(urls.pop(0))
