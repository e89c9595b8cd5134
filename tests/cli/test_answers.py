"""What answers hold in JSON."""

import planner as pl
from planner.cli.answers import comparison, result_fields

GRAPH = pl.load_model("llama-3.2-1b").cut(2)
WORK = pl.Workload(batch_size=2, prompt_tokens=64, output_tokens=8)


def result(chips):
    return pl.partition(GRAPH, pl.load_topology("hgx-h100", chips=chips), WORK)


def test_a_result_names_what_the_caller_has():
    fields = result_fields(result(1))
    assert "graph" not in fields
    assert fields["model"] == GRAPH.name
    assert fields["topology"] == {"name": "hgx-h100", "chips": 1}
    assert fields["workload"]["batch_size"] == 2


def test_results_stand_side_by_side_with_those_that_have_none_below():
    text = comparison([result(1), result(2)], [("l4", "there is no plan")], ["one", "two"])
    (header,) = [line for line in text.splitlines() if line.split() == ["one", "two"]]
    assert text.index(header) < text.index("status")
    assert "\ntwo: chosen from" in text
    assert text.endswith("l4: there is no plan")
