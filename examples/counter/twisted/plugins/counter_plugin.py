"""Tells Twisted of the chain; what it names is loaded when somebody asks for it."""

from chainp2p.chain.plugins import ChainMaker

counter = ChainMaker("counter", "counter", "CounterPlugin")
