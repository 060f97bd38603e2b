"""Does the same command give the same verdict every time? Once for a broken strategy and once for a sound one.

    python benchmarks/flakiness.py [--times 20] [--users 2000] [--strategies memcached-cas,redis-lua]

Each run has its canary, so its verdict is the one that a pipeline would see. The seed changes with each run unless
--same-seed is given: a verdict must hang on neither.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter


def main() -> int:
    """Run and count; the exit code is 1 when some strategy got more than one verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--strategies", default="check-then-decr,redis-lua")
    parser.add_argument("--same-seed", action="store_true")
    given = parser.parse_args()
    flaky = False
    for strategy in given.strategies.split(","):
        verdicts: Counter[str] = Counter()
        took_s, oversold = [], []
        with tempfile.TemporaryDirectory() as out:
            for turn in range(given.times):
                seed = 1 if given.same_seed else 1 + turn
                argv = [sys.executable, "-m", "oversold", "run", "bid-burst", "--strategy", strategy, "--json"]
                argv += ["--users", str(given.users), "--seed", str(seed), "--no-charts", "--out", out]
                begun = time.monotonic()
                ended = subprocess.run(argv, capture_output=True, text=True, check=False)
                took_s.append(time.monotonic() - begun)
                summary = json.loads(ended.stdout) if ended.stdout else {"verdict": f"exit {ended.returncode}"}
                verdicts[summary["verdict"]] += 1
                oversold.append(summary.get("rates", {}).get("oversubscription", float("nan")))
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        told = ", ".join(f"{count} x {verdict}" for verdict, count in verdicts.most_common())
        spread = f"{min(oversold):.1%} to {max(oversold):.1%}"
        print(
            f"{strategy}: {told}; oversold by {spread}; {statistics.median(took_s):.1f} s a run, canary included "
            f"(longest {max(took_s):.1f} s)"
        )
        flaky |= len(verdicts) > 1
    return int(flaky)


if __name__ == "__main__":
    raise SystemExit(main())
