"""A file is written whole or not at all."""

import os
import stat

import pytest

import planner as pl
from planner.cli import files
from tests.terminal import SMALL, TOO_LONG, TOO_SMALL, refused


@pytest.mark.parametrize("arguments", [TOO_SMALL, TOO_LONG, ("nope", "hgx-h100")])
def test_a_refusal_leaves_an_older_plan_as_it_was(run, tmp_path, arguments):
    path = tmp_path / "plan.json"
    path.write_text("older", encoding="utf-8")
    assert run("plan", *arguments, "--out", path).status > 0
    assert path.read_text(encoding="utf-8") == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, monkeypatch):
    def never(*given, **options):
        raise AssertionError("worked before looking")

    monkeypatch.setattr(pl, "partition", never)
    path = tmp_path / "nowhere" / "plan.json"
    assert f"--out {path} cannot be written" in refused(run("plan", *SMALL, "--out", path), 2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_output_is_refused_for_what_it_is(run, tmp_path):
    assert f"{tmp_path.parent} is not a folder" not in refused(
        run("plan", *SMALL, "--out", tmp_path), 2
    )


def failing_replace(monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)


def test_an_output_that_fails_on_the_way_is_refused(run, tmp_path, monkeypatch):
    failing_replace(monkeypatch)
    sentence = refused(run("plan", *SMALL, "--out", tmp_path / "plan.json"), 2)
    assert "cannot be written: No space left on device" in sentence


def test_an_output_that_fails_on_the_way_leaves_nothing_behind(run, tmp_path, monkeypatch):
    failing_replace(monkeypatch)
    run("plan", *SMALL, "--out", tmp_path / "plan.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_plan_may_be_read_by_whom_other_files_may(run, tmp_path):
    path, other = tmp_path / "plan.json", tmp_path / "other"
    other.touch()
    run("plan", *SMALL, "--out", path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.slow
def test_a_plan_written_through_a_link_lands_where_the_link_points(run, tmp_path):
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    run("plan", *SMALL, "--out", link)
    assert link.is_symlink()
    assert pl.Plan.from_json(target.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_pipe_as_output_stays_a_pipe(run, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        run("plan", *SMALL, "--out", pipe)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


def test_one_file_for_two_outputs_is_refused_before_the_work(run, tmp_path, monkeypatch):
    def never(*given, **options):
        raise AssertionError("worked before looking")

    monkeypatch.setattr(pl, "partition", never)
    (tmp_path / "again").symlink_to(tmp_path)
    path, same = tmp_path / "one.json", tmp_path / "again" / "one.json"
    sentence = refused(run("plan", *SMALL, "--out", path, "--certificate", same), 2)
    assert sentence.startswith("--out and --certificate both name")


def test_of_several_outputs_all_are_written_or_none(run, tmp_path, monkeypatch):
    whole = files._written_beside

    def second_fails(one):
        if one.option == "--certificate":
            raise OSError(28, "No space left on device")
        return whole(one)

    monkeypatch.setattr(files, "_written_beside", second_fails)
    plan, proof = tmp_path / "plan.json", tmp_path / "proof.json"
    sentence = refused(run("plan", *SMALL, "--out", plan, "--certificate", proof), 2)
    assert f"--certificate {proof} cannot be written" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners here")
def test_a_file_of_another_user_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "theirs"
    path.touch()
    files.check_writable(path)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(pl.InputError, match="belongs to another user"):
        files.check_writable(path)


def test_what_is_no_path_is_refused_in_a_sentence(tmp_path):
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(pl.InputError, match=r"--out .* cannot be written"):
            files.check_writable(tmp_path / name)


def test_a_folder_gets_all_files_or_none_and_goes_again_where_it_was_made(tmp_path, monkeypatch):
    whole = files._written_beside
    texts = {"start.sh": "exit\n", "plan.json": "{}\n"}
    files.write_folder(tmp_path / "good", texts, "--export-to")
    made = {one.name: one for one in (tmp_path / "good").iterdir()}
    assert {name: one.read_text(encoding="utf-8") for name, one in made.items()} == texts
    assert [name for name, one in made.items() if os.access(one, os.X_OK)] == ["start.sh"]

    def second_fails(one):
        if one.path.name == "plan.json":
            raise OSError(28, "No space left on device")
        return whole(one)

    monkeypatch.setattr(files, "_written_beside", second_fails)
    with pytest.raises(
        pl.InputError, match=r"--export-to .*plan\.json cannot be written: No space"
    ):
        files.write_folder(tmp_path / "bad", texts, "--export-to")
    assert [one.name for one in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_what_is_no_folder_is_refused_in_a_sentence(tmp_path, name):
    with pytest.raises(pl.InputError, match=r"--export-to .* cannot be written"):
        files.check_folder(tmp_path / name, "--export-to")


@pytest.mark.parametrize("option", ["--out", "--certificate", "--save"])
def test_a_file_that_is_read_is_not_written_over(run, tmp_path, option):
    path = tmp_path / "config.json"
    path.write_text("mine", encoding="utf-8")
    assert "is read by this command too" in refused(run("plan", path, "hgx-h100", option, path), 2)
    joined = run("plan", path, "hgx-h100", f"{option}={tmp_path}/../{tmp_path.name}/config.json")
    assert "name another file" in refused(joined, 2)
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_a_question_that_is_asked_again_is_not_written_over(run, tmp_path):
    kept = tmp_path / "q.toml"
    assert run("plan", *SMALL, "--save", kept).status == 0
    before = kept.read_bytes()
    assert "name another file" in refused(run("ask", kept, "--out", kept), 2)
    assert kept.read_bytes() == before
