"""End sessions of readers on PostgreSQL whose transactions last too long or hold too many locks.

A session can change the timeouts of its role, such as `statement_timeout`. The core therefore checks every few seconds
what the sessions of readers hold, by the view `pg_locks`, which every account may read.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from monitor.storage.engine import Database

log = logging.getLogger(__name__)
# A server has 6,400 locks by default, for all sessions together. A query of the views takes some dozens.
MOST_LOCKS: Final = 500
# How often the roles of readers are read.
ROLES_EVERY_S: Final = 30.0
# Roles that were granted a public view, directly or by membership, except superusers and members of the service's role.
_READERS: Final = text(
    "SELECT r.oid FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper"
    " AND NOT pg_has_role(r.oid, (SELECT oid FROM pg_roles WHERE rolname = current_user), 'MEMBER') AND EXISTS ("
    "SELECT 1 FROM pg_class k CROSS JOIN LATERAL aclexplode(k.relacl) x WHERE k.relkind = 'v'"
    " AND k.relnamespace = CAST(current_schema() AS regnamespace) AND x.grantee <> k.relowner"
    " AND (x.grantee = 0 OR pg_has_role(r.oid, x.grantee, 'USAGE')))"
)
# The query reads few relations, because a session has only some locks of its own once those of the server are used up.
_HELD: Final = text(
    "SELECT a.pid, a.usename, count(*) AS locks, max(l.virtualxid) FILTER (WHERE l.locktype = 'virtualxid')"
    " AS transaction"
    " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE a.datname = current_database() AND a.usesysid = ANY(CAST(:readers AS oid[])) GROUP BY a.pid, a.usename"
)
_INSUFFICIENT_PRIVILEGE: Final = "42501"


class EndedSessions(NamedTuple):
    """Sessions that exceeded a limit, one line each.

    Attributes:
        ended: sessions that were ended.
        refused: sessions that this account may not end.
    """

    ended: list[str]
    refused: list[str]


class ReaderWatch:
    """End sessions of readers whose transaction lasts too long, or that hold too many locks.

    The limit of a transaction also limits each statement. PostgreSQL shows the start of a transaction to superusers
    only, so its duration is measured from the first call of `check` that finds it. Only one thread may call `check`.

    Args:
        db: the database. On SQLite nothing is done.
        longest_s: the longest transaction of a reader.
        monotonic_s: the monotonic clock.

    Attributes:
        ended: how many sessions were ended since the start.
        last: the session that was ended last, and why.
        refused: a session that could not be ended at the last call of `check`. Empty if there is none.
    """

    def __init__(self, db: Database, longest_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._longest_s = longest_s
        self._monotonic_s = monotonic_s
        self._readers: list[int] = []
        self._roles_read_at_s = float("-inf")
        # When each transaction was first found, by process id and virtual transaction id.
        self._first_found_at_s: dict[tuple[int, str], float] = {}
        self.ended = 0
        self.last = ""
        self.refused = ""

    def check(self) -> EndedSessions:
        """Check all sessions of readers once.

        Raises:
            StoreBusyError: the database is not available now.
        """
        if self._db.is_sqlite:
            return EndedSessions([], [])
        now_s = self._monotonic_s()
        if now_s - self._roles_read_at_s >= ROLES_EVERY_S:
            with self._db.read() as c:
                self._readers = list(c.execute(_READERS).scalars())
            self._roles_read_at_s = now_s
        if not self._readers:
            return EndedSessions([], [])
        with self._db.read() as c:
            result = self._end(c, self._find_excessive(c, now_s))
        self.ended += len(result.ended)
        self.last = result.ended[-1] if result.ended else self.last
        self.refused = result.refused[-1] if result.refused else ""
        return result

    def _find_excessive(self, c: Connection, now_s: float) -> dict[int, str]:
        """Return the reason by process id for each session that exceeds a limit."""
        rows = c.execute(_HELD, {"readers": self._readers}).all()
        transactions = [(row.pid, row.transaction) for row in rows if row.transaction is not None]
        self._first_found_at_s = {key: self._first_found_at_s.get(key, now_s) for key in transactions}
        reasons: dict[int, str] = {}
        for row in rows:
            duration_s = now_s - self._first_found_at_s.get((row.pid, row.transaction), now_s)
            if row.locks > MOST_LOCKS:
                reasons[row.pid] = f"{row.usename} (pid {row.pid}) holds {row.locks} locks"
            elif duration_s >= self._longest_s:
                reasons[row.pid] = f"{row.usename} (pid {row.pid}) is in one transaction for {duration_s:.0f} s"
        return reasons

    @staticmethod
    def _end(c: Connection, reasons: dict[int, str]) -> EndedSessions:
        result = EndedSessions([], [])
        for pid, reason in reasons.items():
            try:
                with c.begin_nested():
                    c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            except ProgrammingError as error:
                if getattr(error.orig, "sqlstate", "") != _INSUFFICIENT_PRIVILEGE:
                    raise
                result.refused.append(reason)
            else:
                result.ended.append(reason)
                log.warning("ended a session of a reader of the views: %s", reason)
        return result
