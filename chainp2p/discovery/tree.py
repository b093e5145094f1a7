"""Signed lists of nodes in DNS (EIP-1459): what an entry says, and whether it is what its name promises."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import TypeAlias

from attrs import frozen

from chainp2p.peer.enr import PREFIX as RECORD
from chainp2p.peer.enr import Enr, EnrError
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import PublicKey, verify

__all__ = [
    "BRANCH",
    "LINK",
    "ROOT",
    "Branch",
    "Entry",
    "Root",
    "TreeError",
    "TreeUrl",
    "entry_name",
    "parse_tree_url",
    "read_entry",
    "read_root",
]

LINK, ROOT, BRANCH = "enrtree://", "enrtree-root:v1", "enrtree-branch:"
#: Bytes of the abbreviated hashes that we make, and those that are read (go-ethereum, ``p2p/dnsdisc/tree.go``).
HASH_SIZE, HASH_MIN, HASH_MAX = 16, 12, 32
#: Characters of an entry: EIP-1459 wants them to fit into a DNS packet of 512 bytes; twice that is none of ours.
TEXT_MAX = 1_024
#: A DNS name has 253 characters (RFC 1035), and the longest hash and its dot stand before the domain.
DOMAIN_MAX = 200
#: Roots of one name that are looked at: each costs a signature.
ROOTS_MAX = 4

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_HASH = re.compile(r"[A-Z2-7]{20,52}")
_FIELDS = re.compile(ROOT + r" e=(\S+) l=(\S+) seq=(0|[1-9][0-9]{0,19}) sig=([A-Za-z0-9_-]+)")


class TreeError(ValueError):
    """Not a valid entry of a tree; the text says why."""


def _base32(text: str) -> bytes:
    """Decode without padding, as EIP-1459 writes it; TreeError for what is no base32."""
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, binascii.Error):
        raise TreeError(f"{text[:60]!r} is not base32") from None


def _unpadded(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").decode()


def _check_hash(text: str) -> str:
    if _HASH.fullmatch(text) is None or not HASH_MIN <= len(_base32(text)) <= HASH_MAX:
        raise TreeError(f"{text[:60]!r} is no hash of an entry")
    return text


def entry_name(text: str) -> str:
    """Return the label under which an entry stands: its abbreviated hash."""
    return _unpadded(keccak256(text.encode())[:HASH_SIZE])


@frozen
class TreeUrl:
    """Where a tree is and who signs it: ``enrtree://KEY@DOMAIN``. *public* is the compressed key, 33 bytes."""

    public: bytes
    domain: str

    def __str__(self) -> str:
        return f"{LINK}{_unpadded(self.public)}@{self.domain}"


@frozen
class Branch:
    """An entry in the middle: the names of those below."""

    children: tuple[str, ...]

    def __str__(self) -> str:
        return BRANCH + ",".join(self.children)


@frozen
class Root:
    """The signed entry at the top: names of the two subtrees, and how often the list has changed."""

    enr_root: str
    link_root: str
    seq: int
    signature: bytes = b""  #: r || s || parity, 65 bytes

    @property
    def content(self) -> str:
        """What is signed."""
        return f"{ROOT} e={self.enr_root} l={self.link_root} seq={self.seq}"

    def __str__(self) -> str:
        return f"{self.content} sig={base64.urlsafe_b64encode(self.signature).rstrip(b'=').decode()}"

    @property
    def digest(self) -> bytes:
        """What the signature is over."""
        return keccak256(self.content.encode())

    def is_signed_by(self, public: bytes) -> bool:
        """Tell whether the signature is this key's; the parity is no proof of anything and not looked at."""
        return verify(public, self.signature[:64], self.digest)


Entry: TypeAlias = Branch | Enr | TreeUrl


def parse_tree_url(text: str) -> TreeUrl:
    """Read ``enrtree://KEY@DOMAIN``; TreeError says what is wrong with it."""
    if not text.startswith(LINK):
        raise TreeError(f"a tree begins with {LINK}")
    key, at, domain = text[len(LINK) :].partition("@")
    if not at:
        raise TreeError(f"{LINK}KEY@DOMAIN is expected: the key that signs the tree is missing")
    try:
        public = _base32(key)
        if len(public) != 33:
            raise TreeError(f"a key of {len(public)} bytes")
        PublicKey(public)
    except ValueError:
        raise TreeError(f"{key[:60]!r} is not the base32 of a compressed secp256k1 key") from None
    domain = domain.lower()
    labels = domain.split(".")
    if len(domain) > DOMAIN_MAX or labels[-1].isdigit() or any(_LABEL.fullmatch(label) is None for label in labels):
        raise TreeError(f"{domain[:60]!r} is no domain, or one of more than {DOMAIN_MAX} characters")
    return TreeUrl(public, domain)


def _parse_root(text: str) -> Root:
    """Read a root; its signature is not verified here."""
    fields = _FIELDS.fullmatch(text) if len(text) <= TEXT_MAX else None
    if fields is None:
        raise TreeError(f"the root is not {ROOT} e=HASH l=HASH seq=NUMBER sig=SIGNATURE")
    enr_root, link_root, number, encoded = fields.groups()
    seq = int(number)
    if seq >= 1 << 64:
        raise TreeError("the sequence number of the root has more than 64 bits")
    try:
        signature = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        signature = b""
    if len(signature) != 65:
        raise TreeError("the signature of the root is not the base64 of 65 bytes")
    return Root(_check_hash(enr_root), _check_hash(link_root), seq, signature)


def read_root(url: TreeUrl, texts: Iterable[str]) -> Root:
    """Return the newest root among the texts of a domain that the tree's key has signed; TreeError if there is none.

    A domain may have other texts, which are nobody's concern here.
    """
    found: list[Root] = []
    error = TreeError(f"there is no {ROOT} record")
    for text in [text for text in texts if text.startswith("enrtree-root")][:ROOTS_MAX]:
        try:
            root = _parse_root(text)
            if not root.is_signed_by(url.public):
                raise TreeError("bad signature: another key than that of the URL has signed the root")
            found.append(root)
        except TreeError as wrong:
            error = wrong
    if not found:
        raise error
    return max(found, key=lambda root: root.seq)


def _parse_entry(text: str) -> Entry:
    if text.startswith(BRANCH):
        names = text[len(BRANCH) :]
        return Branch(tuple(_check_hash(name) for name in names.split(",")) if names else ())
    if text.startswith(LINK):
        return parse_tree_url(text)
    if text.startswith(RECORD):
        try:
            return Enr.from_text(text)
        except EnrError as error:
            raise TreeError(str(error)) from None
    raise TreeError(f"{text[:40]!r} is no entry of a tree")


def read_entry(name: str, texts: Iterable[str]) -> Entry:
    """Return the entry that stands under *name*, its hash; TreeError if there is none, or it is another's or bad."""
    begin, seen = _base32(name), 0
    for text in texts:
        seen += 1
        if keccak256(text.encode()).startswith(begin):
            if len(text) > TEXT_MAX:
                raise TreeError(f"an entry of {len(text)} characters, at most {TEXT_MAX} are read")
            return _parse_entry(text)
    if seen:
        raise TreeError("the content does not match the hash that is its name")
    raise TreeError("there is no TXT record")
