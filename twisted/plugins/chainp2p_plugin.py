"""What Twisted's plug-in walker finds of chainp2p. Modules are named by string, so that a listing loads none of them."""

from twisted.application.service import ServiceMaker

from chainp2p.chain.plugins import ChainMaker

chainp2p = ServiceMaker("chainp2p", "chainp2p.tap", "A peer-to-peer node for blockchains.", "chainp2p")
ledger = ChainMaker("ledger", "chainp2p.ethapi.plugin", "LedgerPlugin")
