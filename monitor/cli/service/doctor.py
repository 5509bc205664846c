"""`slopeward doctor`: look at everything the service stands on; each finding comes with what to do."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import typer

from monitor.cli.session import ConfigOption, JsonOption, print_json
from monitor.config.service import ServiceConfig, find_cautions, find_weaknesses, load_service, scan_sites
from monitor.domain.duty.channels import traits_of
from monitor.domain.instants import spell_about
from monitor.domain.site import Site
from monitor.errors import SlopewardError

app = typer.Typer()
OK, WARN, BAD = "ok", "warn", "bad"
# (subject, ok | warn | bad, what was found, what to do)
Finding = tuple[str, str, str, str]
OWN_PROGRAMS: Final = frozenset({"slopeward", "mosquitto"})  # beside modules of `monitor`
WORKER_LIMIT_S: Final = 30.0
OLD_S: Final = 2 * 3600.0  # a check that was looked at before that says when


@app.command(epilog="Example: slopeward doctor --json")
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look at files, database, broker, queue, clock, disk, processes and channels; exit 1 when something is bad."""
    service = load_service(config)
    worst = OK
    for look in LOOKS:
        for subject, state, found, remedy in _guard(look, service):
            worst = max(worst, state, key=(OK, WARN, BAD).index)
            if as_json:
                print_json({"subject": subject, "state": state, "found": found, "remedy": remedy})
            else:
                print(f"{state:4} {subject}: {found}" + (f"\n     -> {remedy}" if remedy and state != OK else ""))
    if worst == BAD:
        raise typer.Exit(1)


def _guard(look: Callable[[ServiceConfig], Iterator[Finding]], service: ServiceConfig) -> Iterator[Finding]:
    name = look.__name__.removeprefix("_look_at_")
    try:
        yield from look(service)
    except (SlopewardError, OSError) as error:
        yield name, BAD, " ".join(str(error).split()), "see the line; `slopeward check --connect` tries it again"


