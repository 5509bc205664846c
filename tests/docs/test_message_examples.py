"""The example messages of docs/reference/messages.md are those that the service sends."""

from tests.data.message_examples import PAGE, write_page


def test_page_has_the_messages_of_the_service():
    assert PAGE.read_text(encoding="utf-8") == write_page(), "run: python -m tests.data.message_examples"
