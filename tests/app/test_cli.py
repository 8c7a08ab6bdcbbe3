"""The command line: every command works on its own, and every trouble is one sentence and an exit code."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import cli


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tongting-test-"))
    path.chmod(0o711)
    monkeypatch.setenv("TONGTING_HOME", str(path))
    yield path
    shutil.rmtree(path)


def test_a_new_home_is_migrated_verified_sealed_and_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [
        ("migrate", "keys made: keys/seal.pem"),
        ("migrate", "keys made: none"),
        ("verify", "0 sealed entries; every invariant holds."),
        ("seal", "0 entries sealed."),
        ("checkpoint", "Nothing has been sealed yet."),
    ]
    for command, words in expected:
        assert cli.main([command]) == cli.DONE
        assert words in capsys.readouterr().out


def test_there_is_nothing_to_accept_before_the_first_seal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["checkpoint", "--accept"]) == cli.WRONG
    assert "no seal yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TONGTING_WEB_PORT", "x", "'web_port' has an unusable value"),
        ("TONGTING_NOPE", "1", "unknown setting 'nope'"),
        ("TONGTING_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:9/tongting", "cannot be reached"),
    ],
)
def test_a_wrong_setting_ends_with_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    assert cli.main(["verify"]) == cli.CANNOT_RUN
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_the_stand_in_cannot_be_served_when_it_is_switched_off(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TONGTING_SANDBOX", "false")
    assert cli.main(["sandbox"]) == cli.CANNOT_RUN
    assert "switched off" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["fly"], ["day", "--payments", "0"], ["day", "--seed", "x"]])
def test_wrong_use_is_explained(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: tongting" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "module", "words"), cli._DESKS)
def test_every_desk_says_what_it_takes(name: str, module: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    said = capsys.readouterr().out
    assert (ended.value.code, f"usage: tongting {name}" in said) == (0, True)
    assert "positional arguments:" in said
    assert words[:20].lower() in said.lower()
    assert callable(cli._desk(module).run)


def test_a_day_never_empties_a_directory_that_holds_something_else(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert cli.main(["day", "--out", str(tmp_path)]) == cli.CANNOT_RUN
    assert "holds something else" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"
