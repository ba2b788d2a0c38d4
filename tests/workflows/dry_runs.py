"""
What Snakemake plans for several configs, each in a working folder: one process for all.

    plans = planned([(folder, config), …])    # of each, rule → its number of jobs
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def planned(runs: Sequence[tuple[Path, Path]], *words: str) -> list[Counter[str]]:
    """Rule, without its dataset's name, → jobs; a target's rule counts too. Others fail."""
    given = json.dumps([[str(folder), str(config), *words] for folder, config in runs])
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, __file__, given],
        env=os.environ | {"PATH": binaries},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [_jobs(output) for output in json.loads(done.stdout)]


def _jobs(output: str) -> Counter[str]:
    assert "This was a dry-run" in output or "Nothing to be done" in output, output
    names = re.findall(r"^(?:local)?rule (\w+):", output, re.MULTILINE)
    return Counter(re.sub(r"^((?:commit_)?index|scan)_\w+$", r"\1", name) for name in names)


def _run(folder: str, config: str, *words: str) -> str:
    from snakemake import cli

    os.chdir(folder)
    said = io.StringIO()
    profile = ["-s", str(ROOT / "Snakefile"), "--profile", str(ROOT / "profiles/local")]
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*words, "-n", *profile, "--configfile", config])
    return said.getvalue()


if __name__ == "__main__":
    print(json.dumps([_run(*run) for run in json.loads(sys.argv[1])]))
