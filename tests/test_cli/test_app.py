from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sage.cli.app import app

from .conftest import House, Run, one_line, run_process


def commands(command: object, *words: str) -> list[tuple[str, ...]]:
    found = [words]
    for name, inner in getattr(command, "commands", {}).items():
        found += commands(inner, *words, name)
    return found


def test_the_commands_are_those_that_are_documented() -> None:
    assert {" ".join(words) for words in commands(typer.main.get_command(app))} == {
        "",
        "info",
        "agent",
        "agent new",
        "agent show",
        "agent verify",
        "key",
        "key new",
        "key list",
        "key show",
        "key import",
        "key export",
        "key remove",
        "key rotate",
        "key revoke",
        "registry",
        "registry serve",
        "registry publish",
        "serve",
        "send",
        "demo",
        "loadtest",
        "loadtest-service",
        "bench",
    }


@pytest.mark.parametrize("words", commands(typer.main.get_command(app)))
def test_every_command_and_option_is_explained(
    run: Run, words: tuple[str, ...]
) -> None:
    ended = run(*words, "--help")
    assert ended.code == 0
    assert "Usage: " in ended.out
    command: object = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert parameter.help, parameter.name


@pytest.mark.parametrize("words", [(), ("agent",), ("registry",)])
def test_without_a_verb_there_is_help_and_a_usage_error(
    run: Run, words: tuple[str, ...]
) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert "Usage: " in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "nonsense"),
        (("info", "--nonsense"), "--nonsense"),
        (("send",), "Missing"),
        (("agent", "new", "did:sage:web:x:y"), "--out"),
        (("agent", "verify", "did:web:x"), "did:sage:web:<domain>:<agent-id>"),
        (("serve", "x", "--certificate", "y", "--port", "70000"), "--port"),
        (("serve", "x", "--certificate", "y", "--allow", "ada"), "did:sage:web"),
        (("loadtest", "--mode", "pigeon"), "'--mode': 'pigeon' is not one of"),
        (("loadtest", "--connections", "many"), "'--connections'"),
        (("loadtest", "wss://x", "--peer", "ada"), "'--peer'"),
    ],
)
def test_usage_errors_are_one_line_and_2(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    ended = run(*words)
    assert ended.code == 2
    line = one_line(ended)
    assert said in line
    assert line.startswith("sage")
    what, _, advice = line.partition("; see: ")
    assert what[-1] not in ".!?;"
    assert "Value error" not in what
    assert advice.startswith("sage")
    assert advice.endswith(" --help")


def test_an_error_of_ours_is_one_line(run: Run, tmp_path: Path) -> None:
    ended = run("agent", "show", tmp_path / "none")
    assert ended.code == 3
    assert one_line(ended) == f"sage: cannot read {tmp_path}/none: No such file or" + (
        " directory"
    )


@pytest.mark.parametrize("place", [0, 3])
def test_debug_shows_where_wherever_it_stands(
    run: Run, tmp_path: Path, place: int
) -> None:
    words: list[object] = ["agent", "show", tmp_path / "none"]
    words.insert(place, "--debug")
    ended = run(*words)
    assert ended.code == 3
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("sage: cannot read")


def test_a_bug_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, str]:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("sage.cli.facts.collect", broken)
    ended = run("info")
    assert ended.code == 1
    assert one_line(ended) == (
        "sage: internal error: ZeroDivisionError: division by zero; --debug shows where"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_ctrl_c_is_130_and_silent(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupted() -> str:
        raise error

    monkeypatch.setattr("sage.cli.facts.as_text", interrupted)
    ended = run("info")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.strip() == ""


def test_a_reader_who_leaves_is_no_error_worth_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "sage", "info"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"), [("info", 0), ("agent show none", 3), ("nonsense", 2)]
)
def test_a_stream_that_the_shell_has_closed_changes_nothing_else(
    tmp_path: Path, closed: str, words: str, code: int
) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m sage {words} {closed}', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    if "2>&-" in closed:
        assert done.stderr == ""
        assert "sage:" not in done.stdout
    elif code:
        one_line(done)
    has_stdout = ">&-" not in closed.replace("2>&-", "")
    assert (done.stdout != "") == (code == 0 and has_stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_nobody_is_asked_for_a_passphrase_where_stdin_is_closed(
    house: House,
) -> None:
    done = subprocess.run(
        [
            *("/bin/sh", "-c", 'exec "$0" -m sage agent show "$1" <&-'),
            *(sys.executable, str(house / "ada.sage")),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "--passphrase-file" in one_line(done)


def test_the_script_and_the_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("sage")
    assert script.is_file(), "the package is not installed"
    said = subprocess.run([script, "info"], capture_output=True, text=True, check=True)
    assert said.stdout == run_process("info").stdout


WITHOUT_SERVICE = """
import sys
class Without:
    def __init__(self, finders):
        self.finders = finders
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("websockets", "h11", "uvicorn", "trustme"):
            return None
        specs = (finder.find_spec(name, path, target) for finder in self.finders)
        return next(filter(None, specs), None)
sys.meta_path[:] = [Without(sys.meta_path[:])]
from sage.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("info",), 0),
        (("--help",), 0),
        (("demo",), 3),
        (("agent", "verify", "did:sage:web:x.example:y"), 3),
    ],
)
def test_a_missing_extra_is_one_line(words: tuple[str, ...], code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVICE, *words], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    if code:
        assert "pip install 'sage-secure[" in one_line(done)


def test_only_what_is_needed_is_loaded() -> None:
    code = (
        "import sys; from sage.cli import main; main(['info']);"
        "print(*{'uvicorn', 'websockets', 'trustme'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ""


def test_a_name_that_the_terminal_cannot_show_is_no_reason_to_stop(
    tmp_path: Path,
) -> None:
    done = run_process(
        *("agent", "show", tmp_path / "é"),
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 3
    assert "\\xe9" in one_line(done)
