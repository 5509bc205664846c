"""Every figure of a sentence says its unit: what follows each formatted number of alerting and movement is looked at.

`tests/integration/test_units_rendered.py` reads the sentences themselves."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALERTING = ROOT / "monitor" / "alerting"
MOVEMENT = (ROOT / "monitor" / "movement", ROOT / "forecasting" / "kinematics")
# what may follow a number: its unit, a word that makes it a count or a share, or the rest of a pair or range
FOLLOWS = re.compile(
    r"^ ?(mm|cm|m|g|h|d|degrees?|years?|% |/day|°)\b|^ (m²|mm/day)"
    r"|^ (standard errors|errors|data epochs|times|observers|of the bound|of its bound|of what)"
    r"|^ (± |to |of |at |over )"
)
# (module, what is formatted): a share or ratio, a factor of safety, a score, or a text that no person reads
PURE = {
    ("audit/as_of.py", "value"), ("series/bounds.py", "factor"), ("acts/loosening.py", "value"),
    ("decision/cost.py", "rows"),
    ("criteria/earthquake.py", "event.value"), ("criteria/earthquake.py", "moved.high_cm"),
    ("criteria/advice.py", "worst.score"), ("criteria/advice.py", "worst.threshold"),
    ("criteria/rain_return_period.py", "window_s"), ("criteria/rainfall.py", "worst['coverage']"),
    ("criteria/slope_safety.py", "safety.best"), ("criteria/slope_safety.py", "safety.low"),
    ("criteria/slope_safety.py", "safety.high"), ("criteria/slope_safety.py", "safety.below_one"),
    ("criteria/slope_safety.py", "t.under"), ("criteria/slope_safety.py", "coverage"),
    ("decision/proof.py", "LEAST_ACCEPTED"),
    ("kinematics/ensemble.py", "ALPHAS[likely][0]"), ("kinematics/ensemble.py", "ALPHAS[a][0]"),
    ("kinematics/ensemble.py", "max(0.0, median(leads)) / DAY_S"), ("kinematics/stages.py", "(at_s - since) / DAY_S"),
    ("audit/explain.py", "o"), ("series/steps.py", "seen.jump.length"),  # where no series is declared there is no unit
}  # fmt: skip


def bare_numbers(source: str, name: str) -> list[str]:
    """Formatted numbers after which neither a unit stands nor a name that holds one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for part, after in zip(node.values, [*node.values[1:], None], strict=True):
            if not isinstance(part, ast.FormattedValue) or part.format_spec is None:
                continue
            if not re.search(r"[gfe%]'$", ast.unparse(part.format_spec)):
                continue
            said = ast.unparse(part.value)
            text = after.value if isinstance(after, ast.Constant) else ""
            if text.strip() == "":  # the unit is a name
                follower = after if isinstance(after, ast.FormattedValue) else _second(node, after)
                named = isinstance(follower, ast.FormattedValue) and re.search(
                    r"unit|^of$", ast.unparse(follower.value)
                )
                ok = bool(named)
            else:
                ok = FOLLOWS.match(text) is not None
            if not ok and (name, said) not in PURE:
                found.append(f"{name}:{part.lineno}: {said}")
    return found


def _second(node: ast.JoinedStr, after: ast.AST | None) -> ast.AST | None:
    at = node.values.index(after) + 1 if after in node.values else len(node.values)
    return node.values[at] if at < len(node.values) else None


def test_every_figure_of_a_sentence_says_its_unit():
    found = []
    for path in sorted(ALERTING.rglob("*.py")):
        found += bare_numbers(path.read_text(encoding="utf-8"), str(path.relative_to(ALERTING)))
    for room in MOVEMENT:
        for path in sorted(room.glob("*.py")):
            found += bare_numbers(path.read_text(encoding="utf-8"), str(path.relative_to(room.parent)))
    assert found == []


def test_a_bound_without_its_unit_is_caught():
    bare = 'f"velocity {v:.2f} ± {e:.2f} {spec.unit}/day, over {bound:g} in {hits} data epochs"'
    assert bare_numbers(bare, "x.py") == ["x.py:1: bound"]
    assert bare_numbers(bare.replace("{bound:g} in", "{bound:g} {spec.unit}/day in"), "x.py") == []
