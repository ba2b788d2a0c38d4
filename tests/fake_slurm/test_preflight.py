import pytest
from fake_slurm.fake_slurm import DOWN, NO_DATABASE, REFUSED, SINFO, FakeSlurm

from sampan.errors import ConfigError
from sampan.slurm import cluster, preflight


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.folder}:/usr/bin:/bin")
    monkeypatch.setattr(preflight, "SETTLE_SECONDS", 0.0)
    for module in (cluster, preflight):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    return fake


def kind(rule="extract", threads=2, **resources):
    asked = {"slurm_account": "sampan", "slurm_partition": "cpu", "mem_mb": 1000, "runtime": 60}
    return {"rule": rule, "threads": threads, "resources": asked | resources}


def faults(*jobs, patience_seconds=0.0):
    with pytest.raises(ConfigError) as caught:
        preflight.check(jobs, patience_seconds=patience_seconds)
    return caught.value.faults


def test_without_sbatch_the_error_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert faults(kind()) == (
        "sbatch is not on the PATH; run on a login node of a Slurm cluster, "
        "or use --profile profiles/local",
    )


def test_a_run_without_jobs_needs_no_slurm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    preflight.check([])


def test_what_slurm_would_take_passes_and_nothing_is_submitted(slurm):
    preflight.check([kind(), kind("train", threads=1)])

    assert len(slurm.words("sbatch")) == 2
    assert all("--test-only" in words for words in slurm.words("sbatch"))


def test_a_partition_that_is_not_there_is_named_with_those_that_are(slurm):
    (fault,) = faults(kind(slurm_partition="cpux"))

    assert fault == (
        "extract: no partition cpux here; there are: cpu, gpu; set slurm_partition under "
        "set-resources: extract, or default-resources, in the profile"
    )
    assert not slurm.words("sbatch")


def test_an_account_that_slurm_would_let_pass_is_refused_before_the_plugin_does(slurm):
    (fault,) = faults(kind("doctor_scan"), kind(slurm_account="nope"), kind("train"))

    assert fault == (
        "extract: account nope is none of yours; yours: sampan, normal; set slurm_account under "
        "set-resources: extract, or default-resources, in the profile"
    )


def test_one_fault_of_many_rules_is_one_line(slurm):
    slurm.answer("sacctmgr", (0, "Physics\n", ""))

    (fault,) = faults(kind("doctor_scan_d"), kind("train"), kind("extract"))

    assert fault == (
        "extract, scan_d, train: account sampan is none of yours; yours: physics; set "
        "slurm_account under default-resources, or their set-resources, in the profile"
    )


def test_accounts_are_compared_as_slurm_does_whatever_their_case(slurm):
    preflight.check([kind(slurm_account="SamPan")])


def test_an_account_that_nobody_can_look_up_is_not_left_to_fail_job_by_job(slurm):
    slurm.answer("sacctmgr", (1, "", NO_DATABASE))
    slurm.answer("sshare", (1, "", "sshare: error: Slurm accounting storage is disabled"))

    (fault,) = faults(kind())

    assert "slurm_account sampan cannot be looked up" in fault
    assert "remove slurm_account from the profile" in fault


def test_without_slurmdbd_the_controller_is_asked_for_accounts_at_once(slurm):
    slurm.answer("sacctmgr", (1, "", NO_DATABASE))

    preflight.check([kind()], patience_seconds=3600)

    assert len(slurm.words("sacctmgr")) == 1


def test_where_accounting_knows_no_accounts_the_check_goes_on_without(slurm):
    slurm.answer("sacctmgr", (0, "", ""))
    slurm.answer("sshare", (0, "", ""))

    preflight.check([kind()])


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        (
            {"gpu": 1},
            "extract: 1 GPU asked for, but no node of partition cpu has one; partitions with GPUs: "
            "gpu (4 CPUs, 6,000 MB, 2 × fake); set slurm_partition: gpu under set-resources: "
            "extract, or default-resources, in the profile",
        ),
        (
            {"slurm_partition": "gpu", "gpu": 3},
            "extract: 3 GPUs asked for; a node of partition gpu has 2; set gpu: 2 under "
            "set-resources: extract, or default-resources, in the profile",
        ),
        (
            {"slurm_partition": "gpu", "gpu": 1, "gpu_model": "a100"},
            "extract: GPU of model a100 asked for; partition gpu has: fake; set gpu_model under "
            "set-resources: extract, or default-resources, in the profile",
        ),
        (
            {"slurm_partition": "gpu", "gres": "gpu:7"},
            "extract: 7 GPUs asked for; a node of partition gpu has 2; set gres under "
            "set-resources: extract, or default-resources, in the profile",
        ),
        (
            {"mem_mb": 100_000},
            "extract: mem_mb 100,000 asked for; a node of partition cpu has 6,000 MB; set mem_mb: "
            "6000 or fewer threads under set-resources: extract, or default-resources, in the "
            "profile",
        ),
    ],
)
def test_what_no_node_has_is_said_with_what_there_is(slurm, resources, line):
    slurm.answer("sbatch", (1, "", REFUSED))

    assert faults(kind(**resources)) == (line,)


