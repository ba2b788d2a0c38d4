"""What the doctor's jobs found, as a table and as lines that say what to set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sampan.operations.ls import megabytes

HEADER = (
    *("rule", "partition", "node", "CPUs (asked)", "MB (asked)", "GPUs (asked)", "torch"),
    *("weights", "results", "network", "verdict"),
)
ORDER = (
    *("digits", "scan", "index", "preprocess_part", "extract", "extract_gpu", "train", "evaluate"),
)
"""Of the data."""
LEAST_FREE_BYTES = 10**9
LEAST_FREE_INODES = 10_000
LEAST_TEMPORARY_BYTES = 2 * 10**8
CLOCK_ERROR_SECONDS = 30.0
"""A lease is dead after two minutes without a heartbeat: a clock may not eat much of that."""
CLOCK_WARNING_SECONDS = 2.0

Found = Mapping[str, Any]


def table(found: Sequence[Found], here: Mapping[str, Any]) -> list[str]:
    """One line a kind of job, in columns."""
    rows = [HEADER, *(_row(job, here) for job in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def in_order(rule: str) -> tuple[int, str]:
    """A key to sort rules by; a rule of one dataset, `scan_digits`, stands with its family."""
    family = rule if rule in ORDER else rule.partition("_")[0]
    return (ORDER.index(family) if family in ORDER else len(ORDER), rule)


def merged(found: Sequence[tuple[str, str]], num_rules: int) -> list[str]:
    """(rule, text) → a line for each text, with its rules in front, or `all` where it is all."""
    rules: dict[str, list[str]] = {}
    for rule, text in found:
        rules.setdefault(text, []).append(rule)
    lines = []
    for text, names in rules.items():
        whose = list(dict.fromkeys(names))
        lines.append(f"{'all' if len(whose) == num_rules > 1 else ', '.join(whose)}: {text}")
    return lines


def faults(job: Found, here: Mapping[str, Any]) -> Iterator[str]:
    """What must be mended before jobs of this kind run; `here` is the login node's environment."""
    yield from _environment_faults(job, here)
    yield from _grant_faults(job)
    yield from _gpu_faults(job)
    yield from _weights_faults(job["weights"])
    yield from _storage_faults(job)
    if job["network"]["offline"] != "1":
        yield (
            f"HF_HUB_OFFLINE is {job['network']['offline'] or 'not set'} in the job; "
            "unset it where you start Snakemake, so that sampan can set it to 1"
        )


def warnings(job: Found, here: Mapping[str, Any]) -> Iterator[str]:
    """What is worth knowing, though jobs will run."""
    if job["environment"]["prefix"] != here["prefix"] and not job["environment"]["image"]:
        yield f"equal versions, but another place: {job['environment']['prefix']}"
    if job["job"] and job["memory"]["cgroup_mb"] is None and job["memory"]["slurm_mb"] is None:
        yield "memory granted is not known: no control group limits it, and scontrol does not say"
    for device in job["gpus"].get("torch", {}).get("devices", ()):
        if not device.get("bf16", True):
            yield (
                f"{device['name']} (capability {device['capability']}) only emulates bfloat16; "
                "dtype: float32 is faster there"
            )
    clock = job["storage"].get("clock_seconds", 0.0)
    if CLOCK_WARNING_SECONDS < abs(clock) <= CLOCK_ERROR_SECONDS:
        yield f"the file server's clock is {clock:+.1f} s from {job['node']}'s"
    if routes := job["network"]["routes"]:
        yield (
            f"a route leads out of the node by {', '.join(routes)}; "
            "sampan's jobs are told to stay offline"
        )


def _environment_faults(job: Found, here: Mapping[str, Any]) -> Iterator[str]:
    theirs, ours = job["environment"]["versions"], here["versions"]
    names = {"sampan"} if job["environment"]["image"] else theirs.keys() | ours.keys()
    differ = [
        f"{name} {theirs.get(name, 'missing')} (here {ours.get(name, 'missing')})"
        for name in sorted(names)
        if theirs.get(name) != ours.get(name)
    ]
    if differ:
        yield (
            f"another environment on {job['node']}: {', '.join(differ)} from "
            f"{job['environment']['sampan']}; put one environment on a file system that the nodes "
            "share, activate it where you start Snakemake, and see that no start-up file of your "
            "shell puts another before it"
        )


def _grant_faults(job: Found) -> Iterator[str]:
    threads, memory = job["threads"], job["memory"]
    if (granted := threads_granted(job)) < threads["asked"]:
        yield (
            f"threads: {threads['asked']} asked for, {granted} granted on {job['node']}; set "
            f"{job['rule']}: {granted} under set-threads in the profile"
        )
    limit = memory_mb_granted(job)
    if limit is not None and limit < memory["asked_mb"]:
        yield (
            f"mem_mb {memory['asked_mb']:,} asked for, {limit:,} MB granted on {job['node']}; set "
            f"mem_mb: {limit} under set-resources: {job['rule']} in the profile, or fewer threads"
        )
    temporary = job["temporary"]
    if temporary["wanted"] and temporary["wanted"].rstrip("/") != temporary["path"].rstrip("/"):
        yield (
            f"TMPDIR={temporary['wanted']} cannot be used on {job['node']}, jobs would write to "
            f"{temporary['path']}; set TMPDIR to a folder that the nodes have"
        )
    elif temporary["free_bytes"] < LEAST_TEMPORARY_BYTES:
        yield (
            f"{megabytes(temporary['free_bytes'])} free in {temporary['path']} on {job['node']}; "
            f"jobs need {megabytes(LEAST_TEMPORARY_BYTES)}; set TMPDIR to a folder with space"
        )


