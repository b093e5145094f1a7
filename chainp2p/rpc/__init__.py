"""JSON-RPC 2.0 over HTTP and WebSocket: a pure core, a registry that dispatches and documents, and the transports."""
