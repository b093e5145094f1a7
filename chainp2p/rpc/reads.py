"""Methods that only read what is at hand: asked twice in one moment they answer the same, and asking changes nothing.

So a batch that has the same call several times makes it once. Names are those of Ethereum's JSON-RPC. Only what costs a
unit and has a short answer is here, for answers are kept beside the batch; and nothing that waits gains by it.
"""

__all__ = ["READS"]

READS = frozenset(
    {
        "eth_accounts",
        "eth_blockNumber",
        "eth_chainId",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_getTransactionCount",
        "eth_maxPriorityFeePerGas",
        "eth_syncing",
        "net_listening",
        "net_peerCount",
        "net_version",
        "web3_clientVersion",
    }
)
