"""How addresses are grouped: who can get many addresses of one group cheaply gets the say of one."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

__all__ = ["netgroup", "source_address", "subnet"]


def _address(ip: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


#: Reading an address costs 20 us and whoever calls is looked up again and again; some 200 bytes each.
_CACHED = 8_192


@lru_cache(_CACHED)
def _prefix(ip: str, bits4: int, bits6: int) -> str:
    address = _address(ip)
    if address is None:
        return ip
    bits = bits4 if address.version == 4 else bits6
    kept = int(address) >> (address.max_prefixlen - bits) << (address.max_prefixlen - bits)
    return f"{type(address)(kept)}/{bits}"


def netgroup(ip: str) -> str:
    """Return the group for diversity: /16, in IPv6 /32 (Bitcoin Core, ``netgroup.cpp``); a name is its own group."""
    return _prefix(ip, 16, 32)


def subnet(ip: str) -> str:
    """Return the subnet for rates: /24, in IPv6 /48."""
    return _prefix(ip, 24, 48)


def source_address(ip: str) -> str:
    """Return what counts as one address: all of an IPv4 address, the /64 of an IPv6 one."""
    return _prefix(ip, 32, 64)
