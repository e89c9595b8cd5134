"""A sweep from a file."""

import pytest

from planner.errors import InputError, UnknownNameError
from planner.studies.sweeps.cells import tasks_of
from planner.studies.sweeps.specs import read_spec

SPEC = """
models = ["llama-3.2-1b", "llama-3.1-8b"]
weights = "fp8"
topologies = ["hgx-h100:2", "rtx-4090"]
limits = { ttft_s = 2.0 }
[[workload]]
batch_size = [1, 8]
prompt_tokens = 512
[[workload]]
requests_per_s = 2.0
"""


@pytest.fixture
def read(tmp_path):
    def written(text):
        (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
        return list(read_spec(tmp_path / "spec.toml").cells())

    return written


def test_lists_are_multiplied_out(read):
    cells = read(SPEC)
    assert len(cells) == 2 * 2 * 3
    assert [cell.workload.batch_size for cell in cells[:3]] == [1, 8, None]
    assert {(cell.topology.name, cell.topology.chips) for cell in cells} == {
        ("hgx-h100", 2),
        ("rtx-4090", 1),
    }
    assert {cell.model.weight_dtype for cell in cells} == {"fp8"}
    assert cells[0].limits == {"ttft_s": 2.0}
    assert cells[0].objective == "tpot_s"


def test_a_limit_may_have_a_unit(read):
    cells = read(SPEC.replace("ttft_s = 2.0", 'ttft_s = "2000 ms"'))
    with_unit, plain = (
        tasks_of(given, time_limit_s=None, power_scope=None) for given in (cells, read(SPEC))
    )
    assert with_unit == plain
    assert plain[0].limits == (("ttft_s", 2.0),)


def test_without_a_workload_there_is_the_plain_one(read):
    assert [
        cell.workload.prompt_tokens
        for cell in read('models = ["bert-base"]\ntopologies = ["rtx-4090"]')
    ] == [1024]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("weights =", "weight =", r"SweepSpec\.weight is not a field of it"),
        ('"hgx-h100:2"', '"hgx-h100:two"', "the chips of 'hgx-h100:two' must be a whole number"),
        ("prompt_tokens = 512", "prompt_tokens = 0", r"Workload\.prompt_tokens"),
        ('"fp8"', '"fp7"', r"SweepSpec\.weights"),
    ],
)
def test_what_is_wrong_is_named(read, old, new, words):
    with pytest.raises(InputError, match=words):
        read(SPEC.replace(old, new))


def test_a_wrong_name_gets_the_nearest(read):
    with pytest.raises(UnknownNameError, match=r"llama-3\.2-1b"):
        read(SPEC.replace("llama-3.2-1b", "llama-3.2-1c"))
