"""Run many small cases as one test, because the overhead of a pytest test is longer than such a case."""

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from typing import Any

Law = Callable[..., None]


def tabulated(
    names: str | tuple[str, ...], cases: Iterable[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator like `pytest.mark.parametrize` that runs all cases in one test and reports all failures.

    Use it for cases of a few milliseconds. All cases share the values of the fixtures.
    """
    keys, rows = (names,) if isinstance(names, str) else names, list(cases)
    assert rows, "a law without a case"

    def decorate(law: Law) -> Law:
        @wraps(law)
        def test(**given: Any) -> None:
            failed = []
            for row in rows:
                try:
                    law(**dict(zip(keys, (row,) if isinstance(names, str) else row, strict=True)), **given)
                except Exception as error:
                    error.add_note(f"case: {row!r}")
                    failed.append(error)
            if failed:
                raise ExceptionGroup(f"{len(failed)} of {len(rows)} cases", failed)

        plain = signature(law)
        rest = [one for name, one in plain.parameters.items() if name not in keys]
        assert len(rest) + len(keys) == len(plain.parameters), f"{law.__name__} does not take {keys}"
        test.__signature__ = plain.replace(parameters=rest)  # type: ignore[attr-defined]
        return test

    return decorate
