"""Every figure of a sentence says its unit: what follows each number of alerting and movement is looked at."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALERTING = tuple(ROOT / "monitor" / room for room in ("alerting", "decision"))
ROOMS = tuple(ROOT / room for room in ("monitor/jobs/movement", "forecasting/kinematics"))
# what may follow a number: its unit, a word that makes it a count or a share, or the rest of a pair or range
FOLLOWS = re.compile(
    r"^ ?(mm|cm|km|m|g|h|d|s|ms|min|px|MiB|GiB|degrees?|years?|% |/day)\b|^ ?(°|%)|^ (m²|m³|km²|mm/day|mm/year)"
    r"|^ (false alarms|alarms|messages|readings|sensor-months|held-out) |^ days\b|^ (V|dBm|dB|looks|satellites)\b"
    r"|^ (standard errors|errors|data epochs|times|observers|of the bound|of its bound|of what)"
    r"|^ (± |to |of |at |over )"
)
# (module, what is formatted): a share or ratio, a factor of safety, a score, or a text that no person reads
PURE = {
    ("audit/as_of.py", "value"),
    ("criteria/kinds/earthquake.py", "factor"),
    ("acts/loosening.py", "value"),
    ("config/cost.py", "rows"),
    ("criteria/kinds/earthquake.py", "event.value"),
    ("criteria/kinds/earthquake.py", "moved.high_cm"),
    ("criteria/kinds/anomaly.py", "worst.score"),
    ("criteria/kinds/anomaly.py", "worst.threshold"),
    ("criteria/kinds/rain_return_period.py", "window_s"),
    ("criteria/rainfall.py", "worst['coverage']"),
    ("criteria/kinds/slope_safety.py", "safety.best"),
    ("criteria/kinds/slope_safety.py", "safety.low"),
    ("criteria/kinds/slope_safety.py", "safety.high"),
    ("criteria/kinds/slope_safety.py", "safety.below_one"),
    ("criteria/kinds/slope_safety.py", "t.under"),
    ("criteria/kinds/slope_safety.py", "coverage"),
    ("criteria/kinds/rain_return_period.py", "t"),
    ("criteria/kinds/earthquake.py", "LEAST_CRITICAL_G"),
    ("criteria/rain_table.py", "reach_s"),
    ("criteria/tables.py", "lower.over"),
    ("criteria/tables.py", "lower.under"),
    ("proof.py", "LEAST_ACCEPTED"),
    ("kinematics/ensemble.py", "ALPHAS[likely][0]"),
    ("kinematics/ensemble.py", "ALPHAS[a][0]"),
    ("kinematics/ensemble.py", "max(0.0, median(leads)) / DAY_S"),
    ("kinematics/stages.py", "(at_s - since) / DAY_S"),
    ("audit/explain.py", "o"),
    ("series/steps.py", "seen.jump.length"),  # where no series is declared there is no unit
}


def bare_numbers(source: str, name: str) -> list[str]:
    """Formatted numbers after which neither a unit stands nor a name that holds one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for part, after in zip(node.values, [*node.values[1:], None], strict=True):
            if not isinstance(part, ast.FormattedValue) or part.format_spec is None:
                continue
            if not re.search(r"[gfe]'$", ast.unparse(part.format_spec)):
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
    for room in ALERTING:
        for path in sorted(room.rglob("*.py")):
            found += bare_numbers(path.read_text(encoding="utf-8"), str(path.relative_to(room)))
    for room in ROOMS:
        for path in sorted(room.rglob("*.py")):
            found += bare_numbers(path.read_text(encoding="utf-8"), str(path.relative_to(room.parent)))
    assert found == []


