from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.slurm import is_slurm, read_slurm, read_slurm_yaml

HERE = Path("topology.conf")
TREE = """# a comment
SwitchName=spine Switches=leaf[1-2] LinkSpeed=100
SwitchName=leaf1 Nodes=tux[0-3,12] # and another
switchname=leaf2 nodes=tux[4-7]
"""
BLOCKS = "BlockName=b1 Nodes=n[01-18]\nBlockName=b2 Nodes=n[19-36]\nBlockSizes=18,36\n"
YAML = """
- topology: other
  flat: true
- topology: blocks
  block:
    block_sizes: [4]
    blocks:
      - {block: b1, nodes: "n[1-4]"}
- topology: main
  cluster_default: true
  tree:
    switches:
      - switch: top
        children: s[1-2]
      - {switch: s1, nodes: "n[1-4]"}
      - {switch: s2, nodes: "n[5-8]"}
"""


def test_a_tree_is_read_whatever_the_case_of_its_words():
    assert is_slurm(TREE)
    seen = read_slurm(TREE, HERE)
    assert len(seen.of_kind("cpu")) == 5 + 4
    assert len(seen.of_kind("switch")) == 3
    assert len(seen.links) == 2 + 9


def test_blocks_are_domains_of_nvlink():
    seen = read_slurm(BLOCKS, HERE)
    assert len(seen.of_kind("cpu")) == 36
    assert {link.kind for link in seen.links} == {"nvlink"}


def test_of_several_topologies_the_default_is_read():
    pytest.importorskip("yaml")
    seen = read_slurm_yaml(YAML, HERE)
    assert seen.name == "main"
    assert len(seen.of_kind("cpu")) == 8
    assert "has 2 topologies" in seen.remarks[0]
    seen = read_slurm_yaml(YAML.partition("- topology: main")[0], HERE)
    assert seen.name == "blocks"


@pytest.mark.parametrize(
    "text", ["- topology: x\n  flat: true\n", "tree: 3\n", "- tree: {switches: 3}\n",
             "- tree: {switches: [{switch: [a]}]}\n", "- tree: {switches: [{switch: a, nodes: [[b]]}]}"],
)  # fmt: skip
def test_a_file_without_switches_is_refused(text):
    pytest.importorskip("yaml")
    with pytest.raises(InputError, match="topology"):
        read_slurm_yaml(text, HERE)
    with pytest.raises(InputError, match="SwitchName"):
        read_slurm(text, HERE)
