"""Transactions that wait."""