# lines of verbs, jobs and configuration whose numbers are shares of one, scores, or in a unit that nobody knows there
PURE_IN_LINES = {
    ("cli/forecast/models.py", "one.mae_mm"),
    ("cli/forecast/models.py", "one.crps_mm"),  # in mm, as the head says
    ("cli/forecast/explain.py", "amount"),
    ("cli/forecast/models.py", "facts['p']"),
    ("cli/forecast/models.py", "value"),
    ("cli/forecast/trials.py", "value"),
    ("cli/forecast/trials.py", "row.correlation"),
    ("cli/forecast/trials.py", "row.information"),
    ("extensions/outlines/learn_cli.py", "f1['network']"),
    ("extensions/outlines/learn_cli.py", "f1['logistic']"),
    ("extensions/outlines/learn_cli.py", "interval[0]"),
    ("extensions/outlines/learn_cli.py", "interval[1]"),
    ("extensions/outlines/learn_cli.py", "value"),
    ("cli/scenes/earlier.py", "found.limit"),
    ("cli/anomaly/labels.py", "row.factor"),  # times the threshold
    ("extensions/outlines/learn_cli.py", "validated['f1']"),
    ("extensions/outlines/cli.py", "one.mean_probability"),
    ("extensions/outlines/cli.py", "one.threshold"),
    ("cli/scenes/susceptibility.py", "scores['auc']"),
    ("cli/scenes/susceptibility.py", "low"),
    ("cli/scenes/susceptibility.py", "high"),
    ("cli/scenes/susceptibility.py", "one['auc_lost']"),
    ("extensions/surveys/sar.py", "one.coherence_was"),
    ("extensions/surveys/sar.py", "one.coherence_is"),
    ("extensions/surveys/sar.py", "found.threshold_coherence"),
    ("extensions/surveys/stack.py", "loss.value"),
    ("cli/scenes/train.py", "value"),
    ("cli/scenes/train.py", "progress.loss"),
    ("cli/scenes/train.py", "progress.held_score"),
    ("cli/anomaly/app.py", "card['threshold']"),
    ("jobs/anomaly_proof.py", "FEWEST_FALSE / budget"),
    ("jobs/anomaly_proof.py", "budget"),
    ("cli/site/events.py", "value"),
    ("cli/site/sites.py", "bound.over"),
    ("cli/site/sites.py", "bound.under"),
    ("cli/site/thresholds.py", "cross.false_rate"),
    ("cli/site/thresholds.py", "cross.skill"),
    ("cli/site/thresholds.py", "found.score.false_rate"),
    ("cli/site/thresholds.py", "found.area"),
    ("cli/site/thresholds.py", "r.over_mm"),
    ("cli/site/thresholds.py", "r.hit_rate"),
    ("cli/site/scorecard.py", "gain.factor"),  # times the bounds
    ("cli/site/scorecard.py", "s.voting_days"),  # the head of the column says its unit, here and below
    ("cli/site/scorecard.py", "spent_s.get((level, k), 0.0) / 3600.0"),
    ("cli/site/scorecard.py", "v"),  # skill
    ("cli/site/thresholds.py", "r.false_rate"),
    ("cli/site/thresholds.py", "r.skill"),
    ("cli/site/thresholds.py", "value"),
    ("cli/site/events.py", "value / 980.665"),
    ("extensions/surveys/stack.py", "loss.value"),
    ("config/site.py", "low"),
    ("config/site.py", "high"),
}


def test_every_figure_of_a_verb_a_job_and_a_verdict_says_its_unit():
    found = []
    for room in ("monitor/cli", "monitor/jobs", "monitor/service", "monitor/config", "forecasting/serving"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to((ROOT / room).parent))
            bare = bare_numbers(path.read_text(encoding="utf-8"), name)
            found += [one for one in bare if (name, one.split(": ", 1)[1]) not in PURE_IN_LINES]
    assert found == []


def test_a_bound_without_its_unit_is_caught():
    bare = 'f"velocity {v:.2f} ± {e:.2f} {spec.unit}/day, over {bound:g} in {hits} data epochs"'
    assert bare_numbers(bare, "x.py") == ["x.py:1: bound"]
    assert bare_numbers(bare.replace("{bound:g} in", "{bound:g} {spec.unit}/day in"), "x.py") == []
