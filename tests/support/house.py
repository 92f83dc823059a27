"""Measure how the code is cut, package by package: `python tests/support/house.py [FOLDER ...]`, or `make house`.

Each folder is the root of a tree (this project by default) and gets a table of its own. Counted are its `*.py` files,
without tests, benchmarks, hidden folders and links. The columns:

files, lines  Files, and their lines, blank ones and comments included.
functions     `def` and `async def`, methods included; functions inside functions are not counted.
median, p90   Of the lines of a function, from its `def` to its last line, docstring included, decorators not.
longest       The lines of the longest file, and of the longest function.
one-use       Private helpers used once, as a share of all functions in per cent. A private helper is a function or
              method called `_name` (no dunder). It is used once if its name occurs exactly once in its file beside the
              definition, as a name, an attribute or an import; so helpers of one name in two files are two helpers.
              One that occurs only in itself overrides a method of a base class and is none.
six           Those of one-use with at most six lines, as a share of all functions in per cent.
comments      `#` comments per 100 lines, as the tokenizer sees them; a comment of three lines counts three times.
              Pragmas (`type:`, `noqa`, `fmt:`, `pragma:` and the like) are no comments.

Below the table stand the lines of the README, and how often a variable or parameter (no field) has one of the names in
`VAGUE`, which say how a value came and not what it holds.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import statistics
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "langgraph_memory_r1"
NOT_COUNTED = {"tests", "test", "benchmarks", "build", "dist", "node_modules"}
PRAGMA = re.compile(r"#\s*(?:type:|noqa|fmt:|pragma:|ruff:|mypy:|!|.*coding[:=])")
VAGUE = ("found", "said", "told", "wanted", "known", "given")
HEAD = (
    "package",
    "files",
    "lines",
    "functions",
    "median",
    "p90",
    "longest file",
    "longest function",
    "one-use %",
    "six %",
    "comments",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One parsed file: its package, its path from the root of the tree, and what is counted in it."""

    package: str
    path: str
    lines: int
    functions: tuple[Function, ...]
    comments: int
    tree: ast.Module


@dataclass(frozen=True)
class Measures:
    """What the table says about some files."""

    files: int
    lines: int
    functions: int
    median: float
    p90: int
    longest_file: int
    longest_function: int
    one_use: float
    six_lines: float
    comments: float


def package_of(path: Path) -> str:
    """Return the package of a file, from its path in the tree: the folder below the library or below the root."""
    folders = path.parts[:-1]
    if folders[:1] == (LIBRARY,):
        folders = folders[1:] or ("library root",)
    depth = 2 if folders[:1] == ("train",) else 1  # its tiny model and its reproduction are projects of their own
    return "/".join(folders[:depth]) or "root"


def read_tree(root: Path) -> list[Source]:
    """Parse the counted files of a tree."""
    sources = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        linked = any((root / folder).is_symlink() for folder in relative.parents)
        if linked or any(part in NOT_COUNTED or part.startswith(".") for part in relative.parts[:-1]):
            continue
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        functions = tuple(functions_in(tree))
        sources.append(
            Source(package_of(relative), str(relative), text.count("\n"), functions, comments_in(text), tree)
        )
    return sources


def functions_in(node: ast.AST) -> Iterator[Function]:
    """Yield the functions and methods below a node, without those inside other functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from functions_in(child)


def comments_in(text: str) -> int:
    """Count the comments of a file that are no pragmas."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type == tokenize.COMMENT and not PRAGMA.match(token.string) for token in tokens)


