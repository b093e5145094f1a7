"""The allow-list of a consortium: the only keys that may connect, with what each of them is."""

from pathlib import Path

from chainp2p.errors import SettingsError

__all__ = ["read_allow_list"]


def read_allow_list(path: Path) -> dict[bytes, str]:
    """Return peer id -> role label of a file with one ``PEERID [label]`` a line; ``#`` begins a comment.

    :raise SettingsError: it cannot be read, has a line of another form, or names nobody.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    allowed: dict[bytes, str] = {}
    for number, line in enumerate(lines, 1):
        text, _, label = line.partition("#")[0].strip().partition(" ")
        if not text:
            continue
        try:
            peer_id = bytes.fromhex(text)
        except ValueError:
            peer_id = b""
        if len(peer_id) != 32:
            raise SettingsError(f"{path}: line {number}: a peer id of 64 hex digits is expected, not {text!r}")
        allowed[peer_id] = label.strip()
    if not allowed:
        raise SettingsError(f"{path}: it names no key, which would keep everybody away")
    return allowed
