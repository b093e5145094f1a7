"""What a loss of power may do to SQLite's files, on a copy: all that was not synced since is lost, torn or rubbish.

With ``synchronous=NORMAL`` the log is synced before pages are copied from it into the database, and the database
before the log begins anew. So of the log whatever is behind the last copied page may be gone, and while pages are being
copied, those pages of the database. Which that is, SQLite notes in the shared memory (sqlite.org/walformat.html).
"""

import shutil
from pathlib import Path
from random import Random
from struct import unpack_from

from attrs import frozen

__all__ = ["Log", "lose_power", "read_log"]

_HEADER, _FRAME = 32, 24
#: Hard disks and SSDs write so many bytes at once or not at all.
_SECTOR = 512
FILES = ("", "-wal", "-shm")


@frozen
class Log:
    """The write-ahead log of a database as its last process left it.

    :param size: bytes of the file.
    :param page: bytes of a page.
    :param synced: bytes of it that had reached the disk for certain, with ``synchronous=NORMAL``.
    :param committed: bytes of it up to the last commit: with ``synchronous=FULL`` those had reached the disk too.
    :param unfinished: frames behind the last commit: of a transaction that was being written.
    :param copying: pages of the database that were being copied there when the process ended.
    """

    size: int
    page: int
    synced: int
    committed: int
    unfinished: int
    copying: tuple[int, ...]


def read_log(database: Path) -> Log:
    """Look at the files of a database that nobody has open."""
    wal, shm = (database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))
    data = wal.read_bytes() if wal.exists() else b""
    index = shm.read_bytes() if shm.exists() else b""
    if len(data) < _HEADER:
        return Log(len(data), 4096, 0, 0, 0, ())
    page = unpack_from(">I", data, 8)[0]
    step = _FRAME + page
    frames = []
    for at in range(_HEADER, len(data) - step + 1, step):
        number, commit = unpack_from(">II", data, at)
        if data[at + 8 : at + 16] != data[16:24]:
            break  # of an earlier round of the log
        frames.append((number, commit))
    last = max((at + 1 for at, (_, commit) in enumerate(frames) if commit), default=0)
    if len(index) < 136 or index[32:40] != data[16:24]:
        # the log was to begin anew: what is in it has been copied and synced, and so has the log before
        return Log(len(data), page, len(data), len(data), len(frames) - last, ())
    copied, attempted = unpack_from("=I", index, 96)[0], unpack_from("=I", index, 128)[0]
    copying = tuple(sorted({number for number, _ in frames[:attempted]})) if attempted > copied else ()
    synced, committed = (_HEADER + count * step for count in (attempted, max(attempted, last)))
    return Log(len(data), page, synced, committed, len(frames) - last, copying)


def lose_power(database: Path, into: Path, chance: Random, full: bool = False) -> str:
    """Copy a database as a loss of power may have left it; answers what was done.

    :param full: it is written with ``synchronous=FULL``.
    """
    log = read_log(database)
    for suffix in FILES:
        source = database.with_name(database.name + suffix)
        if source.exists():
            shutil.copyfile(source, into / source.name)
    copy = into / database.name
    wal, shm = (copy.with_name(copy.name + suffix) for suffix in ("-wal", "-shm"))
    done = []
    kept = log.committed if full else log.synced
    if log.size > kept:
        at = chance.randint(kept, log.size)
        kind = chance.choice(("cut", "zeroed", "rubbish", "sectors"))
        _spoil(wal, kind, at, log.size, chance)
        done.append(f"log {kind}")
    if log.copying:
        with copy.open("r+b") as file:
            for number in chance.sample(log.copying, chance.randint(1, len(log.copying))):
                torn = chance.randrange(0, log.page, _SECTOR)
                file.seek((number - 1) * log.page + torn)
                file.write(chance.randbytes(log.page - torn))
        done.append("pages torn")
    # what is in shared memory never reaches the disk for certain
    if shm.exists():
        if chance.random() < 0.7:
            shm.unlink()
        else:
            shm.write_bytes(bytes(shm.stat().st_size))
        done.append("shm gone")
    return ", ".join(done) or "nothing to lose"


def _spoil(wal: Path, kind: str, at: int, size: int, chance: Random) -> None:
    with wal.open("r+b") as file:
        if kind == "cut":
            file.truncate(at)
            return
        file.seek(at)
        if kind == "zeroed":
            file.write(bytes(size - at))
        elif kind == "rubbish":
            file.write(chance.randbytes(size - at))
        else:
            # sectors reach the disk in any order: some of the tail are there, others never came
            for start in range(at // _SECTOR * _SECTOR + _SECTOR, size, _SECTOR):
                if chance.random() < 0.3:
                    file.seek(start)
                    file.write(bytes(min(_SECTOR, size - start)))
