"""Transactions between pools: announced, pushed, fetched, and where each came from."""
