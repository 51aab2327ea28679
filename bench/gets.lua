-- wrk's script: gets each PATH in turn, and prints what became of it as a line of JSON. Arguments: PATH…
-- https://github.com/wg/wrk/blob/master/SCRIPTING

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   others, number, requests = 0, 0, {}
   for index, path in ipairs(arguments) do
      requests[index] = wrk.format("GET", path)
   end
end

function request()
   number = number % #requests + 1
   return requests[number]
end

function response(status)
   if status ~= 200 then
      others = others + 1
   end
end

function done(summary, latency)
   local others, errors = 0, summary.errors
   for _, thread in ipairs(threads) do
      others = others + thread:get("others")
   end
   local failed = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format('{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}\n',
      summary.requests, summary.duration, failed + others, latency:percentile(50), latency:percentile(99)))
end