def _look_at_sites(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.criteria.cost import find_dear

    sites, failures = scan_sites(service.paths.sites)
    for path, error in failures.items():
        yield "sites", BAD, str(error), f"mend {path}; until then the last good version is used"
    for site in sites:
        for weakness in find_weaknesses(site):
            yield "sites", WARN, f"{site.id}: {weakness}", "add an independent witness or lower fusion.top_needs"
        dear = find_dear(site)
        if dear is not None:
            yield (
                "sites",
                BAD if dear[1] else WARN,
                f"{site.id}: {dear[0]}",
                "evaluations slower than data blind the site",
            )
    if not sites:
        yield "sites", BAD, f"no usable site file in {service.paths.sites}", "slopeward sites init NAME"
    else:
        yield "sites", OK, f"{len(sites)} usable", ""


def _look_at_database(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.store.database.engine import Database
    from monitor.store.upkeep.migrate import require_current

    db = Database(service.database.url)
    try:
        require_current(db)
        yield "database", OK, f"{db.url.get_backend_name()}, schema is current", ""
        if db.is_sqlite:
            with db.read() as c:
                mode = str(c.exec_driver_sql("PRAGMA journal_mode").scalar())
            if mode != "wal":
                yield (
                    "database",
                    BAD,
                    f"journal mode is {mode}",
                    "use a local file system: WAL does not work on NFS or SMB",
                )
        elif db.url.password and not os.environ.get("SLOPEWARD_DATABASE__URL"):
            yield "database", WARN, "a password stands in the service file", "use SLOPEWARD_DATABASE__URL or ~/.pgpass"
        yield from _look_at_stamps(service, db)
        yield from _look_at_outbox(db)
        yield from _look_at_learnt_weights(service, db)
    finally:
        db.close()


_BRING_BACK: Final = "bring the files back, or make the network again: slopeward scenes learn"


def _look_at_scenes(service: ServiceConfig) -> Iterator[Finding]:
    """Weights that site files name and that cannot be read; relative paths count from the folder of the core."""
    from detection.imagery.footprints.records import AUTO, INDEX
    from detection.imagery.weights_file import find_fault

    named = [
        (s.id, s.scenes.weights) for s in scan_sites(service.paths.sites)[0] if s.scenes.weights not in {AUTO, INDEX}
    ]
    relative = {name for _, name in named if name.endswith(".safetensors") and not Path(name).is_absolute()}
    start = _find_start(service) if relative else None
    for site, name in named:
        fault = find_fault(str((start or Path.cwd()) / name) if name in relative else name)
        if fault is None:
            continue
        found, remedy = f"{site}: the weights of its site file cannot be read", _BRING_BACK
        if name in relative:
            found += f" ({name} counts from the folder where the service was started)"
            remedy = "write the whole path in the site file"
        known = name not in relative or start is not None
        yield "scenes", BAD if known else WARN, f"{found}{'' if known else '; from here'}: {fault}", remedy


def _find_start(service: ServiceConfig) -> Path | None:
    """The folder of the core, which relative paths count from; None where it does not run here or hides it."""
    from monitor.store.database.engine import Database
    from monitor.store.service_state import load_stamps
    from monitor.store.upkeep.migrate import require_current

    db = Database(service.database.url)
    try:
        require_current(db)
        with db.read() as c:
            _, core = load_stamps(c)["core"]
        if core.get("host") == socket.gethostname() and find_program(int(core["pid"])) is not None:
            return Path(f"/proc/{core['pid']}/cwd").resolve(strict=True)
    except (SlopewardError, OSError, KeyError):
        pass  # the database is looked at by itself; the core never ran, or is of another account
    finally:
        db.close()
    return None


def _look_at_learnt_weights(service: ServiceConfig, db: Any) -> Iterator[Finding]:
    """Weights made for a site that should serve it by themselves, and that cannot be read."""
    from monitor.store.models.scene_weights import find_broken_weights

    for site in scan_sites(service.paths.sites)[0]:
        with db.read() as c:
            for own, fault in find_broken_weights(c, site):
                told = f"your own weights {own.path} cannot be read: others are tried instead ({fault})"
                yield "scenes", BAD, f"{site.id}: {told}", _BRING_BACK


def _look_at_stamps(service: ServiceConfig, db: Any) -> Iterator[Finding]:
    from monitor.store.service_state import load_stamps

    with db.read() as c:
        stamps = load_stamps(c)
    core = stamps.get("core")
    if core is None or datetime.now(UTC) - core[0] > timedelta(minutes=1):
        since = "never ran here" if core is None else f"silent since {core[0]:%Y-%m-%d %H:%M:%S} UTC"
        yield "service", WARN, f"core {since}", "slopeward run (or systemctl start slopeward)"
        return
    if _is_gone(core[1]):
        found = f"core, pid {core[1]['pid']}, is gone; its last sign of life was {core[0]:%Y-%m-%d %H:%M:%S} UTC"
        yield "service", BAD, found, "the supervisor starts it again within a minute; else slopeward run"
        return
    supervisor = stamps.get("supervisor")
    if supervisor is not None and _is_gone(supervisor[1]):
        found = f"the supervisor, pid {supervisor[1]['pid']}, is gone: nobody restarts the core"
        yield "service", BAD, found, "stop the core and start the service again"
    yield from _look_at_standby(stamps, core[1])
    yield from _look_at_versions(service, db)
    ingest = core[1]["ingest"]
    yield "service", OK, f"core runs, pid {core[1]['pid']}, {ingest['messages']} messages since start", ""
    for one in ingest.get("processes", ()):
        state = OK if one["connected"] else BAD
        found = f"process {one['process']}, pid {one['pid']}, {one['sites']} sites, {one['messages']} messages"
        yield "ingest", state, f"{found}, started again {one['restarts']} times", "its messages wait with the broker"
    for session, problem in ingest["problems"].items():
        yield "session", BAD, f"{session}: {problem}", "see broker below; the client id must be used by nobody else"
    if ingest["queued"] > 1000:
        yield "queue", WARN, f"{ingest['queued']} messages wait to be stored", "the database is slow: look at its disk"
    if ingest["dropped_qos0"]:
        yield "queue", WARN, f"{ingest['dropped_qos0']} messages of QoS 0 were dropped", "publish with QoS 1"


def _look_at_versions(service: ServiceConfig, db: Any) -> Iterator[Finding]:
    """Site files that the running service has not taken: they were written or put there after its start."""
    from monitor.store.alerting.sites import load_sites_summary

    with db.read() as c:
        in_force = {site.id: site.config_sha256 for site in load_sites_summary(c)}
    for site in scan_sites(service.paths.sites)[0]:
        if site.version != in_force.get(site.id):
            found = (
                "its file has changed since" if site.id in in_force else "nobody watches it yet: its file came after"
            )
            remedy = "systemctl reload slopeward, or restart it; a looser file asks for `slopeward sites propose` first"
            yield "sites", WARN, f"{site.id}: {found} the service started", remedy


def _is_gone(stamp: Mapping[str, Any]) -> bool:
    """Whether the process of a stamp no longer runs here; its number may belong to another program by now.

    False where this cannot be known: another machine wrote the stamp, or the system has no /proc.
    """
    if stamp.get("host") != socket.gethostname() or not Path("/proc/self/cmdline").exists():
        return False
    return find_program(int(stamp["pid"])) is None


def find_program(pid: int) -> str | None:
    """The command of a process of this service, None where the process is gone, dead or another program's."""
    folder = Path(f"/proc/{pid}")
    try:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None
    ours = any(Path(w).name in OWN_PROGRAMS for w in words[:2]) or any(w.startswith("monitor.") for w in words)
    return " ".join(words).strip() if ours and state not in {"Z", "X"} else None


def _look_at_processes(service: ServiceConfig) -> Iterator[Finding]:
    """Files that name a process: what is left of one that is gone is said, and harms nothing."""
    from sqlalchemy.engine import make_url

    url = make_url(service.database.url)
    files = [Path(service.broker.data) / name for name in ("broker.pid", "service.lock")]
    if url.get_backend_name() == "sqlite" and url.database:
        files.append(Path(f"{url.database}.lock"))
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace").strip() if file.is_file() else ""
        if not text or not Path("/proc/self/cmdline").exists():
            continue
        if not text.isdigit():
            yield "processes", WARN, f"{file} holds no process number", "the next start of the service writes it anew"
        elif find_program(int(text)) is None:
            found = f"{file} names pid {text}, which is gone or another program"
            yield "processes", OK, f"{found}; the next start of the service writes it anew", ""
        else:
            yield "processes", OK, f"{file.name}: pid {text} runs", ""


def _look_at_outbox(db: Any) -> Iterator[Finding]:
    from monitor.store.alerting.outbox import count_states

    with db.read() as c:
        states = count_states(c)
    failed = states.get("failed_final", 0)
    if failed:
        yield (
            "delivery",
            BAD,
            f"{failed} notifications were given up",
            "slopeward channels test; see notification_status",
        )
    else:
        yield "delivery", OK, ", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "nothing sent yet", ""


def _look_at_broker(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.broker.access import find_access
    from monitor.broker.probe import KEEPS, probe_broker
    from monitor.health import HOW_TO_INSTALL
    from monitor.ingest.broker import find_mosquitto

    mode = service.broker.mode
    if mode == "managed" and find_mosquitto() is None:
        yield "broker", BAD, "Mosquitto is not installed: the broker forgets at restart", HOW_TO_INSTALL
        return
    if mode == "demo":
        yield (
            "broker",
            WARN,
            "broker.mode = demo: what it holds is lost at restart",
            "broker.mode = managed or external",
        )
        return
    if mode == "managed" and Path(service.broker.data).is_dir() and not os.access(service.broker.data, os.R_OK):
        found = f"not tried: {service.broker.data} is open to the account of the service alone"
        yield "broker", WARN, found, "run doctor as that account"
        return
    access = find_access(service.broker)
    try:
        facts = probe_broker(access)
    except OSError as error:
        state, remedy = (
            (BAD, "start it, or mend broker.url") if mode == "external" else (WARN, "slopeward run starts it")
        )
        yield "broker", state, f"{access.url} does not answer: {error}", remedy
        return
    yield "broker", OK, f"{access.url} answers", ""
    if facts.session_expiry_s is not None and facts.session_expiry_s < 7 * 86400:
        remedy = "raise it (Mosquitto: persistent_client_expiration), else an outage longer than that loses data"
        yield "session", WARN, f"the broker forgets an absent client after {facts.session_expiry_s:g} s", remedy
    if not facts.session_present:
        yield "session", BAD, "the broker keeps no session for an absent client", "allow persistent sessions"
    elif facts.kept < KEEPS:
        remedy = "max_queued_messages 0, max_queued_bytes 0, and no per_listener_settings (deploy/mosquitto.conf)"
        yield "queue", BAD, f"of {KEEPS} messages for an absent client the broker kept {facts.kept}", remedy
    else:
        yield "queue", OK, f"keeps at least {KEEPS} messages for an absent client", ""


def _look_at_logins(service: ServiceConfig) -> Iterator[Finding]:
    """Whether a foreign client can publish for a site, act as the service, or take its sessions: tried, not read."""
    from monitor.broker.access import find_access, open_access
    from monitor.broker.logins import HOW_TO_CLOSE, LoginBook
    from monitor.cli.service.broker_attack import Intruder, try_anonymous, try_foreign

    broker = service.broker
    closed = broker.mode == "managed" and not os.access(broker.data, os.R_OK)
    if broker.mode == "demo" or closed:
        return  # the look at the broker says why
    own = find_access(broker)
    door = open_access(broker.instruments_url or broker.url, ca_file=broker.ca_file)
    remedy = HOW_TO_CLOSE if broker.mode == "managed" else "slopeward broker acl, and deploy/mosquitto.conf"
    sites = [site.id for site in scan_sites(service.paths.sites)[0]]

    def judge(who: str, found: Intruder) -> Iterator[Finding]:
        what = [
            *([f"publish readings of {', '.join(found.spoke_for)}"] if found.spoke_for else []),
            *([f"publish as the service ({', '.join(found.spoke_as_service)})"] if found.spoke_as_service else []),
            *([f"take a session of the service (client id {broker.client_id})"] if found.took_session else []),
        ]
        for one in what:
            yield "logins", BAD, f"{who} can {one}", remedy
        if not what:
            yield "logins", OK, f"{who} can publish for no site, not as the service, and take no session of it", ""

    try:
        nobody = try_anonymous(own, door, sites, broker.client_id)
        if nobody.came_in:
            yield "logins", BAD, f"{door.url} lets in clients without a login", remedy
            yield from judge("a client without a login", nobody)
        else:
            yield "logins", OK, f"{door.url} lets nobody in without a login", ""
        password = LoginBook(Path(broker.data)).doctor_password()
        if not password:
            found = "what one login can do to another was not tried: there is none to try with that we may read"
            yield "logins", WARN, found, "slopeward broker acl makes it; run doctor as the account of the service"
            return
        foreign = try_foreign(own, door, password, sites, broker.client_id)
    except OSError as error:
        yield "logins", WARN, f"not tried: {door.url} or {own.url} does not answer: {error}", "see broker above"
        return
    if foreign.came_in:
        yield from judge("an instrument with a login for something else", foreign)
    else:
        found = "what one login can do to another was not tried: the broker does not know the one for this test"
        yield "logins", WARN, found, "let it read the files of slopeward broker acl"


def _look_at_standby(stamps: Mapping[str, Any], core: Mapping[str, Any]) -> Iterator[Finding]:
    from monitor.health import STANDBY, STANDBY_SILENT_S

    for stamp, (at, _) in stamps.items():
        if stamp.startswith(STANDBY):
            name, since = stamp.removeprefix(STANDBY), f"{core.get('name')} decides since {core.get('active_since')}"
            if (datetime.now(UTC) - at).total_seconds() > STANDBY_SILENT_S:
                found = (
                    f"{name} is silent since {at:%Y-%m-%d %H:%M:%S} UTC: nobody would take over from {core.get('name')}"
                )
                yield "standby", BAD, found, f"start `slopeward run --standby` on {name}"
            else:
                yield "standby", OK, f"{since}; {name} stands by", ""


def _look_at_packages(_: ServiceConfig) -> Iterator[Finding]:
    from monitor.extras import describe_missing, is_installed

    if is_installed("torch"):
        yield "packages", OK, "PyTorch is installed", ""
    else:
        line, remedy = describe_missing("torch").split(": ", 1)
        yield "packages", WARN, f"{line}; simple forecasts and all rules run without it", remedy


def _look_at_workers(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.jobs.worker import make_terms
    from monitor.worker import compute
    from monitor.worker.sandbox import DESCRIBE, memory_bytes

    if service.compute.dask:
        from monitor.jobs.worker import find_cluster
        from monitor.worker.cluster import count_threads

        cluster = find_cluster(service.compute)
        if cluster is not None:
            threads = count_threads(cluster)
            compute.run(DESCRIBE, None, WORKER_LIMIT_S, cluster=cluster)  # refused by one of another version
            found = f"{cluster.address} takes {threads} jobs at once; run doctor on its machines too"
            few = service.compute.jobs_at_once < threads
            yield "workers", WARN if few else OK, found, f"compute.jobs_at_once = {threads} uses all of it"
        return
    terms = make_terms(service.compute)
    missing = compute.run(DESCRIBE, None, WORKER_LIMIT_S, terms=terms).missing
    for line in missing:
        yield (
            "workers",
            WARN,
            line,
            "docs/how-to/install.md says what the system must allow for",
        )
    if not memory_bytes(terms, os.environ):
        found = "their memory is not bounded: SLOPEWARD_DEVICE names an accelerator"
        yield "workers", WARN, found, "bound it from outside: MemoryMax= of the systemd unit"
    if not missing:
        yield "workers", OK, "they have no network, no secrets, no rights, and see only the files of their job", ""


def _look_at_machine(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.service.self_audit import look_at_clock, look_at_disks

    clock = look_at_clock()
    yield "clock", clock.state, clock.found, clock.remedy
    for one in look_at_disks(service):
        yield "disk", one.state, f"{one.name.removeprefix('disk.')}: {one.found}", one.remedy


def _look_at_audit(service: ServiceConfig) -> Iterator[Finding]:
    """What the running service found of database, copies and broker; clock and disks are looked at here."""
    from monitor.store.database.engine import Database
    from monitor.store.service_checks import load_checks
    from monitor.store.upkeep.migrate import require_current

    with Database(service.database.url) as db:
        require_current(db)
        with db.read() as c:
            known = load_checks(c)
    now = datetime.now(UTC)
    for name, one in known.items():
        if name.partition(".")[0] not in {"clock", "disk"}:
            age_s = (now - one.checked_at).total_seconds()
            old = f" (looked at {spell_about(age_s)} ago)" if age_s > OLD_S else ""
            yield name, one.check.state, f"{one.check.found}{old}", one.check.remedy


def _look_at_channels(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.notify.notifier import channel_settings, open_notifier

    settings = channel_settings(service, os.environ)
    sites, _ = scan_sites(service.paths.sites)
    for channel in sorted({c for s in sites for c in _channels(s)}):
        try:
            open_notifier(channel, settings)
            yield "channels", OK, f"{channel} has what it needs (slopeward channels test sends)", ""
        except SlopewardError as error:
            yield "channels", BAD, str(error), "set it in the environment of the service"
    for site in sites:
        for caution in find_cautions(site):
            yield "channels", WARN, f"{site.id}: {caution}", "mend the [[recipient]] tables of its file"
        if not site.recipients:
            yield "channels", BAD, f"{site.id}: nobody is notified", "add a [[recipient]] to its file"
        elif all(not traits_of(c).reaches_person for c in _channels(site)):
            yield (
                "channels",
                WARN,
                f"{site.id}: only {', '.join(_channels(site))}; no person is notified",
                "add email: or apprise:",
            )


def _look_at_sources(service: ServiceConfig) -> Iterator[Finding]:
    from monitor.config.sources import FOLDER_KIND
    from monitor.ingest.sources.plan import find_faults
    from monitor.store.database.engine import Database
    from monitor.store.readings.sources import load_polls
    from monitor.store.upkeep.migrate import require_current

    for fault in find_faults(service.source, {site.id for site in scan_sites(service.paths.sites)[0]}, os.environ):
        yield "sources", BAD, fault, "mend its [[source]] table, or what it names"
    db = Database(service.database.url)
    try:
        require_current(db)
        with db.read() as c:
            states = {state.source: state for state in load_polls(c)}
    finally:
        db.close()
    names = {one.name for one in service.source if one.kind != FOLDER_KIND}
    for name in sorted(names | {name for name, state in states.items() if state.kind == FOLDER_KIND}):
        state = states.get(name)
        if state is None:
            yield "sources", WARN, f"{name}: never looked at", f"slopeward run, or slopeward sources poll {name}"
        elif state.error is not None:
            since = f"since {state.error_since:%Y-%m-%d %H:%M} UTC"
            yield "sources", WARN, f"{name}: {since}: {state.error}", "mend what the line says; it is tried again"
        else:
            yield "sources", OK, f"{name}: last success {state.success_at:%Y-%m-%d %H:%M} UTC", ""


def _channels(site: Site) -> list[str]:
    return sorted({c for r in site.recipients for c in r.channels})


LOOKS: Final = (
    _look_at_sites, _look_at_scenes, _look_at_database, _look_at_broker, _look_at_logins, _look_at_packages,
    _look_at_workers, _look_at_machine, _look_at_audit, _look_at_processes, _look_at_channels,
    _look_at_sources,
)  # fmt: skip
