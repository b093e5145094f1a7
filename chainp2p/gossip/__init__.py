"""How transactions and new blocks travel between nodes."""

__all__: list[str] = []
