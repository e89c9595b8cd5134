"""What the catalogue holds, from the command line."""

import pytest

import planner as pl


def test_clusters_are_listed(run):
    assert {row["cluster"] for row in run("clusters", "--format", "json").fields} == set(
        pl.cluster_names()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "column", "names"),
    [("models", "model", pl.model_names()), ("topologies", "topology", pl.topology_names())],
)
def test_the_catalogue_is_listed(run, command, column, names):
    listed, table = run(command, "--format", "json"), run(command)
    assert (listed.status, listed.err, table.status, table.err) == (0, "", 0, "")
    assert tuple(row[column] for row in listed.fields) == names
    lines = table.out.splitlines()
    assert tuple(line.split()[0] for line in lines) == (column, *names)
