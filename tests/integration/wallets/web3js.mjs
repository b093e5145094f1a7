// web3.js 4 as a wallet uses it.
import assert from "node:assert/strict";
import { Wallet } from "ethers";
import { Web3, WebSocketProvider } from "web3";
import { ETHER, GWEI, ask, failure, key, refused, rpc, step, until, ws } from "./journey.mjs";

const web3 = new Web3(rpc);
const { eth } = web3;
Object.assign(eth, { transactionPollingInterval: 100, transactionReceiptPollingInterval: 100, transactionPollingTimeout: 20000 });
const { address } = eth.accounts.wallet.add(key)[0];
const to = "0x00000000000000000000000000000000000000b2";
const sent = [];
const nonces = () => Promise.all([eth.getTransactionCount(address), eth.getTransactionCount(address, "pending")]);
const dynamic = (nonce, price) => ({
  from: address, to, value: 1n, nonce, gas: 21000n, type: 2n, maxFeePerGas: price, maxPriorityFeePerGas: price,
});
/** Sends without waiting for the receipt. */
const hand = (transaction) => new Promise((resolve, reject) => {
  eth.sendTransaction(transaction).on("transactionHash", resolve).on("error", reject).catch(() => {});
});
const receiptOf = (hash) => until(() => eth.getTransactionReceipt(hash).catch(() => null), `the receipt of ${hash}`);

await step("connect", async () => {
  assert.equal(await eth.getChainId(), 31337n);
  assert.equal(await eth.net.getId(), 31337n);
  assert.equal(await eth.net.isListening(), true);
  assert.equal(await eth.getBalance(address), 10000n * ETHER);
  assert.equal(await eth.getCode(to), "0x");
  assert.equal(await eth.getStorageAt(to, 0), `0x${"00".repeat(32)}`);
  assert.equal(await eth.call({ to, data: "0x01" }), "0x");
  assert.match(await eth.getNodeInfo(), /^chainp2p/);
  assert.equal(await eth.isSyncing(), false);
  assert.equal((await eth.getProof(address, [])).balance, 10000n * ETHER);
});

await step("fees", async () => {
  const fees = await eth.calculateFeeData();
  assert.ok(fees.gasPrice > 0n && fees.maxFeePerGas > fees.maxPriorityFeePerGas && fees.baseFeePerGas > 0n);
  assert.equal(await eth.estimateGas({ from: address, to, value: 1n, data: "0x00ff" }), 21020n);
  const history = await eth.getFeeHistory(4, "latest", [10, 90]);
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
});

await step("types", async () => {
  const gasPrice = await eth.getGasPrice();
  for (const [type, fields] of [
    [0n, { gasPrice }],
    [1n, { gasPrice, accessList: [{ address: to, storageKeys: [`0x${"01".repeat(32)}`] }] }],
    [2n, {}],
  ]) {
    const receipt = await eth.sendTransaction({ from: address, to, value: ETHER, type, gas: 30000n, ...fields });
    const found = await eth.getTransaction(receipt.transactionHash);
    assert.deepEqual([receipt.status, receipt.type, receipt.from, receipt.to, receipt.logs],
      [1n, type, address.toLowerCase(), to, []]);
    assert.deepEqual([found.type, found.blockHash, found.value], [type, receipt.blockHash, ETHER]);
    sent.push(receipt);
  }
  assert.equal(await eth.getBalance(to), 3n * ETHER);
});

await step("gap, replacement, wait", async () => {
  const [next] = await nonces();
  const waiting = await hand(dynamic(next + 1n, 5n * GWEI));
  assert.equal((await eth.getTransaction(waiting)).blockNumber, undefined);
  assert.equal((await failure(() => eth.getTransactionReceipt(waiting))).name, "TransactionNotFound");
  assert.deepEqual(await nonces(), [next, next]);
  const better = await hand({ ...dynamic(next + 1n, 6n * GWEI), value: 2n });
  assert.equal((await failure(() => eth.getTransaction(waiting))).name, "TransactionNotFound");
  const first = await eth.sendTransaction(dynamic(next, 5n * GWEI));
  sent.push(first, await receiptOf(better));
  assert.equal((await failure(() => eth.getTransactionReceipt(waiting))).name, "TransactionNotFound");
  assert.deepEqual(await nonces(), [next + 2n, next + 2n]);
});

await step("history", async () => {
  const found = [];
  const last = await eth.getBlockNumber();
  for (let number = 0n; number <= last; number += 1n) {
    const block = await eth.getBlock(number, true);
    const ours = (block.transactions ?? []).filter(({ from }) => from === address.toLowerCase());
    found.push(...ours.map(({ hash }) => hash));
  }
  assert.deepEqual(found, sent.map(({ transactionHash }) => transactionHash));
  const { blockHash, blockNumber, transactionIndex } = sent[0];
  const block = await eth.getBlock(blockHash);
  assert.deepEqual([block.number, block.baseFeePerGas > 0n], [blockNumber, true]);
  assert.equal((await eth.getTransactionFromBlock(blockHash, transactionIndex)).hash, found[0]);
  assert.equal(await eth.getBlockTransactionCount(blockHash), BigInt(block.transactions.length));
  assert.equal(await eth.getBlockUncleCount(blockHash), 0n);
  for (const tag of ["latest", "safe", "finalized", "pending", "earliest"]) {
    assert.ok((await eth.getBlock(tag)).gasLimit > 0n, tag);
  }
  assert.deepEqual(await eth.getPastLogs({ fromBlock: 0n }), []);
});

