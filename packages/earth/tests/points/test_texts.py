"""Every reason code of satellite points has a sentence, and every sentence a code."""

import slopeward_earth
from monitor.text.reasons import TEXTS
from slopeward_earth.points.texts import OWN_TEXTS
from tests.text.test_reasons import find_codes


def test_every_code_has_a_text_and_every_text_a_code():
    assert {*find_codes(slopeward_earth)} - TEXTS.keys() == OWN_TEXTS.keys()


def test_every_format_is_of_a_value_in_its_sentence():
    for text in OWN_TEXTS.values():
        assert text.formats.keys() <= text.places, text.template.id
