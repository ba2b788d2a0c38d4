"""Try every GPU that torch sees, and print what it found as one line of JSON."""

import json
import warnings
from typing import Any


def try_gpus() -> dict[str, Any]:
    """Torch's version and its CUDA, and of each device a small product in bfloat16."""
    import torch

    found: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda or torch.version.hip or "",
        "available": False,
        "devices": [],
    }
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found["available"] = torch.cuda.is_available()
        if not found["available"]:
            found["fault"] = _reason(torch, [str(warning.message) for warning in said])
            return found
    for number in range(torch.cuda.device_count()):
        found["devices"].append(_try(torch, number))
    return found


def _reason(torch: Any, warned: list[str]) -> str:
    """Why torch cannot use CUDA, in its own words."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as fault:
        return str(fault).strip().splitlines()[0]
    return warned[-1].splitlines()[0] if warned else "no GPU found"


def _try(torch: Any, number: int) -> dict[str, Any]:
    try:
        about = torch.cuda.get_device_properties(number)
        found = {
            "name": about.name,
            "memory_mb": about.total_memory // 2**20,
            "capability": f"{about.major}.{about.minor}",
            "bf16": about.major >= 8 or bool(torch.version.hip),
        }
        ones = torch.ones(256, 256, dtype=torch.bfloat16, device=f"cuda:{number}")
        total = float((ones @ ones).float().sum().cpu())
        if total != 256.0**3:
            found["fault"] = f"a product of ones gives {total}, not {256**3}"
    except RuntimeError as fault:
        return {"name": f"GPU {number}", "fault": str(fault).strip().splitlines()[0]}
    return found


if __name__ == "__main__":
    print(json.dumps(try_gpus()))
