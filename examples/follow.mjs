// Follow a chain and lose nothing: node follow.mjs STORE WS_URL [WS_URL ...]
//
// STORE is a file with one line an event: the cursor, and blocks that were put on top of those below them. So what is
// stored and how far one has come are one write. Kill this program, kill nodes, part the network: it goes on from the
// last cursor, at the next URL. load() answers the chain. Needs Node.js 22, or an older one with the package ws.
import { appendFileSync, existsSync, readFileSync, truncateSync } from "node:fs";

const Socket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

// The hashes that a store holds, by height, and the last cursor; half a line at the end does not count.
export function load(store) {
  const text = existsSync(store) ? readFileSync(store, "latin1") : "";
  const whole = text.lastIndexOf("\n") + 1;
  const lines = text.slice(0, whole).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const chain = [];
  for (const [, ...blocks] of lines) for (const [height, hash] of blocks) chain.splice(height, Infinity, hash);
  return { chain, cursor: lines.at(-1)?.[0], whole };
}

// A connection with calls that answer promises; other messages go to hear(), in order. closed: settles at its end.
function open(url, hear = () => {}) {
  const socket = new Socket(url);
  const asked = new Map();
  let count = 0;
  const opened = new Promise((resolve) => { socket.onopen = resolve; });
  const closed = new Promise((resolve) => { socket.onclose = socket.onerror = resolve; })
    .then(() => asked.forEach(([, fail]) => fail(new Error("the connection is lost"))));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (!("id" in message)) return hear(message.params.result);
    const [done, fail] = asked.get(message.id);
    asked.delete(message.id);
    return message.error ? fail(new Error(message.error.message)) : done(message.result);
  };
  const ask = async (method, ...params) => {
    await Promise.race([opened, closed.then(() => { throw new Error("no connection"); })]);
    return new Promise((done, fail) => {
      asked.set(count += 1, [done, fail]);
      socket.send(JSON.stringify({ jsonrpc: "2.0", id: count, method, params }));
    });
  };
  return { ask, closed, close: () => socket.close() };
}

async function follow(url, store) {
  const put = (cursor, blocks) =>
    appendFileSync(store, `${JSON.stringify([cursor, ...blocks.map(({ height, hash }) => [height, hash])])}\n`);
  let turn = Promise.resolve();
  const take = async (event) => {
    if (event.type === "block") put(event.cursor, [event]);
    if (event.type === "rollback") put(event.cursor, [event.to]);
    if (event.type !== "gap") return;
    if (event.reason === "slow") throw new Error("too slow; nothing is missing at the last cursor");
    const blocks = event.lost ? [] : [event.to];
    for (let hash = event.to.hash; blocks.length < event.lost; hash = blocks[0].parent)
      blocks.unshift(await node.ask("chain_getHeader", hash));
    put(event.cursor, blocks);
  };
  const node = open(url, (event) => { turn = turn.then(() => take(event)); turn.catch(() => node.close()); });
  try {
    let { cursor } = load(store);
    if (!cursor) {
      const hash = (await node.ask("chain_info")).genesis;
      const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(hash.slice(2), "hex"), Buffer.alloc(56)]);
      put(cursor = bytes.toString("base64url"), [{ height: 0, hash }]);
    }
    await node.ask("chain_subscribe", ["heads"], cursor);
    await node.closed;
    await turn;
  } finally { node.close(); }
}

const [store, ...urls] = process.argv.slice(2);
if (existsSync(store)) truncateSync(store, load(store).whole);
for (let turn = 0; store; turn += 1) {
  await follow(urls[turn % urls.length], store).catch((error) => console.error(String(error.message ?? error)));
  await new Promise((resolve) => { setTimeout(resolve, 500); });
}