def test_more_threads_than_a_node_has_are_set_under_set_threads(slurm):
    slurm.answer("sbatch", (1, "", REFUSED))

    (fault,) = faults(kind(threads=40))

    assert fault == (
        "extract: 40 threads asked for; a node of partition cpu has 4 CPUs; "
        "set extract: 4 under set-threads in the profile"
    )


def test_a_gpu_where_the_cluster_has_none_can_only_be_given_up(slurm):
    slurm.answer("sinfo", (0, SINFO.splitlines()[0] + "\n", ""))
    slurm.answer("sbatch", (1, "", REFUSED))

    (fault,) = faults(kind("extract_gpu", gpu=1))

    assert "nor has any other partition; set gpu: 0 under set-resources: extract_gpu" in fault


def test_a_time_beyond_the_limit_is_refused_though_slurm_lets_it_wait_for_ever(slurm):
    (fault,) = faults(kind(runtime=3000))

    assert "runtime 3,000 minutes; partition cpu allows 1,440; set runtime: 1440" in fault


def test_all_faults_come_at_once(slurm):
    slurm.answer("sbatch", (1, "", REFUSED))

    found = faults(kind(slurm_account="nope", threads=9, runtime=9000), kind("train", gpu=1))

    assert len(found) == 4


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("Invalid account or account/partition combination specified", "may not use partition cpu"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "allows 1,440 minutes"),
        ("Invalid feature specification", "nodes of cpu have no features; set constraint"),
        ("Required partition not available (inactive or drain)", "takes no jobs now"),
        ("Requested reservation is invalid", "Slurm refuses it: Requested reservation is invalid"),
    ],
)
def test_slurms_other_refusals_name_the_setting(slurm, said, line):
    slurm.answer("sbatch", (1, "", f"allocation failure: {said}"))

    (fault,) = faults(kind())

    assert line in fault


def test_a_node_that_is_drained_makes_jobs_wait_and_is_no_fault(slurm, caplog):
    slurm.answer("sinfo", (0, SINFO.replace("idle", "drain"), ""))
    slurm.answer("sbatch", (1, "", REFUSED))

    preflight.check([kind()])

    assert "no node that fits is up now" in caplog.text


def test_a_controller_that_restarts_is_waited_for(slurm):
    gone = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
    slurm.answer("sinfo", (1, "", gone), (1, "", gone), (0, SINFO, ""))
    slurm.answer("sbatch", (1, "", DOWN), (0, "", ""))

    preflight.check([kind()], patience_seconds=3600)

    assert len(slurm.words("sinfo")) == 3
    assert len(slurm.words("sbatch")) == 2


def test_a_controller_that_stays_away_is_said_so(slurm):
    gone = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
    slurm.answer("sinfo", (1, "", gone))

    assert faults(kind()) == (
        "Slurm does not answer: Unable to contact slurm controller "
        "(connect failure); try again when `sinfo` does",
    )


def test_refusals_right_after_a_restart_are_asked_again(slurm, monkeypatch):
    monkeypatch.setattr(preflight, "SETTLE_SECONDS", 3600.0)
    slurm.answer("sbatch", (1, "", REFUSED), (0, "", ""))

    preflight.check([kind()])

    assert len(slurm.words("sbatch")) == 2


def test_flags_that_the_plugin_sets_itself_are_refused_in_slurm_extra(slurm):
    (fault,) = faults(kind(slurm_extra="--signal=USR1@120 --partition=gpu"))

    assert "--partition in slurm_extra is Snakemake's to set" in fault
    preflight.check([kind(slurm_extra="--signal=USR1@120 --open-mode=append")])


def test_gpus_is_not_gpu(slurm):
    (fault,) = faults(kind(gpus=2))

    assert "gpus is not passed on to Slurm; set gpu: 2" in fault
