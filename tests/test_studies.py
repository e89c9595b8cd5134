"""Studies are found under one name each."""

import pytest

from planner import studies


@pytest.mark.parametrize("name", studies.__all__)
def test_a_study_is_found_under_its_name(name):
    assert getattr(studies, name).__name__ == name


def test_a_study_that_is_not_there_is_missed_as_usual():
    with pytest.raises(AttributeError, match="no attribute 'crossovering'"):
        _ = studies.crossovering
