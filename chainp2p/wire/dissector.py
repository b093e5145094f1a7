"""A Wireshark dissector in Lua, rendered from the schema.

It reads frames under TLS (Wireshark decrypts them with a key log) by the ALPN name, and any TCP port by "Decode As". A
message in several frames is shown as its fragments; whole ones are taken apart.
"""

from chainp2p.wire.messages import CORE
from chainp2p.wire.schema import Blob, Field, Integer, Kind, ListOf, Raw, Registry, Text, TupleOf

__all__ = ["render_dissector"]

_LUA = """\
-- Generated from the message schema of chainp2p; do not edit.
-- Install: Wireshark, Help, About, Folders, Personal Lua Plugins.
local chainp2p = Proto("chainp2p", "chainp2p peer-to-peer protocol")

local kinds = { @KINDS@ }
local flags = { [0] = "last", [1] = "more" }

-- tag -> { name, { field, kind }... }; a kind is { "int", size }, { "raw", size }, { "blob", limit },
-- { "text", limit }, { "tuple", kind... } or { "list", kind, limit }
local messages = {
@MESSAGES@
}

local f = {
  length = ProtoField.uint32("chainp2p.length", "Length", base.DEC),
  id = ProtoField.uint32("chainp2p.id", "Id", base.DEC),
  kind = ProtoField.uint8("chainp2p.kind", "Kind", base.DEC, kinds),
  flags = ProtoField.uint8("chainp2p.flags", "Flags", base.DEC, flags),
  tag = ProtoField.uint32("chainp2p.tag", "Tag", base.DEC),
  name = ProtoField.string("chainp2p.message", "Message"),
  body = ProtoField.bytes("chainp2p.body", "Body"),
  int = ProtoField.uint64("chainp2p.int", "Integer", base.DEC),
  bytes = ProtoField.bytes("chainp2p.bytes", "Bytes"),
  text = ProtoField.string("chainp2p.text", "Text"),
}
chainp2p.fields = { f.length, f.id, f.kind, f.flags, f.tag, f.name, f.body, f.int, f.bytes, f.text }

-- Messages some frames of which have come, by stream, direction, kind and id; and what the first pass found out.
local open, continues = {}, {}
function chainp2p.init()
  open, continues = {}, {}
end

-- Reads one field at `at`; returns the position after it, nil when it does not fit.
local function read(tvb, at, tree, name, kind)
  local form, size = kind[1], kind[2]
  if form == "int" or form == "raw" then
    if at + size > tvb:len() then return nil end
    if form == "int" then
      tree:add_le(f.int, tvb(at, size)):prepend_text(name .. ", ")
    else
      tree:add(f.bytes, tvb(at, size)):prepend_text(name .. ", ")
    end
    return at + size
  elseif form == "tuple" then
    for index = 2, #kind do
      at = read(tvb, at, tree, name, kind[index])
      if at == nil then return nil end
    end
    return at
  end
  if at + 8 > tvb:len() then return nil end
  local count = tvb(at, 8):le_uint64():tonumber()
  if form == "list" then
    local items = tree:add(tvb(at), name .. ", " .. count .. " items")
    at = at + 8
    for number = 1, math.min(count, kind[3]) do
      at = read(tvb, at, items, name .. "[" .. number .. "]", kind[2])
      if at == nil then return nil end
    end
    return at
  end
  if at + 8 + count > tvb:len() then return nil end
  if count > 0 then
    tree:add(form == "text" and f.text or f.bytes, tvb(at + 8, count)):prepend_text(name .. ", ")
  end
  return at + 8 + count
end

local function dissect(tvb, pinfo, root)
  local tree = root:add(chainp2p, tvb())
  tree:add_le(f.length, tvb(0, 4))
  tree:add_le(f.id, tvb(4, 4))
  tree:add(f.kind, tvb(8, 1))
  tree:add(f.flags, tvb(9, 1))
  local kind, more, body = tvb(8, 1):uint(), tvb(9, 1):uint() == 1, tvb(10)
  local key = table.concat({ tostring(pinfo.src), pinfo.src_port, tostring(pinfo.dst), pinfo.dst_port, kind,
    tvb(4, 4):le_uint() }, "|")
  local place = pinfo.number .. "|" .. tvb:offset() .. "|" .. key
  if not pinfo.visited then
    continues[place] = open[key] or false
    open[key] = more or nil
  end
  if continues[place] or body:len() < 4 then
    tree:add(f.body, body):append_text(" (fragment)")
    return
  end
  local tag = body(0, 4):le_uint()
  local message = messages[tag]
  local name = message and message[1] or "unknown tag " .. tag
  tree:add_le(f.tag, body(0, 4))
  tree:add(f.name, body(0, 4), name)
  tree:append_text(", " .. (kinds[kind] or "?") .. " " .. name)
  pinfo.cols.info:append(" " .. name)
  if more or not message then
    tree:add(f.body, body):append_text(more and " (fragment)" or "")
    return
  end
  local at, inner = 4, body:tvb()
  for index = 2, #message do
    at = read(inner, at, tree, message[index][1], message[index][2])
    if at == nil then
      tree:add_expert_info(PI_MALFORMED, PI_ERROR, "the message ends early")
      return
    end
  end
  if at < inner:len() then
    tree:add_expert_info(PI_MALFORMED, PI_ERROR, "bytes follow the message")
  end
end

function chainp2p.dissector(tvb, pinfo, root)
  pinfo.cols.protocol = "chainp2p"
  dissect_tcp_pdus(tvb, root, 10, function(start, _, at) return 4 + start(at, 4):le_uint() end,
    function(pdu, info, tree) dissect(pdu, info, tree); return pdu:len() end)
  return tvb:len()
end

DissectorTable.get("tcp.port"):add_for_decode_as(chainp2p)
pcall(function() DissectorTable.get("tls.alpn"):add("@ALPN@", chainp2p) end)
"""


def _lua(kind: Field) -> str:
    match kind:
        case Integer(size):
            return f'{{ "int", {size} }}'
        case Raw(size):
            return f'{{ "raw", {size} }}'
        case Blob(limit):
            return f'{{ "blob", {limit} }}'
        case Text(limit):
            return f'{{ "text", {limit} }}'
        case TupleOf(items):
            return f'{{ "tuple", {", ".join(map(_lua, items))} }}'
        case ListOf(item, limit):
            return f'{{ "list", {_lua(item)}, {limit} }}'


def render_dissector(registry: Registry = CORE, alpn: str = "chainp2p/1") -> str:
    """Return the Lua source of the dissector for the messages of *registry*."""
    messages = []
    for tag, spec in sorted(registry.by_tag.items()):
        fields = "".join(f', {{ "{name.rstrip("_")}", {_lua(kind)} }}' for name, kind in spec.fields)
        messages.append(f'  [{tag}] = {{ "{spec.name}"{fields} }},')
    kinds = ", ".join(f'[{kind.value}] = "{kind.name.lower()}"' for kind in Kind)
    source = _LUA.replace("@MESSAGES@", "\n".join(messages)).replace("@KINDS@", kinds)
    return source.replace("@ALPN@", alpn)
