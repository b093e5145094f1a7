"""web3.py 8 as a wallet uses it; it speaks with the test as ``journey.mjs`` says."""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from eth_account import Account
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import BlockNotFound, TransactionNotFound, Web3RPCError
from websockets.exceptions import ConnectionClosed

RPC, WS, KEY = sys.argv[1:]
ETHER, GWEI = 10**18, 10**9
ACCOUNT = Account.from_key(KEY)
ADDRESS, TO = ACCOUNT.address, "0x00000000000000000000000000000000000000C3"
w3 = Web3(Web3.HTTPProvider(RPC))
eth = w3.eth
sent: list[Any] = []


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def raw(nonce: int, price: int = 5 * GWEI, **fields: Any) -> bytes:
    transaction = {"chainId": 31337, "nonce": nonce, "to": TO, "value": 1, "gas": 21_000, **fields}
    if "gasPrice" not in fields:
        transaction = {"maxFeePerGas": price, "maxPriorityFeePerGas": price, **transaction}
    signed: bytes = ACCOUNT.sign_transaction(transaction).raw_transaction
    return signed


def receipt_of(hash: Any) -> Any:
    return eth.wait_for_transaction_receipt(hash, timeout=20, poll_latency=0.05)


def pay() -> Any:
    return receipt_of(eth.send_raw_transaction(raw(eth.get_transaction_count(ADDRESS))))


def nonces() -> tuple[int, int]:
    return eth.get_transaction_count(ADDRESS), eth.get_transaction_count(ADDRESS, "pending")


def failure(work: Callable[[], Any]) -> Any:
    try:
        answer = work()
    except Exception as error:
        return error
    raise AssertionError(f"it did not fail: {answer!r}")


def connect() -> None:
    assert w3.is_connected()
    assert (eth.chain_id, w3.net.version, w3.net.listening) == (31337, "31337", True)
    assert w3.client_version.startswith("chainp2p")
    assert eth.get_balance(ADDRESS) == 10_000 * ETHER
    assert (eth.get_code(TO), eth.get_storage_at(TO, 0), eth.call({"to": TO, "data": "0x01"})) == (b"", bytes(32), b"")
    assert eth.syncing is False
    assert eth.accounts == []
    proof = eth.get_proof(ADDRESS, [])
    assert proof["balance"] == 10_000 * ETHER and Web3.keccak(proof["accountProof"][0]), proof


def fees() -> None:
    assert eth.gas_price > eth.max_priority_fee > 0
    assert eth.estimate_gas({"from": ADDRESS, "to": TO, "value": 1, "data": "0x00ff"}) == 21_020
    history = eth.fee_history(4, "latest", [10, 90])
    assert len(history["baseFeePerGas"]) == len(history["gasUsedRatio"]) + 1


def types() -> None:
    price = eth.gas_price
    key = "0x" + "01" * 32
    for kind, fields in (
        (0, {"gasPrice": price}),
        (1, {"gasPrice": price, "type": 1, "accessList": [{"address": TO, "storageKeys": [key]}], "gas": 30_000}),
        (2, {}),
    ):
        receipt = receipt_of(eth.send_raw_transaction(raw(kind, value=ETHER, **fields)))
        found = eth.get_transaction(receipt["transactionHash"])
        assert (receipt["status"], receipt["type"], receipt["from"], receipt["to"]) == (1, kind, ADDRESS, TO), receipt
        assert (found["type"], found["blockHash"], found["value"]) == (kind, receipt["blockHash"], ETHER), found
        sent.append(receipt)
    assert eth.get_balance(TO) == 3 * ETHER
    assert eth.get_balance(TO, sent[0]["blockNumber"]) == ETHER


def gap() -> None:
    (following, _) = nonces()
    waiting = eth.send_raw_transaction(raw(following + 1))
    assert eth.get_transaction(waiting)["blockNumber"] is None
    assert isinstance(failure(lambda: eth.get_transaction_receipt(waiting)), TransactionNotFound)
    assert nonces() == (following, following)
    pooled = w3.geth.txpool.content()["queued"][ADDRESS]
    assert list(pooled) == [str(following + 1)], pooled
    # a key of its own signs what web3.py fills in
    better = eth.send_raw_transaction(raw(following + 1, 6 * GWEI, value=2))
    assert isinstance(failure(lambda: eth.get_transaction(waiting)), TransactionNotFound)
    first = eth.send_raw_transaction(raw(following))
    sent.extend([receipt_of(first), receipt_of(better)])
    assert nonces() == (following + 2, following + 2)


