// viem 2 as a wallet uses it.
import assert from "node:assert/strict";
import {
  createPublicClient, createWalletClient, defineChain, http, keccak256, parseEther, webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { ETHER, GWEI, ask, failure, key, refused, rpc, step, until, ws } from "./journey.mjs";

const chain = defineChain({
  id: 31337, name: "chainp2p", nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [rpc], webSocket: [ws] } },
});
// hashes of the objects that it was answered
const answered = new Set();
const onFetchResponse = async (response) => {
  const text = await response.clone().text();
  for (const [, hash] of text.matchAll(/"hash":"(0x\w{64})"/g)) answered.add(hash);
};
const transport = http(rpc, { batch: true, retryCount: 0, onFetchResponse });
// blocks come sooner here than its cache of polls forgets
const reader = createPublicClient({ chain, transport, pollingInterval: 100, cacheTime: 0 });
const account = privateKeyToAccount(key);
const wallet = createWalletClient({ chain, transport, account });
const to = "0x00000000000000000000000000000000000000a1";
const sent = [];
const nonces = () => Promise.all(["latest", "pending"].map((blockTag) =>
  reader.getTransactionCount({ address: account.address, blockTag })));
const dynamic = (nonce, price) =>
  ({ to, value: 1n, nonce, gas: 21000n, maxFeePerGas: price, maxPriorityFeePerGas: price });
const wait = (hash, onReplaced) => reader.waitForTransactionReceipt({ hash, onReplaced, timeout: 20000 });

await step("connect", async () => {
  assert.equal(await reader.getChainId(), 31337);
  assert.equal(await reader.getBalance(account), 10000n * ETHER);
  assert.equal(await reader.getCode({ address: to }), undefined);
  assert.equal(await reader.getStorageAt({ address: to, slot: "0x0" }), `0x${"00".repeat(32)}`);
  assert.deepEqual(await reader.call({ to, data: "0x01" }), { data: undefined });
  const proof = await reader.getProof({ address: account.address, storageKeys: [] });
  assert.deepEqual([proof.balance, keccak256(proof.accountProof[0]).length], [10000n * ETHER, 66]);
});

await step("fees", async () => {
  const { maxFeePerGas, maxPriorityFeePerGas } = await reader.estimateFeesPerGas();
  assert.ok(maxFeePerGas > maxPriorityFeePerGas && maxPriorityFeePerGas > 0n);
  assert.ok((await reader.getGasPrice()) > 0n);
  assert.equal(await reader.estimateGas({ account, to, value: 1n, data: "0x00ff" }), 21020n);
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 90] });
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
});

await step("types", async () => {
  const gasPrice = await reader.getGasPrice();
  const before = await reader.getBalance({ address: to });
  for (const [type, fields] of [
    ["legacy", { gasPrice }],
    ["eip2930", { gasPrice, accessList: [{ address: to, storageKeys: [`0x${"01".repeat(32)}`] }] }],
    ["eip1559", {}],
  ]) {
    const hash = await wallet.sendTransaction({ to, value: parseEther("1"), type, ...fields });
    const receipt = await wait(hash);
    const found = await reader.getTransaction({ hash });
    assert.deepEqual([receipt.status, receipt.type, receipt.from, receipt.to, receipt.contractAddress],
      ["success", type, account.address.toLowerCase(), to, null]);
    assert.deepEqual([found.type, found.blockHash, found.value, found.chainId], [type, receipt.blockHash, ETHER, 31337]);
    assert.equal(await reader.getTransactionConfirmations({ hash }) >= 1n, true);
    sent.push(receipt);
  }
  assert.equal(await reader.getBalance({ address: to }), before + 3n * ETHER);
});

await step("gap, replacement, wait", async () => {
  const [next] = await nonces();
  const waiting = await wallet.sendTransaction(dynamic(next + 1, 5n * GWEI));
  assert.equal((await reader.getTransaction({ hash: waiting })).blockNumber, null);
  assert.equal((await failure(() => reader.getTransactionReceipt({ hash: waiting }))).name,
    "TransactionReceiptNotFoundError");
  assert.deepEqual(await nonces(), [next, next]);
  let replaced;
  answered.delete(waiting);
  const told = wait(waiting, (replacement) => { replaced = replacement; });
  // it knows what was replaced only if it has looked at it before
  await until(() => answered.has(waiting), "its own look");
  const better = await wallet.sendTransaction(dynamic(next + 1, 6n * GWEI));
  assert.equal((await failure(() => reader.getTransaction({ hash: waiting }))).name, "TransactionNotFoundError");
  const first = await wallet.sendTransaction(dynamic(next, 5n * GWEI));
  sent.push(await wait(first));
  const receipt = await told;
  sent.push(receipt);
  assert.deepEqual([receipt.transactionHash, replaced.reason, replaced.transaction.hash], [better, "repriced", better]);
  assert.deepEqual(await nonces(), [next + 2, next + 2]);
});

await step("history", async () => {
  const found = [];
  const last = await reader.getBlockNumber();
  for (let blockNumber = 0n; blockNumber <= last; blockNumber += 1n) {
    const block = await reader.getBlock({ blockNumber, includeTransactions: true });
    found.push(...block.transactions.filter(({ from }) => from === account.address.toLowerCase()).map(({ hash }) => hash));
  }
  assert.deepEqual(found, sent.map(({ transactionHash }) => transactionHash));
  const { blockHash, blockNumber, transactionIndex } = sent[0];
  const block = await reader.getBlock({ blockHash });
  assert.deepEqual([block.number, block.baseFeePerGas > 0n], [blockNumber, true]);
  assert.equal((await reader.getTransaction({ blockHash, index: transactionIndex })).hash, found[0]);
  assert.equal(await reader.getBlockTransactionCount({ blockHash }), block.transactions.length);
  for (const blockTag of ["latest", "safe", "finalized", "pending", "earliest"]) {
    assert.ok((await reader.getBlock({ blockTag })).gasLimit > 0n, blockTag);
  }
  assert.equal((await failure(() => reader.getBlock({ blockNumber: 2n ** 40n }))).name, "BlockNotFoundError");
  assert.deepEqual(await reader.getLogs({ fromBlock: 0n }), []);
});