await step("filters", async () => {
  const [blocks, pending, logs] = [
    await eth.createNewBlockFilter(), await eth.createNewPendingTransactionFilter(), await eth.createNewFilter({}),
  ];
  const { transactionHash, blockHash } = await eth.sendTransaction({ from: address, to, value: 1n });
  assert.ok((await eth.getFilterChanges(blocks)).includes(blockHash));
  assert.ok((await eth.getFilterChanges(pending)).includes(transactionHash));
  assert.deepEqual(await eth.getFilterChanges(logs), []);
  assert.deepEqual(await eth.getFilterLogs(logs), []);
  assert.equal(await eth.uninstallFilter(blocks), true);
  assert.equal(await eth.uninstallFilter(blocks), false);
  assert.match((await failure(() => eth.getFilterChanges(blocks))).message, /filter not found/);
});

await step("batch", async () => {
  const batch = new web3.BatchRequest();
  const asked = ["eth_blockNumber", "eth_chainId", "net_version"].map((method) => batch.add({ method, params: [] }));
  const bad = batch.add({ method: "eth_getBalance", params: ["0x00"] });
  const told = failure(() => bad);
  await batch.execute();
  const [number, chain, network] = await Promise.all(asked);
  assert.ok(BigInt(number) >= sent.at(-1).blockNumber);
  assert.deepEqual([chain, network], ["0x7a69", "31337"]);
  assert.match((await told).message, /invalid argument 0/);
});

await step("errors", async () => {
  const next = Number((await nonces())[0]);
  // web3.js itself signs no transaction without gas enough
  const signer = new Wallet(key);
  const raw = (nonce, price, fields) => signer.signTransaction({
    chainId: 31337n, to, value: 1n, nonce, gasLimit: 21000n, type: 2, maxFeePerGas: price, maxPriorityFeePerGas: price,
    ...fields,
  });
  const again = await raw(next + 9, 5n * GWEI);
  await new Promise((resolve) => {
    const waiting = eth.sendSignedTransaction(again);
    waiting.on("transactionHash", resolve).catch(() => {});
  });
  const cases = {
    "nonce too low": await raw(0, 5n * GWEI),
    "insufficient funds": await raw(next, 5n * GWEI, { value: 10n ** 24n }),
    "already known": again,
    "replacement underpriced": await raw(next + 9, 5n * GWEI + 1n),
    "intrinsic gas too low": await raw(next, 5n * GWEI, { gasLimit: 20999n }),
    "fee cap below base fee": await raw(next, 1n),
    "gas limit exceeded": await raw(next, 5n * GWEI, { gasLimit: 10n ** 9n }),
  };
  const send = (data, checked) => eth.sendSignedTransaction(data, undefined, { checkRevertBeforeSending: checked });
  for (const [kind, data] of Object.entries(cases)) {
    const error = await failure(() => send(data, false));
    refused(kind, { name: error.name, text: error.innerError.message });
  }
  // it looks by eth_call first unless told not to
  const poor = await failure(() => send(cases["insufficient funds"], true));
  refused("call: insufficient funds", { name: poor.name, text: poor.reason });
  const cheap = await failure(() => send(cases["fee cap below base fee"], true));
  refused("call: fee cap below base fee", { name: cheap.name, text: cheap.reason });
  const unknown = await failure(() => web3.provider.request({ jsonrpc: "2.0", id: 1, method: "eth_sendUserOperation" })
    .then(({ error }) => { throw error; }));
  refused("unknown method", { name: String(unknown.code), text: unknown.message });
});

await step("heads, pending, unsubscribe, reconnect", async () => {
  const provider = new WebSocketProvider(ws, {}, { autoReconnect: true, delay: 100, maxAttempts: 200 });
  const socket = new Web3(provider);
  const seen = { blocks: [], pending: [] };
  const heads = await socket.eth.subscribe("newBlockHeaders");
  heads.on("data", ({ number }) => seen.blocks.push(number));
  const pending = await socket.eth.subscribe("pendingTransactions");
  pending.on("data", (hash) => seen.pending.push(hash));
  const pay = () => eth.sendTransaction({ from: address, to, value: 1n });
  const { transactionHash, blockNumber } = await pay();
  await until(() => seen.pending.includes(transactionHash) && seen.blocks.includes(blockNumber), "both");
  await pending.unsubscribe();
  const heard = seen.pending.length;
  await pay();
  assert.equal(seen.pending.length, heard);
  const back = new Promise((resolve) => { provider.on("connect", resolve); });
  await ask("restart");
  await back;
  // web3.js connects again by itself and leaves it to the program to subscribe again
  const again = await socket.eth.subscribe("newHeads");
  again.on("data", ({ number }) => seen.blocks.push(number));
  const after = await pay();
  await until(() => seen.blocks.includes(after.blockNumber), "heads after the restart");
  provider.disconnect();
});

process.exit(0);
