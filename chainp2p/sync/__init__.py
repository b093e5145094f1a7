"""How a node gets and keeps the best chain that its peers have."""

__all__: list[str] = []
