"""Delivery of messages: channels, declarations and receipts."""

from monitor.delivery.circuit import (
    backoff_s,  # return the seconds until the next delivery attempt, doubling with jitter
)
from monitor.delivery.notifier import (
    channel_settings,  # return channel settings by variable name, from environment and service file
    open_notifier,  # returns the notifier of a channel such as `lamp:/run/lamp`
    read_secret,  # returns the value of an environment variable that a channel names
)
from monitor.delivery.notifiers.mail import (
    MailNotifier,  # notifier that sends text mail by SMTP
)
from monitor.delivery.notifiers.mqtt import (
    MqttPublisher,  # MQTT client that publishes, waits for the acknowledgement and reconnects
)
from monitor.delivery.notifiers.webhook import (
    ANSWERED_WITH_STATUS,  # text for people: an HTTP channel responded with a status
    CONNECT_TIMEOUT_S,  # connection timeout of HTTP channels, seconds
    TIMEOUT_S,  # timeout of HTTP requests and of reading a response, seconds
    UNCOMPRESSED_HEADERS,  # request headers for an uncompressed response, needed by `read_answer`
    WebhookNotifier,  # notifier that posts signed JSON to a URL
    make_rejection_error,  # return the DeliveryError for a response that rejects a message
    make_timeout_error,  # return the DeliveryError for a request that timed out
    read_answer,  # read a streamed HTTP response body, limited in size and time
)
from monitor.delivery.queries.outbox import (
    count_states,  # count the notifications in each delivery state
    mark_confirmed,  # mark a delivered notification as confirmed by its recipient
)
from monitor.delivery.queries.receipts import (
    find_sent,  # return the notification id for a provider's message id, or None
    load_without_receipt,  # load delivered notifications without a status report, by provider id prefix
    mark_undelivered,  # record that the provider could not deliver; retry or fail for good
    note_progress,  # record an intermediate provider status such as `ringing`
    note_received,  # record that the device received the message; False if recorded before
    note_test,  # record the result of a channel test; False if no test has this provider id
)
from monitor.sites.declarations import (
    find_declaration,  # return the site declared by the stored file with a hash, or None
)

__all__ = [
    "ANSWERED_WITH_STATUS",
    "CONNECT_TIMEOUT_S",
    "TIMEOUT_S",
    "UNCOMPRESSED_HEADERS",
    "MailNotifier",
    "MqttPublisher",
    "WebhookNotifier",
    "backoff_s",
    "channel_settings",
    "count_states",
    "find_declaration",
    "find_sent",
    "load_without_receipt",
    "make_rejection_error",
    "make_timeout_error",
    "mark_confirmed",
    "mark_undelivered",
    "note_progress",
    "note_received",
    "note_test",
    "open_notifier",
    "read_answer",
    "read_secret",
]
