-- Contestant: wrk, which records nothing but a histogram. The request never changes.
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Idempotency-Key"] = "benchmark-000001"
