"""RLP, keccak-256 and secp256k1: the primitives that identity and ledger share."""

__all__: list[str] = []
