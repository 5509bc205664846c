"""What the database holds: alerts: their states, evaluation, and acts of people on them."""

from monitor.alerts.acts import (
    change_control,  # module: the site file version in force, and which changes need two people
)
from monitor.alerts.acts.call import (
    INVALID_VALUE,  # text for people: the value of an argument is invalid, with the reason
    ActCall,  # context of one act: database, actor, time, service configuration, second person
)
from monitor.alerts.acts.change_control import (
    load_in_force,  # load the declarations in force of all watched sites, skipping unreadable ones
    require_in_force,  # return the site as declared by the version in force; raises NotFoundError
)
from monitor.alerts.acts.on_alerts import (
    LARGEST_ID,  # largest id of a database row, 2**63 - 1
    Reason,  # type of an act's argument `--reason`: why, or what was observed
)
from monitor.alerts.acts.on_sites import (
    EXIT_ALREADY_DONE,  # exit status of an act whose effect was already in place, 4
    SiteId,  # type of an act's positional argument: a site id
)
from monitor.alerts.acts.site_diff import (
    StoredEffect,  # replayed effect of a proposed site file, as stored with the proposal
)
from monitor.alerts.audit.audit_pack import (
    format_json,  # return a JSON document with sorted keys, so that the same value gives the same bytes
)
from monitor.alerts.evaluate import (
    freeze_evidence,  # return the evidence of a decision as JSON values, enough to compute it again
    rule_version,  # return the versions of code and site file that decide, as one text
)
from monitor.alerts.queries import (
    overview,  # module: queries for the page and the JSON API: sites, stations, alerts, scenes
    timeline,  # module: level, observability, movement stage and failure windows over time
)
from monitor.alerts.queries.alerts import (
    OUTCOMES,  # outcomes of an alert that people can record
    UNKNOWN_ALERT,  # text: "there is no alert {n}"
    Alert,  # an alert in its current state
    AlertEvent,  # one state or level change of an alert
    ChangeContext,  # what alert changes of one occasion share: site, recipients, actor, time, versions
    Outcome,  # the latest outcome of an alert recorded by a person, with its time
    apply_changes,  # write alert, event and notification rows for changes; returns the event ids
    close_alert,  # close an alert whose condition allows it; returns the event id
    find_alert,  # return an alert by its id, or None
    find_alert_of_event,  # return the alert id and the sequence number of an alert event; raises NotFoundError
    find_outcome,  # return the latest recorded outcome of an alert, or None
    load_alert_events,  # load the events of an alert, oldest first
    load_alerts,  # load alerts of one, several or all sites, newest first
    load_level_changes,  # load level changes of hazard alerts with their alert, newest first
    load_outcomes,  # load ended hazard alerts whose latest outcome is of given kinds, newest first
    notify_site,  # apply alert changes that the service found at a site and notify its recipients
    require_alert,  # return an alert by its id; raises NotFoundError
)
from monitor.alerts.queries.answers import (
    AlertDeliveries,  # recipients of one alert and their confirmations, in order of notification
    load_answers,  # load by alert id who was notified and who confirmed
)
from monitor.alerts.queries.evaluations import (
    ADVICE_LIMIT,  # rows of one kind that a decision looks at, newest first
    add_decision,  # store the frozen evidence of a decision; returns its id
    find_common_silence,  # return the text on the common silence of a site, or None
    find_state,  # return the stored level and decision memory of a site, or None
    load_decision,  # load a decision with its frozen evidence; raises NotFoundError
    load_newest,  # load the newest epoch of each series of a site, by `station.quantity`
)
from monitor.alerts.queries.instruments import (
    Spans,  # type: tuple of (start, end) times
    load_impaired_spans,  # load by station the time spans of maintenance or open health alerts
    load_links,  # load the latest connection state of devices, by station
    load_open_pages,  # load the reasons of open instrument alerts in given states, by alert key
)
from monitor.alerts.queries.maintenance import (
    Maintenance,  # a maintenance window as stored
    load_maintenance,  # load maintenance windows that have not ended, or all of them, oldest first
    load_maintenance_between,  # load maintenance windows that overlap a range, oldest first, at most 500
    load_maintenance_facts,  # load the maintenance windows in force at an instant, as known at that instant
)
from monitor.alerts.queries.movement import (
    UNKNOWN,  # stage of movement while none is determined, `unknown`
    MovementUpdate,  # a row of `movement`, with instants as text
    NewestMovement,  # newest movement update of a series, with failure window and last known stage
    StandingWindow,  # the failure window of a series that is in force, with instants as text
    load_newest_movement,  # load the newest movement of each series of one site
)
from monitor.alerts.queries.overview import (
    PlacedSite,  # id, name, position and warning levels of a site
    SiteCard,  # a site as the overview shows it: declaration, row of `site_status`, and its stations at this instant
    StationCard,  # a station as declared, with its health and the newest reading of each quantity
    StoredLevel,  # a warning level as stored: number, name, action
    find_ladder,  # return the levels of an active site and the hash of its file; None if there is none
    load_cards,  # load active sites with their status, the most dangerous first
    load_open_alerts,  # load open alerts without evidence: drills last, then by level and time
    load_range,  # load readings of a series in a range as known at an instant; raises RefusedError
    load_stations,  # load the stations of a site with health and newest readings, on-slope ones first
)
from monitor.alerts.queries.recipients import (
    PlannedDuty,  # planned duty of a team: time span, person and second person, if any
    RotaKey,  # key of a duty rota: (site id, team)
    load_days,  # load planned duties that overlap a range, by team and time
)
from monitor.alerts.queries.signatures import (
    TwoPersonAct,  # an act that two people sign: name, subject and terms that must be equal
)
from monitor.alerts.queries.station_states import (
    StationStates,  # state of every station of a site at the instant of display
    load_station_states,  # load whether each station is ok, late or silent at an instant, by site
)
from monitor.alerts.queries.subjects import (
    find_site_of,  # return the site id of an alert, event, maintenance window or proposal, or None
)
from monitor.alerts.queries.timeline import (
    LONGEST_TIMELINE,  # longest time that a timeline may cover
    LevelSegment,  # time span with constant level and observability
    load_ribbon,  # load segments of constant level in the last 400 days of a range, oldest first
)
from monitor.alerts.replay.backtest import (
    BacktestOptions,  # Options of a backtest
    # return the begin and the end of a replay of all stored readings of a site, the last one included
    find_record_span,
    run_backtest,  # Replay a site's past through the decision and score it; nothing is written
)
from monitor.alerts.replay.clock import (
    ReplaySchedule,  # When the replay decides
    play,  # Decide at every instant at which the service would have evaluated the site
)
from monitor.alerts.replay.history import (
    MODES,  # how a replay decides when a reading became known: auto, received, observed
    History,  # Everything that was known of a site at the instant of the clock
    VisibilityRule,  # the rule from which instant a replay may use a stored row
)
from monitor.alerts.replay.matrix import (
    EVENT,  # it belongs to a labelled event, or people said that the alarm was right
    FALSE,  # no event followed, or people said that the alarm was wrong
    UNJUDGED,  # nobody labelled anything: nothing can be called false
    WAITING,  # nothing measured asks for the level: it stands until a person answers
    name_class,  # return the label of a class in the matrix of a replay
    read_labels,  # Read a CSV `from,to,class[,level][,name]`, oldest first
)
from monitor.alerts.replay.other_alarms import (
    DEFAULT_WINDOW_S,  # alarms of two systems with a smaller gap belong to one episode, seconds
    Episode,  # alarms of Slopeward and of another system that belong together
    SystemAlarm,  # an alarm of Slopeward or of another system
    count_false,  # return how many episodes people recorded as false alarms, and about how many they recorded
    group_alarms,  # group the alarms of two systems into episodes
)
from monitor.alerts.replay.queries import (
    # return the first epoch of a site and the instant from which its newest one was known; None without readings
    find_span,
    load_instants,  # return the distinct instants in (from_at, to_at] that queries of one column each return
    # return the distinct instants in (from_at, to_at] in some columns of tables with a `series_id`, of one site
    load_series_instants,
)
from monitor.alerts.replay.record_state import (
    # return the level at the end of a replay and the age of the newest reading; None without any decision
    find_record_end,
    # return the local dates with a level or a higher one, by criterion id, station and name of the level
    find_station_days,
)
from monitor.alerts.replay.scorecard import (
    DetectorScore,  # the anomalies that a detector reported in a replay, and their labels
    ForecastGain,  # Velocity and one forecast criterion together beside velocity alone
    Run,  # One configuration over the whole time
    Scorecard,  # the result of a backtest, of one or of two configurations
)
from monitor.sites.queries.in_force import (
    find_in_force,  # return the site as declared by the version in force, or None
)

