"""An act of a person on the page: who does it, by a form of this page, and where it is told what was done."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Form, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from forecasting.message import Message
from monitor.domain.alert import Actor
from monitor.errors import NeedsSecondError
from monitor.store.database.engine import Database
from monitor.store.people.countersign import SharedAct, do_by_two
from monitor.web.access.callers import actor_of
from monitor.web.access.told import go_back
from monitor.web.context import Context, context_of


@dataclass(frozen=True, slots=True)
class Act:
    """What a route that does something begins with."""

    request: Request
    actor: Actor
    context: Context
    now: datetime

    @property
    def db(self) -> Database:
        """The database."""
        return self.context.db

    def back(self, address: str, told: str) -> RedirectResponse:
        """Send the browser on, and tell it there what was done."""
        return go_back(self.request, address, told)

    def by_two(
        self, shared: SharedAct, reason: str, do: Callable[[Connection, Actor | None], object],
        measure: Callable[[Connection], int], done: Message, waits: Message,
    ) -> Message:  # fmt: skip
        """Do an act with the signature of another person, or leave one for another person; what is told of it."""
        try:
            do_by_two(self.db, shared, self.actor, reason, do, measure, self.now)
        except NeedsSecondError:
            return waits
        return done


def begin_act(request: Request, csrf: Annotated[str, Form()] = "") -> Act:
    """Who acts, by a form of this page; raises NotSignedInError, NotAllowedError."""
    context = context_of(request)
    return Act(request, actor_of(request, csrf), context, context.clock())


Acting = Annotated[Act, Depends(begin_act)]
