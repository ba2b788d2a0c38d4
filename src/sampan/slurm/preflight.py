"""
Ask Slurm whether it would take each kind of job, before any is submitted.

Every distinct combination of rule, threads and resources is put to `sbatch --test-only` with the
flags that Snakemake's plugin passes, and to what the cluster says of its partitions, nodes and
accounts. Nothing is submitted.
"""

import logging
import re
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sampan.errors import ConfigError
from sampan.slurm.cluster import PAUSE_SECONDS, Cluster, Nodes, SlurmRefused
from sampan.slurm.request import Request

log = logging.getLogger("sampan")

SETTLE_SECONDS = 10.0
"""A controller that has just restarted refuses everything until its nodes have reported."""
OWN_FLAGS = re.compile(
    r"(?<!\S)(--(?:job-name|output|error|parsable|export|comment|workdir|account|partition|mem"
    r"|mem-per-cpu|ntasks|ntasks-per-gpu|cpus-per-task|cpus-per-gpu|time|constraint|qos|nodes"
    r"|clusters|gres|gpus)|-[JoeDApnctCN])(?=[=\s])"
)
"""Flags that the plugin sets itself and refuses in slurm_extra, a job at a time."""
FITS = re.compile(r"node configuration|Memory specification|CPU count|generic resource", re.I)
WAITS = re.compile(r"nodes? (?:are|is) busy|Required node not available", re.IGNORECASE)


class Fault(NamedTuple):
    """What is wrong with a kind of job, and the resource to change."""

    text: str
    key: str = ""
    value: str = ""


def check(jobs: Sequence[Mapping[str, Any]], *, patience_seconds: float = 60.0) -> None:
    """
    `ConfigError` with a line for each thing that Slurm would refuse, now or in the queue.

    Each job is {"rule", "threads", "resources"}, resources by the names that profiles use. A
    daemon that restarts is waited for, `patience_seconds` at most.
    """
    if not jobs:
        return
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "sbatch is not on the PATH; run on a login node of a Slurm cluster, "
            "or use --profile profiles/local"
        )
    clusters: dict[str, Cluster] = {}
    rules: dict[Fault, list[str]] = {}
    for job in map(Request.parse, jobs):
        cluster = clusters.setdefault(job.cluster, Cluster(job.cluster, patience_seconds))
        for fault in faults(job, cluster):
            rules.setdefault(fault, []).append(job.rule)
    if rules:
        raise ConfigError([_line(fault, sorted(set(names))) for fault, names in rules.items()])


def faults(job: Request, cluster: Cluster) -> Iterator[Fault]:
    """What is wrong with one kind of job on this cluster."""
    found = list(_before_asking(job, cluster))
    yield from found
    known = {fault.key for fault in found}
    if known & {"slurm_partition", "slurm_extra"}:
        return  # Slurm would only say the same in other words
    for fault in _refused(job, cluster):
        if fault.key not in known:
            yield fault


def _line(fault: Fault, rules: Sequence[str]) -> str:
    """One `error:` line: the rules, what was found, and what to set in the profile."""
    line = f"{', '.join(rules)}: {fault.text}"
    if not fault.key:
        return line
    setting = f"{fault.key}: {fault.value}" if fault.value else fault.key
    if fault.key == "set-threads":
        threads = ", ".join(f"{rule}: {fault.value}" for rule in rules)
        return f"{line}; set {threads} under set-threads in the profile"
    if len(rules) > 1:
        return (
            f"{line}; set {setting} under default-resources, or their set-resources, in the profile"
        )
    where = f"set-resources: {rules[0]}, or default-resources"
    return f"{line}; set {setting} under {where}, in the profile"


# What sbatch may let pass, and the job then waits for ever or the plugin refuses it ---------------


def _before_asking(job: Request, cluster: Cluster) -> Iterator[Fault]:
    resources = job.resources
    if missing := [name for name in _partitions(job, cluster) if name not in cluster.partitions]:
        yield _no_partition(missing[0], cluster)
    elif fault := _too_long(job, cluster):
        yield fault
    if job.accounts:
        if cluster.accounts is None:
            if fault := _no_accounting(job.accounts[0], cluster):
                yield fault
        elif unknown := [name for name in job.accounts if name.lower() not in cluster.accounts]:
            yield _no_account(unknown[0], cluster)
    quality = resources.get("qos")
    if quality and cluster.qualities is not None and quality not in cluster.qualities:
        yield _no_quality(quality, cluster)
    for other in ("gpus", "nvidia_gpu"):
        if resources.get(other) and not job.gpus:
            yield Fault(f"{other} is not passed on to Slurm", "gpu", str(resources[other]))
    if own := OWN_FLAGS.search(str(resources.get("slurm_extra") or "")):
        yield Fault(f"{own[1]} in slurm_extra is Snakemake's to set", "slurm_extra", "without it")


