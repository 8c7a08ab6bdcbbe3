"""Print files: parts, their manifest, several processes, and prints that were broken off."""

import hashlib
import signal
import subprocess
import sys
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import msgspec
import pytest

from app.printing import drawing, manifest, sheets
from app.printing.drawing import Bundle, Form
from app.printing.labels import Label, SizeName
from app.printing.letters import FontFile
from app.printing.sheets import Order, Printed
from ledger.errors import Refused
from payments import fonts
from tests.app.printing.test_sheets import label
from tests.payments.conftest import AT

LATER = AT + timedelta(hours=20)
BROKEN_OFF: str = """
import sys
from datetime import datetime
from pathlib import Path
import msgspec
from app.printing import sheets
from app.printing.labels import Label
from payments import fonts

def coming():
    yield from msgspec.json.decode(sys.stdin.readline(), type=list[Label])
    print("waiting", file=sys.stderr, flush=True)
    sys.stdin.read()

order = sheets.Order(
    size="poster", form="pdf", folder=Path(sys.argv[1]), stem="lx", font=fonts.found(None), pages=1, processes=int(sys.argv[2])
)
at = datetime.fromisoformat(sys.argv[3])
sheets.write(coming(), order, at=at, progress=lambda said: print(said, file=sys.stderr, flush=True))
"""
"""A print that comes to six of its codes and is then killed."""


def order(folder: Path, *, form: Form = "pdf", size: SizeName = "poster", pages: int = 1, processes: int = 1) -> Order:
    return Order(size=size, form=form, folder=folder, stem="lx", font=fonts.found(None), pages=pages, processes=processes)


def printed(wanted: Order, labels: list[Label], *, told: list[str] | None = None) -> Printed:
    return sheets.write(labels, wanted, at=AT, progress=(told if told is not None else []).append)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def some(count: int) -> list[Label]:
    return [label(number) for number in range(1, count + 1)]


