"""Writes the reference pages that come from code: wire messages, settings and RPC methods."""

from pathlib import Path

from chainp2p.node.document import render_rpc, render_settings

from chainp2p.wire.document import render_messages


def write_all(folder: Path) -> None:
    """Write every generated page into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title, body in (
        ("messages", "Messages of the wire", render_messages()),
        ("settings", "Settings and options", render_settings()),
        ("rpc", "RPC methods", render_rpc()),
    ):
        (folder / f"{name}.rst").write_text(f"{title}\n{'=' * len(title)}\n\n{body}\n", encoding="utf-8")
