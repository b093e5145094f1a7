"""Adding blocks of this node's own: sealing and mining."""
