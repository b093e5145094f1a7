// Nodes of @chainsafe/discv5 on loopback, led by lines of JSON on standard input: {"n": 1, "verb": "ping", ...}.
// Each line is answered by {"n": 1, "result": ...} or {"n": 1, "error": "..."}; the end of the input ends the process.

import { createInterface } from "node:readline";
import { Discv5 } from "@chainsafe/discv5";
import { ENR, SignableENR } from "@chainsafe/enr";
import { privateKeyFromRaw } from "@libp2p/crypto/keys";
import { multiaddr } from "@multiformats/multiaddr";

const nodes = [];
const bytes = (hex) => Buffer.from(hex, "hex");
const hex = (data) => Buffer.from(data).toString("hex");
const id = (enr) => enr.nodeId.replace(/^0x/, "");

async function start(key) {
  const privateKey = privateKeyFromRaw(bytes(key));
  const node = Discv5.create({
    enr: SignableENR.createFromPrivateKey(privateKey),
    privateKey,
    bindAddrs: { ip4: multiaddr("/ip4/127.0.0.1/udp/0") },
    config: { allowUnverifiedSessions: true },
  });
  await node.start();
  node.asked = {};
  node.sessionService.on("request", (_, { type }) => {
    node.asked[type] = (node.asked[type] ?? 0) + 1;
  });
  node.on("talkReqReceived", (from, _, { id, protocol, request }) => {
    node.sendTalkResp(from, id, Buffer.concat([protocol, Buffer.from(":"), request]));
  });
  node.enr.ip = "127.0.0.1";
  node.enr.udp = node.sessionService.transport.ip4.socket.address().port;
  node.enr.tcp = node.enr.udp;
  nodes.push(node);
  return node.enr.encodeTxt();
}

const verbs = {
  start: async ({ keys }) => Promise.all(keys.map(start)),
  record: async ({ node }) => nodes[node].enr.encodeTxt(),
  change: async ({ node, name, value }) => {
    nodes[node].enr.set(name, bytes(value));
    return nodes[node].enr.encodeTxt();
  },
  know: async ({ node, enr }) => nodes[node].addEnr(enr),
  ping: async ({ node, enr }) => {
    const pong = await nodes[node].sendPing(ENR.decodeTxt(enr));
    return { seq: Number(pong.enrSeq), ip: pong.addr.ip.octets.join("."), port: pong.addr.port };
  },
  talk: async ({ node, enr, protocol, request }) =>
    hex(await nodes[node].sendTalkReq(ENR.decodeTxt(enr), bytes(request), protocol)),
  findNode: async ({ node, enr, distances }) =>
    (await nodes[node].sendFindNode(ENR.decodeTxt(enr), distances)).map((found) => found.encodeTxt()),
  lookup: async ({ node, target }) => (await nodes[node].findNode(target)).map(id),
  table: async ({ node }) => Object.fromEntries(nodes[node].kadValues().map((enr) => [id(enr), Number(enr.seq)])),
  asked: async ({ node }) => nodes[node].asked,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { n, verb, ...rest } = JSON.parse(line);
  verbs[verb](rest).then(
    (result = null) => console.log(JSON.stringify({ n, result })),
    (error) => console.log(JSON.stringify({ n, error: `${verb}: ${error.stack ?? error}` })),
  );
}
process.exit(0);
