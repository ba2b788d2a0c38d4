"""
All goals of speed and memory, in one table and as JSON.

    python benchmarks/bench.py [preprocess shards …] [--out bench.json] [--img2dataset PYTHON]

Each benchmark in a process of its own, one after the other, with its own defaults; see the page
"Speed" in the docs for what each number means. A goal that is missed is said to be.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import goals
from goals import Found, Report

HERE = Path(__file__).parent
PARTS = (
    "preprocess",
    "shards",
    "extract",
    "orchestration",
    "run",
    "ledgers",
    "rows",
    "feed",
    "maps",
    "search",
    "index",
    "memory",
    "gpu",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--img2dataset", type=Path, help="Python of its environment")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    report = Report()
    for part in args.parts or PARTS:
        began = time.monotonic()
        print(f"{part} …", file=sys.stderr)
        more = ["--img2dataset", str(args.img2dataset)] if args.img2dataset else []
        found = run(part, more if part == "preprocess" else [])
        report.found += found.found
        report.figures |= found.figures
        print(f"{part} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    goals.show(report, args.out)
    missed = [item for item in report.found if item.verdict == "MISSED"]
    print(f"{len(report.found) - len(missed)} of {len(report.found)} goals not missed; {args.out}")
    return 0


def run(part: str, words: list[str]) -> Report:
    """One benchmark's report, handed over as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, str(HERE / f"{part}.py"), *words, "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        value = json.loads(out.read_text())
    found = [Found(**{k: v for k, v in item.items() if k != "verdict"}) for item in value["found"]]
    return Report(found, value["figures"])


if __name__ == "__main__":
    sys.exit(main())
