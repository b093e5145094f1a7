"""Opens many sockets to a port and says nothing: ``python -m tests.integration.idlecrowd PORT COUNT``.

Prints how many it opened, once they are; ends them when its input ends, and prints how many the other side had ended.
"""

import resource
import select
import socket
import sys


def main() -> None:
    port, count = int(sys.argv[1]), int(sys.argv[2])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 64)), hard))
    count = min(count, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 64)
    crowd = []
    for _ in range(count):
        # one address of loopback has 28,000 ports to call from
        crowd.append(socket.create_connection(("127.0.0.1", port), 20.0))
    print(count, flush=True)
    sys.stdin.read()
    poll = select.poll()
    for one in crowd:
        poll.register(one, select.POLLIN)
    print(len(poll.poll(0)), flush=True)


if __name__ == "__main__":
    main()
