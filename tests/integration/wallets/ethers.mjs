// ethers.js 6 as a wallet uses it.
import assert from "node:assert/strict";
import { JsonRpcProvider, Wallet, WebSocketProvider, isError } from "ethers";
import { ETHER, GWEI, ask, failure, key, refused, rpc, step, until, ws } from "./journey.mjs";

// a block comes sooner here than its cache of 250 ms forgets that there was no receipt
const options = { pollingInterval: 100, cacheTimeout: -1 };
const provider = new JsonRpcProvider(rpc, undefined, options);
const wallet = new Wallet(key, provider);
const to = Wallet.createRandom().address;
const sent = [];
const nonces = () => Promise.all([provider.getTransactionCount(wallet), provider.getTransactionCount(wallet, "pending")]);
const dynamic = (nonce, price) =>
  ({ to, value: 1n, nonce, gasLimit: 21000n, maxFeePerGas: price, maxPriorityFeePerGas: price, type: 2 });

await step("connect", async () => {
  assert.equal((await provider.getNetwork()).chainId, 31337n);
  assert.equal(await provider.getBalance(wallet), 10000n * ETHER);
  assert.equal(await provider.getCode(to), "0x");
  assert.equal(await provider.getStorage(to, 0), `0x${"00".repeat(32)}`);
  assert.equal(await provider.call({ to, data: "0x01" }), "0x");
});

await step("fees", async () => {
  const fees = await provider.getFeeData();
  assert.ok(fees.gasPrice > 0n && fees.maxPriorityFeePerGas > 0n && fees.maxFeePerGas > fees.maxPriorityFeePerGas);
  assert.equal(await wallet.estimateGas({ to, value: 1n, data: "0x00ff" }), 21020n);
});

await step("types", async () => {
  const { gasPrice } = await provider.getFeeData();
  for (const [type, fields] of [
    [0, { gasPrice }],
    [1, { gasPrice, accessList: [{ address: to, storageKeys: [`0x${"01".repeat(32)}`] }] }],
    [2, {}],
  ]) {
    const response = await wallet.sendTransaction({ to, value: ETHER, type, ...fields });
    const receipt = await response.wait(1, 20000);
    const found = await provider.getTransaction(response.hash);
    assert.deepEqual([receipt.status, receipt.type, receipt.from, receipt.to, receipt.logs.length],
      [1, type, wallet.address, to, 0]);
    assert.deepEqual([found.type, found.blockHash, found.value], [type, receipt.blockHash, ETHER]);
    assert.equal(receipt.fee, receipt.gasUsed * receipt.gasPrice);
    sent.push(receipt);
  }
  assert.equal(await provider.getBalance(to), 3n * ETHER);
});

await step("gap, replacement, wait", async () => {
  const [next] = await nonces();
  const waiting = await wallet.sendTransaction(dynamic(next + 1, 5n * GWEI));
  assert.equal((await provider.getTransaction(waiting.hash)).blockNumber, null);
  assert.equal(await provider.getTransactionReceipt(waiting.hash), null);
  assert.deepEqual(await nonces(), [next, next]);
  const told = failure(() => waiting.wait(1, 20000));
  const better = await wallet.sendTransaction({ ...dynamic(next + 1, 6n * GWEI), value: 2n });
  assert.equal(await provider.getTransaction(waiting.hash), null);
  const first = await wallet.sendTransaction(dynamic(next, 5n * GWEI));
  sent.push(await first.wait(1, 20000), await better.wait(1, 20000));
  const replaced = await told;
  assert.ok(isError(replaced, "TRANSACTION_REPLACED"), String(replaced));
  assert.deepEqual([replaced.reason, replaced.replacement.hash], ["replaced", better.hash]);
  assert.deepEqual(await nonces(), [next + 2, next + 2]);
});

await step("history", async () => {
  const found = [];
  const last = await provider.getBlockNumber();
  for (let number = 0; number <= last; number += 1) {
    const block = await provider.getBlock(number, true);
    found.push(...block.prefetchedTransactions.filter(({ from }) => from === wallet.address).map(({ hash }) => hash));
  }
  assert.deepEqual(found, sent.map(({ hash }) => hash));
  const block = await provider.getBlock(sent[0].blockHash);
  assert.deepEqual([block.number, block.baseFeePerGas > 0n], [sent[0].blockNumber, true]);
  for (const tag of ["latest", "safe", "finalized", "pending", "earliest"]) assert.ok(await provider.getBlock(tag), tag);
  assert.equal(await provider.getBlock(2 ** 40), null);
  assert.deepEqual(await provider.getLogs({ fromBlock: 0 }), []);
});

