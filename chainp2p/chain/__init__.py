"""The interfaces through which the network sees a blockchain, and the parts that every chain needs."""

__all__: list[str] = []