await step("filters", async () => {
  const blocks = await reader.createBlockFilter();
  const pending = await reader.createPendingTransactionFilter();
  const logs = await reader.createEventFilter();
  const hash = await wallet.sendTransaction({ to, value: 1n });
  const { blockHash } = await wait(hash);
  assert.ok((await reader.getFilterChanges({ filter: blocks })).includes(blockHash));
  assert.ok((await reader.getFilterChanges({ filter: pending })).includes(hash));
  assert.deepEqual(await reader.getFilterChanges({ filter: logs }), []);
  assert.deepEqual(await reader.getFilterLogs({ filter: logs }), []);
  for (const filter of [blocks, pending, logs]) assert.equal(await reader.uninstallFilter({ filter }), true);
  assert.equal(await reader.uninstallFilter({ filter: blocks }), false);
  const gone = await failure(() => reader.getFilterChanges({ filter: blocks }));
  assert.match(gone.details, /filter not found/);
});

await step("batch", async () => {
  // asked in one turn, they go in one request
  const [number, balance, block, count, price] = await Promise.all([
    reader.getBlockNumber(), reader.getBalance({ address: to }), reader.getBlock(), nonces(), reader.getGasPrice(),
  ]);
  assert.ok(number >= sent.at(-1).blockNumber && balance > 0n && block.number >= number - 1n && price > 0n);
  assert.deepEqual(count, [6, 6]);
});

await step("errors", async () => {
  const [next] = await nonces();
  const serialized = await account.signTransaction({ ...dynamic(next + 9, 5n * GWEI), chainId: 31337, type: "eip1559" });
  await wallet.sendRawTransaction({ serializedTransaction: serialized });
  const cases = {
    "nonce too low": dynamic(0, 5n * GWEI),
    "insufficient funds": { ...dynamic(next, 5n * GWEI), value: 10n ** 24n },
    "already known": dynamic(next + 9, 5n * GWEI),
    "replacement underpriced": dynamic(next + 9, 5n * GWEI + 1n),
    "intrinsic gas too low": { ...dynamic(next, 5n * GWEI), gas: 20999n },
    "fee cap below base fee": dynamic(next, 1n),
    "gas limit exceeded": { ...dynamic(next, 5n * GWEI), gas: 10n ** 9n },
  };
  const tell = (kind, error) => refused(kind, { name: error.cause.name, text: error.cause.details });
  for (const [kind, fields] of Object.entries(cases)) tell(kind, await failure(() => wallet.sendTransaction(fields)));
  const rich = { account, to, value: 10n ** 24n };
  tell("estimate: insufficient funds", await failure(() => reader.estimateGas(rich)));
  const cheap = { account, to, value: 1n, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n };
  tell("estimate: fee cap below base fee", await failure(() => reader.estimateGas(cheap)));
  tell("call: gas", await failure(() => reader.call({ account, to, gas: 20999n })));
  tell("call: insufficient funds", await failure(() => reader.call(rich)));
  const unknown = await failure(() => reader.request({ method: "eth_sendUserOperation", params: [] }));
  refused("unknown method", { name: unknown.name, text: unknown.details });
});

await step("heads, pending, unsubscribe, reconnect", async () => {
  const open = () => createPublicClient({
    chain, transport: webSocket(ws, { retryCount: 0, reconnect: { attempts: 5, delay: 100 } }),
  });
  const onError = () => {};
  const seen = { blocks: [], pending: [] };
  const heads = (socket) => [
    // a block that it could not fetch, because the connection was lost, it calls undefined
    socket.watchBlocks({ onBlock: (block) => seen.blocks.push(block?.number), onError }),
    socket.watchBlockNumber({ onBlockNumber: (number) => seen.blocks.push(number), onError }),
  ];
  const socket = open();
  const watches = heads(socket);
  const unwatch = socket.watchPendingTransactions({ onTransactions: (hashes) => seen.pending.push(...hashes), onError });
  await socket.getBlockNumber();
  const pay = async () => wait(await wallet.sendTransaction({ to, value: 1n }));
  const twice = ({ blockNumber }) => seen.blocks.filter((number) => number === blockNumber).length === 2;
  const { transactionHash, blockNumber } = await pay();
  await until(() => seen.pending.includes(transactionHash) && twice({ blockNumber }), "heads twice and the transaction");
  unwatch();
  await socket.getBlockNumber();
  const heard = seen.pending.length;
  await pay();
  assert.equal(seen.pending.length, heard);
  // a lost connection: viem connects again and subscribes again
  const { socket: lost } = await socket.transport.getRpcClient();
  lost.terminate();
  await until(async () => (await socket.transport.getRpcClient()).socket !== lost, "the next connection");
  await socket.getBlockNumber();
  const after = await pay();
  await until(() => twice(after), "heads on the next connection");
  assert.equal(seen.pending.length, heard);
  watches.forEach((end) => end());
  // a node that is away for longer: viem tries once, the rest is left to the program
  await ask("restart");
  const next = createPublicClient({ chain, transport: webSocket(`${ws}/ws`) });
  heads(next);
  await next.getBlockNumber();
  const last = await pay();
  await until(() => twice(last), "heads after the restart");
});

process.exit(0);
