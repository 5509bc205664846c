"""Texts for people: messages, formats, time zones, translation."""

from monitor.canonical import (
    canonical_json,  # serialise a value as canonical JSON; raises ValueError for NaN and infinity
    code_version,  # return the version of the installed package
    digest_text,  # return the SHA-256 of a text in hexadecimal digits
)
from monitor.logs import (
    redact,  # return a text with passwords and tokens masked
)
from monitor.text import (
    catalogue,  # module: translation catalogues and the language in use
    reasons,  # module: converts reason codes of the libraries into messages
)
from monitor.text.catalogue import (
    ENGLISH,  # language code of English, `en`
    N_,  # mark a text for translation without translating it
    current_language,  # return the language in use
    gettext,  # translate a text into the language in use
    read_language,  # validate a language code; raises ValueError
    use_language,  # context manager: set the language in use
)
from monitor.text.detection import (
    read_reason,  # convert a stored message back into a reason of the `detection` library
)
from monitor.text.figures import (
    format_number,  # format a number with a number of significant digits
    format_to_width,  # format a number with two significant digits of the width of its interval
    level_class,  # return the colour class of a level, `0` to `3`, or `u` if unknown
)
from monitor.text.formats import (
    ReasonText,  # text of one reason code with the format of each value
    figure,  # return a format for a number with digits and unit
    index_by_code,  # return reason texts by their code
    reason_text,  # return the text of a reason code from a template and formats
)
from monitor.text.instants import (
    EPOCH,  # 1970-01-01 in UTC
    FUTURE_TOLERANCE,  # how far ahead of reception a reading's time may be (timedelta)
    Span,  # type: (start, end) times
    epoch_s,  # return the seconds since 1970 of an aware datetime
    format_about,  # format a duration for people, in at most two units
    format_duration,  # format a duration in its largest whole unit, such as `15m`
    format_instants,  # return plain data with all datetimes formatted
    format_iso,  # format an aware datetime in the fixed-width UTC form that sorts as text
    from_epoch_s,  # return the UTC datetime of seconds since 1970
    join_spans,  # merge time spans that overlap, touch or have a small gap
    parse_duration_s,  # parse a duration such as `15m` into seconds; a bare number means days
    parse_time,  # parse an RFC 3339 time with offset; raises ValueError
    read_iso,  # parse an ISO 8601 time, with unusual spellings; raises ValueError
    record_to_json,  # return a record as JSON values, without some fields
    start_clock,  # return a clock that starts at a given time and advances
)
from monitor.text.local_time import (
    format_local,  # format an instant in local time, to the minute
    read_zone,  # return the name of a time zone; raises ValueError if there is none
    use_zone,  # context manager: set the time zone in use
)
from monitor.text.message import (
    LABELLED_TEXT,  # text for people: a name and a text about it, separated by a colon
    Duration,  # message value: a duration
    Figure,  # a number with its unit
    Message,  # translatable text: English text with template id and values
    NameList,  # message value: a list of names
    Template,  # a text with values, in any language
    Term,  # message value: a word of the vocabulary, which is translated
    Timestamp,  # message value: an instant or a day
    Value,  # type of a message value
    join,  # join several texts into one message
    list_parts,  # return the texts that `join` combined
    message_columns,  # return the values of the three columns of a translatable text
    messages_to_plain,  # return plain data with each message as text, id and values
    plain_to_messages,  # return plain data with messages restored; the inverse of `messages_to_plain`
    read_columns,  # read a translatable text from its three columns of a row
    read_message,  # build a message from its stored text, id and values
)
from monitor.text.names import (
    EMPTY_FILE,  # text for people: the file is empty
    UNREADABLE_FILE,  # text for people: a file cannot be read, with the reason
    is_line,  # return whether a text is one line without control characters
    is_same_person,  # return whether two names mean the same person
    list_names,  # join names with commas, at most twelve
    rename_file,  # replace the path of a file in a text or message by a name
    tidy_name,  # normalise a name: blanks, invisible characters, Unicode form
    tidy_text,  # normalise a text written by a person to one line
)
from monitor.text.reasons import (
    convert_reason,  # return the message for a reason of a library
    convert_reasons_within,  # return plain data with all reasons replaced by messages
    describe_error,  # return the text of an error, as a message if it has a reason code
    hide_folder,  # Remove a folder of the server from the paths in a text that people read
)
from monitor.text.rendering import (
    translate,  # translate a message or vocabulary word into the language and zone in use
    translate_all,  # translate all messages within plain data
    translate_level,  # translate the name of a level, if it is a common one
)
from monitor.text.zones import (
    MINUTES_PER_DAY,  # minutes of a day
    format_minute,  # format minutes after midnight as `HH:MM`
    local_day,  # return the date of an instant in a time zone
    read_minute,  # parse `HH:MM` into minutes after midnight; raises ValueError
    read_typed_time,  # parse a time of a zone or with an offset; raises ValueError for a time that is ambiguous
    to_instant,  # return the instant of a local time, given as minutes after midnight
)

__all__ = [
    "EMPTY_FILE",
    "ENGLISH",
    "EPOCH",
    "FUTURE_TOLERANCE",
    "LABELLED_TEXT",
    "MINUTES_PER_DAY",
    "N_",
    "UNREADABLE_FILE",
    "Duration",
    "Figure",
    "Message",
    "NameList",
    "ReasonText",
    "Span",
    "Template",
    "Term",
    "Timestamp",
    "Value",
    "canonical_json",
    "catalogue",
    "code_version",
    "convert_reason",
    "convert_reasons_within",
    "current_language",
    "describe_error",
    "digest_text",
    "epoch_s",
    "figure",
    "format_about",
    "format_duration",
    "format_instants",
    "format_iso",
    "format_local",
    "format_minute",
    "format_number",
    "format_to_width",
    "from_epoch_s",
    "gettext",
    "hide_folder",
    "index_by_code",
    "is_line",
    "is_same_person",
    "join",
    "join_spans",
    "level_class",
    "list_names",
    "list_parts",
    "local_day",
    "message_columns",
    "messages_to_plain",
    "parse_duration_s",
    "parse_time",
    "plain_to_messages",
    "read_columns",
    "read_iso",
    "read_language",
    "read_message",
    "read_minute",
    "read_reason",
    "read_typed_time",
    "read_zone",
    "reason_text",
    "reasons",
    "record_to_json",
    "redact",
    "rename_file",
    "start_clock",
    "tidy_name",
    "tidy_text",
    "to_instant",
    "translate",
    "translate_all",
    "translate_level",
    "use_language",
    "use_zone",
]
