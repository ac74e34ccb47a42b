"""What a hidden test may use, read from our source: names, and which answers may be objects.

Only data is compared where a student cannot reach it. An object that stays in the student's
process answers for itself: one that came back where a tensor was expected would be asked, in
`found.equal(wanted)`, whether it is right. So a function may answer with an object only if the
source annotates it so, and as nothing else: with a class of the notebook, with Callable, nn.Module
or Self, or with a list or tuple of these.
"""

import ast
import builtins
from dataclasses import dataclass

from autograder import parsing
from autograder.notebook import SourceCell

OBJECTS = frozenset({"Callable", "Module", "Self"})


@dataclass(frozen=True)
class Contracts:
    """The names that the student defines at top level in solution cells."""

    names: frozenset[str]
    objects: frozenset[str]  # of these, "name" or "Class.method", the answer may be an object


def contracts(source: list[SourceCell]) -> Contracts:
    nodes = [node for cell in source if cell.role == "solution" for node in _body(cell.source)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    kinds = OBJECTS | {node.name for node in classes}
    methods = [(f"{c.name}.{m.name}", m) for c in classes for m in c.body
               if isinstance(m, ast.FunctionDef)]  # fmt: skip
    annotated = [*((node.name, node) for node in functions), *methods]
    objects = {name for name, node in annotated if _is_object(node.returns, kinds)}
    made = {node.name for node in classes}
    names = made | {node.name for node in functions}
    return Contracts(frozenset(names), frozenset(objects | made))


def undefined_names(source: list[SourceCell]) -> dict[str, set[str]]:
    """By test cell, the names that its hidden block uses and that will not exist when graded."""
    known = contracts(source).names | _imported_names(source) | set(dir(builtins))
    missing = {}
    for cell in source:
        if cell.role == "test":
            tree = parsing.module(cell.hidden_tests)
            if unknown := _free_names(tree) - known:
                missing[cell.id] = unknown
    return missing


def imports(source: list[SourceCell]) -> list[ast.stmt]:
    """The imports at the top level of the cells that are ours."""
    statements = [s for c in source if c.kind == "code" and c.role != "solution"
                  for s in _body(c.visible)]  # fmt: skip
    return [s for s in statements if isinstance(s, ast.Import | ast.ImportFrom)]


def _body(text: str) -> list[ast.stmt]:
    return parsing.module(text).body


def _is_object(annotation: ast.expr | None, kinds: frozenset[str]) -> bool:
    """Whether all that an annotation allows are objects. It may stand in quotes."""
    match annotation:
        case ast.Constant(str(text)):
            return _is_object(parsing.expression(text), kinds)
        case ast.Name(name) | ast.Attribute(attr=name):
            return name in kinds
        case ast.Subscript(ast.Name("list" | "tuple"), inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return all(_is_object(part, kinds) or _is_ellipsis(part) for part in parts)
        case ast.Subscript(base):
            return _is_object(base, kinds)
    return False


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _imported_names(source: list[SourceCell]) -> set[str]:
    aliases = [alias for s in imports(source) for alias in s.names]  # type: ignore[attr-defined]
    return {alias.asname or alias.name.split(".")[0] for alias in aliases}


def _free_names(tree: ast.AST) -> set[str]:
    """Names that are read and never bound anywhere in the block."""
    read, bound = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read - bound
