"""Makes a chain of transfers and writes it to a file for ``chainp2p chain import``, with its genesis file beside it.

Four signers take slots in turn, so that headers finalize blocks a few blocks later, as in a network; senders and
receivers are spread over the accounts. The blocks are sealed without a database, by the ledger's own rules.

    python benchmarks/make_chain.py OUT --blocks 20000 --transfers 100
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from chainp2p.chain.archive import ArchiveWriter
from chainp2p.ledger.consensus.poa import Slots, seal_header
from chainp2p.ledger.execution import BlockContext, ValueTransfers, run_block
from chainp2p.ledger.formats.addresses import address_of
from chainp2p.ledger.formats.block import assemble, transactions_root
from chainp2p.ledger.formats.genesis import DEV_ADDRESSES, DEV_KEYS, Genesis, genesis_json
from chainp2p.ledger.formats.header import make_header
from chainp2p.ledger.formats.transaction import Transaction, sign_transaction
from chainp2p.primitives.keccak import keccak256
from chainp2p.primitives.secp256k1 import public_key

CHAIN_ID = 7
SIGNERS = 4
#: Period of slots in milliseconds, and when they began: long enough ago for ten million blocks.
PERIOD_MS, BEGUN = 1000, 1_600_000_000
GWEI, ETHER = 10**9, 10**18
#: Blocks of a record, and bytes: as an export writes them.
RECORD_BLOCKS, RECORD_BYTES = 512, 512 * 1024


def accounts(count: int) -> list[tuple[bytes, bytes]]:
    """(private key, address) of so many accounts."""
    keys = [keccak256(b"benchmark %d" % index) for index in range(count)]
    return [(key, address_of(public_key(key))) for key in keys]


def genesis_text(people: list[tuple[bytes, bytes]]) -> str:
    """The genesis file of the network in which they all have money."""
    alloc = dict.fromkeys((address for _, address in people), 10**6 * ETHER)
    return json.dumps(
        genesis_json(
            chain_id=CHAIN_ID, signers=DEV_ADDRESSES[:SIGNERS], period_ms=PERIOD_MS, alloc=alloc, timestamp=BEGUN
        )
    )


def make_blocks(genesis: Genesis, people: list[tuple[bytes, bytes]], blocks: int, transfers: int) -> Iterator[bytes]:
    """Yield so many raw blocks with so many transfers each."""
    slots, execution, state = Slots(genesis), ValueTransfers(), genesis.state
    parent, entry, sent = genesis.hash, slots.first(), 0
    for height in range(1, blocks + 1):
        transactions, senders = [], []
        for _ in range(transfers):
            nonce, index = divmod(sent, len(people))
            key, address = people[index]
            raw = sign_transaction(
                key,
                chain_id=CHAIN_ID,
                nonce=nonce,
                to=people[(index * 7 + nonce + 1) % len(people)][1],
                value=1,
                max_fee=2 * GWEI,
                max_priority_fee=GWEI,
            )
            transactions.append(Transaction.decode(raw))
            senders.append(address)
            sent += 1
        signer, fee = height % SIGNERS, slots.base_fee_after(entry)
        miner, timestamp = DEV_ADDRESSES[signer], slots.timestamp(height)
        context = BlockContext(CHAIN_ID, height, timestamp, miner, fee, entry.gas_limit)
        result = run_block(execution, transactions, senders, state, context)
        state = state.updated(result.changes)
        raws = [transaction.raw for transaction in transactions]
        header = seal_header(
            make_header(
                parent=parent,
                miner=miner,
                state_root=state.root,
                transactions_root=transactions_root(raws),
                receipts_root=result.receipts_root,
                number=height,
                gas_limit=entry.gas_limit,
                gas_used=result.gas_used,
                timestamp=timestamp,
                nonce=height,
                base_fee=fee,
            ),
            DEV_KEYS[signer],
        )
        parent, entry = header.hash, slots.entry(header, entry, height, miner)
        yield assemble(header.raw, raws)


def write_chain(folder: Path, blocks: int, transfers: int, people: int) -> tuple[Path, Path]:
    """Write ``genesis.json`` and ``chain.blocks``; answers their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    everybody = accounts(people)
    text = genesis_text(everybody)
    genesis_file, chain_file = folder / "genesis.json", folder / "chain.blocks"
    genesis_file.write_text(text)
    genesis = Genesis.parse(text)
    record: list[bytes] = []
    size = 0
    with chain_file.open("w+b") as file:
        writer = ArchiveWriter(file, genesis.hash, 1)
        for raw in make_blocks(genesis, everybody, blocks, transfers):
            if record and (len(record) == RECORD_BLOCKS or size + len(raw) > RECORD_BYTES):
                writer.add(record)
                record, size = [], 0
            record.append(raw)
            size += len(raw)
        if record:
            writer.add(record)
        writer.finish()
    return genesis_file, chain_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where genesis.json and chain.blocks go")
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--transfers", type=int, default=100, help="a block")
    parser.add_argument("--accounts", type=int, default=10_000)
    options = parser.parse_args()
    begun = time.perf_counter()
    files = write_chain(options.folder, options.blocks, options.transfers, options.accounts)
    print(*files, f"{time.perf_counter() - begun:.1f} s")


if __name__ == "__main__":
    main()
