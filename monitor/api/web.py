"""The page: requests, callers, parts that pages share."""

from monitor.web.access.acting import (
    FormAct,  # FastAPI dependency: actor, context and time of an act by a form of the page
    redirect_back,  # redirect the browser after an act, with a notice of what was done
)
from monitor.web.access.callers import (
    Caller,  # the account behind a request: name, role and sites
    actor_of,  # return the actor of a request after checking origin and form token
    person_of,  # return the caller logged in on the page, or None
    require_caller,  # return the caller of a request; raises NotSignedInError
)
from monitor.web.access.guard import (
    LARGEST_PART_BYTES,  # largest body of a request with a part of a file or outlines, bytes
    check_origin,  # raise NotAllowedError unless a write request comes from the page itself
    is_safe_path,  # return whether a path is safe as redirect target after login
)
from monitor.web.access.redaction import (
    redactor_of,  # return the redactor for the responses to a request's caller
)
from monitor.web.access.rules import (
    find_readable_sites,  # return the site asked for, or all sites that the caller may read (None = all)
)
from monitor.web.app import (
    build_app,  # create the FastAPI application on an open database
)
from monitor.web.context import (
    DEVICE_COOKIE,  # name of the cookie that identifies a known device
    WITHOUT_NUL,  # regular expression for a text without NUL characters
    AlertId,  # type of a path parameter: id of an alert
    Context,  # shared state of all requests: configuration, database, clock, caches
    EarlyInstant,  # type of a query parameter: an instant from 1900 on, or None
    From,  # type of the query parameter `from`: start of a range, excluded
    Limit,  # type of the query parameter `limit`, 1 to 1000
    MonthRange,  # FastAPI dependency: requested time range, 30 days by default
    Name,  # type of a form field: name of a site, station, quantity or team
    SeasonRange,  # FastAPI dependency: requested time range, 90 days by default
    To,  # type of the query parameter `to`: end of a range, included
    context_of,  # return the context of the application of a request
    cookie_name,  # return the name of a cookie, with the `__Host-` prefix on https
    run_in_pool,  # call a function in a thread of a limited pool of its own
)
from monitor.web.parts import (
    headline,  # module: the alert behind a site's level, its evidence and who to call
)
from monitor.web.parts.calendars import (
    write_calendar,  # return an iCalendar file of entries
)
from monitor.web.parts.collect import (
    UNKNOWN_SITE,  # text for people: the site does not exist
    SiteSnapshot,  # a site within a read transaction, with the time of the request
    find_card,  # return the card of a site; raises NotFoundError
    find_series,  # return a stored series; raises NotFoundError
    name_stations,  # return the names of stations that have one, by id
    read_site,  # opens a read transaction on a site; raises NotFoundError
    require_station,  # Raise NotFoundError if a site has no such station
)
from monitor.web.parts.columns import (
    choose_plot_points,  # choose which values a plot of about `most` points needs
    encode_instants,  # return instants as epoch seconds: the first, then the step to each next one
    shorten,  # round a value to six digits for a chart
)
from monitor.web.parts.features import (
    describe_outlines,  # yield outlines drawn by people as GeoJSON features, without withdrawn ones
    list_stations,  # return the stations of a site as GeoJSON features, with health and motion
    make_feature,  # return a GeoJSON feature
    make_point,  # return a GeoJSON point, or None
)
from monitor.web.parts.geojson import (
    GEOJSON,  # media type of GeoJSON
    GeoJsonResponse,  # HTTP response with a GeoJSON object
    make_collection,  # return a GeoJSON feature collection
)
from monitor.web.parts.headline import (
    find_hazards,  # return the highest open hazard alert of each site, without drills
    find_headlines,  # load the headline of alerts from their evidence, by alert id
    list_calls,  # return who to call for an alert, in order of notification
    list_sentences,  # load the sentence that explains each hazard alert, by alert id
)
from monitor.web.parts.present_decision import (
    evaluate_now,  # return what a decision at this moment would be; cached for some seconds, not stored
)
from monitor.web.parts.ranges import (
    send_range,  # return a file response that supports byte ranges; raises NotFoundError
)
from monitor.web.parts.templating import (
    render as render_page,  # renders a template as a page with banner and menu
)
from monitor.web.routes.live import (
    render_parts_as_json,  # return rendered parts of a page as JSON, for live refresh
)
from monitor.web.routes.people import (
    login,  # module: routes to log in and log out
)
from monitor.web.routes.site.charts import (
    read_range,  # return start and end of the requested range; raises RefusedError
)
from monitor.web.routes.site.rates import (
    # Bounds that can be drawn beside the movement of a station: velocity, acceleration, tangential angle
    find_bounds,
    # Velocity in mm/day over each window of the velocity criteria of a station; none where nothing can be fitted
    find_rates,
)

__all__ = [
    "DEVICE_COOKIE",
    "GEOJSON",
    "LARGEST_PART_BYTES",
    "UNKNOWN_SITE",
    "WITHOUT_NUL",
    "AlertId",
    "Caller",
    "Context",
    "EarlyInstant",
    "FormAct",
    "From",
    "GeoJsonResponse",
    "Limit",
    "MonthRange",
    "Name",
    "SeasonRange",
    "SiteSnapshot",
    "To",
    "actor_of",
    "build_app",
    "check_origin",
    "choose_plot_points",
    "context_of",
    "cookie_name",
    "describe_outlines",
    "encode_instants",
    "evaluate_now",
    "find_bounds",
    "find_card",
    "find_hazards",
    "find_headlines",
    "find_rates",
    "find_readable_sites",
    "find_series",
    "headline",
    "is_safe_path",
    "list_calls",
    "list_sentences",
    "list_stations",
    "login",
    "make_collection",
    "make_feature",
    "make_point",
    "name_stations",
    "person_of",
    "read_range",
    "read_site",
    "redactor_of",
    "redirect_back",
    "render_page",
    "render_parts_as_json",
    "require_caller",
    "require_station",
    "run_in_pool",
    "send_range",
    "shorten",
    "write_calendar",
]
