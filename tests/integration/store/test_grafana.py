"""Every question of the dashboards in deploy/grafana, asked on a real PostgreSQL as the role that may only read."""

import json
import re
from pathlib import Path

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.integration.store.test_reader_attacks import reader, service  # noqa: F401 - fixtures

BOARDS = sorted((Path(__file__).parents[3] / "deploy/grafana/dashboards").glob("*.json"))


def questions_of(board):
    """(where, SQL) of panels, variables and annotations."""
    told = json.loads(board.read_text(encoding="utf-8"))
    for panel in told["panels"]:
        for target in panel["targets"]:
            yield f"{board.stem}: {panel['title']} {target['refId']}", target["rawSql"], target["format"]
    for one in told["templating"]["list"]:
        if one["type"] == "query":
            yield f"{board.stem}: ${one['name']}", one["query"], "table"
    for one in told["annotations"]["list"]:
        yield f"{board.stem}: {one['name']}", one["target"]["rawSql"], "table"


def spell_out(sql):
    """What Grafana makes of it: its macros and the variables of the board."""
    values = {
        "$__timeFrom()": "'2025-12-01T00:00:00Z'",
        "$__timeTo()": "'2026-03-02T00:00:00Z'",
        "($model)": "('lld', 'gru')",
        "$site": "north-bench",
        "$station": "G1",
        "$quantity": "displacement_north",
    }
    for name, value in values.items():
        sql = sql.replace(name, value)
    assert not re.search(r"\$\w", sql), sql
    return sql


@pytest.mark.server
def test_every_question_is_answered_for_a_role_that_may_only_read(reader):  # noqa: F811
    empty = []
    session = reader()
    for board in BOARDS:
        for where, sql, form in questions_of(board):
            answer = session.execute(spell_out(sql))
            names = [column.name for column in answer.description]
            if form == "time_series":
                assert names[0] == "time", where
                assert answer.description[0].type_code == 1184, where  # timestamptz
            if answer.fetchone() is None:
                empty.append(where)
    assert len(BOARDS) == 4

    assert empty == ["instruments: Battery, V A"]  # nobody in the story measures one


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_a_dashboard_is_one_that_the_classes_of_grafana_read(board):
    told = json.loads(board.read_text(encoding="utf-8"))
    kept = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(told)))
    assert [p["title"] for p in kept["panels"]] == [p["title"] for p in told["panels"]]
    assert [p["gridPos"] for p in kept["panels"]] == [{**p["gridPos"]} for p in told["panels"]]
    ends = [(p["gridPos"]["x"] + p["gridPos"]["w"]) <= 24 for p in told["panels"]]
    assert all(ends)
    assert len({p["id"] for p in told["panels"]}) == len(told["panels"])
