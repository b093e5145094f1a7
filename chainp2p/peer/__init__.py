"""Everything about one peer that is neither bytes nor transport: identity, requests, faults, queues."""

__all__: list[str] = []
