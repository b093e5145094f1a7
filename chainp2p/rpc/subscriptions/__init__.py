"""What clients are told without asking: the hub of heads and logs, and the stream that loses nothing."""
