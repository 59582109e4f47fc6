-- The gate that a careful engineer writes by hand into nginx: signature, freshness, role, nonce and counter.
--
-- It checks what PORTREEVE1 asks for, so the same signed requests pass. Grammar, time, signature and role come
-- first; the store comes last, in one round trip, and if it fails nobody passes. Up to the store everything is
-- of the kind that LuaJIT compiles: no patterns, no closures, C functions through the FFI only.

local ffi = require "ffi"
local settings = require "settings"
local store = require "nginx-lua-store"

local C, byte, find, sub = ffi.C, string.byte, string.find, string.sub
local exit, get_method, now, var = ngx.exit, ngx.req.get_method, ngx.now, ngx.var
local get_body_data, read_body = ngx.req.get_body_data, ngx.req.read_body

local WINDOW_MS, FUTURE_MS = 60000, 1000
local SIGNATURE_SIZE = 64

local ROUTES = {
    GET = {
        ["/paper/v1/orders"] = "orders:read",
        ["/paper/v1/file"] = "orders:read",
        ["/paper/v1/stream"] = "orders:read",
    },
    POST = { ["/paper/v1/orders"] = "orders:read" },
}
local ROLES = {
    reader = { ["orders:read"] = true },
}

ffi.cdef [[
typedef struct hmac_ctx_st HMAC_CTX;
HMAC_CTX *HMAC_CTX_new(void);
const void *EVP_sha256(void);
int HMAC_Init_ex(HMAC_CTX *ctx, const char *key, int size, const void *digest, void *engine);
int HMAC_Update(HMAC_CTX *ctx, const char *text, size_t size);
int HMAC_Final(HMAC_CTX *ctx, unsigned char *out, unsigned int *size);
unsigned char *SHA256(const char *text, size_t size, unsigned char *out);
int CRYPTO_memcmp(const void *left, const void *right, size_t size);
unsigned char *ngx_hex_dump(unsigned char *out, const unsigned char *digest, size_t size);
]]

local digest = ffi.new "unsigned char[32]"
local hex = ffi.new "unsigned char[64]"

local function sha256_hex(text)
    C.SHA256(text, #text, digest)
    C.ngx_hex_dump(hex, digest, 32)
    return ffi.string(hex, 64)
end

local EMPTY_SHA256 = sha256_hex ""

-- A key's pads are hashed once, here; a request only starts from that state again.
local function keyed(secret)
    local ctx = C.HMAC_CTX_new()
    assert(C.HMAC_Init_ex(ctx, secret, #secret, C.EVP_sha256(), nil) == 1)
    return ctx
end

local keys = {}
for id, key in pairs(settings.keys) do
    keys[id] = {
        ctx = keyed(key.secret),
        role = ROLES[key.role],
        identity = "partner=" .. key.partner .. "; key=" .. id .. "; role=" .. key.role,
        admission = store.prepare(id),
    }
end
-- An unknown key costs what a known one does.
local decoy = { ctx = keyed(string.rep("x", 59)) }

local function is_signed(key, text, signature)
    local ctx = key.ctx
    if C.HMAC_Init_ex(ctx, nil, 0, nil, nil) ~= 1 or C.HMAC_Update(ctx, text, #text) ~= 1
        or C.HMAC_Final(ctx, digest, nil) ~= 1 then
        return false
    end
    C.ngx_hex_dump(hex, digest, 32)
    return C.CRYPTO_memcmp(hex, signature, SIGNATURE_SIZE) == 0 and key ~= decoy
end

-- A table instead of comparisons: one path through the loop, whatever the characters.
local in_nonce = ffi.new "bool[256]"
for c in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"):gmatch "." do
    in_nonce[byte(c)] = true
end

local function is_nonce(text)
    local size = #text
    if size < 16 or size > 64 then
        return false
    end
    for at = 1, size do
        if not in_nonce[byte(text, at)] then
            return false
        end
    end
    return true
end

local function decimal(text, first, last)
    if last < first or last - first > 14 then
        return nil
    end
    local value = 0
    for at = first, last do
        local c = byte(text, at)
        if c < 48 or c > 57 then
            return nil
        end
        value = value * 10 + (c - 48)
    end
    return value
end

-- Milliseconds, and after a slash the narrower window that a request may ask for.
local function is_fresh(timestamp)
    local slash, window = find(timestamp, "/", 1, true), WINDOW_MS
    if slash then
        window = decimal(timestamp, slash + 1, #timestamp)
    end
    local at = decimal(timestamp, 1, (slash or #timestamp + 1) - 1)
    if not at or not window or window > WINDOW_MS then
        return false
    end
    local age = now() * 1000 - at
    return age <= window and age >= -FUTURE_MS
end

local function body_sha256()
    if not var.content_length and not var.http_transfer_encoding then
        return EMPTY_SHA256
    end
    read_body()
    -- Never a file: what is larger than the buffer is refused with 413.
    local body = get_body_data()
    return body and sha256_hex(body) or EMPTY_SHA256
end

local function admit()
    local id, timestamp = var.http_portreeve_key, var.http_portreeve_timestamp
    local nonce, signature = var.http_portreeve_nonce, var.http_portreeve_signature
    if not id or not timestamp or not nonce or not signature or #signature ~= SIGNATURE_SIZE
        or not is_nonce(nonce) or not is_fresh(timestamp) then
        return exit(401)
    end
    local method, target = get_method(), var.request_uri
    local mark = find(target, "?", 1, true)
    local path, query = target, ""
    if mark then
        path, query = sub(target, 1, mark - 1), sub(target, mark + 1)
    end
    local text = "PORTREEVE1\n" .. timestamp .. "\n" .. nonce .. "\n" .. id .. "\n" .. method .. "\n"
        .. path .. "\n" .. query .. "\n" .. body_sha256()
    local key = keys[id] or decoy
    if not is_signed(key, text, signature) then
        return exit(401)
    end
    local routes = ROUTES[method]
    local permission = routes and routes[path]
    if not permission then
        return exit(404)
    end
    if not key.role[permission] then
        return exit(403)
    end
    local status = store.admit(key.admission, nonce)
    if status ~= 200 then
        return exit(status)
    end
    var.identity = key.identity
end

return { admit = admit, start = store.start }
