"""Start-up: whole-process wall time of `limbeck --help` and `limbeck plugins`, median of 10. No torch is imported."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMBECK = Path(sys.executable).with_name("limbeck")

if __name__ == "__main__":
    found = {}
    for arguments in (["--help"], ["plugins"]):
        seconds = []
        for _ in range(11):
            start = time.perf_counter()
            subprocess.run([LIMBECK, *arguments], capture_output=True, check=True)
            seconds.append(time.perf_counter() - start)
        seconds = seconds[1:]  # the first may write byte code
        found[" ".join(arguments)] = {
            "median_s": statistics.median(seconds),
            "min_s": min(seconds),
            "max_s": max(seconds),
        }
    print(json.dumps(found, indent=2))
