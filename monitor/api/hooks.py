"""The marker of hook implementations, and the records that hooks return.

`monitor.hookspecs` describes the hooks. This module imports nothing heavy, so that modules of plugins may import it at
the top.
"""

from monitor.hookspecs import (
    hookimpl,  # marks a function that implements a hook
)
from monitor.registration import (
    AccessRule,  # who may request a route
    Channel,  # a kind of notification channel
    Command,  # a command or a group of commands
    CurveAddition,  # what a plugin adds to a curve
    ExportTable,  # a public view that can be exported
    Job,  # periodic work
    LabelledGround,  # ground on a scene that a person described
    Migrations,  # the alembic branch of a plugin's tables
    Panel,  # a template included at a place of a page
    SceneCracks,  # cracks that were found on a scene
    SceneTrainingData,  # scenes of a site from which a network can be trained
    ServicePart,  # a part of the core process
    SiteFileSections,  # sections added to site files
    SourcePast,  # the past of a source, read into a file
    StatusSection,  # what `slopeward status` shows about a subject
    SuspectedFault,  # a suspected fault of an instrument
)

__all__ = [
    "AccessRule",
    "Channel",
    "Command",
    "CurveAddition",
    "ExportTable",
    "Job",
    "LabelledGround",
    "Migrations",
    "Panel",
    "SceneCracks",
    "SceneTrainingData",
    "ServicePart",
    "SiteFileSections",
    "SourcePast",
    "StatusSection",
    "SuspectedFault",
    "hookimpl",
]
