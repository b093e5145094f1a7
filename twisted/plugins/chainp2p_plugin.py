"""What the plug-in walker of Twisted finds of chainp2p; modules are named by string, so that a listing loads none."""

from twisted.application.service import ServiceMaker

from chainp2p.chain.plugins import ChainMaker

chainp2p = ServiceMaker("chainp2p", "chainp2p.tap", "A peer-to-peer node for blockchains.", "chainp2p")
ledger = ChainMaker("ledger", "chainp2p.ethapi.plugin", "LedgerPlugin")
