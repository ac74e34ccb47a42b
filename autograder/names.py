"""Which cells of a notebook an exercise rests on: by the names that they bind and read.

It is what a reader does who asks "where does this come from". Names that code makes up at run
time, and objects that a later cell changes in place, are not seen.
"""

import symtable
from collections.abc import Iterable, Iterator, Sequence

from autograder.contracts import contracts
from autograder.notebook import SourceCell


def reads(text: str) -> frozenset[str]:
    """The names of the notebook, or builtins, that code uses at top level or in any function."""
    return frozenset(
        symbol.get_name()
        for table in _tables(symtable.symtable(text, "<cell>", "exec"))
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table.get_type() == "module" or symbol.is_global())
    )


def binds(text: str) -> frozenset[str]:
    """The names that code gives to the notebook: assigned, imported or defined."""
    return frozenset(
        symbol.get_name()
        for table in _tables(symtable.symtable(text, "<cell>", "exec"))
        for symbol in table.get_symbols()
        if (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace())
        and (table.get_type() == "module" or symbol.is_declared_global())
    )


def needed(source: Sequence[SourceCell], tests: Iterable[SourceCell]) -> list[SourceCell]:
    """The code cells that the hidden tests of some cells rest on, in their order."""
    solved = contracts(list(source)).names
    wanted = [name for test in tests for name in reads(test.hidden_tests) & solved]
    bound = {cell.id: binds(cell.visible) for cell in source if cell.kind == "code"}
    found, seen = set[str](), set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for cell in source:
            if cell.id not in found and name in bound.get(cell.id, ()):
                found.add(cell.id)
                wanted += reads(cell.visible)
    return [cell for cell in source if cell.id in found]


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)
