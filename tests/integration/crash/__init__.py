"""Processes that are killed while they write a ledger: how they die, what they do, what must be found afterwards."""
