"""Ethereum's JSON-RPC over the ledger: wallets, libraries and explorers work unchanged."""
