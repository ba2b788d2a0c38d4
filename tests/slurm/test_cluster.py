import pytest

from sampan.slurm.cluster import minutes, parse_gpus, parse_nodes, shortened


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("30", 30),
        ("30:00", 30),
        ("30:01", 31),
        ("2:00:00", 120),
        ("1-00:00:00", 1440),
        ("3-12", 5040),
        ("3-12:30", 5070),
        ("infinite", None),
        ("n/a", None),
    ],
)
def test_limits_are_read_as_sbatch_reads_times(limit, expected):
    assert minutes(limit) == expected


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("(null)", {}),
        ("gpu:4", {"": 4}),
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:a100:4,lustre:1", {"a100": 4}),
        ("gpu:a100_1g.5gb:14(S:0),gpu:h100:2", {"a100_1g.5gb": 14, "h100": 2}),
        ("shard:8,gpu:2", {"": 2}),
    ],
)
def test_gpus_are_read_from_the_generic_resources(gres, expected):
    assert parse_gpus(gres) == expected


def test_a_line_of_sinfo_is_nodes_that_are_alike():
    nodes = parse_nodes("gpu*|1-00:00:00|64|515000|gpu:a100:4(S:0-1)|12|a100,ib|mix-")

    assert (nodes.partition, nodes.is_default, nodes.limit_minutes) == ("gpu", True, 1440)
    assert (nodes.cpus, nodes.memory_mb, nodes.num_gpus, nodes.count) == (64, 515000, 4, 12)
    assert nodes.is_up


def test_slurms_words_are_told_once_without_its_names():
    said = "sbatch: error: invalid partition specified: x\nallocation failure: Invalid partition\n"

    assert shortened(said) == "invalid partition specified: x; Invalid partition"
