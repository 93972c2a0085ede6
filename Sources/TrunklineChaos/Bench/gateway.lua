-- What wrk says to a gateway: BENCH_KIND is single, batch or webhook. Secrets come in the environment, which nobody else may read.
local kind, run = os.getenv("BENCH_KIND"), os.getenv("BENCH_RUN")
local size = tonumber(os.getenv("BENCH_SIZE"))
local lines = tonumber(os.getenv("BENCH_LINES"))

local threads = 0
function setup(thread)
    thread:set("thread", threads)
    threads = threads + 1
end

-- In each thread.
local headers = { ["Content-Type"] = "application/json" }
local path = "/v1/messages"
local number, webhooks = 0, {}

function init()
    if kind == "webhook" then
        path = os.getenv("BENCH_PATH")
        for line in io.lines(os.getenv("BENCH_FILE")) do
            local signature, body = line:match("^(%S+)\t(.*)$")
            webhooks[#webhooks + 1] = { signature, body }
        end
    else
        headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY")
        if kind == "batch" then path = path .. "/batch" end
    end
end

local function message()
    number = number + 1
    return string.format(
        '{"line":"line-%02d","key":"%s:%d.%d","to":"+97250%07d","body":"Your order %d is ready for pickup at the shop. Show this message at the desk.","purpose":"pickup"}',
        number % lines + 1, run, thread, number, 1000000 + number % 8000000, number)
end

function request()
    if kind == "webhook" then
        number = number + 1
        local webhook = webhooks[(number - 1) % #webhooks + 1]
        headers["X-Shopify-Hmac-Sha256"] = webhook[1]
        headers["X-Shopify-Topic"] = "orders/create"
        headers["X-Shopify-Shop-Domain"] = "bench.myshopify.com"
        headers["X-Shopify-Webhook-Id"] = string.format("%s-%d-%d", run, thread, number)
        headers["X-Shopify-Event-Id"] = string.format("%s-%d-%d", run, thread, number)
        return wrk.format("POST", path, headers, webhook[2])
    elseif kind == "batch" then
        local messages = {}
        for place = 1, size do messages[place] = message() end
        return wrk.format("POST", path, headers, '{"messages":[' .. table.concat(messages, ",") .. "]}")
    end
    return wrk.format("POST", path, headers, message())
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"refused":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
