from pathlib import Path

import pytest

from planner.errors import InputError
from planner.readers.machines import markup
from planner.readers.machines.markup import number_in, root_of, whole_in

HERE = Path("machine.xml")


def test_elements_and_attributes_are_read_behind_a_document_type_that_is_only_named():
    text = '<?xml version="1.0"?><!DOCTYPE topology SYSTEM "hwloc2.dtd"><topology a="b"><c/>d</topology>'
    root = root_of(text, HERE)
    assert root.tag == "topology"
    assert root.attrib == {"a": "b"}
    assert [child.tag for child in root] == ["c"]


def test_an_encoding_that_is_not_known_does_not_matter():
    assert root_of("<?xml version='1.0' encoding='X'?><a/>", HERE).tag == "a"


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "document type with contents of its own"),
        (
            '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///x">]><a>&b;</a>',
            "document type with contents of its own",
        ),
        ("<a>&b;</a>", "undefined entity"),
        ("<a><b></a>", "mismatched tag"),
        ("<a>", "truncated"),
        ("<a" + "><a" * 300 + ">", "levels of them"),
    ],
)
def test_what_is_not_plain_is_refused_in_a_sentence(text, said):
    with pytest.raises(InputError, match=said):
        root_of(text, HERE)


def test_elements_and_letters_are_counted(monkeypatch):
    monkeypatch.setattr(markup, "MOST_ELEMENTS", 3)
    assert len(root_of("<a><b/><b/></a>", HERE)) == 2
    with pytest.raises(InputError, match="more than 3 elements"):
        root_of("<a><b/><b/><b/></a>", HERE)
    monkeypatch.setattr(markup, "MOST_BYTES", 3)
    with pytest.raises(InputError, match="is too long for a description"):
        root_of("<a></a>", HERE)


def test_numbers_are_what_a_text_begins_with():
    assert number_in("16.0 GT/s PCIe") == 16.0
    assert number_in("nan") is None
    assert number_in("-1") is None
    assert number_in(None) is None
    assert whole_in("16") == 16
    assert whole_in("-1") is None
    assert whole_in("1²") is None
    assert whole_in("5", 4) is None
