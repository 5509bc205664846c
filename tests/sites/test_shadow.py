"""Who a site in shadow mode notifies, by its site file."""

from dataclasses import replace

import pytest

from monitor.alerts.acts.loosening import find_loosening
from monitor.cli.main import run_command
from monitor.errors import ConfigError
from monitor.sites.parsing import find_weaknesses, parse_site
from monitor.sites.records import gather_recipients
from monitor.sites.shadow import list_withheld_channels

SITE = """
[site]
id = "north"
name = "North slope"
latitude = 46.2
longitude = 8.9
{shadow}

[[station]]
id = "G1"

[[station.series]]
quantity = "displacement_east"
unit = "mm"
interval = "1h"

[[recipient]]
name = "Ada"
channels = ["email:ada@example.org", "mqtt:alarms/north", "log:desk"]
levels = ["red"]
trial = true

[[recipient]]
name = "Bo"
channels = ["email:bo@example.org"]
language = "it"

[[recipient]]
name = "Cleo"
channels = ["email:cleo@example.org"]

[[recipient]]
name = "team:watch"
{team}

[[team]]
name = "watch"
members = ["Bo", "Cleo"]
"""


def read(*, shadow=True, team=""):
    return parse_site(SITE.format(shadow="shadow = true" if shadow else "", team=team), "north.toml")


def test_only_recipients_of_the_trial_are_notified_by_channels_for_people():
    site = read()
    assert [(r.name, r.channels) for r in site.recipients] == [("Ada", ("email:ada@example.org", "log:desk"))]
    assert [r.name for r in site.all_recipients] == ["Ada", "Bo", "Cleo", "team:watch"]
    assert list_withheld_channels(site) == {
        "Ada": ("mqtt:alarms/north",),
        "Bo": ("email:bo@example.org",),
        "Cleo": ("email:cleo@example.org",),
    }


def test_a_team_of_the_trial_notifies_its_members_with_their_languages_and_not_beside_the_team():
    site = read(team="trial = true")
    recipients = {recipient.name: recipient for recipient in site.recipients}
    assert recipients.keys() == {"Ada", "Bo", "Cleo", "team:watch"}
    assert recipients["Bo"].everybody == ()
    assert recipients["Bo"].language == "it"
    assert [member.name for member in recipients["team:watch"].everybody] == ["Bo", "Cleo"]


def test_without_shadow_mode_the_key_trial_changes_nothing():
    site = read(shadow=False)
    assert site.recipients == site.all_recipients
    assert "mqtt:alarms/north" in site.recipients[0].channels
    assert list_withheld_channels(site) == {}


def test_faults_of_the_service_are_sent_to_all_recipients():
    assert gather_recipients([read()]) == gather_recipients([read(shadow=False)])


def test_beginning_shadow_mode_needs_two_people_and_ending_it_does_not():
    shadow, live = read(), read(shadow=False)
    (line,) = find_loosening(live, shadow)
    assert str(line).startswith("shadow mode begins")
    assert find_loosening(shadow, live) == ()
    off_trial = replace(
        shadow,
        recipients_outside_shadow=(replace(shadow.all_recipients[0], trial=False), *shadow.all_recipients[1:]),
    )
    assert len(find_loosening(shadow, off_trial)) == 1


def test_shadow_mode_of_a_site_that_notifies_nobody_needs_no_second_person():
    live, shadow = read(shadow=False), read()
    only_log = replace(live.recipients[0], channels=("log:desk",))
    new = replace(shadow, recipients=(only_log,), recipients_outside_shadow=(only_log,))
    assert find_loosening(replace(live, recipients=(only_log,)), new) == ()
    assert find_loosening(replace(live, recipients=()), shadow) == ()


def test_trial_at_a_member_who_is_notified_only_through_a_team_is_reported():
    text = SITE.format(shadow="shadow = true", team="").replace('language = "it"', "trial = true")
    (line,) = (line for line in find_weaknesses(parse_site(text, "x")) if "Bo" in line)
    assert "set trial = true at the [[recipient]] team:watch" in line


def test_check_lists_who_is_notified_and_who_is_not(tmp_path, capsys):
    (tmp_path / "north.toml").write_text(SITE.format(shadow="shadow = true", team=""))
    (tmp_path / "slopeward.toml").write_text(f'[paths]\nsites = "{tmp_path}"\n')
    run_command(["check", "--config", str(tmp_path / "slopeward.toml")])
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "shadow mode" in line)
    assert "only Ada (email:ada@example.org, log:desk) are notified" in line
    assert "withheld from Ada (mqtt:alarms/north), Bo (email:bo@example.org)" in line


def test_shadow_is_true_or_false():
    with pytest.raises(ConfigError, match=r"site\.shadow"):
        parse_site(SITE.format(shadow='shadow = "perhaps"', team=""), "x")
