import pytest

from sampan.config.quota import QuotaSettings
from sampan.operations.estimate.quota import Need, check


def checked(quota, *, node_hours=0.0, unknown=(), size=0.0, kilowatt_hours=None):
    need = Need(amount=node_hours, unknown=unknown)
    energy = None if kilowatt_hours is None else Need(amount=kilowatt_hours)
    return list(
        check(
            QuotaSettings(**quota),
            bytes_=Need(amount=size),
            files=Need(amount=7),
            node_hours=need,
            kilowatt_hours=energy,
        )
    )


@pytest.mark.parametrize(("node_hours", "kept"), [(9.9, True), (10, True), (10.1, False)])
def test_a_quota_is_broken_by_more_than_it_allows(node_hours, kept):
    (line,) = checked({"node_hours": 10}, node_hours=node_hours)

    assert line.kept is kept


def test_a_broken_quota_says_what_is_needed_what_is_allowed_and_what_to_change():
    (line,) = checked({"terabytes": 2}, size=2.5e12)

    assert line.fault() == (
        "quota.terabytes: the plan needs 2.5 terabytes; allowed: 2; store fewer pixels or seconds, "
        "or fewer encoders, or raise quota.terabytes"
    )


def test_what_is_known_may_break_a_quota_alone():
    (line,) = checked({"node_hours": 10}, node_hours=11, unknown=("extract a", "train b"))

    assert line.kept is False
    assert "needs at least 11 node hours" in line.fault()


def test_a_quota_that_what_is_known_keeps_is_not_checked_and_says_why():
    (line,) = checked({"node_hours": 10}, node_hours=9, unknown=("extract a", "train b"))

    assert line.kept is None
    assert line.warning() == (
        "quota.node_hours: could not be checked: nothing is known of extract a, train b"
    )


def test_energy_is_checked_only_where_watts_are_stated():
    (unstated,) = checked({"kilowatt_hours": 3})
    (stated,) = checked({"kilowatt_hours": 3}, kilowatt_hours=4)

    assert unstated.kept is None and "--watts" in unstated.warning()
    assert stated.kept is False


def test_what_is_not_limited_is_not_checked():
    assert checked({}, node_hours=1e9) == []
