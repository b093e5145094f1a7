"""Makes signed lists of nodes for DNS (EIP-1459), for those who run a network."""

from collections.abc import Iterable, Sequence

from chainp2p.discovery.tree import Branch, Root, TreeUrl, entry_name
from chainp2p.peer.enr import Enr
from chainp2p.peer.key import NodeKey

__all__ = ["CHILDREN_MAX", "make_tree", "zone_lines"]

#: Names of a branch: with 27 characters each its text stays below 370, so that the packet is one of 512 bytes.
CHILDREN_MAX = 13
#: Seconds that others may keep a root and what stands below it, which never changes (the example of EIP-1459).
ROOT_TTL, ENTRY_TTL = 60, 86_900
#: Bytes of one string of a TXT record (RFC 1035, section 3.3.14).
STRING_MAX = 255


def _build(texts: Sequence[str], entries: dict[str, str]) -> str:
    """Add what stands below a name to *entries*, and return that name."""
    if len(texts) == 1:
        name = entry_name(texts[0])
        entries[name] = texts[0]
        return name
    if len(texts) <= CHILDREN_MAX:
        return _build([str(Branch(tuple(_build([text], entries) for text in texts)))], entries)
    branches = []
    for start in range(0, len(texts), CHILDREN_MAX):
        below = texts[start : start + CHILDREN_MAX]
        branches.append(entries[_build(below, entries)])
    return _build(branches, entries)


def make_tree(
    key: NodeKey, domain: str, seq: int, records: Iterable[Enr], links: Iterable[TreeUrl] = ()
) -> dict[str, str]:
    """Sign a list; returns name -> text of each TXT record, the root under *domain* itself.

    :param seq: has to be larger than that of each list that was published before.
    :raise ValueError: *seq* has more than 64 bits.
    """
    if not 0 <= seq < 1 << 64:
        raise ValueError(f"sequence number {seq} has more than 64 bits")
    entries: dict[str, str] = {}
    newest = {record.peer_id: record for record in sorted(records, key=lambda record: record.seq)}
    texts = [newest[peer_id].text for peer_id in sorted(newest)]
    pointers = [str(link) for link in dict.fromkeys(links)]
    unsigned = Root(_build(texts, entries), _build(pointers, entries), seq)
    root = Root(unsigned.enr_root, unsigned.link_root, seq, key.sign(unsigned.digest))
    return {domain: str(root), **{f"{name}.{domain}": text for name, text in entries.items()}}


def zone_lines(tree: dict[str, str]) -> list[str]:
    """Return the lines of a zone file (RFC 1035, section 5), names ending in a dot; the first one is the root."""
    lines = []
    for number, (name, text) in enumerate(tree.items()):
        strings = " ".join(f'"{text[start : start + STRING_MAX]}"' for start in range(0, len(text), STRING_MAX))
        lines.append(f"{name}. {ENTRY_TTL if number else ROOT_TTL} IN TXT {strings}")
    return lines