def history() -> None:
    found = []
    for number in range(eth.block_number + 1):
        block = eth.get_block(number, full_transactions=True)
        found += [one["hash"] for one in block["transactions"] if one["from"] == ADDRESS]
    assert found == [receipt["transactionHash"] for receipt in sent]
    receipt = sent[0]
    block = eth.get_block(receipt["blockHash"])
    assert (block["number"], block["baseFeePerGas"] > 0) == (receipt["blockNumber"], True)
    assert eth.get_transaction_by_block(block["hash"], receipt["transactionIndex"])["hash"] == found[0]
    assert receipt in eth.get_block_receipts(block["number"])
    assert eth.get_block_transaction_count(block["hash"]) == len(block["transactions"])
    for tag in ("latest", "safe", "finalized", "pending", "earliest"):
        assert eth.get_block(tag)["gasLimit"] > 0, tag
    assert isinstance(failure(lambda: eth.get_block(2**40)), BlockNotFound)
    assert eth.get_logs({"fromBlock": 0}) == []


def filters() -> None:
    blocks, pending, logs = eth.filter("latest"), eth.filter("pending"), eth.filter({"fromBlock": 0})
    receipt = pay()
    assert receipt["blockHash"] in blocks.get_new_entries()
    assert receipt["transactionHash"] in pending.get_new_entries()
    assert (logs.get_new_entries(), logs.get_all_entries()) == ([], [])
    assert eth.uninstall_filter(blocks.filter_id) is True
    assert eth.uninstall_filter(blocks.filter_id) is False
    gone = failure(blocks.get_new_entries)
    assert isinstance(gone, Web3RPCError) and "filter not found" in gone.message


def batch() -> None:
    with w3.batch_requests() as requests:
        requests.add(eth.get_balance(TO))
        requests.add(eth.get_block("latest"))
        requests.add(eth.get_transaction_count(ADDRESS))
        balance, block, count = requests.execute()
    assert balance >= 3 * ETHER and block["number"] >= sent[-1]["blockNumber"] and count == 6


def errors() -> None:
    (following, _) = nonces()
    again = raw(following + 9)
    eth.send_raw_transaction(again)
    cases = {
        "nonce too low": raw(0),
        "insufficient funds": raw(following, value=10**24),
        "already known": again,
        "replacement underpriced": raw(following + 9, 5 * GWEI + 1),
        "intrinsic gas too low": raw(following, gas=20_999),
        "fee cap below base fee": raw(following, 1),
        "gas limit exceeded": raw(following, gas=10**9),
    }
    rich = {"from": ADDRESS, "to": TO, "value": 10**24}
    works: dict[str, Callable[[], Any]] = {
        **{kind: lambda data=data: eth.send_raw_transaction(data) for kind, data in cases.items()},
        "estimate: insufficient funds": lambda: eth.estimate_gas(rich),
        "estimate: fee cap below base fee": lambda: eth.estimate_gas(
            {"from": ADDRESS, "to": TO, "maxFeePerGas": 1, "maxPriorityFeePerGas": 1}
        ),
        "unknown method": lambda: w3.manager.request_blocking("eth_sendUserOperation", []),
    }
    for kind, work in works.items():
        error = failure(work)
        tell(refused=kind, name=type(error).__name__, text=error.rpc_response["error"]["message"])


async def live() -> None:
    pays = lambda: asyncio.to_thread(pay)  # noqa: E731
    turns = 0
    async for socket in AsyncWeb3(WebSocketProvider(WS)):  # it connects again by itself
        turns += 1
        heads = await socket.eth.subscribe("newHeads")
        pending = await socket.eth.subscribe("newPendingTransactions")
        receipt = await pays()
        wanted = {(heads, receipt["blockHash"]), (pending, receipt["transactionHash"])}
        with suppress(ConnectionClosed):
            async for message in socket.socket.process_subscriptions():
                result = message["result"]
                wanted.discard((message["subscription"], result if isinstance(result, bytes) else result["hash"]))
                if not wanted:
                    break
            assert not wanted, wanted
            if turns == 2:
                return
            assert await socket.eth.unsubscribe(pending) is True
            receipt = await pays()
            async for message in socket.socket.process_subscriptions():
                assert message["subscription"] == heads, message
                if message["result"]["hash"] == receipt["blockHash"]:
                    break
            tell(ask="restart")
            await asyncio.to_thread(sys.stdin.readline)
            await socket.eth.block_number  # fails: the connection has gone


if __name__ == "__main__":
    for name, work in (
        ("connect", connect),
        ("fees", fees),
        ("types", types),
        ("gap, replacement, wait", gap),
        ("history", history),
        ("filters", filters),
        ("batch", batch),
        ("errors", errors),
        ("heads, pending, unsubscribe, reconnect", lambda: asyncio.run(asyncio.wait_for(live(), 60))),
    ):
        begun = time.monotonic()
        work()
        tell(step=name, seconds=round(time.monotonic() - begun, 2))