def _gpu_faults(job: Found) -> Iterator[str]:
    gpus = job["gpus"]
    if not gpus["asked"]:
        return
    asked, visible = gpus["asked"], gpus["visible"]
    key = f"set-resources: {job['rule']}: gpu"
    if visible is not None and len(visible) < asked:
        yield (
            f"GPUs: {asked} asked for, {len(visible)} granted on {job['node']} "
            f"(CUDA_VISIBLE_DEVICES={','.join(visible)}); set {key}: {len(visible)} in the profile"
        )
    torch = gpus["torch"]
    granted = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={','.join(visible)})"
    if not torch.get("available"):
        cuda = f"for CUDA {torch['cuda']}" if torch.get("cuda") else "built without CUDA"
        driver = gpus["driver"] or "none found"
        yield (
            f"{asked} GPU granted on {job['node']}{granted}, but torch "
            f"{torch.get('version', '')} ({cuda}; driver: {driver}) cannot use it: "
            f"{torch.get('fault', 'no reason given')}; install a torch that is built for the "
            f"node's driver, or set {key}: 0 in the profile"
        )
        return
    if len(torch["devices"]) < asked:
        yield (
            f"GPUs: {asked} asked for, torch sees {len(torch['devices'])} on {job['node']}"
            f"{granted}; set {key}: {len(torch['devices'])} in the profile"
        )
    for number, device in enumerate(torch["devices"]):
        if "fault" in device:
            yield (
                f"GPU {number} of {job['node']} ({device['name']}) fails: {device['fault']}; "
                "tell your centre, and keep jobs off that node with "
                f"slurm_extra: \"'--exclude={job['node']}'\""
            )


def _weights_faults(weights: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, found in weights.items():
        if "fault" in found:
            yield (
                f"encoders.{name}: {found['fault']}; stage it where the nodes see it, and set "
                f"encoders.{name}.path"
            )
        elif found["digest"] != found["wanted"]:
            yield (
                f"encoders.{name}: {found['path']}: these are other weights: digest "
                f"{found['digest']}, the config says {found['wanted']}; put the right files there, "
                f"or set encoders.{name}.digest to what you mean"
            )


def _storage_faults(job: Found) -> Iterator[str]:
    storage = job["storage"]
    where = f"{storage['path']} on {job['node']} ({storage.get('type') or 'unknown file system'})"
    for fault in storage["faults"]:
        yield f"{where}: {fault}; set results to a folder on the file system that the nodes share"
    if "free_bytes" not in storage:
        return
    if (free := storage["free_bytes"]) < LEAST_FREE_BYTES:
        yield f"{where}: {megabytes(free)} free; make room, or set results to another folder"
    inodes = storage["free_inodes"]
    if inodes is not None and inodes < LEAST_FREE_INODES:
        yield f"{where}: {inodes:,} files more at most; make room, or set results to another folder"
    clock = storage.get("clock_seconds", 0.0)
    if abs(clock) > CLOCK_ERROR_SECONDS:
        yield (
            f"{where}: the file server's clock is {clock:+.1f} s from the node's, so that jobs at "
            "work would pass for dead; tell your centre"
        )


def threads_granted(job: Found) -> int:
    threads = job["threads"]
    allowed: int = threads["allowed"]
    return min(allowed, threads["slurm"] or allowed)


def memory_mb_granted(job: Found) -> int | None:
    memory = job["memory"]
    known = (memory[name] for name in ("slurm_mb", "cgroup_mb", "machine_mb"))
    return min((limit for limit in known if limit), default=None)


# The table ----------------------------------------------------------------------------------------


def _row(job: Found, here: Mapping[str, Any]) -> tuple[str, ...]:
    limit = memory_mb_granted(job)
    wrong = len(list(faults(job, here)))
    return (
        job["rule"],
        job["partition"] or "-",
        job["node"],
        f"{threads_granted(job)} ({job['threads']['asked']})",
        f"{'?' if limit is None else format(limit, ',')} ({job['memory']['asked_mb']:,})",
        _gpu_cell(job["gpus"]),
        _torch_cell(job),
        _weights_cell(job["weights"]),
        _storage_cell(job["storage"]),
        "offline" if job["network"]["offline"] == "1" else "not offline",
        "good" if not wrong else f"{wrong} to mend",
    )


def _gpu_cell(gpus: Mapping[str, Any]) -> str:
    if not gpus["asked"]:
        return "-"
    devices = gpus["torch"].get("devices", [])
    names = ", ".join(dict.fromkeys(device["name"] for device in devices))
    return f"{len(devices)} ({gpus['asked']}){f' {names}' if names else ''}"


def _torch_cell(job: Found) -> str:
    gpus, version = job["gpus"], job["environment"]["versions"].get("torch", "missing")
    if not gpus["asked"]:
        return str(version)
    torch = gpus["torch"]
    cuda = f"CUDA {torch['cuda']}" if torch.get("cuda") else "no CUDA"
    bf16 = [device.get("bf16", False) for device in torch.get("devices", ())]
    more = f", driver {gpus['driver'] or 'none'}" + (", bf16" if bf16 and all(bf16) else "")
    return f"{version}, {cuda}{more}"


def _weights_cell(weights: Mapping[str, Mapping[str, Any]]) -> str:
    if not weights:
        return "-"
    right = sum(found.get("digest") == found["wanted"] for found in weights.values())
    return f"{right} of {len(weights)} match"


def _storage_cell(storage: Mapping[str, Any]) -> str:
    if "free_bytes" not in storage:
        return "fails"
    inodes = storage["free_inodes"]
    files = "" if inodes is None else f", {inodes / 1e6:.1f} M files"
    works = "fails, " if storage["faults"] else ""
    return f"{works}{storage['type']}, {megabytes(storage['free_bytes'])}{files} free"
