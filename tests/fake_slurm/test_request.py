import shlex
from types import SimpleNamespace

import pytest
from fake_slurm.fake_slurm import SINFO

from sampan.slurm.cluster import parse_nodes
from sampan.slurm.request import Request

BASE = {"slurm_account": "a", "slurm_partition": "p", "mem_mb": 100, "runtime": 5}


class Resources(dict):
    """Snakemake's: names are attributes too."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(
    "resources",
    [
        BASE,
        {"mem_mb_per_cpu": 10, "runtime": 5},
        BASE | {"gpu": 2},
        BASE | {"gpu": 0},
        BASE | {"gpu": 2, "gpu_model": "a100"},
        BASE | {"gres": "gpu:a100:2"},
        BASE | {"gres": "tmp:2"},
        BASE | {"gpu": 1, "cpus_per_gpu": 8},
        BASE | {"gpu": 1, "tasks_per_gpu": 2},
        BASE | {"cpus_per_task": 3},
        BASE | {"cpus_per_task": -1},
        BASE | {"constraint": "a100&ib", "qos": "high"},
        BASE | {"nodes": 2, "tasks": 2, "mpi": "srun"},
        BASE | {"clusters": "c2"},
        BASE | {"slurm_extra": "--signal=USR1@120 --open-mode=append"},
    ],
    ids=lambda resources: ",".join(sorted(resources.keys() - BASE.keys())) or "base",
)
def test_flags_are_those_of_snakemakes_plugin(resources):
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    job = SimpleNamespace(resources=Resources(resources), threads=4)
    named = {"slurm_account": " -A a", "slurm_partition": " -p p"}
    account, partition = (flag if name in resources else "" for name, flag in named.items())
    params = {
        **{"run_uuid": "u", "slurm_logfile": "l", "comment_str": "c", "workdir": None},
        **{"account": account, "partition": partition},
    }
    call = plugin.get_submit_command(job, params) + utils.set_gres_string(job)
    of_the_run = ["sbatch", "--parsable", "--job-name", "u", "--output", "l", "--export=ALL"]

    flags = Request("r", 4, resources).flags

    assert [*of_the_run, "--comment", "c", *flags] == shlex.split(call)


def test_nodes_fit_that_have_all_that_is_asked_for():
    cpu, gpu = map(parse_nodes, SINFO.splitlines())

    assert Request("r", 4, {"mem_mb": 6000}).fits(cpu)
    assert not Request("r", 5, {"mem_mb": 6000}).fits(cpu)
    assert not Request("r", 4, {"mem_mb": 6001}).fits(cpu)
    assert not Request("r", 4, {"mem_mb_per_cpu": 1501}).fits(cpu)
    assert not Request("r", 1, {"gpu": 1}).fits(cpu)
    assert Request("r", 1, {"gres": "gpu:fake:2"}).fits(gpu)
    assert not Request("r", 1, {"gpu": 1, "gpu_model": "a100"}).fits(gpu)


def test_a_rule_of_the_doctors_is_called_by_its_original():
    assert Request.parse({"rule": "doctor_train", "threads": 1, "resources": {}}).rule == "train"
