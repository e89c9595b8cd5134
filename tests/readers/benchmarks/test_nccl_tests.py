"""What nccl-tests print: sizes as we count them, times out of place, which collective it is."""

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.benchmarks.nccl_tests import is_nccl_tests, read_nccl_tests
from tests.readers.benchmarks.texts import LLAMA_BENCH_TABLE, nccl_tests

HERE = Path("result.txt")


def test_sizes_and_times_are_read():
    small, large = read_nccl_tests(nccl_tests(), HERE).collectives
    assert (small.message_bytes, small.time_s) == (1024.0, pytest.approx(20e-6))
    assert (large.message_bytes, large.time_s) == (1048576.0, pytest.approx(40e-6))
    assert (small.kind, small.ranks, small.ranks_per_node) == ("all_reduce", 8, 8)
    assert small.chip == "NVIDIA H100 80GB HBM3"
    assert small.version == "2.17.6, NCCL 2.27.3"


def test_ranks_of_several_hosts_are_nodes():
    first = read_nccl_tests(nccl_tests(ranks=16, hosts=2), HERE).collectives[0]
    assert (first.ranks, first.ranks_per_node) == (16, 8)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("all_gather_perf", "all_gather"),
        ("reduce_scatter_perf", "reduce_scatter"),
        ("alltoall_perf", "all_to_all"),
        ("sendrecv_perf", "send_recv"),
    ],
)
def test_programs_are_collectives(program, kind):
    assert read_nccl_tests(nccl_tests(program), HERE).collectives[0].kind == kind


def test_early_versions_are_told_by_name_or_by_the_ratio_of_bandwidths():
    early = nccl_tests(program="")
    assert read_nccl_tests(early, HERE).collectives[0].kind == "all_reduce"
    share = nccl_tests(program="", ratio=0.875)  # an all-gather's, or a reduce-scatter's
    with pytest.raises(InputError, match="name the file after the collective"):
        read_nccl_tests(share, HERE)
    named = read_nccl_tests(share, Path("all_gather_perf.txt"))
    assert named.collectives[0].kind == "all_gather"


def test_empty_columns_of_early_versions_do_not_shift_times():
    text = nccl_tests("all_gather_perf").replace("sum     -1", "          ")
    assert read_nccl_tests(text, HERE).collectives[0].time_s == pytest.approx(20e-6)


def test_wrong_results_and_unknown_collectives_are_left_out_or_refused():
    with pytest.raises(InputError, match="a line with a size and a time"):
        read_nccl_tests(nccl_tests(wrong="7"), HERE)
    assert read_nccl_tests(nccl_tests(wrong="N/A"), HERE).collectives
    with pytest.raises(
        InputError, match="gather_perf, which cannot be priced; give a result of all_reduce_perf"
    ):
        read_nccl_tests(nccl_tests("gather_perf"), HERE)
    with pytest.raises(InputError, match="two ranks"):
        read_nccl_tests(nccl_tests(ranks=1), HERE)


def test_a_cut_line_is_refused():
    with pytest.raises(InputError, match="this is not a line of nccl-tests"):
        read_nccl_tests(nccl_tests().replace("20.00", "twenty"), HERE)


def test_it_is_told_by_its_header():
    assert is_nccl_tests(nccl_tests())
    assert not is_nccl_tests(LLAMA_BENCH_TABLE)
