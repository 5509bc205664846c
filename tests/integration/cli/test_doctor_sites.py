"""`slopeward doctor` names site files that came or changed after the start of the service."""

from monitor.alerting.acts.change_control import take_in
from monitor.checks.database import CurrentDatabase
from monitor.checks.table import run_checks
from monitor.config.first_site import write_first_site
from monitor.config.service import ServiceConfig, load_site
from monitor.store.service_state import stamp
from tests.conftest import ON_SQLITE
from tests.integration.notify.outbox import T0


@ON_SQLITE
def test_a_site_file_that_the_service_has_not_taken_is_named(database, tmp_path):
    for name in ("north", "south", "west"):
        (tmp_path / f"{name}.toml").write_text(write_first_site(name))
    with database.write() as c:
        for name in ("north", "south"):
            stamp(c, "core", {}, T0)
            take_in(c, load_site(tmp_path / f"{name}.toml"), "ada", "start", T0)
    with (tmp_path / "south.toml").open("a") as file:
        file.write("# looked at in spring\n")
    service = ServiceConfig()
    service = service.model_copy(update={"paths": service.paths.model_copy(update={"sites": str(tmp_path)})})
    assert [
        one.line
        for one in run_checks(CurrentDatabase(service, database, T0))
        if one.check.id == "sites.versions" and one.is_wrong
    ] == [
        "south: its file has changed since the service started",
        "west: nobody watches it yet: its file came after the service started",
    ]
