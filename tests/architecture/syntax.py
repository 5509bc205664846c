"""Walk a syntax tree faster than `ast.walk`, for tests that read every module of the project."""

import ast
from collections.abc import Iterator

STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""Node types below which an import or a class definition can occur."""


def walk(tree: ast.AST, *, inside: type | tuple[type, ...] = ast.AST) -> Iterator[ast.AST]:
    """Yield every node of a tree in no particular order, except operators and expression contexts.

    Args:
        tree: The root node. It is yielded as well.
        inside: Descend only into nodes of these types.
    """
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for value in vars(node).values():
            if isinstance(value, list):
                pending += [child for child in value if isinstance(child, inside)]
            elif isinstance(value, inside) and value._fields:
                pending.append(value)
