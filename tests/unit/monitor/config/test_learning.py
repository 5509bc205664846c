"""`[forecast]` says where networks begin and what they learn beside; what nothing would use is refused."""

import pytest

from monitor.config.service import parse_site
from monitor.errors import ConfigError

TEXT = """
[site]
id = "bench"
name = "Bench"
latitude = 46.2
longitude = 8.9
timezone = "UTC"
[levels]
names = ["green", "red"]
[forecast]
horizons = ["1d"]
{forecast}
[[station]]
id = "G1"
[[station.series]]
quantity = "{quantity}"
unit = "mm"
interval = "1d"
max_silence = "3d"
"""


def read(forecast, quantity="displacement_downslope"):
    return parse_site(TEXT.format(forecast=forecast, quantity=quantity), "bench.toml").forecast


def test_what_is_asked_reaches_the_plan():
    plan = read('models = ["lstm", "pretrained-lstm"]\nstart_from = "old-bench"\nreplay = ["old-bench"]')
    assert (plan.start_from, plan.replay) == ("old-bench", ("old-bench",))
    assert read('models = ["pretrained-lstm"]\nreplay = ["old-bench"]').replay == ("old-bench",)


@pytest.mark.parametrize(
    ("forecast", "said"),
    [
        ('start_from = "old"', "forecast.start_from: no network is chosen"),
        ('models = ["pretrained-lstm"]\nstart_from = "old"', "begins with shipped weights"),
        ('models = ["gru", "graph-gru"]\nstart_from = "old"', "graph-gru reads the stations of one site together"),
        ('models = ["gru"]\nreplay = ["old"]', "nothing to forget"),
        ('models = ["gru"]\nstart_from = "old"\nreplay = ["bench"]', "the record of bench itself"),
    ],
)
def test_what_nothing_would_use_is_refused_in_one_line(forecast, said):
    with pytest.raises(ConfigError, match=said) as refused:
        read(forecast)
    assert len(refused.value.faults) == 1
