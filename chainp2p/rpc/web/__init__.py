"""HTTP and WebSocket: who may come in, what they may take, and how answers leave."""
