"""What may be used under which licence is listed for all that is pinned."""

from benchmarks.licences import PAGE, pinned


def test_every_pinned_package_has_its_licence_on_the_page():
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:4]]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ][2:]
    assert {name: version for name, version, _ in rows} == pinned()
    assert all(licence and "not " not in licence for _, _, licence in rows)
