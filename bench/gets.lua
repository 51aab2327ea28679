-- wrk's script: gets one PATH or another at random, and prints what became of it as a line of JSON. Arguments: SEED PATH…
-- Whoever is asked with the same seed is asked for the same paths in the same order.
-- https://github.com/wg/wrk/blob/master/SCRIPTING

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   others, requests = 0, {}
   math.randomseed(tonumber(arguments[1]))
   for index = 2, #arguments do
      requests[index - 1] = wrk.format("GET", arguments[index])
   end
end

function request()
   return requests[math.random(#requests)]
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
