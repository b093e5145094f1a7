"""How a node learns of other nodes."""

__all__: list[str] = []
