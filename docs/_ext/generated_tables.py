"""Directives that draw their tables from the code, so that the two cannot differ.

`sage-limits`       every number of `sage.limits`, with the reason beside it
`sage-handshake`    the transition table of `sage.handshake.state`
`sage-codes`        the diagnostic codes
`sage-help`         what `--help` prints, for every command
`sage-bench`        what `sage bench` measures and holds: one of its four tables
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from sage import errors, limits
from sage.handshake import TRANSITIONS
from sage.types import Role

__all__ = ["setup"]


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> nodes.table:
    """Return a table whose first column is code."""
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=1) for _ in titles]
    head, body = nodes.thead(), nodes.tbody()
    head += row([nodes.Text(title) for title in titles])
    body += [
        row([nodes.literal("", cells[0]), *map(nodes.Text, cells[1:])])
        for cells in rows
    ]
    group += [head, body]
    result = nodes.table("", group)
    result["classes"] += ["colwidths-auto"]
    return result


def row(cells: Iterable[nodes.Node]) -> nodes.row:
    """Return one row."""
    result = nodes.row()
    for cell in cells:
        result += nodes.entry("", nodes.paragraph("", "", cell))
    return result


class Limits(SphinxDirective):
    """Each part of `limits.py` as a section with its comment and its numbers."""

    def run(self) -> list[nodes.Node]:
        """Read the source: the comments are half of what there is to say."""
        found: list[nodes.Node] = []
        body = inspect.getsource(limits).partition("# --- fixed")[2]
        fixed, _, ours = body.partition("# --- ours")
        for title, part in (("Fixed by the protocol", fixed), ("Ours", ours)):
            section = nodes.section(ids=[nodes.make_id(title)])
            section += nodes.title("", title)
            for comment, names in paragraphs(part):
                if comment:
                    section += nodes.paragraph("", comment)
                section += table(["name", "value"], ((n, readable(n)) for n in names))
            found.append(section)
        return found


def paragraphs(source: str) -> Iterable[tuple[str, list[str]]]:
    """Yield each block's comment and the names that it assigns."""
    for block in re.split(r"\n\s*\n", source):
        lines = [line.strip() for line in block.splitlines()]
        names = [m[1] for line in lines if (m := re.match(r"([A-Z]\w+): Final", line))]
        comment = " ".join(line[2:] for line in lines if line.startswith("# "))
        if names:
            yield comment, names


def readable(name: str) -> str:
    """Return a limit with its unit, which is the last word of its name."""
    value = getattr(limits, name)
    unit = {"S": " s", "BYTES": " bytes", "BITS": " bits"}.get(name.split("_")[-1], "")
    return f"{value:,g}{unit}" if isinstance(value, float) else f"{value:,}{unit}"


class Handshake(SphinxDirective):
    """The transition table of each role."""

    def run(self) -> list[nodes.Node]:
        """Draw one table for each role."""
        found: list[nodes.Node] = []
        for role in Role:
            found.append(nodes.paragraph("", f"The {role.value}:"))
            found.append(
                table(
                    ["in state", "on", "goes to"],
                    (
                        (state.value, event.value, after.value)
                        for (who, state, event), after in TRANSITIONS.items()
                        if who is role
                    ),
                )
            )
        return found


class Codes(SphinxDirective):
    """Every diagnostic code."""

    def run(self) -> list[nodes.Node]:
        """List them in the order of the enum."""
        items = ((code.value, f"Code.{code.name}") for code in errors.Code)
        return [table(["code", "in Python"], items)]


class Bench(SphinxDirective):
    """The contestants, rows, comparisons or promises of `sage bench`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw the table that is asked for."""
        from sage.cli.bench import contestants, figures, promises, report

        named = {
            "contestants": ((c.name, c.title) for c in contestants.CONTESTANTS),
            "rows": figures.ROWS.items(),
            "against": figures.AGAINST.items(),
        }
        (which,) = self.arguments
        if which in named:
            return [table(["name", "what it is"], named[which])]
        titles = ["contestant", "row", "size", "against", "ratio"]
        rows = (
            (
                *(promise.contestant, promise.row, report.size_name(promise.bytes)),
                promise.against,
                f"{'at least' if promise.at_least else 'at most'} {promise.limit:g}",
            )
            for promise in promises.PROMISES
        )
        return [table(titles, rows)]


class Help(SphinxDirective):
    """One section for each command, with its help as it is printed."""

    def run(self) -> list[nodes.Node]:
        """Ask the program itself."""
        import typer

        from sage.cli.app import app

        found: list[nodes.Node] = []
        for words in commands(typer.main.get_command(app)):
            title = " ".join(["sage", *words])
            section = nodes.section(ids=[nodes.make_id(title)])
            section += nodes.title("", "", nodes.literal("", title))
            section += nodes.literal_block("", help_text(words), language="text")
            found.append(section)
        return found


def commands(command: Any, *words: str) -> Iterable[tuple[str, ...]]:
    """Yield the words of a command and of all below it."""
    if words:
        yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *words, name)


def help_text(words: Sequence[str]) -> str:
    """Return the help of a command, plain and 80 columns wide."""
    done = subprocess.run(
        [sys.executable, "-m", "sage", *words, "--help"],
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def setup(app: Any) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("sage-limits", Limits)
    app.add_directive("sage-handshake", Handshake)
    app.add_directive("sage-codes", Codes)
    app.add_directive("sage-help", Help)
    app.add_directive("sage-bench", Bench)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
