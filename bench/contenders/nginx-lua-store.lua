-- Nonce and counter in Redis, both in one script, and one call for all requests that wait at that moment.
--
-- A timer's thread owns the connection and asks for everybody: while one answer is under way, the next batch
-- gathers. That costs a request two switches of a coroutine instead of a socket of its own. Whatever goes wrong
-- with the store, those who wait are refused with 503.

local semaphore = require "ngx.semaphore"
local settings = require "settings"

local tcp = ngx.socket.tcp

local NONCE_TTL_MS, COUNTER_TTL_MS, LIMIT = 150000, 1000, 1000000
local WAIT_S, IDLE_S, TIMEOUT_MS = 2, 30, 1000
-- What a thread's sockets allocate is freed when it ends, so it hands over to another now and then.
local BATCHES_OF_A_THREAD = 50000

-- A digit a request: 1 admitted, 2 replayed, 3 over the limit.
local SCRIPT = [[
local answers = {}
for at = 1, #KEYS, 2 do
  local answer = '1'
  if not redis.call('SET', KEYS[at], '', 'PX', ARGV[1], 'NX') then
    answer = '2'
  else
    local count = redis.call('INCR', KEYS[at + 1])
    if count == 1 then redis.call('PEXPIRE', KEYS[at + 1], ARGV[2]) end
    if count > tonumber(ARGV[3]) then answer = '3' end
  end
  answers[#answers + 1] = answer
end
return table.concat(answers)]]

local STATUS = { [49] = 200, [50] = 401, [51] = 429 }

local function bulk(text)
    return "$" .. #text .. "\r\n" .. text .. "\r\n"
end

local function hex(binary)
    return (binary:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local BY_DIGEST = bulk "EVALSHA" .. bulk(hex(ngx.sha1_bin(SCRIPT)))
local BY_BODY = bulk "EVAL" .. bulk(SCRIPT)
local ARGUMENTS = bulk(tostring(NONCE_TTL_MS)) .. bulk(tostring(COUNTER_TTL_MS)) .. bulk(tostring(LIMIT))

local waiting, count = {}, 0
local is_idle, wake = false, semaphore.new()
local idle_jobs, idle_count = {}, 0

local function prepare(id)
    return { nonce = "lua:n:" .. id .. ":", counter = "\r\n" .. bulk("lua:c:" .. id) }
end

local function admit(admission, nonce)
    local job
    if idle_count > 0 then
        job, idle_count = idle_jobs[idle_count], idle_count - 1
    else
        job = { answered = semaphore.new() }
    end
    local key = admission.nonce .. nonce
    job.keys = "$" .. #key .. "\r\n" .. key .. admission.counter
    count = count + 1
    waiting[count] = job
    if is_idle then
        is_idle = false
        wake:post(1)
    end
    if not job.answered:wait(WAIT_S) then
        -- Not used again: an answer may still come for it.
        return 503
    end
    idle_count = idle_count + 1
    idle_jobs[idle_count] = job
    return job.status
end

local parts = {}
local function ask(sock, how, batch, size)
    parts[1] = "*" .. (6 + 2 * size) .. "\r\n" .. how .. bulk(tostring(2 * size))
    for at = 1, size do
        parts[at + 1] = batch[at].keys
    end
    parts[size + 2] = ARGUMENTS
    for at = size + 3, #parts do
        parts[at] = nil
    end
    if not sock:send(parts) then
        return nil
    end
    local head = sock:receive()
    if head == "$" .. size then
        return sock:receive(size + 2)
    end
    if head and how == BY_DIGEST and head:sub(1, 9) == "-NOSCRIPT" then
        return ask(sock, BY_BODY, batch, size)
    end
    return nil
end

local function answer(batch, size, digits)
    for at = 1, size do
        local job = batch[at]
        job.status = digits and STATUS[digits:byte(at)] or 503
        job.answered:post(1)
    end
end

local function serve_batches()
    local sock, connected = tcp(), false
    local spare = {}
    sock:settimeouts(TIMEOUT_MS, TIMEOUT_MS, TIMEOUT_MS)
    for _ = 1, BATCHES_OF_A_THREAD do
        while count == 0 do
            is_idle = true
            wake:wait(IDLE_S)
            is_idle = false
        end
        local batch, size = waiting, count
        waiting, count = spare, 0
        connected = connected or sock:connect("127.0.0.1", settings.redis_port)
        local digits = connected and ask(sock, BY_DIGEST, batch, size)
        if not digits then
            sock:close()
            connected = false
        end
        answer(batch, size, digits)
        spare = batch
    end
    sock:close()
end

local function serve(premature)
    if premature then
        return
    end
    -- A defect in here must not leave everybody waiting for good.
    local served, failure = pcall(serve_batches)
    if not served then
        ngx.log(ngx.ERR, failure)
    end
    ngx.timer.at(0, serve)
end

local function start()
    ngx.timer.at(0, serve)
end

return { prepare = prepare, admit = admit, start = start }
