"""What the detectors of this package are compared with, as people read it."""

import pytest

from detection.anomaly.registry import describe_comparison
from monitor.text.detection import read_reason
from monitor.text.reasons import convert_reason
from monitor.text.rendering import translate
from slopeward_lab.detectors.registry import DETECTORS


@pytest.mark.parametrize(
    ("name", "english", "italian"),
    [
        ("robust-z", "its last reading", "la sua ultima lettura"),
        ("ewma", "the line of its last 60 days", "la retta dei suoi ultimi 60 giorni"),
        ("slope-change", "its slope of the 60 days before", "la sua pendenza dei 60 giorni precedenti"),
    ],
)
def test_the_phrase_of_a_rule_is_stored_in_english_and_shown_in_the_language_of_the_page(name, english, italian):
    text = convert_reason(describe_comparison(name, "spike"))
    assert (text, text.id) == (english, "compared.past")
    assert translate(text, "it") == italian
    assert convert_reason(read_reason(text)) == text


def test_every_detector_states_what_it_is_compared_with_in_translated_words():
    for name in DETECTORS:
        text = convert_reason(describe_comparison(name, "spike"))
        assert text
        assert translate(text, "it") != text
