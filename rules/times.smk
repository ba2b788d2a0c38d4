"""
A file that was made again with the same bytes keeps its time, and nothing above it is due for it.

Within one run all that lies above a job runs. In the next, an output that is older than an input is
made again; so what came out as it was gets back the time that it had, or its newest input's. What
was due and was not made, since the run was stopped, keeps its old time and stays due.
"""

import hashlib

LARGEST_COMPARED = 1_000_000  # bytes: receipts and the like


made_before = (
    {}
)  # output → (digest, time in nanoseconds), of those that are there and not large


def note_times():
    for job in workflow.dag.needrun_jobs():
        for path in job.output:
            about = stat_of(path)
            if about is not None and about.st_size <= LARGEST_COMPARED:
                made_before[path] = digest_of_file(path), about.st_mtime_ns


def stat_of(path):
    try:
        return os.stat(path)
    except OSError:
        return None


def digest_of_file(path):
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:
        return None


def give_back_times():
    """Inputs come before what is made of them, so that their times are right already."""
    for level in workflow.dag.toposorted() if made_before else ():
        for job in level:
            again = [path for path in job.output if path in made_before]
            if not again or not workflow.dag.finished(job):
                continue
            inputs = [stat_of(path) for path in job.input if not path.is_ancient]
            newest = max((about.st_mtime_ns for about in inputs if about), default=0)
            for path in again:
                digest, time = made_before[path]
                if digest is not None and digest == digest_of_file(path):
                    set_time(path, max(time, newest))


def set_time(path, time):
    """A file of another user's keeps its time: what lies above is made once more."""
    try:
        os.utime(path, ns=(time, time))
    except OSError:
        pass
