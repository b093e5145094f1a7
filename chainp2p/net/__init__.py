"""Transports: TLS identity, the peer protocol, listening and dialling. Nothing above knows which of them carries it."""

__all__: list[str] = []
