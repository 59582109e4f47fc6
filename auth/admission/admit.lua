-- Takes nonces and charges limits for one or more admissions, one after the other, in one atomic step.
--
-- KEYS: for each admission its nonce key, if it has a nonce, then its bucket keys.
-- ARGV: the lifetime of a nonce in ms; then for each admission its shape, which is 2 * buckets + (1 with a nonce),
--       and for each bucket its tolerance and what this charge books, both in whole microseconds.
-- Answers a flat list of integers: for each admission 0 (admitted), 1 (replayed) or 2 (limited), and unless it is
-- a replay, for each bucket how many microseconds are booked ahead: with the charge if admitted, without if not.
--
-- The arithmetic is that of policies/gcra.py. Every number stays below 2^53, where doubles are exact, and is
-- written with %.0f, because Lua's own formatting would round it to 14 digits.

-- Before Redis 7 a script that writes after reading the clock has to ask for its effects to be replicated.
if redis.replicate_commands then redis.replicate_commands() end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local answer, key, arg = {}, 1, 2

-- How far ahead of now a bucket is booked. Anything that is not below the tolerance, were it not even a number,
-- counts as a full bucket: this refuses, and never lets more pass.
local function booked(tat, tolerance)
  local ahead = (tonumber(tat) or 0) - now
  if ahead <= 0 then return 0 end
  if ahead < tolerance then return ahead end
  return tolerance
end

while ARGV[arg] do
  local shape = tonumber(ARGV[arg])
  local replayed = false
  if shape % 2 == 1 then
    replayed = not redis.call('SET', KEYS[key], '1', 'PX', ARGV[1], 'NX')
    key = key + 1
  end
  local count = (shape - shape % 2) / 2
  if replayed then
    answer[#answer + 1] = 1
  elseif count == 0 then
    answer[#answer + 1] = 0
  else
    local tats = redis.call('MGET', unpack(KEYS, key, key + count - 1))
    local ahead, limited = {}, false
    for i = 1, count do
      local tolerance = tonumber(ARGV[arg + 2 * i - 1])
      ahead[i] = booked(tats[i], tolerance)
      if ahead[i] + tonumber(ARGV[arg + 2 * i]) > tolerance then limited = true end
    end
    answer[#answer + 1] = limited and 2 or 0
    for i = 1, count do
      if not limited then
        ahead[i] = ahead[i] + tonumber(ARGV[arg + 2 * i])
        redis.call('SET', KEYS[key + i - 1], string.format('%.0f', now + ahead[i]),
          'PX', string.format('%.0f', math.ceil(ahead[i] / 1000)))
      end
      answer[#answer + 1] = ahead[i]
    end
  end
  key = key + count
  arg = arg + 1 + 2 * count
end
return answer