def _no_partition(name: str, cluster: Cluster) -> Fault:
    there = ", ".join(cluster.partitions)
    return Fault(f"no partition {name} here; there are: {there}", "slurm_partition")


def _too_long(job: Request, cluster: Cluster) -> Fault | None:
    resources = job.resources
    limits = [nodes.limit_minutes for nodes in _nodes(job, cluster)]
    runtime = resources.get("runtime")
    if not isinstance(runtime, int) or None in limits or not limits or resources.get("qos"):
        return None  # a quality of service may have limits of its own
    limit = max(limit for limit in limits if limit is not None)
    if runtime <= limit:
        return None
    where = "/".join(_partitions(job, cluster))
    text = f"runtime {runtime:,} minutes; partition {where} allows {limit:,}"
    return Fault(text, "runtime", str(limit))


def _no_accounting(account: str, cluster: Cluster) -> Fault | None:
    """The plugin refuses every job with an account where nobody can be asked about accounts."""
    said = []
    for words in (["sacctmgr", "-nP", "show", "qos", "format=name"], ["sshare", "-hPU"]):
        try:
            cluster.ask(words, patient=False)
        except SlurmRefused as refusal:
            said.append(str(refusal))
    if len(said) < 2:
        return None  # empty answers: the plugin goes on without a check
    return Fault(
        f"slurm_account {account} cannot be looked up ({said[0]}); "
        "remove slurm_account from the profile if this cluster has no accounting, "
        "or wait for slurmdbd"
    )


def _no_account(name: str, cluster: Cluster) -> Fault:
    yours = ", ".join(cluster.accounts or ())
    return Fault(f"account {name} is none of yours; yours: {yours}", "slurm_account")


def _no_quality(name: str, cluster: Cluster) -> Fault:
    there = ", ".join(cluster.qualities or ())
    return Fault(f"no quality of service {name} for this job; there are: {there}", "qos")


# What sbatch refuses ------------------------------------------------------------------------------


