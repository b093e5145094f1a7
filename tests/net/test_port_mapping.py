"""Ports mapped at a gateway in memory, and gateways that lose, refuse, forget, lie or are silent."""

from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from chainp2p.discovery.gateway import PORT, Dialect, Kind, Question, encode_question
from chainp2p.discovery.mapping import LIFETIME
from chainp2p.net.port_mapping import RETRY_MIN, PortMapping
from chainp2p.testing.clock import HeapClock
from chainp2p.testing.gateway import FakeGateway, GatewayProtocol
from chainp2p.testing.network import MemoryNetwork, Weather

INSIDE, GATEWAY, OUTSIDE = "192.168.1.7", "192.168.1.1", "93.184.216.34"
ONLY_PMP = frozenset({Dialect.NAT_PMP})
BOTH = {(INSIDE, Kind.TCP, 30303): 30303, (INSIDE, Kind.UDP, 30303): 30303}


class FakeUpnp:
    """The library, in memory: *outcome* is what it fires with."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.opened: list[tuple[int, int | None, int]] = []
        self.closed = 0

    def open(self, tcp: int, udp: int | None, lifetime: int) -> Any:
        self.opened.append((tcp, udp, lifetime))
        if isinstance(self.outcome, Exception):
            return fail(self.outcome)
        return succeed(self.outcome) if self.outcome is not None else Deferred()

    def close(self) -> Any:
        self.closed += 1
        return Deferred() if self.outcome is None else succeed(None)


class FakeRouter:
    port = PORT

    def __init__(self, gateway: str | None = GATEWAY, upnp: FakeUpnp | None = None) -> None:
        self.address = gateway
        self.upnp = upnp
        self.ended = 0

    def gateway(self) -> Any:
        return succeed(self.address)

    def end(self) -> Any:
        self.ended += 1
        return Deferred() if self.upnp is not None and self.upnp.outcome is None else succeed(None)


class PortMappingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = HeapClock()
        self.net = MemoryNetwork(self.clock, Random(3), Weather(low=0.001, high=0.005))
        self.host = self.net.host("inside", INSIDE)
        self.box = self.net.host("gateway", GATEWAY)
        self.told: list[Any] = []
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def lines(self) -> list[str]:
        return [
            formatEvent(event)
            for event in self.events
            if event.get("log_namespace") == "chainp2p.net.port_mapping.PortMapping"
        ]

    def run_with(
        self,
        gateway: FakeGateway | None,
        *,
        router: FakeRouter | None = None,
        seconds: float = 60.0,
        private: bool = False,
        tcp: tuple[tuple[str, int], ...] = (("0.0.0.0", 30303),),
        udp: tuple[tuple[str, int], ...] = (("0.0.0.0", 30303),),
        host: Any = None,
    ) -> PortMapping:
        if gateway is not None:
            self.box.listenUDP(PORT, GatewayProtocol(gateway, self.clock.seconds))
        mapping = PortMapping(
            host or self.host,
            router or FakeRouter(),
            nonce=b"secret nonce",
            private=private,
            mapped=lambda *where: self.told.append(where),
            withdrawn=lambda: self.told.append("withdrawn"),
        )
        mapping.start(tcp, udp)
        self.clock.run_for(seconds)
        return mapping

    def stop(self, mapping: PortMapping, within: float) -> None:
        stopped = mapping.stop()
        self.clock.run_for(within)
        self.successResultOf(stopped)
        self.assertEqual(list(self.host.getDelayedCalls()), [])
        self.assertEqual(self.host._udp, {})

    def test_each_protocol(self) -> None:
        for speaks, name in ((frozenset({Dialect.PCP}), "PCP"), (ONLY_PMP, "NAT-PMP"), (frozenset(Dialect), "PCP")):
            self.setUp()
            gateway = FakeGateway(speaks=speaks)
            mapping = self.run_with(gateway, seconds=1)
            self.assertEqual(self.told, [(OUTSIDE, 30303, 30303)])
            self.assertEqual((mapping.state.rule, mapping.state.by), ("mapped", name))
            self.assertEqual((mapping.state.ip, mapping.state.tcp, mapping.state.udp), (OUTSIDE, 30303, 30303))
            self.assertEqual(gateway.mappings, BOTH, name)
            self.stop(mapping, 0.1)
            self.assertEqual((gateway.mappings, mapping.state.rule), ({}, "off"))

    def test_it_stays_mapped_at_one_renewal_in_twenty_minutes(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=2 * 3600)
        self.assertEqual(set(self.told), {(OUTSIDE, 30303, 30303)})
        self.assertEqual(len(self.told), 6)
        # six rounds of two, and a sign of life in each other minute
        self.assertLess(gateway.asked, 12 + 120)
        self.assertEqual(
            self.lines(), [f"the gateway maps {OUTSIDE}, TCP port 30303, UDP port 30303 to this machine (PCP)"]
        )
        self.stop(mapping, 0.1)

    def test_other_ports_outside(self) -> None:
        gateway = FakeGateway(taken={30303, 30305})
        mapping = self.run_with(gateway, seconds=1, udp=(("0.0.0.0", 30305),))
        self.assertEqual(self.told, [(OUTSIDE, 30304, 30306)])
        self.clock.run_for(1300)
        gateway.reboot(self.clock.seconds())
        gateway.taken.clear()
        self.clock.run_for(61)
        # after the reboot the same ports are asked for, though the others would be free now
        self.assertEqual(self.told[-1], (OUTSIDE, 30304, 30306))
        self.assertEqual(len(gateway.mappings), 2)
        self.stop(mapping, 0.1)

    def test_lossy_link(self) -> None:
        for speaks in (frozenset({Dialect.PCP}), ONLY_PMP):
            for seed in range(10):
                self.setUp()
                self.net.random.seed(seed)
                self.net.set_weather(Weather(low=0.001, high=0.3, loss=0.3, duplication=0.2))
                gateway = FakeGateway(speaks=speaks)
                mapping = self.run_with(gateway, seconds=240)
                self.assertEqual(self.told[-1], (OUTSIDE, 30303, 30303), (speaks, seed))
                self.assertEqual(gateway.mappings, BOTH)
                self.clock.run_for(3600)
                self.assertNotIn("withdrawn", self.told, (speaks, seed))
                self.stop(mapping, 1.0)

    def test_reboot_is_noticed_within_a_minute(self) -> None:
        for speaks in (frozenset({Dialect.PCP}), ONLY_PMP):
            self.setUp()
            gateway = FakeGateway(speaks=speaks)
            mapping = self.run_with(gateway, seconds=600)
            gateway.reboot(self.clock.seconds())
            gateway.ip = "93.184.216.99"
            self.clock.run_for(61)
            self.assertEqual(self.told[-1], ("93.184.216.99", 30303, 30303))
            self.assertEqual(gateway.mappings, BOTH)
            self.stop(mapping, 0.1)

    def test_another_address_without_a_reboot(self) -> None:
        gateway = FakeGateway(speaks=ONLY_PMP)
        mapping = self.run_with(gateway, seconds=600)
        gateway.ip = "93.184.216.99"
        self.clock.run_for(61)
        self.assertEqual(self.told[-1], ("93.184.216.99", 30303, 30303))
        self.stop(mapping, 0.1)

    def test_a_clock_that_stands_makes_no_flood(self) -> None:
        gateway = FakeGateway(clock_stands=True)
        mapping = self.run_with(gateway, seconds=3600)
        self.assertLess(gateway.asked, 60 * 4 + 20)
        self.assertNotIn("withdrawn", self.told)
        self.stop(mapping, 0.1)

    def test_refused(self) -> None:
        for speaks, text in (({Dialect.PCP}, "it does not allow mappings"), (ONLY_PMP, "it does not allow mappings")):
            self.setUp()
            gateway = FakeGateway(speaks=frozenset(speaks), code=2)
            mapping = self.run_with(gateway, seconds=3600)
            self.assertEqual(self.told, [])
            self.assertEqual((mapping.state.rule, mapping.state.text), ("refused", text))
            # one line, though it was tried six times: after 60, 180, 420, 900 and 1860 seconds
            self.assertEqual(
                self.lines(),
                [f"the gateway maps no ports: {text}; forward TCP port 30303 on it, or set --external"],
            )
            self.assertLess(gateway.asked, 20)
            self.stop(mapping, 0.1)

    def test_after_a_crash_the_mappings_are_taken_over(self) -> None:
        gateway = FakeGateway()
        self.run_with(gateway, seconds=60)
        self.host.kill()
        self.host = self.host.boot()
        mapping = self.run_with(None, seconds=1)
        self.assertEqual(self.told, [(OUTSIDE, 30303, 30303)] * 2)
        self.stop(mapping, 0.1)
        self.assertEqual(gateway.mappings, {})

    def test_udp_alone_refused(self) -> None:
        gateway = FakeGateway(code=8, refuses=frozenset({Kind.UDP}))
        mapping = self.run_with(gateway, seconds=10)
        self.assertEqual(self.told, [(OUTSIDE, 30303, None)])
        self.stop(mapping, 0.1)

    def test_refused_after_it_had_been_granted(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=60)
        gateway.code = 10
        self.clock.run_for(1150)
        self.assertEqual(self.told[-1], "withdrawn")
        gateway.code = 0
        self.clock.run_for(RETRY_MIN)
        self.assertEqual(self.told[-1], (OUTSIDE, 30303, 30303))
        self.stop(mapping, 0.1)

    def test_silent(self) -> None:
        gateway = FakeGateway(silent=True)
        mapping = self.run_with(gateway, seconds=40)
        self.assertEqual((self.told, mapping.state.rule), ([], "silent"))
        self.assertEqual(self.lines(), ["no gateway that maps ports: the gateway does not answer"])
        self.clock.run_for(24 * 3600)
        # thirty attempts or so in a day, each of six packets a protocol
        self.assertLess(gateway.asked, 31 * 12)
        gateway.silent = False
        self.clock.run_for(3700)
        self.assertEqual(self.told[-1], (OUTSIDE, 30303, 30303))
        self.stop(mapping, 0.1)

    def test_silent_after_it_had_been_granted(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=60)
        gateway.silent = True
        self.clock.run_for(2300)
        self.assertNotIn("withdrawn", self.told)
        self.clock.run_for(200)
        self.assertEqual((self.told[-1], mapping.state.rule), ("withdrawn", "silent"))
        self.stop(mapping, 1.0)

    def test_stopping_takes_no_longer_than_a_second_though_nobody_answers(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=60)
        gateway.silent = True
        asked = gateway.asked
        self.stop(mapping, 1.0)
        self.assertEqual(gateway.asked - asked, 4)

    def test_stopping_at_any_time_leaves_nothing(self) -> None:
        random = Random(7)
        for step in range(80):
            self.setUp()
            self.net.set_weather(Weather(low=0.05, high=0.05))
            gateway = FakeGateway(speaks=random.choice([ONLY_PMP, frozenset({Dialect.PCP})]))
            mapping = self.run_with(gateway, seconds=step / 40)
            self.stop(mapping, 1.0)
            self.assertEqual(gateway.mappings, {}, step)

    def test_addresses_that_are_of_no_use(self) -> None:
        for ip in ("100.64.3.4", "10.1.2.3", "192.168.0.9", "0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1"):
            for speaks in (frozenset({Dialect.PCP}), ONLY_PMP):
                self.setUp()
                gateway = FakeGateway(ip=ip, speaks=speaks)
                mapping = self.run_with(gateway, seconds=30)
                self.assertEqual((self.told, mapping.state.rule), ([], "useless"), ip)
                self.assertEqual(gateway.mappings, {}, ip)
                self.stop(mapping, 1.0)

    def test_a_private_address_is_good_in_a_private_network(self) -> None:
        mapping = self.run_with(FakeGateway(ip="10.1.2.3"), seconds=1, private=True)
        self.assertEqual(self.told, [("10.1.2.3", 30303, 30303)])
        self.stop(mapping, 0.1)
        self.setUp()
        self.assertEqual(self.run_with(FakeGateway(ip="0.0.0.0"), seconds=9, private=True).state.rule, "useless")

    def test_an_address_that_turns_private_is_withdrawn(self) -> None:
        gateway = FakeGateway(speaks=ONLY_PMP)
        mapping = self.run_with(gateway, seconds=60)
        gateway.ip = "100.64.3.4"
        self.clock.run_for(61)
        self.assertEqual((self.told[-1], mapping.state.rule, gateway.mappings), ("withdrawn", "useless", {}))
        self.stop(mapping, 1.0)

    def test_nothing_to_map(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, tcp=(("127.0.0.1", 30303), ("::1", 30303), ("::", 30303)))
        self.assertEqual((mapping.state.rule, gateway.asked), ("off", 0))
        self.stop(mapping, 0.0)
        self.setUp()
        gateway = FakeGateway()
        outside = self.net.host("outside", OUTSIDE)
        mapping = self.run_with(gateway, host=outside)
        self.assertEqual((mapping.state.rule, mapping.state.ip, gateway.asked), ("public", OUTSIDE, 0))
        self.stop(mapping, 0.0)

    def test_without_discovery_only_tcp_is_mapped(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, udp=(), tcp=(("127.0.0.1", 1), (INSIDE, 30304)))
        self.assertEqual(gateway.mappings, {(INSIDE, Kind.TCP, 30304): 30304})
        self.assertEqual(self.told[0], (OUTSIDE, 30304, None))
        self.stop(mapping, 0.1)

    def test_no_default_gateway_until_there_is_one(self) -> None:
        router = FakeRouter(None)
        mapping = self.run_with(FakeGateway(), router=router, seconds=10)
        self.assertEqual(self.lines(), ["no gateway that maps ports: this machine has no default gateway"])
        router.address = GATEWAY
        self.clock.run_for(RETRY_MIN)
        self.assertEqual(self.told, [(OUTSIDE, 30303, 30303)])
        self.stop(mapping, 0.1)
        self.assertEqual(router.ended, 1)

    def test_somebody_else_answers(self) -> None:
        """Datagrams that do not come from the gateway are nothing, whatever they say."""
        liar = FakeGateway(ip="93.184.216.66")
        other = self.net.host("liar", "192.168.1.66")
        protocol = GatewayProtocol(liar, self.clock.seconds)
        other.listenUDP(PORT, protocol)
        mapping = self.run_with(None, seconds=0.1)
        asked = encode_question(Question(Kind.ADDRESS), Dialect.NAT_PMP, INSIDE, b"")
        for port in self.host._udp:
            protocol.transport.write(liar.answer(asked, INSIDE, 0.0), (INSIDE, port))
        self.clock.run_for(60)
        self.assertEqual((self.told, mapping.state.rule), ([], "silent"))
        self.stop(mapping, 0.1)

    def test_an_error_while_looking_is_logged_and_tried_again(self) -> None:
        router = FakeRouter()
        router.gateway = lambda: fail(ZeroDivisionError())  # type: ignore[method-assign]
        mapping = self.run_with(FakeGateway(), router=router, seconds=1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        del router.gateway  # type: ignore[method-assign]
        self.clock.run_for(RETRY_MIN)
        self.assertEqual(self.told, [(OUTSIDE, 30303, 30303)])
        self.stop(mapping, 0.1)

    def test_a_socket_that_the_reactor_closes(self) -> None:
        """So it does to a connected one, when a datagram comes back because nobody listens at the port."""
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=30)
        self.close_sockets()
        self.clock.run_for(3600)
        self.assertEqual(set(self.told), {(OUTSIDE, 30303, 30303)})
        self.stop(mapping, 0.1)
        self.assertEqual(gateway.mappings, {})
        self.setUp()
        mapping = self.run_with(None, seconds=0.1)
        self.close_sockets()
        self.assertEqual((mapping.state.rule, mapping.state.text), ("silent", "nobody listens at the gateway's port"))
        self.stop(mapping, 0.1)

    def close_sockets(self) -> None:
        for port in list(self.host._udp.values()):
            port.stopListening()

    def test_started_again_after_a_stop(self) -> None:
        gateway = FakeGateway()
        mapping = self.run_with(gateway, seconds=1)
        self.stop(mapping, 0.1)
        mapping.start([("0.0.0.0", 30304)], [])
        self.clock.run_for(1)
        self.assertEqual(self.told[-1], (OUTSIDE, 30304, None))
        self.stop(mapping, 0.1)

    # -- UPnP

    def test_upnp_where_nothing_else_is_spoken(self) -> None:
        upnp = FakeUpnp((OUTSIDE, 30303, 40000))
        mapping = self.run_with(FakeGateway(silent=True), router=FakeRouter(upnp=upnp), seconds=60)
        self.assertEqual(self.told, [(OUTSIDE, 30303, 40000)])
        self.assertEqual((mapping.state.by, upnp.opened), ("UPnP", [(30303, 30303, LIFETIME)]))
        self.clock.run_for(LIFETIME / 2)
        self.assertEqual(len(upnp.opened), 2)
        upnp.outcome = RuntimeError("no devices")
        self.clock.run_for(LIFETIME / 2)
        self.assertEqual((self.told[-1], mapping.state.rule), ("withdrawn", "silent"))
        self.assertIn("UPnP: no devices", mapping.state.text)
        upnp.outcome = (OUTSIDE, 30303, 30303)
        self.clock.run_for(RETRY_MIN + 40)
        self.assertEqual(self.told[-1], (OUTSIDE, 30303, 30303))
        self.stop(mapping, 0.1)
        self.assertEqual(upnp.closed, 1)

    def test_upnp_is_not_asked_where_the_gateway_refuses(self) -> None:
        upnp = FakeUpnp((OUTSIDE, 30303, 30303))
        mapping = self.run_with(FakeGateway(code=2), router=FakeRouter(upnp=upnp))
        self.assertEqual((upnp.opened, mapping.state.rule), ([], "refused"))
        self.stop(mapping, 0.1)
        self.assertEqual(upnp.closed, 0)

    def test_upnp_that_hangs(self) -> None:
        upnp = FakeUpnp(None)
        mapping = self.run_with(FakeGateway(silent=True), router=FakeRouter(upnp=upnp), seconds=70)
        self.assertEqual(mapping.state.rule, "silent")
        self.stop(mapping, 1.0)

    def test_upnp_with_a_private_address(self) -> None:
        upnp = FakeUpnp(("100.64.1.1", 30303, 30303))
        mapping = self.run_with(FakeGateway(silent=True), router=FakeRouter(upnp=upnp), seconds=60)
        self.assertEqual((self.told, mapping.state.rule), ([], "useless"))
        self.stop(mapping, 0.1)
        self.assertEqual(upnp.closed, 1)

    def test_stopped_while_upnp_is_at_it(self) -> None:
        upnp = FakeUpnp(None)
        mapping = self.run_with(FakeGateway(silent=True), router=FakeRouter(upnp=upnp), seconds=35)
        self.assertEqual(len(upnp.opened), 1)
        self.stop(mapping, 1.0)
        self.assertEqual(self.told, [])
