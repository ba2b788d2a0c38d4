"""What watches over a run of Snakemake, from before the first job until it ends."""

import os
import subprocess


def begin_watch():
    """Refuse a run that others are at, or whose jobs Slurm would refuse; then watch over it."""
    words = ["sampan", "watch", "--results", RESULTS]
    if runs_on_slurm():
        words += ["--slurm-jobs", json.dumps(kinds_of_jobs())]
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
    return []
