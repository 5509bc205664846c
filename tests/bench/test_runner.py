"""Arguments, table and stored result of `python -m tests.bench`. The subjects themselves are replaced."""

import doctest
import json
import math

import pytest

from tests.bench import __main__ as runner
from tests.bench import figures
from tests.bench.figures import Figure, Row, format_table, make_result
from tests.bench.record import ResultFolder
from tests.bench.subjects import QUICK, SUBJECTS, Sizes, Subject

VIEWS = Figure("median view", 0.5, "ms", "SELECT 1", 0.25)
RATE = Figure("stored", 8490.0, "messages/s", "bare subscriber", 7604.0)


def measure_views(database, sizes):
    print("a module that also prints")
    return [VIEWS]


def measure_failing(database, sizes):
    raise RuntimeError("the broker ended")


@pytest.fixture
def subjects(monkeypatch):
    replaced = {
        "views": Subject("views", ("sqlite", "postgresql"), measure_views),
        "scene": Subject("scene", ("",), lambda database, sizes: [RATE]),
    }
    monkeypatch.setattr(runner, "SUBJECTS", replaced)
    return replaced


@pytest.fixture
def results(monkeypatch, tmp_path):
    folder = ResultFolder(tmp_path)
    monkeypatch.setattr(runner, "SERVICE_RESULTS", folder)
    return folder


def call_with_error(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        runner.main(arguments)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_unknown_subject_is_one_line_with_the_nearest_name(capsys):
    assert 'no subject is named "vievs"; did you mean "views"?' in call_with_error(capsys, "--only", "vievs")


def test_unknown_subject_without_a_similar_name_lists_all(capsys):
    error = call_with_error(capsys, "--only", "zzz")
    assert all(name in error for name in SUBJECTS)


def test_unknown_option_and_database_are_one_line(capsys):
    assert "--fast" in call_with_error(capsys, "--fast")
    assert "sqlite" in call_with_error(capsys, "--database", "oracle")


def test_subject_that_a_database_does_not_have_is_refused(capsys):
    assert "growth is not measured on sqlite" in call_with_error(capsys, "--only", "growth", "--database", "sqlite")


@pytest.mark.parametrize("option", [("--only", "views"), ("--database", "sqlite"), ("--quick",)])
def test_part_of_a_run_is_not_stored(capsys, option):
    assert "--store needs a full run" in call_with_error(capsys, "--store", *option)


def test_help_has_an_example_and_every_subject(capsys):
    with pytest.raises(SystemExit) as ended:
        runner.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "python -m tests.bench --only views --database sqlite" in text
    assert all(f"  {name} " in text for name in SUBJECTS)


def test_every_subject_of_the_service_is_measured_on_both_databases():
    both = {"ingest-live", "ingest-drain", "alert-latency", "replay", "views", "page"}
    assert both <= {name for name, subject in SUBJECTS.items() if subject.databases == ("sqlite", "postgresql")}
    assert {"scene", "training", "growth"} <= set(SUBJECTS)


def test_tasks_follow_the_selected_subject_and_database():
    def list_tasks(*arguments):
        return runner.list_tasks(runner.parse_arguments(arguments))

    assert list_tasks("--only", "views") == [("views", "sqlite"), ("views", "postgresql")]
    assert list_tasks("--only", "training", "--only", "views", "--database", "postgresql") == [
        ("views", "postgresql"),
        ("training", ""),
    ]
    assert {database for _, database in list_tasks("--database", "sqlite")} == {"sqlite"}
    assert len(list_tasks()) == sum(len(subject.databases) for subject in SUBJECTS.values())


def test_quick_run_uses_the_smallest_sizes(subjects, results):
    used = []
    subjects["scene"] = Subject("scene", ("",), lambda database, sizes: used.append(sizes) or [RATE])
    runner.main(["--only", "scene", "--quick"])
    runner.main(["--only", "scene"])
    assert used == [QUICK, Sizes()]


def test_table_compares_with_the_reference_and_the_stored_run():
    stored = [
        {"subject": "views", "database": "sqlite", "figure": "median view", "value": 0.4, "unit": "ms", "ratio": 1.6}
    ]
    lines = format_table([Row("views", "sqlite", VIEWS), Row("scene", "", RATE)], stored).splitlines()
    assert lines[0].split() == ["subject", "database", "figure", "measured", "reference", "ratio", "stored"]
    assert lines[2].split("  ")[0] == "views"
    assert "0.5 ms" in lines[2]
    assert "SELECT 1  " in lines[2]
    assert lines[2].endswith("2      0.4 ms, 1.6")
    assert "8,490 messages/s" in lines[3]
    assert lines[3].endswith("1.12   -")


def test_examples_of_formats_are_correct():
    result = doctest.testmod(figures)
    assert result.attempted
    assert not result.failed


def test_reference_of_zero_gives_no_ratio():
    result = make_result([Row("views", "sqlite", Figure("view", 1.0, "ms", "SELECT 1", 0.0))], {})
    assert result["rows"][0]["ratio"] is None
    assert json.dumps(result, allow_nan=False)
    assert math.isnan(Figure("view", 1.0, "ms", "SELECT 1", 0.0).ratio)


def test_progress_is_on_standard_error_and_json_alone_on_standard_output(subjects, results, capsys):
    assert runner.main(["--json"]) == 0
    output = capsys.readouterr()
    rows = json.loads(output.out)["rows"]
    assert [(row["subject"], row["database"], row["ratio"]) for row in rows] == [
        ("views", "sqlite", 2.0),
        ("views", "postgresql", 2.0),
        ("scene", "", 1.117),
    ]
    assert "[3/3] scene ...\n[3/3] scene: 0 s\n" in output.err


def test_full_run_is_stored_and_read_again(subjects, results, capsys):
    assert runner.main(["--store"]) == 0
    stored = results.load_figures("bench")
    assert [row["value"] for row in stored["rows"]] == [0.5, 0.5, 8490.0]
    assert set(stored["seconds"]) == {"views, sqlite", "views, postgresql", "scene"}
    assert "write_pages" in capsys.readouterr().err


def test_failed_subject_does_not_stop_the_others_and_stores_nothing(subjects, results, capsys):
    subjects["views"] = Subject("views", ("sqlite",), measure_failing)
    assert runner.main(["--store"]) == 1
    output = capsys.readouterr()
    assert "scene" in output.out
    assert "the broker ended" in output.err
    assert output.err.endswith("error: failed: views, sqlite. Nothing was stored.\n")
    assert results.load_figures("bench") is None
