import pickle

import pytest

from sampan.execution.timings import Timings, from_words, in_words


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


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (
            {"read": 0.12, "decode": 0.71, "encode": 0.93, "write": 0.02, "wait": 0.04},
            "the encoder waited 4 % of the time for data; "
            "read 12 %, decode 71 %, encode 93 %, write 2 % of 84.0 s on 4 threads",
        ),
        (
            {"read": 0.5, "decode": 1.0, "write": 0.1, "wait": 0.9},
            "the writer waited 90 % of the time for data; "
            "read 50 %, decode 100 %, write 10 % of 84.0 s on 4 threads",
        ),
    ],
)
def test_shares_are_read_back_from_a_log_as_they_were_said(shares, said):
    assert in_words(shares, 84.0, 4) == said

    assert from_words(f"12:00 extract a@b part 3: {said}\n12:01 part 3 done") == (shares, 84.0)


def test_a_log_without_such_a_line_says_nothing():
    assert from_words("extract image.hog@12345678 part 0: 64 samples in 3.4 s (19/s)") is None


def test_of_a_job_that_ran_again_the_last_line_counts():
    log = "\n".join(in_words({"encode": share, "wait": 0.0}, 10.0, 1) for share in (0.1, 0.7))

    assert from_words(log) == ({"wait": 0.0, "encode": 0.7}, 10.0)
