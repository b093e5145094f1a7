"""Send one ether with web3.py and wait for the receipt: ``python transfer.py [RPC URL] [private key]``.

Without arguments it uses the first node and the first funded key of the devnet in ``~/.chainp2p/devnet``.
"""

import json
import sys
from pathlib import Path

from eth_account import Account
from web3 import Web3


def main() -> None:
    if len(sys.argv) > 2:
        url, key = sys.argv[1:3]
    else:
        devnet = json.loads((Path.home() / ".chainp2p/devnet/devnet.json").read_text())
        url, key = devnet["nodes"][0]["rpc"], devnet["accounts"][0]["privateKey"]
    web3 = Web3(Web3.HTTPProvider(url))
    sender = Account.from_key(key)
    recipient = Account.create().address
    transaction = {
        "chainId": web3.eth.chain_id,
        "nonce": web3.eth.get_transaction_count(sender.address, "pending"),
        "to": recipient,
        "value": Web3.to_wei(1, "ether"),
        "gas": 21_000,
        "maxFeePerGas": web3.eth.gas_price * 2,
        "maxPriorityFeePerGas": web3.eth.max_priority_fee,
    }
    sent = web3.eth.send_raw_transaction(sender.sign_transaction(transaction).raw_transaction)
    receipt = web3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.2)
    print(f"block {receipt['blockNumber']}, status {receipt['status']}, balance {web3.eth.get_balance(recipient)} wei")


if __name__ == "__main__":
    main()
