"""Findings and their order."""

from planner.studies.audits.findings import found, worst


def test_the_most_severe_finding_wins_and_tells_the_others():
    row = worst(
        [
            found("plausible", "a"),
            found("needs more chips", "b", tail="3 chips", factor=3.0),
            found("implausible", "c"),
        ]
    )
    assert row.text == "needs 3 chips, 3×"
    assert row.also == ("implausible: c", "plausible: a")


def test_of_two_alike_the_one_that_is_further_off_wins():
    assert (
        worst([found("impossible", "a", factor=2.0), found("impossible", "b", factor=300.0)]).text
        == "impossible, 300×"
    )


def test_nothing_found_is_nothing():
    assert worst([]) is None
