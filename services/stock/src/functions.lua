#!lua name=rocketmart

-- The reservation engine. Every function is one atomic step on one sale. It handles a whole batch in the
-- order of arrival, and appends at most one entry to the sale's stream.
--
-- Three habits keep the books right:
--   * Lua in Redis is atomic but has no rollback. So a function first reads and decides, in memory, and
--     writes last (`commit`), when nothing can fail any more.
--   * For every SKU that it is about to write, `commit` checks that `preloaded = remaining + reserved +
--     sold` and that none of them is negative. Otherwise it refuses the whole call.
--   * A reservation is decided once. Confirm, release and expire look at the same record; whichever comes
--     first wins, and the others learn what happened.
--
-- Numbers are Lua doubles: whole numbers up to 2^53 - 1 are exact, and the caller keeps units times price
-- below that. We write them with %d, and never with tostring or cjson, which would round them.
--
-- A record is `state|buyer|amount|reserved_at|pay_by|payment method|delivery address|lines`, and lines
-- are `sku*quantity*unit price` joined by commas; a SKU contains none of | , * " \. Once a payment has
-- failed, `|declines`, the number of failed payments, follows the lines. States:
--
--   reserved --> prepared --> submitted --> confirmed
--       ^            |            |
--       |            |            +---> reserved: declined in time, to be paid in another way
--       +------------+------------+------> expired, cancelled, payment_failed
--
-- Payments are numbered from 1; the one under way has the number declines + 1.
--
-- A submitted reservation expires too, some grace after its deadline: a payment that nobody works on must
-- not hold units forever. Money that still comes later is given back.
--
-- We decide nothing about a sale that nobody has vouched for since this Redis started: it may have come
-- back with less than it had (see `vouch`). Nor about a sale that has lost a key (see `is_whole`): a
-- limit means nothing without what buyers hold, and a repetition means nothing without the idempotency
-- keys.

-- Raise this with every change of what this file does: a process replaces only an older library.
local VERSION = 6

-- Positions in KEYS, the same for every function.
local SALE, STOCK, HELD, IDEMPOTENCY, RESERVATIONS, DEADLINES, EVENTS = 1, 2, 3, 4, 5, 6, 7

local NAMES = { 'sale', 'stock', 'held', 'keys', 'reservations', 'deadlines', 'events' }

-- A field, or member, that each key has from the first moment of its sale to the last, so that the key
-- exists as long as nobody takes it away. No SKU, buyer or order has this name.
local ANCHOR = 'anchor'

local OUTSTANDING = { reserved = true, prepared = true, submitted = true }

-- The largest whole number that a double holds exactly.
local MAX_MONEY = 9007199254740991

-- How many arguments one Redis command gets: Lua can spread at most some 8,000 values. Even, for pairs.
local CHUNK = 2000