await step("filters", async () => {
  const seen = { blocks: [], pending: [] };
  await provider.on("block", (number) => seen.blocks.push(number));
  await provider.on("pending", (hash) => seen.pending.push(hash));
  await provider.on({ address: to }, () => assert.fail("there are no logs"));
  // the filter is made by the first poll
  await new Promise((resolve) => { setTimeout(resolve, 500); });
  const response = await wallet.sendTransaction({ to, value: 1n });
  const receipt = await response.wait(1, 20000);
  await until(() => seen.pending.includes(response.hash), "the pending filter");
  await until(() => seen.blocks.includes(receipt.blockNumber), "the blocks");
  await provider.removeAllListeners();
});

await step("batch", async () => {
  // asked in one turn, they go in one request
  const [number, balance, block, count, network] = await Promise.all([
    provider.getBlockNumber(), provider.getBalance(to), provider.getBlock("latest"),
    provider.getTransactionCount(wallet), provider.send("net_version", []),
  ]);
  assert.ok(number >= sent.at(-1).blockNumber && balance > 3n * ETHER && block.number >= number - 1 && count >= 5);
  assert.equal(network, "31337");
});

await step("errors", async () => {
  const [next] = await nonces();
  const raw = await wallet.signTransaction({ ...dynamic(next + 9, 5n * GWEI), chainId: 31337n });
  await provider.broadcastTransaction(raw);
  const cases = {
    "nonce too low": dynamic(0, 5n * GWEI),
    "insufficient funds": { ...dynamic(next, 5n * GWEI), value: 10n ** 24n },
    "replacement underpriced": dynamic(next + 9, 5n * GWEI + 1n),
    "intrinsic gas too low": { ...dynamic(next, 5n * GWEI), gasLimit: 20999n },
    "fee cap below base fee": dynamic(next, 1n),
    "gas limit exceeded": { ...dynamic(next, 5n * GWEI), gasLimit: 10n ** 9n },
  };
  const tell = (kind, error) => refused(kind, { name: error.code, text: (error.info?.error ?? error.error).message });
  for (const [kind, fields] of Object.entries(cases)) tell(kind, await failure(() => wallet.sendTransaction(fields)));
  tell("already known", await failure(() => provider.broadcastTransaction(raw)));
  const call = await failure(() => wallet.estimateGas({ to, value: 10n ** 24n }));
  refused("estimate: insufficient funds", { name: call.code, text: (call.info?.error ?? call.error).message });
  const unknown = await failure(() => provider.send("eth_sendUserOperation", []));
  refused("unknown method", { name: unknown.code, text: (unknown.info?.error ?? unknown.error).message });
});

await step("heads, pending, unsubscribe, reconnect", async () => {
  let socket = new WebSocketProvider(ws, undefined, options);
  const seen = { blocks: [], pending: [] };
  await socket.on("block", (number) => seen.blocks.push(number));
  await socket.on("pending", (hash) => seen.pending.push(hash));
  await until(() => socket.getBlockNumber(), "an answer");
  const response = await wallet.connect(socket).sendTransaction({ to, value: 1n });
  const receipt = await response.wait(1, 20000);
  await until(() => seen.pending.includes(response.hash) && seen.blocks.includes(receipt.blockNumber), "both");
  await socket.removeAllListeners();
  const heard = seen.blocks.length;
  await (await wallet.sendTransaction({ to, value: 1n })).wait(1, 20000);
  assert.equal(seen.blocks.length, heard);
  // ethers leaves it to the program to connect again
  const closed = new Promise((resolve) => { socket.websocket.onclose = resolve; });
  await ask("restart");
  await closed;
  await socket.destroy();
  socket = new WebSocketProvider(ws, undefined, options);
  await socket.on("block", (number) => seen.blocks.push(number));
  const again = await wallet.connect(socket).sendTransaction({ to, value: 1n });
  const { blockNumber } = await again.wait(1, 20000);
  await until(() => seen.blocks.includes(blockNumber), "heads after the restart");
  await socket.destroy();
});

provider.destroy();
process.exit(0);
