"""The servers that ``bench_rpc.py`` sets beside the node: each answers three methods from memory, and checks little.

    python benchmarks/rpc_yardsticks.py aiohttp|twisted.web|"fixed bytes"

Prints its port, and ends with standard input. ``fixed bytes`` reads no HTTP at all: what the load itself can do.
"""

import asyncio
import json
import sys
from typing import Any

from child import input_ended
from twisted.internet.task import react
from twisted.web.resource import Resource
from twisted.web.server import Site

CHAIN_ID, HEIGHT, BALANCE = 7, 200, 10**24
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":"0x7"}'

METHODS = {
    "eth_chainId": lambda: hex(CHAIN_ID),
    "eth_blockNumber": lambda: hex(HEIGHT),
    "eth_getBalance": lambda address, block: hex(BALANCE),
}


def answered(call: Any) -> Any:
    return {"jsonrpc": "2.0", "id": call["id"], "result": METHODS[call["method"]](*call["params"])}


def answer(text: bytes) -> bytes:
    asked = json.loads(text)
    result = list(map(answered, asked)) if isinstance(asked, list) else answered(asked)
    return json.dumps(result).encode()


class Calls(Resource):
    isLeaf = True

    def render_POST(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"application/json")
        return answer(request.content.read())


async def twisted_web(reactor: Any) -> None:
    port = reactor.listenTCP(0, Site(Calls()), interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    await input_ended()


class Bytes(asyncio.Protocol):
    """Answers each piece that comes; the load never sends two requests at once."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.response)


async def until_input_ends() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def fixed_bytes() -> None:
    server = await asyncio.get_running_loop().create_server(Bytes, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await until_input_ends()


async def aiohttp_server() -> None:
    from aiohttp import web

    async def calls(request: web.Request) -> web.Response:
        return web.Response(body=answer(await request.read()), content_type="application/json")

    application = web.Application()
    application.router.add_post("/", calls)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await until_input_ends()
    await runner.cleanup()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["twisted.web"]:
            react(twisted_web)
        case ["aiohttp"]:
            asyncio.run(aiohttp_server())
        case ["fixed bytes"]:
            asyncio.run(fixed_bytes())
        case other:
            sys.exit(f"which server? aiohttp, twisted.web or fixed bytes, not {other}")