local function int(number)
  return string.format('%d', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The name of this run of Redis. It exists in memory only: after a restart, on another server, or with
-- another copy of this library, there is another name.
local session

local function this_session()
  if not session then
    local time = redis.call('TIME')
    session = string.format('%d%06d', time[1], time[2])
  end
  return session
end

-- The server that this runs on, and whether it has taken over from another master since it was started.
-- Redis names a master's history; a server that takes over begins one of its own.
local function this_server()
  local info = redis.call('INFO', 'replication')
  return info:match('master_replid:(%x+)'), info:match('second_repl_offset:(%-?%d+)') ~= '-1'
end

local function append(list, ...)
  for _, value in ipairs({ ... }) do
    list[#list + 1] = value
  end
end

local function call_in_chunks(command, key, arguments)
  for from = 1, #arguments, CHUNK do
    redis.call(command, key, unpack(arguments, from, math.min(from + CHUNK - 1, #arguments)))
  end
end

-- Whole or not -----------------------------------------------------------------------------------
-- Redis can lose single keys: it evicts them if it is set to, and somebody may delete one. We never start
-- a lost key afresh: the sale is in doubt, and is rebuilt.

local function exists(key)
  return redis.call('EXISTS', key) == 1
end

-- One command, however many purchases a call brings.
local function is_whole(keys)
  return redis.call('EXISTS', unpack(keys, SALE, EVENTS)) == EVENTS
end

local function is_nothing_left(keys)
  return redis.call('EXISTS', unpack(keys, SALE, EVENTS)) == 0
end

local function missing(keys)
  local names = {}
  for position, name in ipairs(NAMES) do
    if not exists(keys[position]) then
      names[#names + 1] = name
    end
  end
  return table.concat(names, ', ')
end

local function anchor(keys)
  for _, position in ipairs({ STOCK, HELD, IDEMPOTENCY, RESERVATIONS }) do
    redis.call('HSET', keys[position], ANCHOR, '1')
  end
  redis.call('ZADD', keys[DEADLINES], '+inf', ANCHOR) -- never due
  if not exists(keys[EVENTS]) then
    -- The only way to an empty stream.
    redis.call('XGROUP', 'CREATE', keys[EVENTS], ANCHOR, '0', 'MKSTREAM')
    redis.call('XGROUP', 'DESTROY', keys[EVENTS], ANCHOR)
  end
  redis.call('HSET', keys[SALE], ANCHOR, '1')
end

-- What is lost, if anything shows it, of a sale that was loaded before there were anchors.
local function lost_without_anchors(keys)
  local taken = false
  local stock = redis.call('HGETALL', keys[STOCK])
  for i = 1, #stock, 2 do
    local counter = stock[i]:match(':(%a+)$')
    taken = taken or ((counter == 'reserved' or counter == 'sold') and stock[i + 1] ~= '0')
  end
  local outstanding = redis.call('HGET', keys[SALE], 'outstanding') ~= '0'
  local reservations = exists(keys[RESERVATIONS])
  if #stock == 0
    or (taken and not (reservations and exists(keys[HELD])))
    or (outstanding and not (reservations and exists(keys[DEADLINES])))
    or (reservations and not (exists(keys[IDEMPOTENCY]) and exists(keys[EVENTS]))) then
    return missing(keys)
  end
end

-- A hash as one call sees it -------------------------------------------------------------------
-- We read a field at most once, change it in memory, and write all fields together. Absent is `false`.

local function open_hash(key)
  return { key = key, fields = {}, changed = {} }
end

local function prefetch(hash, names)
  for from = 1, #names, CHUNK do
    local to = math.min(from + CHUNK - 1, #names)
    local values = redis.call('HMGET', hash.key, unpack(names, from, to))
    for i = from, to do
      hash.fields[names[i]] = values[i - from + 1]
    end
  end
end

local function get(hash, name)
  local value = hash.fields[name]
  if value == nil then
    value = redis.call('HGET', hash.key, name)
    hash.fields[name] = value
  end
  return value
end

local function put(hash, name, value)
  hash.fields[name] = value
  hash.changed[name] = true
end

local function write(hash)
  local set, delete = {}, {}
  for name in pairs(hash.changed) do
    local value = hash.fields[name]
    if value then
      set[#set + 1] = name
      set[#set + 1] = value
    else
      delete[#delete + 1] = name
    end
  end
  call_in_chunks('HSET', hash.key, set)
  call_in_chunks('HDEL', hash.key, delete)
end

-- Counters ---------------------------------------------------------------------------------------

local function refuse_unless_balanced(item)
  if item.remaining < 0 or item.reserved < 0 or item.sold < 0
    or item.preloaded ~= item.remaining + item.reserved + item.sold then
    error(redis.error_reply(string.format(
      'INVARIANT %s: preloaded %d = remaining %d + reserved %d + sold %d does not hold; nothing was written',
      item.sku, item.preloaded, item.remaining, item.reserved, item.sold)))
  end
end

local function read_item(key, sku)
  local row = redis.call('HMGET', key, sku .. ':preloaded', sku .. ':remaining', sku .. ':reserved',
    sku .. ':sold', sku .. ':price', sku .. ':limit')
  if not row[1] then
    return false
  end
  local item = {
    sku = sku,
    preloaded = tonumber(row[1]),
    remaining = tonumber(row[2]),
    reserved = tonumber(row[3]),
    sold = tonumber(row[4]),
    price = tonumber(row[5]),
    price_text = row[5],
    limit = row[6] and tonumber(row[6]),
  }
  refuse_unless_balanced(item)
  return item
end

local function append_item(list, item)
  append(list,
    item.sku .. ':preloaded', int(item.preloaded),
    item.sku .. ':remaining', int(item.remaining),
    item.sku .. ':reserved', int(item.reserved),
    item.sku .. ':sold', int(item.sold),
    item.sku .. ':price', int(item.price))
end

-- Records ----------------------------------------------------------------------------------------

local RECORD = '^([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|?(%d*)$'

local function parse_record(order, text)
  local state, buyer, amount, reserved_at, pay_by, method, address, lines, declines = text:match(RECORD)
  return {
    order = order, state = state, buyer = buyer, amount = amount, reserved_at = reserved_at,
    pay_by = pay_by, method = method, address = address, lines = lines, declines = tonumber(declines) or 0,
  }
end

local function pack_record(record)
  return record.state .. '|' .. record.buyer .. '|' .. record.amount .. '|' .. record.reserved_at .. '|'
    .. record.pay_by .. '|' .. record.method .. '|' .. record.address .. '|' .. record.lines
    .. (record.declines > 0 and '|' .. int(record.declines) or '')
end

-- One call ---------------------------------------------------------------------------------------

local function begin(keys)
  return {
    keys = keys,
    now = now_ms(),
    items = {},
    held = open_hash(keys[HELD]),
    idempotency = open_hash(keys[IDEMPOTENCY]),
    reservations = open_hash(keys[RESERVATIONS]),
    deadlines_set = {},
    deadlines_gone = {},
    events = {},
    outstanding = 0,
  }
end

local function item_of(work, sku)
  local item = work.items[sku]
  if item == nil then
    item = read_item(work.keys[STOCK], sku)
    work.items[sku] = item
  end
  return item
end

local function record_of(work, order)
  local text = get(work.reservations, order)
  return text and parse_record(order, text)
end

local function held_by(work, buyer, sku)
  return tonumber(get(work.held, buyer .. '|' .. sku) or 0)
end

local function set_held(work, buyer, sku, units)
  put(work.held, buyer .. '|' .. sku, units > 0 and int(units))
end

-- Writes everything decided so far. Nothing before this point has changed Redis.
local function commit(work)
  local stock = {}
  for _, item in pairs(work.items) do
    if item and item.changed then
      refuse_unless_balanced(item)
      append(stock,
        item.sku .. ':remaining', int(item.remaining),
        item.sku .. ':reserved', int(item.reserved),
        item.sku .. ':sold', int(item.sold))
    end
  end
  call_in_chunks('HSET', work.keys[STOCK], stock)
  write(work.held)
  write(work.idempotency)
  write(work.reservations)
  call_in_chunks('ZADD', work.keys[DEADLINES], work.deadlines_set)
  call_in_chunks('ZREM', work.keys[DEADLINES], work.deadlines_gone)
  if work.outstanding ~= 0 then
    redis.call('HINCRBY', work.keys[SALE], 'outstanding', int(work.outstanding))
  end
  if #work.events > 0 then
    redis.call('XADD', work.keys[EVENTS], '*', 'e', '[' .. table.concat(work.events, ',') .. ']')
  end
end

-- Events, in the shapes of docs/contracts.md. No text in them contains a character that JSON would have
-- to escape (UUIDs, SKUs as above, a currency, a checked trace context).

local function emit(work, kind, order, traceparent, data)
  local trace = traceparent ~= '' and '"p":"' .. traceparent .. '",' or ''
  work.events[#work.events + 1] = '{"t":"rocketmart.reservation.' .. kind .. '.v1","k":"' .. order .. '",'
    .. trace .. '"d":{"order_id":"' .. order .. '",' .. data .. '}}'
end

local function optional(name, value)
  return value ~= '' and '"' .. name .. '":"' .. value .. '",' or ''
end

-- Keys and hashes come from buyers: visible ASCII, of which JSON escapes two characters.
local function quoted(text)
  if text:find('["\\]') then
    text = text:gsub('["\\]', '\\%0')
  end
  return '"' .. text .. '"'
end

-- Loading a sale ---------------------------------------------------------------------------------

-- The standing stock (no end) follows its catalog: prices and limits change, units can be taken off sale
-- as long as nobody holds or has bought them, and a load may name only some SKUs. A sale with a window is
-- a promise: it can only get more units, more SKUs and more time.
local function item_conflicts(old, new, standing, conflicts)
  local field = 'items[' .. new.sku .. ']'
  if standing then
    if new.preloaded < old.reserved + old.sold then
      append(conflicts, field .. '.units', 'must cover the units reserved and sold')
    end
    return
  end
  if new.preloaded < old.preloaded then
    append(conflicts, field .. '.units', 'must not decrease')
  end
  if new.price ~= old.price then
    append(conflicts, field .. '.price', 'must not change')
  end
  if new.limit ~= old.limit then
    append(conflicts, field .. '.per_buyer_limit', 'must not change')
  end
end

local function sale_conflicts(old, new, now, conflicts)
  for _, field in ipairs({ 'name', 'currency' }) do
    if old[field] ~= new[field] then
      append(conflicts, field, 'must not change')
    end
  end
  if (old.closes_at_ms == '') ~= (new.closes_at_ms == '') then
    append(conflicts, 'closes_at_ms', 'must not turn a sale into standing stock or back')
    return
  end
  if tonumber(new.payment_seconds) < tonumber(old.payment_seconds) then
    append(conflicts, 'payment_seconds', 'must not decrease')
  end
  if now < tonumber(old.opens_at_ms) then
    return -- not open yet: the window may still be moved
  end
  if new.opens_at_ms ~= old.opens_at_ms then
    append(conflicts, 'opens_at_ms', 'must not change once open')
  end
  if new.closes_at_ms ~= '' and tonumber(new.closes_at_ms) < tonumber(old.closes_at_ms) then
    append(conflicts, 'closes_at_ms', 'must not decrease once open')
  end
end

local SALE_FIELDS = { 'name', 'currency', 'opens_at_ms', 'closes_at_ms', 'payment_seconds' }

local function read_sale(key)
  local row = redis.call('HMGET', key, 'state', 'fence', 'vouched', 'incarnation', ANCHOR, unpack(SALE_FIELDS))
  if not row[1] then
    return nil
  end
  local sale = {
    state = row[1], fence = tonumber(row[2]), vouched = row[3] == this_session(),
    incarnation = tonumber(row[4] or 0), anchored = row[5] and true,
  }
  for i, field in ipairs(SALE_FIELDS) do
    sale[field] = row[i + 5]
  end
  return sale
end

local function refuse_as_unvouched()
  error(redis.error_reply('UNVOUCHED nobody has looked yet whether this Redis lost something of the sale'))
end

-- ARGV: fence, name, currency, opens_at_ms, closes_at_ms or '', payment_seconds,
-- then per SKU: sku, units, price, limit or ''.
local function load_sale(keys, argv)
  local now = now_ms()
  local old = read_sale(keys[SALE])
  local new = { fence = tonumber(argv[1]) }
  for i, field in ipairs(SALE_FIELDS) do
    new[field] = argv[i + 1]
  end
  if old and new.fence < old.fence then
    return { 'stale_fence', old.fence }
  end
  if old and old.anchored and not is_whole(keys) or not old and not is_nothing_left(keys) then
    refuse_as_unvouched() -- loaded as if it were new, what is left of it would sell its units again
  end

  local conflicts, stock, no_limit, named, changed = {}, {}, {}, {}, not old
  local standing = new.closes_at_ms == ''
  if old then
    sale_conflicts(old, new, now, conflicts)
    for _, field in ipairs(SALE_FIELDS) do
      changed = changed or old[field] ~= new[field]
    end
  end
  for i = 7, #argv, 4 do
    local item = {
      sku = argv[i], preloaded = tonumber(argv[i + 1]), price = tonumber(argv[i + 2]),
      limit = argv[i + 3] ~= '' and tonumber(argv[i + 3]),
    }
    named[item.sku] = true
    local before = old and read_item(keys[STOCK], item.sku)
    if before then
      item_conflicts(before, item, standing, conflicts)
    end
    item.reserved = before and before.reserved or 0
    item.sold = before and before.sold or 0
    item.remaining = item.preloaded - item.reserved - item.sold
    if not before or before.preloaded ~= item.preloaded or before.price ~= item.price
      or before.limit ~= item.limit then
      changed = true
      append_item(stock, item)
      if item.limit then
        append(stock, item.sku .. ':limit', int(item.limit))
      else
        append(no_limit, item.sku .. ':limit')
      end
    end
  end
  if old and not standing then
    for _, field in ipairs(redis.call('HKEYS', keys[STOCK])) do
      local sku = field:match('^(.*):preloaded$')
      if sku and not named[sku] then
        append(conflicts, 'items[' .. sku .. ']', 'must not be taken out')
      end
    end
  end
  if changed and old and old.state == 'closed' then
    append(conflicts, 'state', 'the sale is closed')
  end

  if #conflicts > 0 then
    return { 'conflict', unpack(conflicts) }
  end
  redis.call('HSET', keys[SALE], 'fence', argv[1])
  if not changed then
    return { 'already_loaded' }
  end
  if not old then
    -- It takes nothing until somebody has read it back and set it ready.
    redis.call('HSET', keys[SALE], 'state', 'suspended', 'epoch', int(now), 'outstanding', '0',
      'vouched', this_session(), 'server', (this_server()))
  end
  for _, field in ipairs(SALE_FIELDS) do
    redis.call('HSET', keys[SALE], field, new[field])
  end
  call_in_chunks('HDEL', keys[STOCK], no_limit)
  call_in_chunks('HSET', keys[STOCK], stock)
  if not old then
    anchor(keys)
  end
  return { 'loaded' }
end

-- ARGV: fence, state.
local function set_state(keys, argv)
  local sale = read_sale(keys[SALE])
  if not sale then
    return { 'unknown_sale' }
  end
  if tonumber(argv[1]) < sale.fence then
    return { 'stale_fence', sale.fence }
  end
  if sale.state == 'closed' and argv[2] ~= 'closed' then
    return { 'already_closed' }
  end
  redis.call('HSET', keys[SALE], 'fence', argv[1], 'state', argv[2])
  return { 'set' }
end

-- ARGV: fence.
local function purge(keys, argv)
  local sale = read_sale(keys[SALE])
  if sale then
    if tonumber(argv[1]) < sale.fence then
      return { 'stale_fence', sale.fence }
    end
    if sale.state ~= 'closed' then
      return { 'not_closed' }
    end
    local outstanding = tonumber(redis.call('HGET', keys[SALE], 'outstanding'))
    local stream_length = redis.call('XLEN', keys[EVENTS])
    if outstanding > 0 or stream_length > 0 then
      return { 'not_drained', outstanding, stream_length }
    end
  end
  redis.call('UNLINK', unpack(keys))
  return { 'purged' }
end

local function last_event_id(key)
  if redis.call('EXISTS', key) == 0 then
    return '0-0'
  end
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

local function append_counters(answer, sku, item)
  append(answer, sku, item.preloaded, item.remaining, item.reserved, item.sold, item.price, item.limit or '')
end

-- ARGV: the SKUs to answer for, as far as they are known. None means all, but the standing stock has too
-- many for that. Answers nil for an unknown sale, otherwise the sale's figures and then seven values per
-- SKU.
local function counters(keys, argv)
  local sale = read_sale(keys[SALE])
  if not sale then
    return nil
  end
  local more = redis.call('HMGET', keys[SALE], 'epoch', 'outstanding')
  local answer = {
    now_ms(), sale.name, sale.currency, sale.state, sale.fence, more[1], sale.opens_at_ms,
    sale.closes_at_ms, sale.payment_seconds, more[2], redis.call('XLEN', keys[EVENTS]),
    last_event_id(keys[EVENTS]),
  }
  for _, sku in ipairs(argv) do
    local row = redis.call('HMGET', keys[STOCK], sku .. ':preloaded', sku .. ':remaining', sku .. ':reserved',
      sku .. ':sold', sku .. ':price', sku .. ':limit')
    if row[1] then
      append_counters(answer, sku, {
        preloaded = row[1], remaining = row[2], reserved = row[3], sold = row[4], price = row[5], limit = row[6],
      })
    end
  end
  local stock = #argv == 0 and redis.call('HGETALL', keys[STOCK]) or {}
  local items, order = {}, {}
  for i = 1, #stock, 2 do
    local sku, counter = stock[i]:match('^(.*):(%a+)$')
    if sku and not items[sku] then
      items[sku] = {}
      order[#order + 1] = sku
    end
    if sku then
      items[sku][counter] = stock[i + 1]
    end
  end
  table.sort(order)
  for _, sku in ipairs(order) do
    append_counters(answer, sku, items[sku])
  end
  return answer
end

-- Vouching ---------------------------------------------------------------------------------------
-- SQL knows every stream entry that left Redis. Somebody who has compared the two vouches for the sale,
-- for as long as this Redis runs.
--
-- Once a replica has become the master, nobody vouches for the sale until it was rebuilt. The replica may
-- lack a confirmation, or a purchase that nobody had read yet, and that need not show in what left its
-- predecessor.

local function took_over(key, server, follows_another)
  local known = redis.call('HGET', key, 'server') -- false: vouched for by an older version
  return follows_another and known and known ~= server
end

local function is_believed(keys, sale)
  return sale.vouched and is_whole(keys)
end

local function refuse_unless_vouched(keys)
  local sale = read_sale(keys[SALE])
  if sale and not is_believed(keys, sale) or not sale and not is_nothing_left(keys) then
    refuse_as_unvouched()
  end
end

-- ARGV: incarnation, and the youngest entry that left Redis: milliseconds, sequence.
local function vouch(keys, argv)
  local sale = read_sale(keys[SALE])
  if not sale then
    return { 'unknown_sale' }
  end
  if sale.incarnation ~= tonumber(argv[1]) then
    return { 'behind', string.format('it was rebuilt %d times, SQL knows of %d', sale.incarnation, argv[1]) }
  end
  local lost = sale.anchored and not is_whole(keys) and missing(keys)
    or not sale.anchored and lost_without_anchors(keys)
  if lost then
    return { 'behind', 'keys of the sale are gone: ' .. lost }
  end
  local last = last_event_id(keys[EVENTS])
  local ms, sequence = last:match('^(%d+)%-(%d+)$')
  ms, sequence = tonumber(ms), tonumber(sequence)
  local seen_ms, seen_sequence = tonumber(argv[2]), tonumber(argv[3])
  if ms < seen_ms or (ms == seen_ms and sequence < seen_sequence) then
    return { 'behind', 'its stream ends at ' .. last .. ', ' .. argv[2] .. '-' .. argv[3] .. ' has left it' }
  end
  if not sale.vouched then
    local server, follows_another = this_server()
    if took_over(keys[SALE], server, follows_another) then
      return { 'behind', 'this Redis took over from another one, which may have had more' }
    end
    redis.call('HSET', keys[SALE], 'vouched', this_session(), 'server', server)
  end
  if not sale.anchored then
    anchor(keys)
  end
  return { 'vouched' }
end

-- From now on nothing is decided about the sale until somebody vouches for it again.
local function revoke(keys)
  redis.call('HDEL', keys[SALE], 'vouched')
  return { 'revoked' }
end

-- Reserving --------------------------------------------------------------------------------------

-- Reads the wishes and, with three commands, everything that their decisions will look at.
-- ARGV from 3: order, buyer, idempotency key, request hash, traceparent or '', number of lines,
-- then per line: sku, quantity. A quantity stands alone or with the unit price that the buyer saw,
-- `2` or `2=1500`: at another price the wish is refused.
local function parse_wishes(work, argv)
  local wishes, orders, keys, held, at = {}, {}, {}, {}, 3
  for i = 1, tonumber(argv[2]) do
    local order, buyer, lines = argv[at], argv[at + 1], {}
    local key = buyer .. '|' .. argv[at + 2]
    for l = 1, tonumber(argv[at + 5]) do
      local sku = argv[at + 4 + 2 * l]
      local line = { sku = sku, quantity = argv[at + 5 + 2 * l], held = buyer .. '|' .. sku }
      lines[l] = line
      held[#held + 1] = line.held
    end
    wishes[i] = {
      order = order, buyer = buyer, key = key, own_key = argv[at + 2], hash = argv[at + 3],
      traceparent = argv[at + 4], lines = lines,
    }
    orders[i] = order
    keys[i] = key
    at = at + 6 + 2 * #lines
  end
  prefetch(work.idempotency, keys)
  prefetch(work.reservations, orders)
  prefetch(work.held, held)
  return wishes
end

local function why_not_open(sale, now)
  local opens_at = tonumber(sale.opens_at_ms)
  if sale.state == 'closed' then
    return { 'closed' }
  elseif now < opens_at then
    return { 'not_open', opens_at }
  elseif sale.closes_at_ms ~= '' and now >= tonumber(sale.closes_at_ms) then
    return { 'closed' }
  elseif sale.state ~= 'ready' then
    return { 'suspended' }
  end
end

-- Why the buyer cannot have this line. If there is no reason, returns nil and notes on the line what it
-- takes.
local function why_not_line(work, line)
  if not line.quantity:find('^[1-9]%d*$') then
    local quantity, agreed = line.quantity:match('^([1-9]%d*)=(%d+)$')
    if not quantity then
      return { 'invalid', 'lines.quantity', 'must be a whole number of at least 1' }
    end
    line.quantity, line.agreed = quantity, tonumber(agreed)
  end
  local item = item_of(work, line.sku)
  if not item then
    return { 'unknown_sku', line.sku }
  end
  local units, held = tonumber(line.quantity), tonumber(get(work.held, line.held) or 0)
  if item.limit and held + units > item.limit then
    return { 'limit_exceeded', line.sku, item.limit, held }
  end
  if item.remaining < units then
    return { 'sold_out', line.sku, item.remaining }
  end
  line.item, line.units, line.held_after = item, units, held + units
end

local function accept(work, wish, amount)
  local packed, json, separator = '', '', ''
  for _, line in ipairs(wish.lines) do
    local item = line.item
    item.remaining = item.remaining - line.units
    item.reserved = item.reserved + line.units
    item.changed = true
    put(work.held, line.held, int(line.held_after))
    packed = packed .. separator .. line.sku .. '*' .. line.quantity .. '*' .. item.price_text
    json = json .. separator .. '{"sku":"' .. line.sku .. '","quantity":' .. line.quantity
      .. ',"unit_price":' .. item.price_text .. '}'
    separator = ','
  end
  local sale, amount_text = work.sale, int(amount)
  local record = 'reserved|' .. wish.buyer .. '|' .. amount_text .. sale.times_in_record .. '|||' .. packed
  put(work.reservations, wish.order, record)
  put(work.idempotency, wish.key, wish.order .. '|' .. wish.hash)
  local deadlines = work.deadlines_set
  deadlines[#deadlines + 1] = sale.pay_by
  deadlines[#deadlines + 1] = wish.order
  work.outstanding = work.outstanding + 1
  emit(work, 'reserved', wish.order, wish.traceparent, '"sale_id":"' .. sale.id .. '","buyer_id":"' .. wish.buyer
    .. '","lines":[' .. json .. '],"amount":' .. amount_text .. sale.times_in_event
    .. ',"idempotency_key":' .. quoted(wish.own_key) .. ',"request_hash":' .. quoted(wish.hash))
  return { 'reserved', wish.order, record }
end

local function decide(work, wish)
  local known = get(work.idempotency, wish.key)
  if known then
    local order, hash = known:match('^([^|]*)|(.*)$')
    if hash ~= wish.hash then
      return { 'key_reused' }
    end
    return { 'duplicate', order, get(work.reservations, order) }
  end
  if work.sale.not_open then
    return work.sale.not_open
  end
  if get(work.reservations, wish.order) then
    return { 'invalid', 'order', 'must not be in use' }
  end
  local amount, changed = 0, nil
  for i, line in ipairs(wish.lines) do
    for earlier = 1, i - 1 do
      if wish.lines[earlier].sku == line.sku then
        return { 'invalid', 'lines.sku', 'must not be listed twice' }
      end
    end
    local reason = why_not_line(work, line)
    if reason then
      return reason
    end
    if line.agreed and line.agreed ~= line.item.price then
      changed = changed or { 'price_changed' }
      append(changed, line.sku, line.item.price_text)
    end
    amount = amount + line.units * line.item.price
  end
  if changed then
    return changed -- all of them, so that the buyer is asked once
  end
  if amount > MAX_MONEY then
    return { 'invalid', 'lines', 'the amount must be at most 2^53 - 1 minor units' }
  end
  return accept(work, wish, amount)
end

-- Works out once what is the same for every wish of a call.
local function sale_for_reserving(keys, id, now)
  local sale = read_sale(keys[SALE])
  if not sale then
    return nil
  end
  sale.id = id
  sale.not_open = why_not_open(sale, now)
  sale.pay_by = int(now + tonumber(sale.payment_seconds) * 1000)
  sale.times_in_record = '|' .. int(now) .. '|' .. sale.pay_by
  sale.times_in_event = ',"currency":"' .. sale.currency .. '","reserved_at_ms":' .. int(now)
    .. ',"pay_by_ms":' .. sale.pay_by
  return sale
end

-- ARGV: sale id, number of wishes, then the wishes. First come, first served.
-- Answers the currency ('' for an unknown sale) and one answer per wish.
local function reserve(keys, argv)
  local work = begin(keys)
  work.sale = sale_for_reserving(keys, argv[1], work.now)
  if not work.sale or not is_believed(keys, work.sale) then
    local answers, refusal = { '' }, { work.sale and 'suspended' or 'unknown_sale' }
    for i = 1, tonumber(argv[2]) do
      answers[i + 1] = refusal
    end
    return answers
  end
  local answers = { work.sale.currency }
  for i, wish in ipairs(parse_wishes(work, argv)) do
    answers[i + 1] = decide(work, wish)
  end
  commit(work)
  return answers
end

-- Paying -----------------------------------------------------------------------------------------

-- Why this buyer can no longer pay for this record, or nil.
local function why_not_payable(work, record, buyer)
  if not record or record.buyer ~= buyer then
    return { 'unknown' }
  elseif record.state == 'submitted' or record.state == 'confirmed' then
    return { 'already_submitted', record.order, pack_record(record) }
  elseif not OUTSTANDING[record.state] then
    return { 'released', record.state }
  elseif work.now >= tonumber(record.pay_by) then
    return { 'released', 'expired' } -- the units go back as soon as the expirer comes by
  end
end

-- ARGV: order, buyer, payment method or '', delivery address or ''.
local function prepare_payment(keys, argv)
  refuse_unless_vouched(keys)
  local work = begin(keys)
  local record = record_of(work, argv[1])
  local answer = why_not_payable(work, record, argv[2])
  if not answer then
    record.state, record.method, record.address = 'prepared', argv[3], argv[4]
    put(work.reservations, record.order, pack_record(record))
    answer = { 'prepared', record.order, pack_record(record) }
  end
  commit(work)
  return { redis.call('HGET', keys[SALE], 'currency') or '', answer }
end

local function submit(work, sale_id, wish)
  local record = record_of(work, wish.order)
  local reason = why_not_payable(work, record, wish.buyer)
  if reason then
    return reason
  end
  if wish.has_details then
    record.method, record.address = wish.method, wish.address
  elseif record.state ~= 'prepared' then
    return { 'not_prepared' }
  end
  record.state = 'submitted'
  local packed = pack_record(record)
  put(work.reservations, wish.order, packed) -- its deadline stays: see `expire`
  local attempt = record.declines > 0 and '"attempt":' .. int(record.declines + 1) .. ',' or ''
  emit(work, 'payment_submitted', wish.order, wish.traceparent, string.format(
    '"sale_id":"%s","buyer_id":"%s",%s%s%s"submitted_at_ms":%d', sale_id, record.buyer,
    optional('payment_method_id', record.method), optional('delivery_address_id', record.address), attempt,
    work.now))
  return { 'submitted', wish.order, packed }
end

-- ARGV: sale id, then per wish: order, buyer, '1' if it brings details, payment method or '',
-- delivery address or '', traceparent or ''.
local function submit_payments(keys, argv)
  refuse_unless_vouched(keys)
  local work = begin(keys)
  local answers = { redis.call('HGET', keys[SALE], 'currency') or '' }
  for i = 2, #argv, 6 do
    answers[#answers + 1] = submit(work, argv[1], {
      order = argv[i], buyer = argv[i + 1], has_details = argv[i + 2] == '1',
      method = argv[i + 3], address = argv[i + 4], traceparent = argv[i + 5],
    })
  end
  commit(work)
  return answers
end

-- Settling: confirm, release, expire -------------------------------------------------------------

-- Moves the record's units out of `reserved`, and closes it.
local function settle(work, record, state, counter)
  for sku, quantity in record.lines:gmatch('([^,*]+)%*(%d+)%*%d+') do
    local item, units = item_of(work, sku), tonumber(quantity)
    item.reserved = item.reserved - units
    item[counter] = item[counter] + units
    item.changed = true
    if counter == 'remaining' then
      set_held(work, record.buyer, sku, held_by(work, record.buyer, sku) - units)
    end
  end
  record.state = state
  put(work.reservations, record.order, pack_record(record))
  append(work.deadlines_gone, record.order)
  work.outstanding = work.outstanding - 1
end

-- ARGV: orders.
local function confirm(keys, argv)
  refuse_unless_vouched(keys)
  local work, answers = begin(keys), {}
  for i, order in ipairs(argv) do
    local record = record_of(work, order)
    if not record then
      answers[i] = { 'unknown' }
    elseif record.state == 'confirmed' then
      answers[i] = { 'already_confirmed' }
    elseif not OUTSTANDING[record.state] then
      answers[i] = { 'released', record.state }
    else
      settle(work, record, 'confirmed', 'sold')
      answers[i] = { 'confirmed' }
    end
  end
  commit(work)
  return answers
end

-- A payment failed. The buyer may try another one while there is time to pay: the units stay theirs until
-- the deadline. If the failure is reported again, or for an earlier payment than the one under way, it
-- changes nothing.
local function decline(work, order, attempt)
  local record = record_of(work, order)
  if not record then
    return { 'unknown' }
  elseif record.state == 'confirmed' then
    return { 'already_confirmed' }
  elseif not OUTSTANDING[record.state] then
    return { 'already_released', record.state }
  elseif attempt <= record.declines then
    return { 'held' }
  end
  record.declines = attempt
  if record.state == 'submitted' then
    if work.now >= tonumber(record.pay_by) then
      settle(work, record, 'payment_failed', 'remaining')
      return { 'released' }
    end
    record.state, record.method, record.address = 'reserved', '', ''
  end
  put(work.reservations, order, pack_record(record))
  return { 'held' }
end

-- ARGV: per payment: order, its number. Appends no event: SQL reported it.
local function decline_payments(keys, argv)
  refuse_unless_vouched(keys)
  local work, answers = begin(keys), {}
  for i = 1, #argv, 2 do
    answers[#answers + 1] = decline(work, argv[i], tonumber(argv[i + 1]))
  end
  commit(work)
  return answers
end

-- When this outstanding reservation expires.
local function due_at(record, grace)
  return tonumber(record.pay_by) + (record.state == 'submitted' and (grace or math.huge) or 0)
end

-- `grace`: how many milliseconds after its deadline a submitted payment may still come through. Without
-- it a submitted reservation does not expire.
local function give_back(work, sale_id, order, buyer, reason, grace)
  local record = record_of(work, order)
  if not record or (buyer ~= '' and record.buyer ~= buyer) then
    return { 'unknown' }
  elseif record.state == 'confirmed' then
    return { 'already_confirmed' }
  elseif not OUTSTANDING[record.state] then
    return { 'already_released', record.state }
  elseif reason == 'expired' and work.now < due_at(record, grace) then
    return { 'not_due' }
  end
  settle(work, record, reason, 'remaining')
  -- SQL knows of a failed payment already: it told us.
  if reason ~= 'payment_failed' then
    emit(work, 'released', order, '', string.format(
      '"sale_id":"%s","reason":"%s","released_at_ms":%d', sale_id, reason, work.now))
  end
  return { 'released' }
end

-- ARGV: sale id, then per order: order, buyer or '' for anybody's, reason.
local function release(keys, argv)
  refuse_unless_vouched(keys)
  local work, answers = begin(keys), {}
  for i = 2, #argv, 3 do
    answers[#answers + 1] = give_back(work, argv[1], argv[i], argv[i + 1], argv[i + 2])
  end
  commit(work)
  return answers
end

-- ARGV: sale id, limit, grace of submitted payments in milliseconds. Answers how many were released
-- and how many were looked at.
local function expire(keys, argv)
  refuse_unless_vouched(keys)
  local work, released, grace = begin(keys), 0, tonumber(argv[3])
  local due = redis.call('ZRANGEBYSCORE', keys[DEADLINES], '-inf', int(work.now), 'LIMIT', 0, argv[2])
  for _, order in ipairs(due) do
    local outcome = give_back(work, argv[1], order, '', 'expired', grace)[1]
    if outcome == 'released' then
      released = released + 1
    elseif outcome == 'not_due' and grace then
      -- Its payment is under way: we look again when the grace is over.
      append(work.deadlines_set, int(due_at(record_of(work, order), grace)), order)
    else
      append(work.deadlines_gone, order) -- decided otherwise already: nothing left to watch
    end
  end
  commit(work)
  return grace and { released, #due } or released -- a client from before graces wants the number
end

-- Rebuilding a sale that was lost ----------------------------------------------------------------
-- From SQL, page by page, in keys beside the sale's own (KEYS 8 to 14, in the same order). Then we count
-- the result and swap it in, so nobody ever sees half of it. The attempt with the highest incarnation
-- wins.

local function beside(keys, position)
  return keys[7 + position]
end

local function is_superseded(keys, incarnation)
  return redis.call('HGET', beside(keys, SALE), 'incarnation') ~= incarnation
end

-- ARGV: fence, incarnation. Forgets what is left of the sale, and of an earlier attempt.
local function restore_begin(keys, argv)
  local fence, incarnation = tonumber(argv[1]), tonumber(argv[2])
  local sale = read_sale(keys[SALE])
  local attempt = redis.call('HMGET', beside(keys, SALE), 'fence', 'incarnation')
  local seen = math.max(sale and sale.fence or 0, tonumber(attempt[1] or 0))
  if fence < seen then
    return { 'stale_fence', seen }
  end
  if (sale and incarnation <= sale.incarnation) or incarnation < tonumber(attempt[2] or 0) then
    return { 'superseded' }
  end
  redis.call('UNLINK', unpack(keys))
  redis.call('HSET', beside(keys, SALE), 'fence', argv[1], 'incarnation', argv[2], 'outstanding', '0')
  return { 'begun' }
end

-- ARGV: incarnation, then per reservation: order, record, `<buyer>|<idempotency key>` or '', request
-- hash, and the deadline, or '' if there is none any more.
local function restore_page(keys, argv)
  if is_superseded(keys, argv[1]) then
    return { 'superseded' }
  end
  local records, idempotency, deadlines = {}, {}, {}
  local held, counters, outstanding = {}, {}, 0
  local function add(totals, name, units)
    totals[name] = (totals[name] or 0) + units
  end
  for i = 2, #argv, 5 do
    local record = parse_record(argv[i], argv[i + 1])
    local counter = OUTSTANDING[record.state] and 'reserved' or record.state == 'confirmed' and 'sold'
    if counter then
      for sku, quantity in record.lines:gmatch('([^,*]+)%*(%d+)%*%d+') do
        add(held, record.buyer .. '|' .. sku, tonumber(quantity))
        add(counters, sku .. ':' .. counter, tonumber(quantity))
      end
    end
    if counter == 'reserved' then
      outstanding = outstanding + 1
    end
    append(records, argv[i], argv[i + 1])
    if argv[i + 2] ~= '' then
      append(idempotency, argv[i + 2], argv[i] .. '|' .. argv[i + 3])
    end
    if argv[i + 4] ~= '' then
      append(deadlines, argv[i + 4], argv[i])
    end
  end
  call_in_chunks('HSET', beside(keys, RESERVATIONS), records)
  call_in_chunks('HSET', beside(keys, IDEMPOTENCY), idempotency)
  call_in_chunks('ZADD', beside(keys, DEADLINES), deadlines)
  for name, units in pairs(held) do
    redis.call('HINCRBY', beside(keys, HELD), name, int(units))
  end
  for name, units in pairs(counters) do
    redis.call('HINCRBY', beside(keys, STOCK), name, int(units))
  end
  redis.call('HINCRBY', beside(keys, SALE), 'outstanding', int(outstanding))
  return { 'written' }
end

-- ARGV: incarnation, state, stream from (ms), number of reservations, the five fields of the sale, then
-- per SKU: sku, units, price, limit or '', reserved, sold. What was rebuilt must match what SQL counted.
-- Nobody has vouched for it yet.
local function restore_swap(keys, argv)
  if is_superseded(keys, argv[1]) or redis.call('EXISTS', keys[SALE]) == 1 then
    return { 'superseded' }
  end
  local stock, number = beside(keys, STOCK), redis.call('HLEN', beside(keys, RESERVATIONS))
  if number ~= tonumber(argv[4]) then
    return { 'differs', 'reservations', number }
  end
  local fields = {}
  for i = 10, #argv, 6 do
    local item = {
      sku = argv[i], preloaded = tonumber(argv[i + 1]), price = tonumber(argv[i + 2]),
      reserved = tonumber(redis.call('HGET', stock, argv[i] .. ':reserved') or 0),
      sold = tonumber(redis.call('HGET', stock, argv[i] .. ':sold') or 0),
    }
    if item.reserved ~= tonumber(argv[i + 4]) then
      return { 'differs', item.sku .. ':reserved', item.reserved }
    elseif item.sold ~= tonumber(argv[i + 5]) then
      return { 'differs', item.sku .. ':sold', item.sold }
    end
    item.remaining = item.preloaded - item.reserved - item.sold
    refuse_unless_balanced(item)
    append_item(fields, item)
    if argv[i + 3] ~= '' then
      append(fields, item.sku .. ':limit', argv[i + 3])
    end
  end
  call_in_chunks('HSET', stock, fields)
  local sale = beside(keys, SALE)
  redis.call('HSET', sale, 'state', argv[2], 'epoch', int(now_ms()), 'server', (this_server()))
  for i, field in ipairs(SALE_FIELDS) do
    redis.call('HSET', sale, field, argv[4 + i])
  end
  for position = SALE, DEADLINES do
    if redis.call('EXISTS', beside(keys, position)) == 1 then
      redis.call('RENAME', beside(keys, position), keys[position])
    end
  end
  -- From now on every entry is younger than any that was lost.
  redis.call('XADD', keys[EVENTS], argv[3] .. '-0', 'e', '[]')
  redis.call('XTRIM', keys[EVENTS], 'MAXLEN', '0')
  anchor(keys)
  return { 'restored' }
end

-- Forgetting -------------------------------------------------------------------------------------
-- The standing stock has no end and is never purged, so it would grow forever. That is why we forget
-- orders that were decided long ago, one by one. What they bought stays sold.

-- ARGV: per order: order, field of its idempotency key. Answers how many were forgotten.
local function forget(keys, argv)
  refuse_unless_vouched(keys)
  local sale, work, forgotten = read_sale(keys[SALE]), begin(keys), 0
  if not sale or sale.closes_at_ms ~= '' then
    return 0
  end
  for i = 1, #argv, 2 do
    local record = record_of(work, argv[i])
    if not record or not OUTSTANDING[record.state] then
      if record and record.state == 'confirmed' then
        for sku, quantity in record.lines:gmatch('([^,*]+)%*(%d+)%*%d+') do
          set_held(work, record.buyer, sku, held_by(work, record.buyer, sku) - tonumber(quantity))
        end
      end
      put(work.reservations, argv[i], false)
      put(work.idempotency, argv[i + 1], false)
      forgotten = forgotten + 1
    end
  end
  commit(work)
  return forgotten
end

redis.register_function { function_name = 'rocketmart_session', callback = this_session, flags = { 'no-writes' } }
redis.register_function { function_name = 'rocketmart_version', callback = function() return VERSION end, flags = { 'no-writes' } }
redis.register_function { function_name = 'rocketmart_counters', callback = counters, flags = { 'no-writes' } }
redis.register_function('rocketmart_load', load_sale)
redis.register_function('rocketmart_set_state', set_state)
redis.register_function('rocketmart_purge', purge)
redis.register_function('rocketmart_reserve', reserve)
redis.register_function('rocketmart_prepare_payment', prepare_payment)
redis.register_function('rocketmart_submit_payments', submit_payments)
redis.register_function('rocketmart_confirm', confirm)
redis.register_function('rocketmart_decline_payments', decline_payments)
redis.register_function('rocketmart_release', release)
redis.register_function('rocketmart_expire', expire)
redis.register_function('rocketmart_vouch', vouch)
redis.register_function('rocketmart_revoke', revoke)
redis.register_function('rocketmart_restore_begin', restore_begin)
redis.register_function('rocketmart_restore_page', restore_page)
redis.register_function('rocketmart_restore_swap', restore_swap)
redis.register_function('rocketmart_forget', forget)
