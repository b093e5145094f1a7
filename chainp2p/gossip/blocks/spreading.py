"""To whom a block goes, and as what."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainp2p.chain.interfaces import HeaderInfo
from chainp2p.gossip.blocks.compact import Draft
from chainp2p.gossip.blocks.forms import CompactForms
from chainp2p.gossip.meshlinks import MeshLinks
from chainp2p.gossip.seen import Heights, RollingSeen, chosen, push_count
from chainp2p.peer.link import Link
from chainp2p.wire import encode
from chainp2p.wire.messages import MESH, AnnounceBlocks, DoNotSend, NewBlock

if TYPE_CHECKING:
    import random as random_module

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Spreading"]

#: At least so many of the peers that know nothing of compact forms get a new block whole.
PUSHED_LEAST = 3
#: With more than 20 peers, as many get a compact form at most: members of the mesh that asked for it, then others that
#: did, which may have few peers themselves.
PUSHED_MOST = 12
#: Ids remembered of each peer, of what was relayed here, and of what a peer is getting from others.
KNOWN_PER_PEER, REMEMBERED, GETTING = 1_024, 4_096, 16
#: A head that did not come by gossip (sync fetched it) is announced after this, the last of a burst only. Seconds.
HEAD_DELAY = 0.02
#: Announcements that wait for the next beat; of more the newest are kept, which tell of the others too.
WAITING = 64
#: Others are told not to send what is larger than this (bytes; chain design, "Gossip"): less costs as much as the word.
WORTH_A_WORD = 1_024


@define(eq=False)
class _Peer:
    """
    :param known: it has these, or was told of them.
    :param getting: it has the compact form of these, or gets them from others, but is not known to have them.
    """

    known: RollingSeen = field(factory=lambda: RollingSeen(KNOWN_PER_PEER))
    getting: RollingSeen = field(factory=lambda: RollingSeen(GETTING))


class Spreading:
    """Tells the peers of a block.

    1. A block above the finalized one is relayed once: in compact form to the peers that asked for that, by
       announcement to others. Of those that know nothing of compact forms the square root (at least 3) get it whole.
    2. With more than 20 peers this is so for members of the mesh (:class:`MeshLinks`), each of which gets it whole if
       it knows no compact forms. Others hear of it with the next beat of announcements, unless they have told us by
       then.
    3. Who begins to get something large tells the others that might send it too, so that they announce it instead.

    :param interval: seconds between two beats of announcements, on average.
    """

    def __init__(
        self,
        *,
        chain: Any,
        reactor: "IReactorTime",
        random: "random_module.Random",
        interval: float,
        mesh: MeshLinks,
        lacks: Callable[[Link, bytes], bool],
    ) -> None:
        self._chain = chain
        self._reactor = reactor
        self._random = random
        self._interval = interval
        self._mesh = mesh
        self._key = random.randbytes(32)
        self._peers: dict[Link, _Peer] = {}
        self._relayed = RollingSeen(REMEMBERED)
        self._spared = RollingSeen(REMEMBERED)
        self._heights = Heights()
        self._waiting: dict[bytes, int] = {}
        self._beat: IDelayedCall | None = None
        self._head_timer: IDelayedCall | None = None
        self.forms = CompactForms(chain, reactor, lacks)

    def handlers(self) -> dict[type[Any], Callable[[Any, Any], Any]]:
        return {**self.forms.handlers(), DoNotSend: self._do_not_send}

    def joined(self, link: Link) -> None:
        """A link is ready."""
        self._peers[link] = peer = _Peer()
        peer.known.add(link.status.head)
        self.forms.joined(link)

    def left(self, link: Link) -> None:
        """It is gone."""
        self._peers.pop(link, None)
        self.forms.left(link)

    def stop(self) -> None:
        """Cancel the timers and forget the peers."""
        for timer in (self._beat, self._head_timer):
            if timer is not None:
                timer.cancel()
        self._beat = self._head_timer = None
        self._waiting.clear()
        self._peers.clear()
        self.forms.stop()

    # what peers have

    def knows(self, link: Link, hashes: Iterable[bytes]) -> None:
        """*link* has these blocks."""
        peer = self._peers.get(link)
        if peer is not None:
            peer.known.update(hashes)

    def getting(self, link: Link, hash: bytes) -> None:
        """*link* has the compact form of a block only: it is told when the block is here."""
        peer = self._peers.get(link)
        if peer is not None:
            peer.getting.add(hash)

    def knowing(self, hash: bytes) -> list[Link]:
        """Who has a block, or was told of it."""
        return [link for link, peer in self._peers.items() if hash in peer.known]

    def _do_not_send(self, link: Link, message: DoNotSend) -> None:
        for hash in message.hashes:
            self.getting(link, hash)

    def spare(self, hash: bytes, size: int, links: Iterable[Link]) -> None:
        """So much of a block has come: let *links* send no more of it, if they have not begun. Said once a block."""
        if size <= WORTH_A_WORD or not self._spared.add(hash):
            return
        data = encode(DoNotSend((hash,)))
        for link in links:
            peer = self._peers.get(link)
            ignorant = peer is not None and hash not in peer.known and hash not in peer.getting
            if ignorant and link.status.features & MESH:
                link.send_raw(data)

    def _ignorant(self, hash: bytes) -> list[Link]:
        return [link for link, peer in self._peers.items() if hash not in peer.known]

    # our head

    def head_changed(self, head: HeaderInfo) -> None:
        """Announce a head that was not relayed, when the burst of changes is over."""
        if head.hash not in self._relayed and self._head_timer is None:
            self._head_timer = self._reactor.callLater(HEAD_DELAY, self._announce_head)

    def _announce_head(self) -> None:
        self._head_timer = None
        head = self._chain.head
        if self._relayed.add(head.hash):
            self._announce(head, self._ignorant(head.hash))

    # out

    def _announce(self, header: HeaderInfo, links: Sequence[Link]) -> None:
        """Tell *links* of a block: those of the mesh at once, the others with the next beat."""
        data = encode(AnnounceBlocks(((header.hash, header.height),))) if links else b""
        for link in links:
            if self._mesh.at_once(link):
                self._peers[link].known.add(header.hash)
                link.send_raw(data)
            else:
                self._later(header)

    def _later(self, header: HeaderInfo) -> None:
        self._waiting[header.hash] = header.height
        if len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]
        if self._beat is None:
            delay = self._interval * (0.5 + self._random.random())
            self._beat = self._reactor.callLater(delay, self._announce_waiting)

    def _announce_waiting(self) -> None:
        self._beat = None
        waiting = tuple(self._waiting.items())
        self._waiting.clear()
        for link, peer in self._peers.items():
            blocks = tuple(block for block in waiting if block[0] not in peer.known)
            if blocks:
                peer.known.update(hash for hash, _ in blocks)
                link.send(AnnounceBlocks(blocks))

    def relay(self, header: HeaderInfo, raw: bytes, lacked: Collection[int] = (), judged: bool = True) -> None:
        """Pass a block on to all that do not know it; before it is judged only to those that rebuild it.

        :param lacked: positions of transactions that were missing here.
        """
        if not self._worth(header):
            return
        links = self._ignorant(header.hash)
        speaking = [link for link in links if self.forms.speaks(link)]
        near = self._near(header.hash, speaking)
        rest = self.forms.push(header, raw, lacked, near)
        pushed = [link for link in near if link not in rest]
        for link in pushed:
            self._peers[link].known.add(header.hash)
        self._announce(header, [link for link in speaking if link not in pushed])
        if judged:
            self._relay_whole(header, raw, [link for link in links if link not in speaking])

    def _near(self, hash: bytes, links: Sequence[Link]) -> list[Link]:
        """Those of *links* that a compact form is pushed to, if they asked for that."""
        near = [link for link in links if hash not in self._peers[link].getting]
        if self._mesh.awake:
            near = [link for link in near if self.forms.wants(link)]
            near.sort(key=lambda link: not self._mesh.at_once(link))
            del near[PUSHED_MOST:]
        return near

    def _relay_whole(self, header: HeaderInfo, raw: bytes, links: Sequence[Link]) -> None:
        """Push a block whole to some of *links*, and announce it to the others."""
        near = [link for link in links if self._mesh.at_once(link) and header.hash not in self._peers[link].getting]
        count = len(near) if self._mesh.awake else push_count(len(near), PUSHED_LEAST)
        pushed = chosen(self._key, header.hash, [(link.peer_id, link) for link in near], count)
        data = encode(NewBlock(raw)) if pushed else b""
        for link in pushed:
            self._peers[link].known.add(header.hash)
            link.send_raw(data)
        self._announce(header, [link for link in links if link not in pushed])

    def _worth(self, header: HeaderInfo) -> bool:
        """Whether a block may be relayed: it is above the finalized one, and among the first of its height."""
        if header.height <= self._chain.finalized.height:
            return False
        if header.hash not in self._relayed and not self._heights.room(header.height):
            return False
        self._relayed.add(header.hash)
        return True

    def pass_on(self, header: HeaderInfo, made: Draft) -> None:
        """Let others have the compact form of a block whose header is good, before it is here; the first one only."""
        if header.hash not in self._relayed and self._worth(header):
            for link in self.forms.pass_on(header.hash, made, self._near(header.hash, self._ignorant(header.hash))):
                self._peers[link].known.add(header.hash)
