"""Sessions of readers on PostgreSQL that hold too long or too much: ended from outside, as a reader cannot undo.

What a role may do to a session it begins with a setting (`statement_timeout`) the session itself may lift. So the core
looks every few seconds at what each reader's session holds, by a list that every account may read (`pg_locks`), and
ends those beyond the bound.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from monitor.storage.engine import Database

log = logging.getLogger(__name__)
# of a server's 6,400 by default: without one nobody gets a lock any more. A question to the views takes some dozens.
MOST_LOCKS: Final = 500
ROLES_EVERY_S: Final = 30.0
# who was granted one of our views, by himself or by a role that he is in; never an administrator, nor who acts for us
_READERS: Final = text(
    "SELECT r.oid FROM pg_roles r WHERE r.rolcanlogin AND NOT r.rolsuper"
    " AND NOT pg_has_role(r.oid, (SELECT oid FROM pg_roles WHERE rolname = current_user), 'MEMBER') AND EXISTS ("
    "SELECT 1 FROM pg_class k CROSS JOIN LATERAL aclexplode(k.relacl) x WHERE k.relkind = 'v'"
    " AND k.relnamespace = CAST(current_schema() AS regnamespace) AND x.grantee <> k.relowner"
    " AND (x.grantee = 0 OR pg_has_role(r.oid, x.grantee, 'USAGE')))"
)
# few relations: where the locks of the server are used up, a session has some of its own
_HELD: Final = text(
    "SELECT a.pid, a.usename, count(*) AS locks, max(l.virtualxid) FILTER (WHERE l.locktype = 'virtualxid') AS turn"
    " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE a.datname = current_database() AND a.usesysid = ANY(CAST(:readers AS oid[])) GROUP BY a.pid, a.usename"
)
_NOT_ALLOWED: Final = "42501"


class EndedSessions(NamedTuple):
    """What became of sessions beyond the bound, one line each."""

    ended: list[str]
    refused: list[str]  # this account may not end them


class ReaderWatch:
    """Ends sessions of readers whose transaction lasts too long, or that hold too many locks.

    A statement is a transaction, or a part of one: its time is bound with it. How long one lasts is seen by our own
    looks, for the server tells its beginning to administrators alone. One thread calls `follow`.

    Args:
        db: the database; nothing is done on SQLite.
        longest_s: that a transaction of a reader may last.
    """

    def __init__(self, db: Database, longest_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._db, self._longest_s, self._monotonic_s = db, longest_s, monotonic_s
        self._readers: list[int] = []
        self._roles_at = float("-inf")
        self._since: dict[tuple[int, str], float] = {}
        self.ended = 0  # since the start
        self.last = ""  # which was ended last, and why
        self.refused = ""  # which could not be ended at the last look

    def follow(self) -> EndedSessions:
        """Look once; raises StoreBusyError: the database is away for the moment."""
        if self._db.is_sqlite:
            return EndedSessions([], [])
        now_s = self._monotonic_s()
        if now_s - self._roles_at >= ROLES_EVERY_S:
            with self._db.read() as c:
                self._readers = list(c.execute(_READERS).scalars())
            self._roles_at = now_s
        if not self._readers:
            return EndedSessions([], [])
        with self._db.read() as c:
            result = self._end(c, self._find(c, now_s))
        self.ended += len(result.ended)
        self.last = result.ended[-1] if result.ended else self.last
        self.refused = result.refused[-1] if result.refused else ""
        return result

    def _find(self, c: Connection, now_s: float) -> dict[int, str]:
        rows = c.execute(_HELD, {"readers": self._readers}).all()
        self._since = {
            key: self._since.get(key, now_s) for key in ((row.pid, row.turn) for row in rows if row.turn is not None)
        }
        found: dict[int, str] = {}
        for row in rows:
            lasts_s = now_s - self._since.get((row.pid, row.turn), now_s)
            if row.locks > MOST_LOCKS:
                found[row.pid] = f"{row.usename} (pid {row.pid}) holds {row.locks} locks"
            elif lasts_s >= self._longest_s:
                found[row.pid] = f"{row.usename} (pid {row.pid}) is in one transaction for {lasts_s:.0f} s"
        return found

    @staticmethod
    def _end(c: Connection, found: dict[int, str]) -> EndedSessions:
        result = EndedSessions([], [])
        for pid, why in found.items():
            try:
                with c.begin_nested():
                    c.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            except ProgrammingError as error:
                if getattr(error.orig, "sqlstate", "") != _NOT_ALLOWED:
                    raise
                result.refused.append(why)
            else:
                result.ended.append(why)
                log.warning("ended a session of a reader of the views: %s", why)
        return result
