"""Tests of what is read of llama.cpp's logs."""

import pytest

from benchmarks.llama_cpp_log import Device, devices_of, exact_bytes, version_of
from planner.errors import InputError

SERVER = """\
build_info: b9999-0c1e570
0.00.310 D load_tensors: layer   0 assigned to device RPC0, is_swa = 0
0.00.310 D load_tensors: layer   1 assigned to device RPC1, is_swa = 0
0.00.310 D load_tensors: layer   2 assigned to device RPC1, is_swa = 0
0.00.311 I load_tensors:          CPU model buffer size =     4.00 MiB
0.00.311 I load_tensors: RPC0[127.0.0.1:50052] model buffer size =     5.38 MiB
0.00.311 I load_tensors: RPC0[127.0.0.1:50053] model buffer size =     9.38 MiB
0.00.311 I llama_kv_cache: RPC0[127.0.0.1:50052] KV buffer size =     0.50 MiB
0.00.311 I llama_kv_cache: RPC0[127.0.0.1:50053] KV buffer size =     0.50 MiB
0.00.311 I sched_reserve: RPC0[127.0.0.1:50052] compute buffer size =     1.25 MiB
0.00.311 I llama_context:        CPU  output buffer size =     0.06 MiB
"""
LENT = ("127.0.0.1:50052", "127.0.0.1:50053")
LENDER = """\
[alloc_buffer] device: 0, size: 5640192 -> remote_ptr: 55d0, remote_size: 5640192
[alloc_buffer] device: 0, size: 524288 -> remote_ptr: 55d1, remote_size: 524288
"""


def test_layers_and_buffers_of_each_device_are_read():
    found = devices_of(SERVER, LENT)
    assert found["RPC0"] == Device((0,), 5.38, 0.5, 1.25)
    assert found["RPC1"] == Device((1, 2), 9.38, 0.5, 0.0)
    assert found["CPU"] == Device((), 4.0, 0.0, 0.0)
    assert version_of(SERVER) == "b9999-0c1e570"


def test_of_a_log_that_tells_all_twice_the_last_counts():
    # As a server does that tries first what fits, with buffers of nothing.
    tried = SERVER.replace("5.38", "0.00").replace("0.50", "0.00")
    assert devices_of(tried + SERVER, LENT) == devices_of(SERVER, LENT)


def test_a_log_of_an_unknown_version_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"of an unknown version does not say .*; start it with"):
        devices_of("llama_model_load: everything is new\n", LENT)
    quiet = "\n".join(line for line in SERVER.splitlines() if "assigned" not in line)
    with pytest.raises(InputError, match=r"llama\.cpp b9999-0c1e570 does not say"):
        devices_of(quiet, LENT)


def test_a_lenders_bytes_are_those_that_round_to_what_the_server_told():
    assert exact_bytes(5.38, LENDER) == 5640192
    assert exact_bytes(0.5, LENDER) == 524288
    with pytest.raises(InputError, match=r"of 2 buffers in the lender's log, 0 have 7\.0 MiB"):
        exact_bytes(7.0, LENDER)
