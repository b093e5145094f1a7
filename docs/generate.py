"""Writes what comes from code: pages of messages, settings and RPC methods, pictures, the dissector, the dictionary."""

from pathlib import Path

from chainp2p.net.picture import render_life
from chainp2p.node.document import render_rpc, render_settings
from chainp2p.node.metric_help import render_metrics
from chainp2p.wire.dissector import render_dissector
from chainp2p.wire.document import render_messages
from chainp2p.wire.fuzzing import render_dictionary


def write_all(folder: Path) -> None:
    """Write every generated page and file into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, title, body in (
        ("messages", "Messages of the wire", render_messages()),
        ("settings", "Settings and options", render_settings()),
        ("rpc", "RPC methods", render_rpc()),
        ("metrics", "Metrics", render_metrics()),
    ):
        (folder / f"{name}.rst").write_text(f"{title}\n{'=' * len(title)}\n\n{body}\n", encoding="utf-8")
    (folder / "link_life.svg").write_text(render_life(), encoding="utf-8")
    (folder / "chainp2p.lua").write_text(render_dissector(), encoding="utf-8")
    (folder / "chainp2p.dict").write_text(render_dictionary(), encoding="utf-8")
