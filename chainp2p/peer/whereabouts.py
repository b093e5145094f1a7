"""Where we can be reached in one address family, by what the operator, our router and our peers say."""

from attrs import define

from chainp2p.peer.own import Place
from chainp2p.peer.votes import EndpointVotes, is_private

__all__ = ["Whereabouts"]


@define
class Whereabouts:
    """Weighs what is known of our address in one family.

    1. What the operator says holds; so does an interface on which alone we listen, but a private one gives way to a
       port mapping.
    2. Else what peers see, from the moment on at which enough of them agree; they outvote a mapping.
    3. Else the mapping.
    4. In a family in which nobody listens and nothing is mapped we are nowhere, whatever peers see.
    5. The UDP port that peers see counts at the address that they see; at a mapped one the mapping's does.

    :param version: 4 or 6.
    :param external: address and TCP port that the operator names; no port: the one of the listener.
    :param interface: the specific address on which we listen.
    :param tcp: TCP port of the listener.
    :param udp: UDP port of discovery.
    :param mapping: what a router sends on to us.
    """

    version: int
    external: tuple[str, int | None] | None = None
    interface: str | None = None
    tcp: int | None = None
    udp: int | None = None
    mapping: Place | None = None
    _seen: str | None = None
    _seen_port: int | None = None

    def listen(self, interface: str | None, tcp: int | None, udp: int | None) -> None:
        """We listen there from now on."""
        self.interface, self.tcp, self.udp = interface, tcp, udp
        self._seen = self._seen_port = None

    @property
    def fixed(self) -> bool:
        """Whether what peers see makes no difference."""
        if self.external is not None:
            return True
        return self.interface is not None and not (self.mapping is not None and is_private(self.interface))

    @property
    def absent(self) -> bool:
        """Whether nobody can reach us in this family."""
        return self.external is None and self.mapping is None and self.tcp is None and self.udp is None

    def judge(self, votes: EndpointVotes) -> None:
        """Count the votes."""
        if self.fixed or self.absent:
            self._seen = self._seen_port = None
            return
        mapped = self.mapping.ip if self.mapping is not None else None
        ip = votes.winner(self.version, self._seen or mapped)
        if ip != self._seen:
            self._seen_port = None
        self._seen = ip if ip != mapped else None
        self._seen_port = votes.port(self._seen, self._seen_port) if self._seen is not None else None

    def place(self) -> Place:
        """Return where we are."""
        if self.external is not None:
            return Place(self.external[0], self.external[1] or self.tcp, self.udp)
        if self.fixed or self.mapping is None:
            ip = self.interface if self.fixed else self._seen
            return Place(ip, self.tcp, self._seen_port or self.udp)
        mapping = self.mapping
        return Place(self._seen or mapping.ip, mapping.tcp or self.tcp, self._seen_port or mapping.udp or self.udp)
