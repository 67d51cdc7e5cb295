-- What wrk sends:  wrk … -s registry_load.lua URL -- FILE FIRST SPAN
--
-- FILE holds a whole request, made by registry_load.py. Where it has a mark, a number of seven digits is written for
-- each request: FIRST and those after it (SPAN 0), or any of the SPAN numbers from FIRST on. All have the same length,
-- so that the headers are right and next to nothing is left to do here.

local MARK = "@@@@@@@"
local before, after, number, span

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local whole = file:read("*a")
  file:close()
  local at = whole:find(MARK, 1, true)
  before = at and whole:sub(1, at - 1) or whole
  after = at and whole:sub(at + #MARK)
  number, span = tonumber(args[2]), tonumber(args[3])
  math.randomseed(number)
end

function request()
  if not after then return before end
  if span > 0 then return before .. string.format("%07d", number + math.random(0, span - 1)) .. after end
  number = number + 1
  return before .. string.format("%07d", number - 1) .. after
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), e.status,
    e.connect + e.read + e.write + e.timeout))
end
