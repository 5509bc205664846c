"""Arguments of acts on trained models."""

from typing import Annotated

from monitor.alerts.acts.table import Argument

ModelHash = Annotated[
    str, Argument("Beginning of its hash, see `slopeward forecast models`", metavar="HASH", longest=64)
]
