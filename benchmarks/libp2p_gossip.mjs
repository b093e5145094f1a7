// The yardstick of bench_gossip.py that Node.js runs: js-libp2p's gossipsub among hosts of one process, over noise and
// yamux. Prints a line of JSON with the figures; the plan, its only argument, is that of bench_gossip.py.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

// libp2p needs it, and Node.js 20 does not have it.
Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

const TOPIC = 'items'
// Milliseconds in which the mesh is made, and after which an item that is not everywhere is lost.
const MEETING = 4000
const LOST = 20000

const plan = JSON.parse(process.argv[2])
const hosts = []
for (let n = 0; n < plan.nodes; n++) {
  hosts.push(await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 1000 },
    services: { identify: identify(), pubsub: gossipsub({ D: 8, Dlo: 6, Dhi: 12, heartbeatInterval: 1000 }) }
  }))
}
for (const [n, host] of hosts.entries()) {
  for (const other of hosts.slice(0, n)) await host.dial(other.getMultiaddrs())
}

let began, missing, delays, clocks, changed = () => {}
const begin = () => {
  began = new Map()
  missing = new Map()
  delays = []
  clocks = [performance.now(), process.cpuUsage()]
}
begin()
for (const [n, host] of hosts.entries()) {
  host.services.pubsub.addEventListener('message', ({ detail }) => {
    const key = Buffer.from(detail.data.subarray(0, 8)).toString('hex')
    const item = began.get(key)
    if (!missing.has(key) || item.publisher === n) return
    delays.push((performance.now() - item.time) / 1e3)
    const left = missing.get(key) - 1
    missing.set(key, left)
    if (left === 0) {
      missing.delete(key)
      changed()
    }
  })
  host.services.pubsub.subscribe(TOPIC)
}
for (const host of hosts) {
  while (host.services.pubsub.getSubscribers(TOPIC).length < plan.nodes - 1) await sleep(50)
}
await sleep(MEETING)

const publish = async (number) => {
  const data = randomBytes(plan.size)
  const key = data.subarray(0, 8).toString('hex')
  began.set(key, { time: performance.now(), publisher: number % plan.nodes })
  missing.set(key, plan.nodes - 1)
  await hosts[number % plan.nodes].services.pubsub.publish(TOPIC, data)
}
const until = async (most) => {
  const end = performance.now() + LOST
  while (missing.size > most) {
    const left = end - performance.now()
    if (left <= 0) {
      missing.clear()
      return
    }
    await Promise.race([new Promise((resolve) => { changed = resolve }), sleep(Math.min(left, 250))])
  }
}
const figures = (items) => {
  const { user, system } = process.cpuUsage(clocks[1])
  return { items, delays, wall: (performance.now() - clocks[0]) / 1e3, cpu: (user + system) / 1e6 }
}

begin()
for (let number = 0; number < plan.paced; number++) {
  await publish(number)
  await sleep(Math.max(0, clocks[0] + (number + 1) * 1e3 / plan.rate - performance.now()))
}
await until(0)
const paced = figures(plan.paced)
begin()
for (let number = 0; number < plan.flat; number++) {
  await until(plan.window - 1)
  await publish(number)
}
await until(0)
console.log(JSON.stringify({ paced, flat: figures(plan.flat) }))
process.exit(0)