__all__ = [
    "ADVICE_LIMIT",
    "DEFAULT_WINDOW_S",
    "EVENT",
    "EXIT_ALREADY_DONE",
    "FALSE",
    "INVALID_VALUE",
    "LARGEST_ID",
    "LONGEST_TIMELINE",
    "MODES",
    "OUTCOMES",
    "UNJUDGED",
    "UNKNOWN",
    "UNKNOWN_ALERT",
    "WAITING",
    "ActCall",
    "Alert",
    "AlertDeliveries",
    "AlertEvent",
    "BacktestOptions",
    "ChangeContext",
    "DetectorScore",
    "Episode",
    "ForecastGain",
    "History",
    "LevelSegment",
    "Maintenance",
    "MovementUpdate",
    "NewestMovement",
    "Outcome",
    "PlacedSite",
    "PlannedDuty",
    "Reason",
    "ReplaySchedule",
    "RotaKey",
    "Run",
    "Scorecard",
    "SiteCard",
    "SiteId",
    "Spans",
    "StandingWindow",
    "StationCard",
    "StationStates",
    "StoredEffect",
    "StoredLevel",
    "SystemAlarm",
    "TwoPersonAct",
    "VisibilityRule",
    "add_decision",
    "apply_changes",
    "change_control",
    "close_alert",
    "count_false",
    "find_alert",
    "find_alert_of_event",
    "find_common_silence",
    "find_in_force",
    "find_ladder",
    "find_outcome",
    "find_record_end",
    "find_record_span",
    "find_site_of",
    "find_span",
    "find_state",
    "find_station_days",
    "format_json",
    "freeze_evidence",
    "group_alarms",
    "load_alert_events",
    "load_alerts",
    "load_answers",
    "load_cards",
    "load_days",
    "load_decision",
    "load_impaired_spans",
    "load_in_force",
    "load_instants",
    "load_level_changes",
    "load_links",
    "load_maintenance",
    "load_maintenance_between",
    "load_maintenance_facts",
    "load_newest",
    "load_newest_movement",
    "load_open_alerts",
    "load_open_pages",
    "load_outcomes",
    "load_range",
    "load_ribbon",
    "load_series_instants",
    "load_station_states",
    "load_stations",
    "name_class",
    "notify_site",
    "overview",
    "play",
    "read_labels",
    "require_alert",
    "require_in_force",
    "rule_version",
    "run_backtest",
    "timeline",
]
