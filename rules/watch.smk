"""What watches over a run of Snakemake, from before the first job until it ends."""

import os
import subprocess

ASKED_OF_SLURM = """
    slurm_account slurm_partition runtime mem_mb mem_mb_per_cpu constraint qos nodes tasks
    tasks_per_node tasks_per_gpu cpus_per_task cpus_per_gpu mpi gres gpu gpu_model gpus nvidia_gpu
    slurm_extra cluster clusters slurm_cluster
""".split()


def begin_watch():
    """Refuse a run that others are at, or whose jobs Slurm would refuse; then watch over it."""
    words = ["sampan", "watch", "--results", RESULTS]
    if runs_on_slurm():
        words += ["--slurm-jobs", as_spec(kinds_of_jobs())]
    global watch
    watch = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,  # its end tells the watch that this process has ended
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    if watch.stdout.readline() != b"ready\n":
        raise WorkflowError("Nothing was begun.")


def runs_on_slurm():
    return hasattr(workflow.executor_settings, "status_command")


def kinds_of_jobs():
    """
    What the jobs that are about to run ask of Slurm, each kind once: [{rule, threads, resources}].

    Jobs that differ only in their partition ask for the same: Snakemake needs 2 ms to work out what
    one asks for. A trial job of the doctor's is short: it counts with its original's time.
    """
    jobs = {}
    for job in workflow.dag.needrun_jobs():
        if not workflow.is_local(job.rule):
            others = frozenset(
                item for item in job.wildcards_dict.items() if item[0] != "part"
            )
            jobs.setdefault((job.rule.name, others), job)
    kinds = [
        {
            "rule": job.rule.name,
            "threads": job.threads,
            "resources": asked_of_slurm(job.resources),
        }
        for job in jobs.values()
    ]
    return [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]]


def asked_of_slurm(resources):
    """Those that Slurm is told, with what is asked for all jobs of the run."""
    found = {
        name: value
        for name in ("qos", "reservation")
        if (value := getattr(workflow.executor_settings, name, None))
    }
    for name in ASKED_OF_SLURM:
        if name in resources.keys() and str(resources[name]) != "<TBD>":
            found[name] = resources[name]
    if "job_runtime" in resources.keys():
        found["runtime"] = resources["job_runtime"]
    return found


onstart:
    begin_watch()
    note_times()


onsuccess:
    give_back_times()
    print(f"\nDone. Look at the report: {REPORT}" if exists(REPORT) else "\nDone.")


onerror:
    give_back_times()
    print(
        "\nNot done. Each job's log lies in",
        f"{RESULTS}/logs; what is finished is kept.",
    )
    print("Mend what its `error:` line names, then run the same command again.")
