-- One page again and again by wrk, on connections that are kept: a closed loop, for wrk has no schedule.
--
--   wrk -c 20 -t 1 -d 10s --latency -s page.lua https://web.example/healthz
--
-- 'fab load' makes users, threads, duration_s and path of --parameters into these flags. wrk verifies no certificate ('fab load'
-- does, before it starts wrk) and tells no sample, only its summary: to that this adds the percentiles that it lacks.

done = function(summary, latency, requests)
  for _, share in ipairs({ 50, 95, 99, 99.9 }) do
    io.write(string.format("%6.4g%%  %.3fms\n", share, latency:percentile(share) / 1000))
  end
end