def length(function: Function) -> int:
    """Return the lines of a function, from its `def` to its last line."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def name_counts(tree: ast.AST) -> Counter[str]:
    """Count how often each name occurs in a file or function: defined, read, bound, as an attribute, in an import."""
    counts: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            counts[node.id] += 1
        elif isinstance(node, ast.Attribute):
            counts[node.attr] += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.alias):
            counts[node.name] += 1
    return counts


def one_use_helpers(source: Source) -> list[Function]:
    """Return the private helpers of a file that are used once."""
    counts = name_counts(source.tree)
    private = (f for f in source.functions if f.name.startswith("_") and f.name != "_" and not f.name.endswith("__"))
    # Twice: where it is defined, and where it is used. A use inside itself is a call of `super`: the method of a base
    # class is overridden, and called by that.
    return [f for f in private if counts[f.name] == 2 and name_counts(f)[f.name] == 1]


def measure(sources: list[Source]) -> Measures:
    """Measure some files together."""
    lengths = sorted(length(function) for source in sources for function in source.functions)
    helpers = [helper for source in sources for helper in one_use_helpers(source)]
    lines = sum(source.lines for source in sources)
    share = 100 / max(len(lengths), 1)
    return Measures(
        files=len(sources),
        lines=lines,
        functions=len(lengths),
        median=statistics.median(lengths) if lengths else 0,
        p90=lengths[len(lengths) * 9 // 10] if lengths else 0,
        longest_file=max((source.lines for source in sources), default=0),
        longest_function=max(lengths, default=0),
        one_use=share * len(helpers),
        six_lines=share * sum(length(function) <= 6 for function in helpers),
        comments=100 * sum(source.comments for source in sources) / max(lines, 1),
    )


def shared_class_names(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Return the names that several classes have, private ones included, and where those stand."""
    places: dict[str, list[str]] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{source.path}:{node.lineno}")
    return {name: lines for name, lines in places.items() if len(lines) > 1}


def vague_locals(sources: Iterable[Source]) -> Counter[str]:
    """Count the bindings of variables and parameters whose names say how a value came; fields are not counted."""
    counts: Counter[str] = Counter()
    for source in sources:
        nodes = list(ast.walk(source.tree))
        members = [member for node in nodes if isinstance(node, ast.ClassDef) for member in node.body]
        fields = {id(member.target) for member in members if isinstance(member, ast.AnnAssign)}
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in fields:
                counts[node.id] += node.id in VAGUE
            elif isinstance(node, ast.arg):
                counts[node.arg] += node.arg in VAGUE
    return +counts


def rows(root: Path) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a tree's table: the head, a row per package, and the total."""
    sources = read_tree(root)
    yield HEAD
    for package in (*sorted({source.package for source in sources}), "total"):
        m = measure([source for source in sources if package in (source.package, "total")])
        counted = (m.files, m.lines, m.functions, m.p90, m.longest_file, m.longest_function)
        files, lines, functions, p90, file, function = map(str, counted)
        shares = (f"{share:.1f}" for share in (m.one_use, m.six_lines, m.comments))
        yield (package, files, lines, functions, f"{m.median:g}", p90, file, function, *shares)


def report(root: Path) -> str:
    """Return a tree's table as text, with what is counted once for the whole of it."""
    cells = list(rows(root))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [str(root.resolve())]
    for package, *numbers in cells:
        columns = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        lines.append("  ".join((package.ljust(widths[0]), *columns)))
    readme = root / "README.md"
    if readme.exists():
        lines.append(f"README {len(readme.read_text(encoding='utf-8').splitlines())} lines")
    bound = vague_locals(read_tree(root))
    lines.append("locals " + ", ".join(f"{name} {bound[name]}" for name in VAGUE))
    return "\n".join(lines)


def list_helpers(root: Path, package: str) -> str:
    """Return the private helpers used once of a package, each with its lines and its place."""
    sources = read_tree(root)
    return "\n".join(
        f"{length(helper):3}  {source.path}:{helper.lineno}  {helper.name}"
        for source in sources
        if source.package == package
        for helper in one_use_helpers(source)
    )


def main() -> None:
    """Print the table of each folder, or the helpers of one package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[ROOT], metavar="FOLDER", help="roots of trees")
    parser.add_argument("--helpers", metavar="PACKAGE", help="list the private helpers used once of a package instead")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        print(list_helpers(folder, arguments.helpers) if arguments.helpers else report(folder))


if __name__ == "__main__":
    main()
