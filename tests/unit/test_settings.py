"""What a function must be told."""

import pytest

from leadscoring.settings import MissingSetting, Settings

WHOLE = {
    "TABLE_NAME": "leads",
    "TOPIC_ARN": "arn:aws:sns:::topic",
    "SPOOL_URL": "https://sqs/spool",
    "EVENT_SOURCE": "urn:acme",
    "CONTACT_DATA": "full",
}


@pytest.mark.parametrize("missing", WHOLE)
def test_a_setting_that_is_missing_is_named(missing: str) -> None:
    env = {name: value for name, value in WHOLE.items() if name != missing}
    with pytest.raises(MissingSetting, match=missing):
        Settings.from_env(env)


def test_the_environment_is_read_where_nothing_else_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)
    table_name, topic_arn, spool_url, source, _ = WHOLE.values()
    assert Settings.from_env() == Settings(table_name, topic_arn, spool_url, source, True)  # noqa: FBT003


def test_contact_data_goes_out_only_where_the_setting_says_so() -> None:
    assert Settings.from_env({**WHOLE, "CONTACT_DATA": "thin"}).with_contact is False
