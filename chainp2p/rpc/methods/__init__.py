"""The namespaces that every chain has; what they ask is handed in by the node."""
