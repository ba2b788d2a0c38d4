import pickle

from sampan.execution.timings import Timings


def test_a_share_is_of_the_time_that_the_stages_threads_had():
    timings = Timings({"decode": 6.0, "encode": 1.5, "wait": 0.5}, {})
    timings.available = {"decode": 2.0 * 4, "encode": 2.0, "wait": 2.0}

    assert timings.shares() == {"decode": 0.75, "encode": 0.75, "wait": 0.25}


def test_times_of_several_shards_add_up():
    total = Timings()
    for busy in (1.0, 3.0):
        total.merge(pickle.loads(pickle.dumps(Timings({"encode": busy}, {"encode": 4.0}))))

    assert total.shares() == {"encode": 0.5}


def test_the_time_at_work_is_from_the_first_shards_beginning_to_the_last_ones_end():
    total = Timings()
    for began, ended in ((103.0, 108.0), (100.0, 104.0)):
        total.merge(pickle.loads(pickle.dumps(Timings(began=began, ended=ended))))

    assert total.seconds == 8


def test_where_nothing_was_measured_no_time_was_spent():
    assert Timings().seconds == 0


def test_a_stage_that_was_there_and_did_nothing_has_no_share():
    timings = Timings()
    with timings.on({"read": 2, "wait": 1}), timings.at("wait"):
        pass

    assert timings.shares()["read"] == 0
    assert set(timings.shares()) == {"read", "wait"}
