"""What is in bytes: transactions, headers, blocks, receipts, genesis files."""
