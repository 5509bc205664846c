"""Files as people call them: in what is said of a file its name stands in place of its path on this machine."""

from typing import Final

from forecasting.message import Message, MessageList, Template, Value

UNREADABLE: Final = Template("file.unreadable", "cannot be read: {problem}")
EMPTY: Final = Template("file.empty", "the file is empty")


def rename_file(text: str, path: str, name: str) -> str:
    """A text with the name of a file in place of its path, in the values of a message as well.

    >>> from forecasting.message import TEXT_OF
    >>> said = rename_file(TEXT_OF(name="/tmp/x7", text="it is empty"), "/tmp/x7", "a.csv")
    >>> said, said.values["name"]
    ('a.csv: it is empty', 'a.csv')
    """
    if not isinstance(text, Message):
        return text.replace(path, name)
    values = {key: _rename(value, path, name) for key, value in text.values.items()}
    return Message(str(text).replace(path, name), text.id, values)


def _rename(value: Value, path: str, name: str) -> Value:
    if isinstance(value, MessageList):
        return MessageList(tuple(_rename(item, path, name) for item in value.items), value.separator)
    return rename_file(value, path, name) if isinstance(value, str) else value
