from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines.recognition import FORMATS, merged, read_machine, seen_in
from tests.readers.machines import test_processors
from tests.readers.machines.texts import machine_texts
from tests.readers.machines.written import matrix_text, named, square_matrix

TEXTS = machine_texts()
MATRIX = matrix_text(square_matrix(["NV4 SYS", "SYS"]))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_told_by_what_it_holds(form, tmp_path):
    if "yaml" in form:
        pytest.importorskip("yaml")
    path = tmp_path / "description"
    path.write_text(TEXTS[form], encoding="utf-8")
    assert read_machine(path).format == form


def test_a_model_of_topograph_is_told_from_slurms_yaml():
    pytest.importorskip("yaml")
    text = "switches:\n  s: {}\nblocks:\n- switch: s\n  nodes: ['n[1-4]']\n"
    assert seen_in(text, Path("x")).format == "topograph model"


@pytest.mark.parametrize("text", ["", "hello", "{}", "<a/>", "topology: 3", "[1]"])
def test_what_is_none_of_them_is_refused_with_their_names(text):
    if "topology" in text:
        pytest.importorskip("yaml")
    with pytest.raises(InputError) as refused:
        seen_in(text, Path("x"))
    assert "topology" in str(refused.value)
    assert str(refused.value).count("\n") == 0


def test_half_a_character_is_refused():
    with pytest.raises(InputError, match="incomplete character"):
        seen_in(r'{"nodes": [{"id": "\ud800"}], "links": []}', Path("x"))


def test_descriptions_of_one_machine_go_together():
    matrix = seen_in(MATRIX, Path("a"))
    names = seen_in(named("NVIDIA L4", "NVIDIA L4", "NVIDIA L4"), Path("b"))
    cpu = seen_in(test_processors.LSCPU, Path("c"))
    for order in ([matrix, names, cpu], [cpu, names, matrix]):
        both = merged(order)
        assert both.links == matrix.links
        assert [one.product for one in both.of_kind("gpu")] == ["NVIDIA L4"] * 3
        assert both.of_kind("cpu")[0].cores == 112
