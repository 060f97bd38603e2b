// Contestant: k6 with as many VUs as there are connections, which share the requests among them.
import http from "k6/http";
import exec from "k6/execution";

export const options = {
  scenarios: {
    bids: {
      executor: "shared-iterations",
      vus: Number(__ENV.BENCH_CONNECTIONS),
      iterations: Number(__ENV.BENCH_REQUESTS),
      maxDuration: "10m",
    },
  },
};
const url = __ENV.BENCH_URL + __ENV.BENCH_PATH;
const body = __ENV.BENCH_BODY;
const params = { headers: { "Content-Type": "application/json", "Idempotency-Key": "benchmark-000001" } };

export default function () {
  if (http.post(url, body, params).status !== 201) {
    exec.test.abort("a request failed");
  }
}
