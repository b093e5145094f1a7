"""The ``chainp2p`` command."""
