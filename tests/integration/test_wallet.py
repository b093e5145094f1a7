"""The examples, and web3.py, against a devnet of four nodes: what one is told is so on all."""

import json
import shutil
import subprocess
import sys
import unittest
from types import SimpleNamespace
from typing import Any, ClassVar

from tests.integration.npm import wallets_folder
from tests.integration.processes import ROOT, Devnet, call, eventually


class WalletTests(unittest.TestCase):
    devnet: ClassVar[Devnet]

    @classmethod
    def setUpClass(cls) -> None:
        test: Any = SimpleNamespace(addCleanup=cls.addClassCleanup)
        cls.devnet = Devnet(test)

    def test_web3_py_pays_waits_and_hears_heads(self) -> None:
        key = self.devnet.document["accounts"][0]["privateKey"]
        self.pay_by_web3(self.devnet, key)
        done = subprocess.run(
            [sys.executable, ROOT / "examples/transfer.py", self.devnet.nodes[0]["rpc"], key],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("status 1, balance 1000000000000000000 wei", done.stdout)

    def test_ethers_js_pays_waits_and_hears_heads(self) -> None:
        folder = wallets_folder()
        if folder is None:
            self.skipTest("the packages of npm are not to be had")
        script = folder / "transfer.mjs"
        shutil.copy(ROOT / "examples/transfer.mjs", script)
        node, key = self.devnet.nodes[3], self.devnet.document["accounts"][1]["privateKey"]
        command = ["node", str(script), node["rpc"], key, node["ws"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["status"], answer["balance"]), (1, str(10**18)))
        self.assertGreater(answer["head"], 0)

    def pay_by_web3(self, devnet: Devnet, key: str) -> None:
        from eth_account import Account
        from web3 import Web3

        web3 = Web3(Web3.HTTPProvider(devnet.nodes[3]["rpc"]))
        sender, recipient = Account.from_key(key), Account.create().address
        self.assertEqual(web3.eth.get_balance(sender.address), Web3.to_wei(10_000, "ether"))
        heads = subprocess.Popen(
            [sys.executable, "-c", HEADS, devnet.nodes[3]["ws"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(heads.wait)
        self.addCleanup(heads.kill)
        transaction = {
            "chainId": web3.eth.chain_id,
            "nonce": web3.eth.get_transaction_count(sender.address),
            "to": recipient,
            "value": 12345,
            "gas": web3.eth.estimate_gas({"from": sender.address, "to": recipient, "value": 12345}),
            "maxFeePerGas": web3.eth.gas_price * 2,
            "maxPriorityFeePerGas": web3.eth.max_priority_fee,
        }
        sent = web3.eth.send_raw_transaction(sender.sign_transaction(transaction).raw_transaction)
        receipt = web3.eth.wait_for_transaction_receipt(sent, timeout=60, poll_latency=0.2)
        self.assertEqual((receipt["status"], receipt["gasUsed"]), (1, 21_000))
        self.assertEqual(web3.eth.get_balance(recipient), 12345)
        eventually(lambda: len(self.receipts(devnet, sent.to_0x_hex())) == 1, 60, "one receipt on all nodes")
        out, err = heads.communicate(timeout=120)
        self.assertEqual(heads.returncode, 0, err)
        first, second, third = json.loads(out)
        self.assertEqual((second, third), (first + 1, first + 2))

    def receipts(self, devnet: Devnet, sent: str) -> set[str]:
        found = [call(node["rpc"], "eth_getTransactionReceipt", sent) for node in devnet.nodes]
        assert all(receipt and receipt["status"] == "0x1" for receipt in found), found
        return {json.dumps(receipt, sort_keys=True) for receipt in found}


#: Prints the numbers of three heads that follow each other; on a slow machine a head may be left again.
HEADS = """
import asyncio, json, sys
from web3 import AsyncWeb3, WebSocketProvider

async def main():
    numbers = []
    async with AsyncWeb3(WebSocketProvider(sys.argv[1])) as web3:
        await web3.eth.subscribe("newHeads")
        async for message in web3.socket.process_subscriptions():
            numbers.append(message["result"]["number"])
            if [numbers[-1] - number for number in numbers[-3:]] == [2, 1, 0]:
                break
    print(json.dumps(numbers[-3:]))

asyncio.run(asyncio.wait_for(main(), 90))
"""
