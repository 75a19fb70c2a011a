-- A closed loop of POSTs with keep-alive. BODY and HEADERS ("k: v;k: v") come from the environment; done() prints one line of JSON.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"
for pair in string.gmatch(os.getenv("HEADERS") or "", "([^;]+)") do
  local key, value = string.match(pair, "^%s*([^:]+):%s*(.*)$")
  wrk.headers[key] = value
end

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status + e.connect + e.read + e.write + e.timeout))
end
