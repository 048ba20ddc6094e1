"""What whoever starts the page may set: on the command line, in the environment, and as it is on a Space."""

import pytest

import app
from gpt2demo.runs.quotas import Quotas


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    for name in ("SPACE_ID", "GPT2DEMO_MINUTES_PER_RUN", "GPT2DEMO_GIGABYTES_PER_OWNER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("package", "speaks"), [(None, False), (object(), True)])
def test_the_endpoints_are_tools_where_the_protocol_is_installed(monkeypatch, package, speaks):
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: package if name == "mcp" else None)
    assert app.speaks_mcp() is speaks


def quotas(*words: str) -> Quotas:
    return app.quotas(app.parser().parse_args(words))


def test_at_home_a_run_may_take_a_day_and_the_disk():
    assert quotas() == app.OWN and quotas().minutes_per_run == 24 * 60


def test_a_machine_that_strangers_share_gives_each_a_part(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/gpt2demo")
    assert quotas() == app.SHARED == Quotas(minutes_per_run=60)
    assert 5 * app.SHARED.bytes_per_owner == app.SHARED.bytes_in_all


def test_options_go_before_variables_and_these_before_what_is_usual(monkeypatch):
    monkeypatch.setenv("GPT2DEMO_MINUTES_PER_RUN", "7.5")
    monkeypatch.setenv("GPT2DEMO_GIGABYTES_PER_OWNER", "0.2")
    assert quotas().minutes_per_run == 7.5 and quotas().bytes_per_owner == 200_000_000
    words = "--minutes-per-run 3 --minutes-per-turn 1 --runs-per-owner 4 --gigabytes-in-all 9".split()
    expected = {"minutes_per_run": 3, "minutes_per_turn": 1, "runs_per_owner": 4, "bytes_in_all": 9 * 10**9}
    assert expected.items() <= vars(quotas(*words)).items()


def test_a_variable_that_is_no_number_is_told_at_once(monkeypatch, capsys):
    monkeypatch.setenv("GPT2DEMO_MINUTES_PER_RUN", "many")
    with pytest.raises(SystemExit):
        quotas()
    assert "--minutes-per-run" in capsys.readouterr().err
