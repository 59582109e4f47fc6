-- Takes nonces and charges limits for one or more admissions, one after the other, in one atomic step.
--
-- KEYS: the nonce keys of those admissions that have a nonce, then the bucket keys of all, each in the admissions' order.
-- ARGV: the lifetime of a nonce in ms and how many nonce keys there are; then for each admission its shape, which is
--       2 * buckets + (1 with a nonce), and for each bucket its tolerance and what this charge books, both in whole
--       microseconds.
-- Answers a flat list of integers: for each admission 0 (admitted), 1 (replayed) or 2 (limited), and unless it is
-- a replay, for each bucket how many microseconds are booked ahead: with the charge if admitted, without if not.
--
-- The arithmetic is that of policies/gcra.py. Every number stays below 2^53, where doubles are exact, and is
-- written with %.0f, because Lua's own formatting would round it to 14 digits.
--
-- Calls cost most of the time here. So all buckets are read at once, and each that was charged is written once, however
-- many of the admissions charge it. What a limit refuses is not written, unless more was booked than the bucket holds.

-- Before Redis 7 a script that writes after reading the clock has to ask for its effects to be replicated.
if redis.replicate_commands then redis.replicate_commands() end

local call, tonumber, format = redis.call, tonumber, string.format
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local nonce_ttl, nonces = ARGV[1], tonumber(ARGV[2])

-- What is booked in each bucket, by its key: as read, then as charged so far.
local tat, charged = {}, {}
-- Lua has room for some 8000 values in one call, which a batch of routes with very many limits would pass.
for first = nonces + 1, #KEYS, 1000 do
  local found = call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))
  for i = 1, #found do tat[KEYS[first + i - 1]] = tonumber(found[i]) or 0 end
end

-- How far ahead of now a bucket is booked. Anything more than the tolerance, were it not even a number, is a full bucket
-- from now on: this refuses, never lets more pass, and lets nobody wait for longer than is told.
local function booked(key, tolerance)
  local ahead = tat[key] - now
  if ahead <= 0 then return 0 end
  if ahead <= tolerance then return ahead end
  tat[key], charged[key] = now + tolerance, tolerance
  return tolerance
end

local answer, said, nonce, key, arg = {}, 0, 1, nonces, 3

while ARGV[arg] do
  local shape = tonumber(ARGV[arg])
  local has_nonce = shape % 2
  local count = (shape - has_nonce) / 2
  local replayed = false
  if has_nonce == 1 then
    replayed = not call('SET', KEYS[nonce], '1', 'PX', nonce_ttl, 'NX')
    nonce = nonce + 1
  end
  said = said + 1
  if replayed then
    answer[said] = 1
  else
    local status = said
    local passes = true
    for i = 1, count do
      local tolerance, increment = tonumber(ARGV[arg + 2 * i - 1]), tonumber(ARGV[arg + 2 * i])
      local ahead = booked(KEYS[key + i], tolerance)
      if ahead + increment > tolerance then passes = false end
      answer[status + i] = ahead
    end
    if passes then
      for i = 1, count do
        local ahead = answer[status + i] + tonumber(ARGV[arg + 2 * i])
        tat[KEYS[key + i]] = now + ahead
        charged[KEYS[key + i]] = ahead
        answer[status + i] = ahead
      end
    end
    answer[status] = passes and 0 or 2
    said = status + count
  end
  key = key + count
  arg = arg + 1 + 2 * count
end

for name, ahead in pairs(charged) do
  call('SET', name, format('%.0f', now + ahead), 'PX', format('%.0f', math.ceil(ahead / 1000)))
end
return answer
