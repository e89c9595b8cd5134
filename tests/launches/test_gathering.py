"""Commands of several nodes and of several engines, put together again."""

import pytest

from planner.launches.commands import read_command
from planner.launches.launch import Launch
from planner.launches.planning import stack_of


def on_node(node: int, *lines: str) -> str:
    """A script of an export for a node of four chips."""
    place = f"# Node {node}: chips {4 * node} to {4 * node + 3} of the machine."
    return "\n".join(["#!/usr/bin/env bash", place, *lines, ""])


def rank(node: int, head: int, more: str = "") -> str:
    command = f"vllm serve m -tp 2 -pp 4 --nnodes 2 --node-rank {node - head}"
    return f'CUDA_VISIBLE_DEVICES=0,1,2,3 {command} --master-addr "$NODE_{head}" {more}'


def launch_of(text: str) -> Launch:
    return read_command(text).launch


def test_nodes_of_one_engine_are_read_as_a_whole() -> None:
    text = on_node(1, rank(1, 0, "--headless")) + on_node(0, rank(0, 0))
    reading = read_command(text)
    assert reading.launch.devices == (tuple(range(8)),)
    assert (reading.launch.replicas, reading.launch.chips_per_node) == (1, 4)
    assert reading.told[-1].words == "nodes of one engine"
    assert not reading.asked


def test_engines_of_two_nodes_each_are_replicas() -> None:
    nodes = [(0, 0), (1, 0), (2, 2), (3, 2)]
    text = "".join(on_node(node, rank(node, head)) for node, head in nodes)
    launch = launch_of(text)
    assert launch.replicas == 2
    assert launch.devices == (tuple(range(8)), tuple(range(8, 16)))


def test_a_node_that_is_not_there_leaves_the_chips_unsaid() -> None:
    launch = launch_of(on_node(0, rank(0, 0)))
    assert (launch.pipeline_parallel, launch.replicas, launch.devices) == (4, 1, None)


def test_like_engines_on_nodes_of_their_own_have_other_chips() -> None:
    line = "CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 2"
    assert launch_of(on_node(0, line) + on_node(3, line)).devices == ((0, 1), (12, 13))


def test_without_a_word_on_nodes_the_same_chips_are_no_replicas() -> None:
    line = "CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 2\n"
    reading = read_command(line * 2)
    assert reading.launch.replicas == 1
    assert "only the first command" in reading.told[-1].words


@pytest.mark.parametrize("lender", ["rpc-server", "ggml-rpc-server"])
def test_cards_that_hosts_lend_are_stages_before_the_own(lender: str) -> None:
    cards = [f"CUDA_VISIBLE_DEVICES={card} {lender} -p {50052 + card} &" for card in (2, 3)]
    server = "llama-server -m m.gguf --rpc $NODE_0:50054,$NODE_0:50055 -ts 3,2,2,2 -ngl 9"
    launch = launch_of(on_node(0, *cards) + on_node(1, f"CUDA_VISIBLE_DEVICES=0,1 {server}"))
    assert launch.devices == ((2, 3, 4, 5),)
    assert (launch.pipeline_parallel, launch.stage_shares) == (4, (3.0, 2.0, 2.0, 2.0))
    assert stack_of(launch) == "llama.cpp"


def test_cards_of_addresses_that_the_text_does_not_start_are_counted() -> None:
    command = "CUDA_VISIBLE_DEVICES=0 llama-server -m m.gguf --rpc 10.0.0.2:50052,10.0.0.3:50052"
    launch = launch_of(command)
    assert (launch.pipeline_parallel, launch.devices) == (3, None)


def test_cards_of_an_unknown_number_are_said_to_be_all() -> None:
    reading = read_command("llama-server -m m.gguf --rpc 10.0.0.2:50052")
    assert reading.launch.spread == "stages"
    assert any("all cards of the machine are priced" in one.words for one in reading.told)


def test_mpi_gives_every_node_the_same_chips() -> None:
    start = (
        'mpirun -n 8 --host "$NODE_1:4,$NODE_2:4" trtllm-llmapi-launch trtllm-serve m --tp_size 8'
    )
    text = on_node(1, f"CUDA_VISIBLE_DEVICES=0,1,2,3 {start} --gpus_per_node 4")
    assert launch_of(text).devices == (tuple(range(4, 12)),)
