"""The tables of options, and what a command line holds of one."""

from typing import Any

import pytest

from planner.errors import InputError
from planner.launches.launch import EngineName
from planner.launches.options import ENGINES, Given, given_in, option_table, words_of_file
from planner.launches.shell import Word


def told(line: str, engine: EngineName = "vllm") -> Given:
    return given_in([Word(word) for word in line.split()], option_table(engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_option_that_is_read_or_costs_is_one_of_the_engine(engine: EngineName) -> None:
    table = option_table(engine)
    assert len(table.rows.options) >= 32
    for name in (*table.means, *table.costs):
        assert table.named(name) is not None, name
    names = [name for one in table.rows.options for name in (*one.names, *one.off)]
    assert len(set(names)) == len(names)


def test_aliases_short_forms_equals_signs_and_underscores_are_one_option() -> None:
    for line in (
        "-tp 4",
        "-tp=4",
        "--tensor-parallel-size 4",
        "--tensor_parallel_size=4",
        "--tensor-par 4",
    ):
        assert told(line).values == {"--tensor-parallel-size": 4}, line


def test_an_abbreviation_of_two_options_is_left_out_with_both() -> None:
    given = told("m --max-num 4 -tp 2")
    assert given.values == {"--tensor-parallel-size": 2}
    assert "--max-num-batched-tokens" in given.told[0].words


def test_llama_cpp_knows_no_abbreviations() -> None:
    given = told("--parall 4 -ngl 99", "llama.cpp")
    assert "--parallel" in given.told[0].words
    assert given.value("--gpu-layers") == "99"


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--max-model-len 32k", {"--max-model-len": 32_000}),
        ("--max-model-len 32K", {"--max-model-len": 32_768}),
        ("--max-model-len -1", {"--max-model-len": -1}),
        ("--no-enable-prefix-caching", {"--enable-prefix-caching": False}),
        (
            "--speculative-config.num_speculative_tokens 4 --speculative-config.method mtp",
            {"--speculative-config": {"num_speculative_tokens": 4, "method": "mtp"}},
        ),
        ("-tp 2 -tp 4", {"--tensor-parallel-size": 4}),
    ],
)
def test_values_are_those_of_the_engines_own_parser(line: str, values: dict[str, Any]) -> None:
    assert told(line).values == values


def test_the_last_of_two_values_counts_and_it_is_said() -> None:
    [line] = told("-tp 2 -tp 4").told
    assert line.text == "-tp 2"
    assert "'-tp 4'" in line.words


def test_an_unknown_option_is_left_out_with_the_nearest_names() -> None:
    given = told("--tensor-paralel-size 4 -pp 2")
    assert given.values == {"--pipeline-parallel-size": 2}
    assert "--tensor-parallel-size" in given.told[0].words


@pytest.mark.parametrize(
    "line", ["-tp four", "-tp", "--kv-cache-dtype fp7", "--max-model-len 1.5K"]
)
def test_a_bad_value_is_refused(line: str) -> None:
    with pytest.raises(InputError, match=r"--|-tp"):
        told(line)


def test_a_variable_without_a_value_is_asked_for() -> None:
    given = given_in([Word("-tp"), Word("$TP", ("TP",))], option_table("vllm"))
    assert given.values == {}
    assert "$TP has no value" in given.asked[0]
    words = [Word("--master-addr"), Word("$HOST", ("HOST",))]
    assert given_in(words, option_table("vllm")).asked == []


def test_a_file_of_options_becomes_words_as_the_engine_makes_them() -> None:
    vllm = option_table("vllm")
    fields = {
        "port": 80,
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "served-model-name": ["a", "b"],
    }
    assert [word.text for word in words_of_file(fields, vllm)] == [
        "--port=80",
        "--enforce-eager",
        "--no-enable-prefix-caching",
        "--served-model-name",
        "a",
        "b",
    ]
    nested = {"kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.8}}
    given = given_in(
        list(words_of_file(nested, option_table("tensorrt-llm"))), option_table("tensorrt-llm")
    )
    assert given.share("--kv_cache_config.free_gpu_memory_fraction") == 0.8
    assert given.value("--kv_cache_config.dtype") == "fp8"
