"""An HTTP answer counts as a refusal if and only if its body reports an error."""

import gzip
import json
import string

from hypothesis import given
from hypothesis import strategies as st

from monitor.delivery.notifiers.answers import find_refusal

ERROR_WORDS = (
    "err",
    "no such",
    "unknown",
    "undelivered",
    "fail",
    "fault",
    "exception",
    "denied",
    "forbidden",
    "authori",
    "invalid",
    "reject",
    "refuse",
)
JUDGED_KEYS = {
    *("ok", "success", "succeeded", "successful", "issuccess", "accepted", "delivered", "sent"),
    *("status", "result", "state", "outcome", "type", "code", "statuscode", "httpstatus", "httpcode"),
    *("rejected", "haserror", "haserrors", "iserror", "fault", "exception"),
}


def is_judged(key):
    folded = "".join(sign for sign in key.lower() if sign.isalnum())
    return folded in JUDGED_KEYS or folded.startswith(("err", "fail"))


plain_words = st.text(string.ascii_letters + string.digits + " .,:!-", max_size=80).filter(
    lambda text: not any(word in text.lower() for word in (*ERROR_WORDS, "not ", "too many", "rate limit"))
)
other_keys = plain_words.filter(lambda key: not is_judged(key))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | plain_words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(other_keys, inner, max_size=3),
    max_leaves=8,
)
other_members = st.dictionaries(other_keys, values)
successes = st.sampled_from(
    [
        {},
        {"ok": True},
        {"success": "true"},
        {"success": 1},
        {"status": "ok"},
        {"status": 200},
        {"status": "queued"},
        {"error": None},
        {"error": ""},
        {"error": False},
        {"errors": []},
        {"errcode": 0, "errmsg": "ok"},
        {"code": 0},
        {"code": 200},
        {"result": "success"},
        {"result": 4711},
        {"code": 10000, "msg": "Success"},
        {"sent": True, "delivered": False},
        {"success": 1, "failed": 0, "rejected": []},
        {"data": {"country": {"code": 756}}},
        {"ok": True, "result": {"error": "the text of the message"}},
    ]
)
errors = st.sampled_from(
    [
        {"ok": False},
        {"Success": False},
        {"success": "false"},
        {"succeeded": 0},
        {"status": "error"},
        {"status": "Failed"},
        {"status": 429},
        {"status": "503"},
        {"code": 401},
        {"error": "invalid_auth"},
        {"error": {"code": 7}},
        {"errors": ["no such channel"]},
        {"errcode": 310000},
        {"result": "rejected"},
        {"code": 19001, "msg": "param invalid"},
        {"statusCode": 404},
        {"isError": True},
        {"delivered": False},
        {"status": "not_found"},
        {"status": "KO"},
        {"type": "error"},
        {"success": 1, "failure": 1},
        {"rejected": ["a@example.org"]},
        {"response": {"status": "ERROR"}},
        {"messages": [{"status": "2", "error-text": "no recipient"}]},
        {"data": {"success": False}},
        {"meta": {"code": 401, "message": "token"}},
    ]
)
spaces = st.text(" \n\t\r", max_size=4)


def refuses(body, expected=""):
    return find_refusal("webhook", 200, body.encode(), expected) is not None


@given(plain_words, spaces)
def test_ordinary_text_counts_as_success(text, space):
    assert not refuses(space + text + space)


@given(other_members, successes, st.booleans())
def test_a_json_object_without_an_error_counts_as_success(others, success, is_listed):
    answer = others | success
    assert not refuses(json.dumps([answer] if is_listed else answer))


@given(other_members, errors, spaces, st.booleans())
def test_a_json_object_with_an_error_counts_as_a_refusal(others, error, space, is_listed):
    answer = others | error
    assert refuses(space + json.dumps([{"ok": True}, answer] if is_listed else answer))


@given(
    plain_words,
    st.sampled_from(
        [
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
            "invalid_payload",
            "Unauthorized",
            "ERROR 12: quota",
            "Access denied",
            "channel not found",
            "Too many requests",
            "ERR: 105, destination",
            "No such webhook",
        ]
    ),
)
def test_text_with_an_error_counts_as_a_refusal(text, error):
    assert refuses(f"{text} {error}")
    assert not refuses(f"{text} no errors"), "a report without errors is a success"


@given(
    plain_words,
    st.sampled_from(
        [
            "<!DOCTYPE html><html>",
            "<html lang='en'>",
            "<!-- proxy -->\n<!doctype HTML>",
            "\ufeff<HTML>",
            "<meta http-equiv='refresh' content='0; url=/login'>",
            "<script>location='/login'</script>",
            "<div><input name='pw' type='password'></div>",
        ]
    ),
    spaces,
)
def test_a_web_page_counts_as_a_refusal(text, begin, space):
    assert refuses(f"{space}{begin}<title>{text}</title>")


@given(st.sampled_from(["<status>ERROR</status>", "<success>false</success>", "<errorCode>7</errorCode>"]), plain_words)
def test_xml_with_an_error_counts_as_a_refusal(member, text):
    assert refuses(f"<?xml version='1.0'?><response><note>{text}</note>{member}</response>")
    assert not refuses(f"<?xml version='1.0'?><response><note>{text}</note><status>OK</status></response>")


def test_a_compressed_answer_is_judged_by_its_content():
    assert find_refusal("webhook", 200, gzip.compress(b"<html>log in</html>")) is not None
    assert find_refusal("webhook", 200, gzip.compress(b'{"ok": true}')) is None
    assert find_refusal("webhook", 200, gzip.compress(b"ok")[:12]) is None


@given(plain_words, plain_words.map(str.strip).filter(bool))
def test_the_expected_text_alone_decides_where_it_is_given(text, expected):
    assert not refuses(f"<html>{text}{expected}</html>", expected)
    assert refuses(text, f"{expected}#")


@given(st.binary(max_size=200))
def test_any_bytes_can_be_judged(body):
    find_refusal("webhook", 200, body)
