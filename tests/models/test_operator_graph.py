"""Operator graphs: arrays from records, and refusals that name the field."""

import numpy as np
import pytest

import planner as pl
from planner.errors import InputError

ACCELERATOR = pl.DeviceClass(name="a", count=2, memory_bytes=10.0)
HOST = pl.DeviceClass(name="c", count=1, pays_transfers=False)


def graph_of(*times, edges=(), **fields):
    operators = tuple(
        pl.Operator(name=str(number), times_s=row, **fields) for number, row in enumerate(times)
    )
    return pl.OperatorGraph(operators=operators, edges=edges, devices=(ACCELERATOR, HOST))


def test_arrays_hold_what_the_records_say():
    problem = graph_of(
        (1.0, 4.0), (None, 2.0), edges=((0, 1),), transfer_s=3.0, size_bytes=5.0
    ).to_problem()
    assert problem.times.tolist() == [[1.0, np.inf], [4.0, 2.0]]
    assert problem.capacity.tolist() == [10.0, np.inf]
    assert problem.devices.tolist() == [0, 0, 1]
    assert problem.transfer.tolist() == [3.0, 3.0]
    assert len(set(problem.colour.tolist())) == 2


def test_operators_of_one_colour_stay_together_in_the_arrays():
    problem = graph_of((1.0, 4.0), (2.0, 2.0), colour=7).to_problem()
    assert len(set(problem.colour.tolist())) == 1


def test_devices_are_called_by_class_and_number():
    assert graph_of((1.0, 4.0)).device_names == ("a0", "a1", "c0")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: graph_of((1.0,)), "one for each of the 2 classes"),
        (lambda: graph_of((None, None)), "can run on no device"),
        (lambda: graph_of((1.0, 1.0), edges=((0, 1),)), "edges[0]"),
        (lambda: graph_of((1.0, 1.0), (1.0, 1.0), edges=((0, 1), (1, 0))), "cycle"),
        (lambda: graph_of((-1.0, 1.0)), "times_s"),
    ],
)
def test_a_wrong_graph_is_refused_in_one_sentence(make, words):
    with pytest.raises(InputError) as refused:
        make()
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_class_names_must_differ_and_one_device_must_be_there():
    node = pl.Operator(name="0", times_s=(1.0, 1.0))
    with pytest.raises(InputError, match="different names"):
        pl.OperatorGraph(operators=(node,), edges=(), devices=(ACCELERATOR, ACCELERATOR))
    with pytest.raises(InputError, match="no device"):
        pl.OperatorGraph(
            operators=(node,),
            edges=(),
            devices=(ACCELERATOR.replace(count=0), HOST.replace(count=0)),
        )
