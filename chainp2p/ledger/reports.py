"""What a person should know of the ledger's doings, in the log."""

from twisted.logger import Logger

from chainp2p.ledger.news import News

__all__ = ["report"]

#: A reorganisation of so many blocks is worth a person's attention (design: "Fork choice").
LOUD_REORG = 10

log = Logger()


def report(news: News) -> None:
    """Log what is out of the ordinary."""
    if news.moved is not None and len(news.moved.change.left) >= LOUD_REORG:
        log.warn(
            "reorganisation: {left} blocks left, {entered} entered, the head is {height} 0x{hash}",
            left=len(news.moved.change.left),
            entered=len(news.moved.change.entered),
            height=news.head.height,
            hash=news.head.hash.hex(),
        )
    for failed in news.failed:
        log.warn(
            "block 0x{hash} of signer 0x{signer} failed: {reason}",
            hash=failed.header.hash.hex(),
            signer=failed.signer.hex() if failed.signer is not None else "",
            reason=failed.reason,
        )
    for one in news.evidence:
        log.warn(
            "signer 0x{signer} contradicts itself: slot {first_slot} 0x{first}, slot {second_slot} 0x{second}",
            signer=one.signer.hex(),
            first=one.first.hex(),
            first_slot=one.first_slot,
            second=one.second.hex(),
            second_slot=one.second_slot,
        )
    if news.new_conflict is not None:
        log.critical(
            "finality conflict: 0x{ours} and 0x{theirs} are both justified; sealing has stopped until "
            "admin_setFinalized decides; signers on both sides: {signers}",
            ours=news.new_conflict.ours.hash.hex(),
            theirs=news.new_conflict.theirs.hash.hex(),
            signers=["0x" + signer.hex() for signer in news.new_conflict.signers],
        )
