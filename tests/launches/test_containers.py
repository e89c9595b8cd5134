from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.containers import (
    chips_of,
    containers_in,
    count_of,
    environment_of,
    filled_in,
    plain_text,
    words_of,
)


def test_containers_are_found_wherever_they_stand_down_to_a_depth() -> None:
    document: dict[str, Any] = {"a": [{"containers": [{"name": "x"}, 3]}], "containers": "none"}
    assert list(containers_in(document, 4)) == [{"name": "x"}]
    assert list(containers_in(document, 2)) == []


def test_words_are_those_of_command_and_arguments() -> None:
    container = {"command": ["vllm", "serve"], "args": ["m", 2, True]}
    assert list(words_of(container)) == ["vllm", "serve", "m", "2", "true"]
    assert list(words_of({"command": "vllm serve m"})) == ["vllm serve m"]
    assert plain_text(False) == "false"


def test_variables_without_a_value_are_left_out() -> None:
    stated = [{"name": "A", "value": 1}, {"name": "B", "valueFrom": {}}, "C=2", 4]
    assert environment_of(stated) == {"A": "1", "C": "2"}
    assert environment_of({"D": True, "E": None}) == {"D": "true"}
    assert environment_of(7) == {}


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "amd.com/gpu", "habana.ai/gaudi"])
def test_chips_are_those_of_its_limits(name: str) -> None:
    assert chips_of({"resources": {"limits": {name: "8"}}}) == 8
    assert chips_of({"resources": {"limits": {"cpu": "8"}}}) is None
    assert chips_of({}) is None


def test_a_count_that_is_none_is_refused() -> None:
    assert (count_of(None, "x"), count_of("3", "x")) == (1, 3)
    with pytest.raises(InputError, match="x must be a whole number"):
        count_of("0", "x")


def test_variables_are_put_in_as_kubernetes_does() -> None:
    assert filled_in("-tp=$(TP)", {"TP": "4"}).text == "-tp=4"
    assert filled_in("$(TP)", {}).unknown == ("TP",)
    assert filled_in("vllm serve $(M)", {"M": "m"}).text == "vllm serve ${M}"
