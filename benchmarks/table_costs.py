"""What calls cost the node, beside what they are charged: CPU of the daemon on a chain of full blocks.

A unit of cost is 100 us of the node (``rpc/fairuse.py``), and each 4 KiB of request and answer are one more, which is
taken off here. As machines are not alike, nor the same machine when others work on it, a unit is three times what
``eth_chainId`` takes, which was 33 us where units were chosen. A method is charged too little if it costs more than
twice the units it says and more than one; exit code 1 tells that there is one. What a call costs depends on what is
asked: here on blocks with as many transfers as are set, at random, so that most have to be read and decoded; and
a state below the head is made once, and each is asked for before its time is taken.

    python benchmarks/table_costs.py --blocks 200 --transfers 100
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_download import ask
from bench_rpc import cpu_seconds, node
from make_chain import accounts
from rpc_load import Load, Sample, post

from chainp2p.ethapi.eth import history_cost
from chainp2p.rpc.fairuse import BYTES_PER_UNIT

#: Units that ``eth_chainId`` takes.
CHAIN_ID = 1 / 3
CONNECTIONS = 8
#: Different calls of each method.
CALLS = 200


def questions(url: str, height: int, people: int, chance: random.Random) -> dict[str, list[list[Any]]]:
    """Parameters for each method that reads the chain."""
    blocks = [ask(url, "eth_getBlockByNumber", [hex(number), False]) for number in range(1, height + 1)]
    addresses = ["0x" + address.hex() for _, address in accounts(people)]

    def several(make: Any) -> list[list[Any]]:
        return [make() for _ in range(CALLS)]

    def block() -> dict[str, Any]:
        return chance.choice(blocks)

    def transaction() -> str:
        hashes: list[str] = block()["transactions"]
        return chance.choice(hashes)

    def address() -> str:
        return chance.choice(addresses)

    def call() -> dict[str, str]:
        return {"from": address(), "to": address(), "value": "0x1"}

    return {
        "eth_chainId": several(list),
        "eth_getBalance": several(lambda: [address(), "latest"]),
        "eth_getBalance, older": several(lambda: [address(), hex(chance.randint(max(0, height - 100), height - 1))]),
        "eth_getTransactionCount": several(lambda: [address(), "latest"]),
        "eth_getStorageAt": several(lambda: [address(), "0x0", "latest"]),
        "eth_getBlockByNumber": several(lambda: [block()["number"], False]),
        "eth_getBlockByNumber, full": several(lambda: [block()["number"], True]),
        "eth_getBlockByHash": several(lambda: [block()["hash"], False]),
        "eth_getHeaderByNumber": several(lambda: [block()["number"]]),
        "eth_getBlockTransactionCountByNumber": several(lambda: [block()["number"]]),
        "eth_getUncleCountByBlockNumber": several(lambda: [block()["number"]]),
        "eth_getTransactionByHash": several(lambda: [transaction()]),
        "eth_getRawTransactionByHash": several(lambda: [transaction()]),
        "eth_getTransactionByBlockNumberAndIndex": several(lambda: [block()["number"], "0x0"]),
        "eth_getTransactionReceipt": several(lambda: [transaction()]),
        "eth_getBlockReceipts": several(lambda: [block()["number"]]),
        "eth_getProof": several(lambda: [address(), [], "latest"]),
        "eth_call": several(lambda: [call(), "latest"]),
        "eth_estimateGas": several(lambda: [call(), "latest"]),
        "eth_gasPrice": several(list),
        "eth_feeHistory, 20": several(lambda: ["0x14", block()["number"], [10, 50, 90]]),
        "eth_feeHistory, 1024": several(lambda: ["0x400", "latest", []]),
        "eth_getLogs": several(lambda: [{"fromBlock": "0x1", "toBlock": "latest"}]),
        "txpool_status": several(list),
        "chain_head": several(list),
        "net_peerCount": several(list),
        "web3_sha3": several(lambda: ["0x" + chance.randbytes(32).hex()]),
    }


def measure(load: Load, pid: int, method: str, params: Sequence[Any], seconds: float) -> tuple[float, float]:
    """(CPU seconds, bytes of request and answer) of a call."""
    texts = [json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": one}).encode() for one in params]
    requests = [post("/", text) for text in texts]
    warm = load.run(requests, seconds / 5)
    while warm.answers < len(requests):
        warm = Sample(warm.answers + load.run(requests[warm.answers :], seconds / 5).answers, 0.0)
    begun = cpu_seconds(pid)
    sample = load.run(requests, seconds)
    cpu = (cpu_seconds(pid) - begun) / sample.answers
    bodies = load.bodies()
    for body in bodies:
        if "result" not in json.loads(body):
            raise RuntimeError(f"{method} was refused: {body[:500]!r}")
    return cpu, sum(map(len, texts)) / len(texts) + sum(map(len, bodies)) / len(bodies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--transfers", type=int, default=100)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=0.5, help="for a method")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="table-costs-"))
    wrong = []
    try:
        with node(folder, None, options.blocks, options.transfers, options.accounts) as (port, pid):
            url = f"http://127.0.0.1:{port}"
            described = ask(url, "rpc_discover")["methods"]
            charged = {one["name"]: one.get("x-cost", 1) for one in described}
            load = Load(port, CONNECTIONS)
            print(f"{'call':<44} {'CPU us':>9} {'KB':>7} {'units':>7} {'charged':>8}")
            asked = questions(url, options.blocks, options.accounts, random.Random(1))
            unit = 0.0
            for name, params in asked.items():
                method = name.partition(",")[0]
                cpu, size = measure(load, pid, method, params, options.seconds)
                unit = unit or cpu / CHAIN_ID
                units = max(0.0, cpu / unit - size / BYTES_PER_UNIT)
                paid = charged[method]
                if method == "eth_feeHistory":
                    paid += history_cost(int(params[0][0], 16), params[0][1], params[0][2])
                if units > max(1.0, 2 * paid):
                    wrong.append(name)
                note = "too little" if name in wrong else "too much" if paid > max(2.0, 2 * units) else ""
                print(f"{name:<44} {cpu * 1e6:>9.0f} {size / 1000:>7.1f} {units:>7.1f} {paid:>8} {note}", flush=True)
            load.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if wrong:
        sys.exit(f"charged less than half: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