def test_one_process_and_two_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PDFs: the prints below that are killed while two processes draw."""
    monkeypatch.setattr(sheets, "SVGS_AT_A_TIME", 2)
    for count in (1, 2):
        printed(order(tmp_path / str(count), form="svg", processes=count), some(4))
    assert len(contents(tmp_path / "1")) == 5
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_files_have_as_many_pages_as_wanted_and_the_last_has_what_is_left(tmp_path: Path) -> None:
    told: list[str] = []
    done = printed(order(tmp_path, size="80x100", pages=2), some(13), told=told)
    assert [path.name for path in done.files] == ["lx-0001.pdf", "lx-0002.pdf"]
    assert told == ["8 codes in 1 files", "13 codes in 2 files"]


@pytest.mark.parametrize("pages", [0, 501])
def test_a_file_of_no_or_too_many_pages_is_refused(tmp_path: Path, pages: int) -> None:
    with pytest.raises(Refused, match="1 to 500 pages"):
        printed(order(tmp_path, pages=pages), some(1))


def test_the_manifest_says_which_codes_are_in_which_file_and_by_what_it_is_known(tmp_path: Path) -> None:
    wanted = [label(number) for number in (1, 2, 3, 5, 8, 9)]
    done = printed(order(tmp_path, size="80x100", pages=1), wanted)
    said = msgspec.json.decode(done.manifest.read_bytes())
    assert (said["whole"], said["labels"], [entry["codes"] for entry in said["files"]]) == (True, 6, ["1-3, 5", "8-9"])
    for entry in said["files"]:
        content = (tmp_path / entry["name"]).read_bytes()
        assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("count", [1, 2])
def test_a_print_that_was_killed_goes_on_and_its_files_are_those_of_an_undisturbed_one(tmp_path: Path, count: int) -> None:
    printed(order(tmp_path / "undisturbed"), some(8))
    command = [sys.executable, "-c", BROKEN_OFF, str(tmp_path / "killed"), str(count), AT.isoformat()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        assert killed.stdin is not None
        killed.stdin.write(msgspec.json.encode(some(6)).decode() + "\n")
        killed.stdin.flush()
        said = list(takewhile(lambda line: line not in ("waiting\n", ""), iter(killed.stderr.readline, None)))
        killed.send_signal(signal.SIGKILL)
        killed.stderr.read()  # it ends only when every process has gone that was started for the print
    whole = len(said)
    assert 0 < whole < 8
    left = manifest.read(tmp_path / "killed" / "lx-pdf.json")
    assert left is not None
    assert (left.whole, len(left.files)) == (False, whole)

    told: list[str] = []
    done = sheets.write(some(8), order(tmp_path / "killed"), at=LATER, progress=told.append)
    assert "broken off" in told[0]
    assert (done.kept, done.labels) == (whole, 8)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_file_that_was_cut_or_changed_or_is_half_written_is_made_anew(tmp_path: Path) -> None:
    wanted = order(tmp_path, size="80x100")
    printed(wanted, some(9))
    before = contents(tmp_path)
    (tmp_path / "lx-0001.pdf").write_bytes(before["lx-0001.pdf"][:-100])
    (tmp_path / "lx-0003.pdf").unlink()
    (tmp_path / ".lx-0003.pdf.unfinished").write_bytes(b"%PDF-half")
    assert printed(wanted, some(9)).kept == 1
    assert contents(tmp_path) == before


def test_a_manifest_that_cannot_be_read_makes_all_anew(tmp_path: Path) -> None:
    wanted = order(tmp_path)
    before = contents(printed(wanted, some(2)).manifest.parent)
    (tmp_path / "lx-pdf.json").write_bytes(b'{"whole": true, "files": [')
    assert printed(wanted, some(2)).kept == 0
    assert contents(tmp_path) == before


def test_printed_again_nothing_is_drawn_or_written(tmp_path: Path) -> None:
    wanted = order(tmp_path, form="svg", size="60x60")
    printed(wanted, some(13))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    drawn: list[int] = []
    done = sheets.write(
        some(13), wanted, at=LATER, progress=list[str]().append, drawing=lambda labels: drawn.append(len(labels)),
    )  # fmt: skip
    assert (done.kept, drawn) == (2, [])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_codes_that_changed_meanwhile_are_drawn_and_files_that_no_code_stands_on_are_taken_away(tmp_path: Path) -> None:
    wanted = order(tmp_path)
    printed(wanted, some(4))
    (tmp_path / "lx-0099.pdf").write_bytes(b"somebody else's")
    drawn: list[Label] = []
    done = sheets.write([label(1), label(9), label(3)], wanted, at=LATER, progress=list[str]().append, drawing=drawn.extend)
    assert (done.kept, [one.code_no for one in drawn]) == (2, [9])
    assert sorted(contents(tmp_path)) == ["lx-0001.pdf", "lx-0002.pdf", "lx-0003.pdf", "lx-0099.pdf", "lx-pdf.json"]
    said = manifest.read(done.manifest)
    assert said is not None
    assert [entry.codes for entry in said.files] == ["1", "9", "3"]


def test_two_prints_cannot_write_to_a_folder_at_a_time(tmp_path: Path) -> None:
    with manifest.held(tmp_path), pytest.raises(Refused, match="another print") as refused:
        printed(order(tmp_path), some(1))
    assert refused.value.code == "printing_busy"
    assert printed(order(tmp_path), some(1)).labels == 1


def test_a_process_that_ends_by_itself_is_told_of_and_the_next_print_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        with pytest.raises(Refused, match="print again") as refused:
            printed(order(tmp_path, processes=2), some(3))
    assert refused.value.code == "printing_stopped"
    assert printed(order(tmp_path), some(3)).labels == 3


def test_a_process_that_draws_says_which_letter_it_cannot_draw(tmp_path: Path) -> None:
    strange = msgspec.structs.replace(label(2), place="\U0001f9ff")
    with pytest.raises(Refused, match=r"U\+1F9FF"):
        printed(order(tmp_path, processes=2), [label(1), strange, label(3)])


def test_the_same_bundle_is_the_same_bytes_each_time() -> None:
    font = fonts.found(None)
    bundle = Bundle("60x60", "pdf", FontFile(str(font.path), font.number), AT, (tuple(some(2)),))
    assert drawing.drawn(bundle) == drawing.drawn(bundle)


@pytest.mark.parametrize(
    ("numbers", "said"), [([], ""), ([7], "7"), ([1, 2], "1-2"), ([1, 3, 4, 5, 9], "1, 3-5, 9")],
)  # fmt: skip
def test_numbers_in_a_row_are_named_by_their_ends(numbers: list[int], said: str) -> None:
    assert manifest.ranges(numbers) == said