def _refused(job: Request, cluster: Cluster) -> Iterator[Fault]:
    """Faults behind sbatch's refusal; none where it would take the job, or let it wait."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            cluster.ask(["sbatch", "--test-only", *job.flags, "--wrap", "true"])
            return
        except SlurmRefused as refusal:
            said = str(refusal)
        if WAITS.search(said):
            log.warning("%s: %s; its jobs will wait", job.rule, said)
            return
        found = list(_translated(said, job, cluster))
        if found:
            yield from found
            return
        if not FITS.search(said) or "generic resource" in said:
            yield Fault(f"Slurm refuses it: {said} (sbatch {shlex.join(job.flags)})")
            return
        if not any(nodes.is_up for nodes in _fitting(job, cluster)):
            log.warning("%s: no node that fits is up now; its jobs will wait", job.rule)
            return
        if time.monotonic() > until:
            have = "; ".join(f"{nodes.count} with {nodes}" for nodes in _nodes(job, cluster))
            asked = shlex.join(job.flags)
            yield Fault(f"Slurm refuses it: {said} (sbatch {asked}); nodes there: {have}")
            return
        time.sleep(PAUSE_SECONDS)


def _translated(said: str, job: Request, cluster: Cluster) -> Iterator[Fault]:
    resources = job.resources
    where = "/".join(_partitions(job, cluster))
    if re.search(r"invalid partition", said, re.IGNORECASE):
        yield _no_partition(where, cluster)
    elif re.search(r"partition not available", said, re.IGNORECASE):
        yield Fault(f"partition {where} takes no jobs now ({said})", "slurm_partition", "another")
    elif re.search(r"invalid account", said, re.IGNORECASE):
        account = next(iter(job.accounts), "")
        if cluster.accounts is not None and account.lower() in cluster.accounts:
            text = f"account {account} may not use partition {where}"
        else:
            yours = ", ".join(cluster.accounts or ()) or "unknown"
            text = f"account {account or '(none given)'} is none of yours; yours: {yours}"
        yield Fault(text, "slurm_account")
    elif re.search(r"invalid qos", said, re.IGNORECASE):
        yield _no_quality(str(resources.get("qos") or "(none given)"), cluster)
    elif re.search(r"time limit", said, re.IGNORECASE):
        runtime = resources.get("runtime")
        given = "no runtime given" if runtime is None else f"runtime {runtime} minutes"
        limits = {nodes.limit_minutes for nodes in _nodes(job, cluster)}
        most = ", ".join("no limit" if m is None else f"{m:,} minutes" for m in limits)
        yield Fault(f"{given}: {said}; partition {where} allows {most}", "runtime")
    elif re.search(r"invalid feature", said, re.IGNORECASE):
        there = sorted({f for n in _nodes(job, cluster) for f in n.features.split(",") if f})
        text = f"constraint {resources.get('constraint')}: nodes of {where} have "
        yield Fault(text + (", ".join(there) or "no features"), "constraint")
    elif FITS.search(said):
        yield from _too_much(job, cluster)


def _too_much(job: Request, cluster: Cluster) -> Iterator[Fault]:
    """What is more than any node of the partition has; nothing where some node has it all."""
    nodes = _nodes(job, cluster)
    where = "/".join(_partitions(job, cluster))
    if not nodes or _fitting(job, cluster):
        return
    single = False
    for fault in (_gpu_fault(job, nodes, where, cluster), *_size_faults(job, nodes, where)):
        if fault:
            single = True
            yield fault
    if not single:
        have = "; ".join(str(kind) for kind in nodes)
        yield Fault(f"no node of partition {where} has {job.size} together; nodes: {have}")


def _gpu_fault(job: Request, nodes: Sequence[Nodes], where: str, cluster: Cluster) -> Fault | None:
    count, model = job.gpus, job.gpu_model
    if not count:
        return None
    key = "gres" if job.resources.get("gres") else "gpu"
    if not any(kind.gpus for kind in nodes):
        others = {kind.partition: str(kind) for kind in cluster.nodes if kind.gpus}
        text = f"{count} GPU asked for, but no node of partition {where} has one"
        if not others:
            return Fault(f"{text}, nor has any other partition", key, "0")
        there = "; ".join(f"{name} ({kind})" for name, kind in others.items())
        return Fault(
            f"{text}; partitions with GPUs: {there}", "slurm_partition", next(iter(others))
        )
    if model and not any(model in kind.gpus for kind in nodes):
        there = ", ".join(sorted({name for kind in nodes for name in kind.gpus if name}))
        text = f"GPU of model {model} asked for; partition {where} has: {there or 'no models'}"
        return Fault(text, "gres" if key == "gres" else "gpu_model")
    most = max(kind.gpus.get(model, 0) if model else kind.num_gpus for kind in nodes)
    if count > most:
        what = f"{count} GPUs{f' of model {model}' if model else ''}"
        text = f"{what} asked for; a node of partition {where} has {most}"
        return Fault(text, key, str(most) if key == "gpu" else "")
    return None


def _size_faults(job: Request, nodes: Sequence[Nodes], where: str) -> Iterator[Fault | None]:
    cpus, most_cpus = job.cpus, max(kind.cpus for kind in nodes)
    if cpus > most_cpus:
        text = f"{cpus} threads asked for; a node of partition {where} has {most_cpus} CPUs"
        yield Fault(text, "set-threads", str(most_cpus))
    memory, most = job.memory_mb, max(kind.memory_mb for kind in nodes)
    if memory > most:
        text = f"mem_mb {memory:,} asked for; a node of partition {where} has {most:,} MB"
        yield Fault(text, "mem_mb", f"{most} or fewer threads")


def _partitions(job: Request, cluster: Cluster) -> list[str]:
    return job.partitions or ([cluster.default_partition] if cluster.default_partition else [])


def _nodes(job: Request, cluster: Cluster) -> list[Nodes]:
    wanted = _partitions(job, cluster)
    return [nodes for nodes in cluster.nodes if nodes.partition in wanted]


def _fitting(job: Request, cluster: Cluster) -> list[Nodes]:
    """Nodes that have all that the job asks for."""
    return [nodes for nodes in _nodes(job, cluster) if job.fits(nodes)]
