// Send one ether with ethers.js 6 and wait for the receipt: node transfer.mjs RPC_URL PRIVATE_KEY [WS_URL]
// With a WebSocket URL it also prints the next head as it arrives.
import { JsonRpcProvider, Wallet, WebSocketProvider, parseEther } from "ethers";

const [url, key, socketUrl] = process.argv.slice(2);
const provider = new JsonRpcProvider(url, undefined, { staticNetwork: false, pollingInterval: 200 });
const wallet = new Wallet(key, provider);
const recipient = Wallet.createRandom().address;

let head = Promise.resolve(null);
let socket = null;
if (socketUrl) {
  socket = new WebSocketProvider(socketUrl);
  head = new Promise((resolve) => socket.once("block", resolve));
}

const sent = await wallet.sendTransaction({ to: recipient, value: parseEther("1") });
const receipt = await sent.wait(1, 30000);
console.log(JSON.stringify({
  hash: sent.hash,
  block: receipt.blockNumber,
  status: receipt.status,
  balance: (await provider.getBalance(recipient)).toString(),
  head: await head,
}));
provider.destroy();
if (socket) await socket.destroy();
