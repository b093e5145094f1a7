"""What each metric of ``/metrics`` means: the reference page is made of it, and a test compares it with a node's."""

from collections.abc import Mapping

__all__ = ["HELP", "render_metrics"]

#: Name of the family (of a counter without its ``_total``) -> its meaning and, in brackets, its labels.
HELP: Mapping[str, str] = {
    # the node
    "chainp2p_info": "always 1 (version, peer_id)",
    "chainp2p_ready": "1 if /readyz answers 200",
    "chainp2p_live": "1 if /livez answers 200",
    "chainp2p_reactor_lateness_seconds": "how late the reactor called what it was to call, at the last look",
    "chainp2p_disk_free_bytes": "free where the data directory is, at the last look",
    # the chain
    "chainp2p_chain_height": "heights (of: head, best_header, finalized, and safe where the chain has it)",
    "chainp2p_chain_blocks_connected": "blocks that joined the best chain",
    "chainp2p_chain_blocks_left": "blocks that left the best chain",
    "chainp2p_chain_reorgs": "moves of the head by which blocks left the best chain",
    "chainp2p_chain_blocks_produced": "blocks that this node sealed or mined",
    "chainp2p_chain_blocks_failed": "blocks that broke the rules",
    "chainp2p_chain_transactions_added": "transactions that the pool took",
    "chainp2p_chain_transactions_dropped": "transactions that left the pool in another way than by a block",
    "chainp2p_chain_finality_conflict": "1 while finalized blocks contradict each other and an operator must choose",
    "chainp2p_chain_storage_waits": "1 while the chain cannot be stored and waits",
    "chainp2p_pool_transactions": "transactions that wait for a block (state: pending, queued)",
    "chainp2p_pool_bytes": "bytes of the transactions in the pool",
    # sync
    "chainp2p_sync_phase": "1 for what sync does now (phase)",
    "chainp2p_sync_height": "heights (of: current, highest that anybody claims)",
    "chainp2p_sync_blocks_per_second": "blocks connected per second of late",
    "chainp2p_sync_waits": "answers that sync waits for",
    # peers
    "chainp2p_links": "links to peers (direction)",
    "chainp2p_queue_bytes": "bytes in the queues of all links (queue)",
    "chainp2p_queue_highest_bytes": "bytes in the fullest queue of one link (queue)",
    "chainp2p_queue_limit_bytes": "bytes that one link's queue may hold (queue)",
    "chainp2p_held_bytes": "bytes of messages of peers in memory",
    "chainp2p_held_limit_bytes": "bytes of messages of peers that may be in memory",
    "chainp2p_over_quota": "messages of peers above their quota",
    "chainp2p_send_dropped": "announcements that found a link's queue full",
    "chainp2p_callers": "links that peers elsewhere opened",
    "chainp2p_useless_faults": "links ended because the peer was of no use",
    "chainp2p_unknown_tags": "messages of kinds that this version does not know",
    "chainp2p_refused_connections": "connections closed before their first byte was read",
    "chainp2p_handshakes_in_flight": "callers that have not yet proved who they are",
    "chainp2p_handshakes_in_flight_limit": "the most of them",
    "chainp2p_inbound_slots_taken": "slots that callers have",
    "chainp2p_turned_away": "callers that were turned away (rule)",
    "chainp2p_book": "addresses known (part: new, tried, held, claims)",
    "chainp2p_records": "records that peers told, by what became of them (result)",
    "chainp2p_dns_names": "names of lists in DNS, by what became of them (result)",
    "chainp2p_discovery_packets": "packets of discovery (direction)",
    "chainp2p_discovery_dropped": "packets of discovery that came to nothing (cause)",
    "chainp2p_discovery_nodes": "entries of the table of discovery (state)",
    "chainp2p_discovery_sessions": "sessions of discovery",
    "chainp2p_discovery_lookups": "lookups under way",
    "chainp2p_discovery_seeking": "lookups for lack of peers to dial",
    # gossip
    "chainp2p_gossip_first": "blocks and transactions that are here, by the way of the copy that was taken (kind, way)",
    "chainp2p_gossip_from_dialled": "those of them that came from peers that this node dialled (kind)",
    "chainp2p_gossip_copies": "whole ones that peers sent, needed or not; compact forms count (kind, way)",
    "chainp2p_gossip_sent": "whole ones sent to peers (kind, way)",
    "chainp2p_gossip_refused": "whole ones that were not taken (kind)",
    "chainp2p_gossip_announcements_heard": "announcements that peers sent (kind)",
    "chainp2p_gossip_announcements_repeated": "those of them of what was here already (kind)",
    "chainp2p_gossip_announcements_told": "announcements sent to peers (kind)",
    "chainp2p_gossip_announcement_messages": "messages that these went in (kind)",
    "chainp2p_gossip_delay_seconds": "from the first word of it until it was here (kind)",
    "chainp2p_compact_blocks": "blocks in compact form, by what became of them (result)",
    "chainp2p_compact_transactions": "transactions of blocks that were put together here",
    "chainp2p_compact_lacked": "those of them that the pool did not have",
    # RPC
    "chainp2p_rpc_call_seconds": "how long calls took; a batch is its entries (port, method: of the registry, else "
    "unknown, or invalid for what is no call)",
    "chainp2p_rpc_errors": "calls that were answered by an error (port, method, code)",
    "chainp2p_rpc_in_flight": "messages that are being answered (port)",
    "chainp2p_rpc_paused": "messages that waited because their sender asks for much (port)",
    "chainp2p_rpc_received_bytes": "bytes of requests (port, transport)",
    "chainp2p_rpc_sent_bytes": "bytes of answers and notifications (port, transport)",
    "chainp2p_rpc_connections": "open connections (port, transport)",
    "chainp2p_rpc_turned_away": "connections that found no room, or made room for others (port)",
    "chainp2p_rpc_held_bytes": "bytes of large requests and answers in memory (port)",
    "chainp2p_rpc_http_refused": "requests that HTTP refused (port, status)",
    "chainp2p_rpc_subscriptions": "subscriptions (port, kind)",
    "chainp2p_rpc_events": "notifications (port)",
    "chainp2p_rpc_events_dropped": "notifications that found a slow reader's ring full (port)",
    "chainp2p_rpc_stalled": "WebSockets ended because they took nothing for a minute (port)",
    "chainp2p_rpc_stream_lag_highest_blocks": "blocks by which the last of the streams is behind the head (port)",
    "chainp2p_rpc_waiting_bytes": "bytes of notifications that wait for slow readers (port)",
    "chainp2p_rpc_waiting_highest_bytes": "the most of them for one connection (port)",
}


def render_metrics() -> str:
    """One row a metric, in reStructuredText."""
    lines = [
        "``/metrics`` on the admin port, without a token, in the text format of Prometheus. Names of counters end in",
        "``_total`` there, those of histograms in ``_bucket``, ``_count`` and ``_sum``. Beside these there are the",
        "``process_`` and ``python_`` metrics of prometheus-client. Labels are in brackets.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - metric",
        "     - meaning",
    ]
    for name, text in HELP.items():
        lines += [f"   * - ``{name}``", f"     - {text}"]
    return "\n".join(lines)
