import pytest

from planner.errors import InputError
from planner.readers.machines.seen import SeenDevice, SeenLink, SeenMachine


def test_a_machine_knows_its_devices_by_kind_and_host():
    devices = tuple(
        SeenDevice(name=f"{host}/{kind}", kind=kind, host=host)
        for host in ("a", "b")
        for kind in ("gpu", "cpu", "nic")
    )
    seen = SeenMachine(format="by hand", devices=devices)
    assert [one.name for one in seen.of_kind("gpu")] == ["a/gpu", "b/gpu"]
    assert [one.name for one in seen.of_kind("gpu", "b")] == ["b/gpu"]
    assert seen.hosts == ("a", "b")


def test_names_and_ends_of_links_must_be_there():
    one = SeenDevice(name="GPU0", kind="gpu")
    with pytest.raises(InputError, match="two devices have the same name"):
        SeenMachine(format="by hand", devices=(one, one))
    link = SeenLink(between=("GPU0", "GPU7"), kind="nvlink")
    with pytest.raises(InputError, match="a link ends at GPU7"):
        SeenMachine(format="by hand", devices=(one,), links=(link,))
