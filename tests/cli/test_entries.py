"""What can be asked for, and what an entry of the catalogue says."""

import pytest

import planner as pl
from planner import catalogue
from planner.answers.question import ASKED, SAMPLE_FIELDS
from tests.terminal import refused


def test_fields_have_a_unit_and_a_direction(run):
    rows = {row["field"]: row for row in run("fields", "--format", "json").fields}
    assert set(rows) >= set(ASKED | SAMPLE_FIELDS)
    assert rows["tokens_per_s"]["better"] == "higher"
    assert rows["tpot_p99_s"] == {
        "field": "tpot_p99_s",
        "unit": "s",
        "better": "lower",
        "asked of": "language",
        "what it is": "time per output token, p99",
    }
    assert rows["image_s"]["asked of"] == "diffusion"
    assert rows["queued"]["better"] == "(shown only)"
    assert run("fields", "--format", "csv").out.startswith("field,unit,better")


def test_a_machine_is_shown_with_every_figure_and_its_source(run):
    answer = run("show", "HGX H100", "--format", "json")
    machine = pl.load_topology("hgx-h100")
    assert answer.fields["kind"] == "machine"
    assert [row["figure"] for row in answer.fields["figures"]] == [
        one.path for one in machine.figures
    ]
    text = run("show", "hgx-h100").out
    known = catalogue.sources()
    assert all(known[one.source] in text for one in machine.figures)
    assert "guess" in text


@pytest.mark.parametrize(
    ("name", "kind", "word"),
    [
        ("deepseek-r1", "model", "deepseek-v3: 671 B parameters"),
        ("a100-l4-t4", "cluster", "8 × hgx-a100"),
        ("vllm", "software", "software.memory_efficiency"),
    ],
)
def test_other_entries_are_shown_too(run, name, kind, word):
    assert run("show", name, "--format", "json").fields["kind"] == kind
    assert word in run("show", name).out


def test_a_name_of_two_kinds_says_so(run):
    shared = set(pl.topology_names()) & set(pl.software_names())
    for name in sorted(shared)[:1]:
        assert "--kind software" in run("show", name).out
    assert run("show", "vllm", "--kind", "software").status == 0


def test_a_file_is_shown(run, tmp_path):
    path = tmp_path / "mine.toml"
    text = (catalogue.topologies_folder() / "l4.toml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    assert run("show", path, "--format", "json").fields["name"] == "l4"


def test_what_is_wrong_is_said(run):
    assert "the nearest names are hgx-h100" in refused(run("show", "hgx-h10"), 2)
    assert "--kind must be model, machine, cluster or software" in refused(
        run("show", "vllm", "--kind", "stack"), 2
    )
