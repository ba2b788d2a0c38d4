"""
A job's settings as one argument of its command: JSON, or `@` and the name of a file that holds it.

Linux takes 128 KiB for one argument (MAX_ARG_STRLEN, execve(2)), and Snakemake passes a rule's
whole command line as one, quoted. Settings beyond a safe size lie in a file below the results
folder, which is named by its content and never changes.
"""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from sampan.errors import ConfigError
from sampan.storage.durable import write_bytes

SAFE_BYTES = 32 * 1024
"""Of an argument, as the shell reads it; the rest of a command line has three times as much."""


def argument(value: Any, results: Path | str, *, write: bool, sort: bool = True) -> str:
    """
    `value` as an argument; `write` its file where it is too long, unless that is there.

    `StorageError` where the file cannot be written.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=sort)
    if len(shlex.quote(text).encode()) <= SAFE_BYTES:
        return text
    data = text.encode()
    path = Path(results) / "specs" / f"{hashlib.sha256(data).hexdigest()[:16]}.json"
    if write and not path.exists():
        write_bytes(path, data)
    return f"@{path}"


def value_of(argument: str) -> Any:
    """What an argument says; `ConfigError` where it is no JSON, or its file cannot be read."""
    is_file = argument.startswith("@")
    try:
        return json.loads(Path(argument[1:]).read_bytes() if is_file else argument)
    except FileNotFoundError:
        raise ConfigError(
            f"{argument[1:]}: is missing; Snakemake writes it when it runs, not in a dry-run"
        ) from None
    except OSError as fault:
        raise ConfigError(f"{argument[1:]}: cannot be read: {fault.strerror or fault}") from fault
    except (ValueError, RecursionError) as fault:
        where = f"{argument[1:]}: " if is_file else ""
        raise ConfigError(f"{where}not JSON: {fault}") from None
