"""UPnP: a library of ours in memory, and the real one against a device on loopback."""

import http.server
import re
import threading
from typing import Any
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from chainp2p.node.upnp import PORTS, UpnpError, UpnpGateway, find_library

GATEWAY, OUTSIDE = "192.168.1.1", "93.184.216.34"
Mapping = tuple[str, int, str]


class FakeDevice:
    """What the library's object does, with its errors."""

    lanaddr = "192.168.1.7"

    def __init__(self, **broken: Any) -> None:
        self.broken = broken
        self.mappings: dict[tuple[int, str], tuple[str, int, int]] = {}
        self.discoverdelay = 0

    def discover(self) -> int:
        if "discover" in self.broken:
            raise Exception(self.broken["discover"])
        return 1

    def selectigd(self, url: str | None = None) -> str:
        return str(self.broken.get("control", f"http://{GATEWAY}:5000/control"))

    def externalipaddress(self) -> str:
        return OUTSIDE

    def getspecificportmapping(self, port: int, protocol: str) -> Any:
        held = self.mappings.get((port, protocol))
        return None if held is None else (held[0], held[1], "somebody", True, held[2])

    def addportmapping(
        self, outside: int, protocol: str, host: str, port: int, text: str, remote: str, lease: int
    ) -> bool:
        if lease and "permanent" in self.broken:
            raise Exception("OnlyPermanentLeasesSupported")
        if (error := self.broken.get((outside, protocol)) or self.broken.get(protocol)) is not None:
            raise Exception(error)
        self.mappings[outside, protocol] = host, port, lease
        return True

    def deleteportmapping(self, port: int, protocol: str) -> bool:
        if "delete" in self.broken:
            raise Exception("ActionNotAuthorized")
        del self.mappings[port, protocol]
        return True


class UpnpTests(SynchronousTestCase):
    def open(self, device: FakeDevice, udp: int | None = 30303) -> tuple[UpnpGateway, tuple[str, int, int | None]]:
        gateway = UpnpGateway(lambda: device)
        return gateway, gateway.open(GATEWAY, 30303, udp, 2400)

    def refused(self, device: FakeDevice) -> str:
        return str(self.assertRaises(UpnpError, self.open, device))

    def test_map_renew_remove(self) -> None:
        device = FakeDevice()
        gateway, where = self.open(device)
        self.assertEqual(where, (OUTSIDE, 30303, 30303))
        both = {(30303, "TCP"): ("192.168.1.7", 30303, 2400), (30303, "UDP"): ("192.168.1.7", 30303, 2400)}
        self.assertEqual(device.mappings, both)
        self.assertEqual(gateway.open(GATEWAY, 30303, 30303, 2400), where)
        self.assertEqual(device.mappings, both)
        gateway.close()
        self.assertEqual(device.mappings, {})
        gateway.close()

    def test_what_others_have_is_left_to_them(self) -> None:
        device = FakeDevice()
        others = {(30303, "TCP"): ("192.168.1.8", 30303, 0), (30303, "UDP"): ("192.168.1.7", 9, 0)}
        device.mappings.update(others)
        device.broken[30304, "UDP"] = "ConflictInMappingEntry"
        gateway, where = self.open(device)
        self.assertEqual(where, (OUTSIDE, 30304, 30305))
        gateway.close()
        self.assertEqual(device.mappings, others)

    def test_every_port_is_taken(self) -> None:
        device = FakeDevice()
        for port in range(30303, 30303 + PORTS):
            device.mappings[port, "TCP"] = "192.168.1.8", 30303, 0
        self.assertEqual(self.refused(device), "every port is taken")

    def test_permanent_mappings_alone(self) -> None:
        device = FakeDevice(permanent=True)
        gateway, where = self.open(device)
        self.assertEqual((where[1], device.mappings[30303, "TCP"][2]), (30303, 0))
        gateway.close()
        self.assertEqual(device.mappings, {})

    def test_why_not(self) -> None:
        self.assertEqual(self.refused(FakeDevice(TCP="ActionNotAuthorized")), "ActionNotAuthorized")
        self.assertEqual(self.refused(FakeDevice(discover="No IGD")), "No IGD")
        self.assertIn("not at the default gateway", self.refused(FakeDevice(control="http://192.168.1.66/control")))

    def test_tcp_alone(self) -> None:
        for device, udp in ((FakeDevice(UDP="ActionNotAuthorized"), 30303), (FakeDevice(), None)):
            gateway, where = self.open(device, udp)
            self.assertEqual(where, (OUTSIDE, 30303, None))
            gateway.close()
            self.assertEqual(device.mappings, {})

    def test_a_removal_that_fails_is_logged_only(self) -> None:
        gateway, _ = self.open(FakeDevice(delete=True))
        gateway.close()


_SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
_DESCRIPTION = f"""<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/common</controlURL>
<eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service></serviceList><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{_SERVICE}</serviceType><controlURL>/control</controlURL><eventSubURL>/e</eventSubURL>
<SCPDURL>/s</SCPDURL></service></serviceList></device></deviceList></device></deviceList></device></root>"""


class _Igd(http.server.BaseHTTPRequestHandler):
    """An Internet Gateway Device: as much of it as the library asks for."""

    server: "_IgdServer"

    def do_GET(self) -> None:
        self._send(200, _DESCRIPTION)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = self.headers["SOAPAction"].strip('"').partition("#")[2]
        given = dict(re.findall(r"<(New\w+)>([^<]*)</", body))
        key = given.get("NewExternalPort", ""), given.get("NewProtocol", "")
        mappings = self.server.mappings
        answer: dict[str, str] = {}
        match action:
            case "GetExternalIPAddress":
                answer = {"NewExternalIPAddress": OUTSIDE}
            case "AddPortMapping":
                mappings[key] = given
            case "DeletePortMapping":
                del mappings[key]
            case "GetSpecificPortMappingEntry" if key in mappings:
                answer = {**mappings[key], "NewEnabled": "1"}
            case _:
                self._send(500, f"{_fault(714)}")
                return
        content = "".join(f"<{name}>{value}</{name}>" for name, value in answer.items())
        self._send(200, _envelope(f'<u:{action}Response xmlns:u="{_SERVICE}">{content}</u:{action}Response>'))

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""


def _envelope(content: str) -> str:
    return (
        '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        f"<s:Body>{content}</s:Body></s:Envelope>"
    )


def _fault(code: int) -> str:
    return _envelope(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
        f"<UPnPError><errorCode>{code}</errorCode></UPnPError></detail></s:Fault>"
    )


class _IgdServer(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Igd)
        self.mappings: dict[tuple[str, str], dict[str, str]] = {}


@skipIf(find_library() is None, "miniupnpc is not installed")
class LibraryTests(SynchronousTestCase):
    def test_the_library_itself(self) -> None:
        server = _IgdServer()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        library = find_library()
        assert library is not None
        gateway = UpnpGateway(library, f"http://127.0.0.1:{server.server_port}/root.xml")
        server.mappings["30303", "UDP"] = {"NewInternalClient": "192.168.1.8", "NewInternalPort": "30303"}
        self.assertEqual(gateway.open("127.0.0.1", 30303, 30303, 2400), (OUTSIDE, 30303, 30304))
        mapped = server.mappings["30303", "TCP"]
        self.assertEqual(
            (mapped["NewInternalClient"], mapped["NewInternalPort"], mapped["NewLeaseDuration"]),
            ("127.0.0.1", "30303", "2400"),
        )
        self.assertEqual(gateway.open("127.0.0.1", 30303, 30303, 2400), (OUTSIDE, 30303, 30304))
        self.assertEqual(len(server.mappings), 3)
        gateway.close()
        self.assertEqual(list(server.mappings), [("30303", "UDP")])
        self.assertIn("not at the default gateway", str(self.assertRaises(UpnpError, gateway.open, GATEWAY, 1, 1, 1)))
