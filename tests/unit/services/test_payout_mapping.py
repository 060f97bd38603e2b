"""The sections of a payout service: what they mean when they are silent, and one good line for each mistake."""

from pathlib import Path

import pytest

from oversold.errors import UsageError
from oversold.model import PAYOUT_STATUSES
from oversold.services.mapping import Service, load
from oversold.services.payout_mapping import SECTIONS, check_jobs, grafted

URL = 'url = "http://127.0.0.1:8700"\n'
LEAST = f"{URL}[obligations]\n[job]\n"
EXAMPLE = Path(__file__).parents[3] / "docs/examples/payouts/pay.toml"


@pytest.fixture
def written(tmp_path):
    """Write a service file: written(text) returns its path."""

    def write(text):
        path = tmp_path / "pay.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_two_empty_sections_are_enough(written):
    """What is silent has the defaults; what a service need not have, it does not have then."""
    payout = load(written(LEAST)).payout
    assert payout.obligations.path == "/paydays"
    assert payout.job.done.path == "/paydays/{payday_id}/jobs/{run}"
    assert (payout.job.kill, payout.reconcile, payout.state) == (None, None, None)


def test_a_service_that_sells_does_not_pay(written):
    """Without the sections there is no payout service."""
    assert load(written(URL)).payout is None


def test_what_a_report_says_of_a_payout_service(written):
    """Methods and paths, and that the truth is in the channels' books."""
    public = load(written(f"{LEAST}[job.kill]\n[state]\npath = '/state?token=1'\n")).public()
    assert public["ledger"] == "channels"
    assert public["maps"] == {
        "obligations": "POST /paydays",
        "job": "POST /paydays/{payday_id}/jobs",
        "done": "GET /paydays/{payday_id}/jobs/{run}",
        "kill": "DELETE /paydays/{payday_id}/jobs/{run}",
        "state": "GET /state",
    }


def test_a_service_survives_the_way_to_another_process(written):
    """As JSON and back it is the same service."""
    service = load(EXAMPLE)
    again = Service.model_validate(service.model_dump(mode="json", by_alias=True))
    assert again == service
    assert again.payout == service.payout


def test_the_example_has_every_section():
    """It shows all that there is, and maps the words of its service to ours."""
    service = load(EXAMPLE)
    assert all(getattr(service, name) is not None for name in SECTIONS)
    assert service.payout.job.kill is not None
    assert service.payout.obligations.channels() == {"channel_A", "channel_B"}
    assert set(service.payout.state.statuses.values()) <= set(PAYOUT_STATUSES)


def test_our_statuses_are_known_in_small_letters_too(written):
    """Where a file maps no words, ours are taken."""
    statuses = load(written(f"{LEAST}[state]\n")).payout.state.statuses
    assert (statuses["PAID"], statuses["paid"], statuses["failed_definite"]) == ("PAID", "PAID", "FAILED_DEFINITE")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{URL}[obligations]\n", "it has [obligations] and no [job]"),
        (f"{URL}[job]\n", "it has [job] and no [obligations]"),
        (f"{URL}[state]\n", "it has [state] and no [obligations]"),
        (f"{LEAST}[bid]\n", "bid is about bids and obligations about payouts"),
        (f"{LEAST}[ledger]\ncsv = 'x'\n", "ledger is about bids and obligations about payouts"),
        (f"user_id = '{{n}}'\n{LEAST}", "user_id is about bids and obligations about payouts"),
        (f"{LEAST}[jobs]\n", "jobs: no such key (did you mean job"),
        (f"{LEAST}[job.finished]\n", "job.finished: no such key"),
        (f"{LEAST}dome = 1\n", "job.dome: no such key (did you mean done"),
        (f"{URL}[job]\n[obligations]\nitem = {{ id = '{{user_id}}' }}\n", "obligations.item: it has no"),
        (f"{URL}[job]\n[obligations]\nitem = {{ id = '{{obligation}}' }}\n", "did you mean obligation_id"),
        (f"{URL}[job]\n[obligations]\nitem = {{ id = 2026-01-01 }}\n", "JSON has none"),
        (f"{URL}[job]\n[obligations]\nbatch = 0\n", "obligations.batch: 0 does not fit"),
        (f"{URL}[job]\n[obligations]\njson = {{ a = 1 }}\n", 'obligations.json: it has no "{obligations}"'),
        (f"{URL}[job]\n[obligations]\njson = {{ a = 'x{{obligations}}' }}\n", "must be a value of its own"),
        (f"{URL}[job]\n[obligations]\njson = {{ '{{obligations}}' = 1 }}\n", "must be a value of its own"),
        (f"{URL}[job]\n[obligations]\npath = '/{{channels}}'\n", "must be a value of its own"),
        (
            f"{URL}[job]\n[obligations]\njson = {{ a = '{{obligations}}', b = '{{job}}' }}\n",
            "{job} is not known here",
        ),
        (f"{URL}[obligations]\n[job]\npath = '/{{bid_id}}'\n", "job.path: {bid_id} is not known here"),
        (f"{LEAST}[job.done]\npath = '/{{job_id}}'\n", "job.done: it has {job_id}, and no job_id says where"),
        (f"{LEAST}[job.kill]\npath = '/{{job_id}}'\n", "job.kill: it has {job_id}, and no job_id says where"),
        (f"{LEAST}[job.done]\npath = 'elsewhere'\n", "must begin with /"),
        (f"{LEAST}[job.done]\nfor_s = 0\n", "job.done.for_s: 0 does not fit"),
        (f"{LEAST}reply = [{{ verdict = 'sold_out' }}]\n", "job.reply: 'sold_out' means nothing to a job"),
        (f"{LEAST}reply = [{{ verdict = 'busy' }}]\n", "job.reply: no rule says ok or pending"),
        (f"{LEAST}[job.done]\nreply = [{{ verdict = 'pending' }}]\n", "job.done.reply: no rule says ok"),
        (f"{LEAST}[reconcile]\npath = '/{{run}}'\n", "reconcile.path: {run} is not known here"),
        (f"{LEAST}[state]\nstatuses = {{ x = 'PIAD' }}\n", "'x' is mapped to 'PIAD' (did you mean PAID?)"),
        (f"headers = {{ X = '{{tranche_id}}' }}\n{LEAST}", "headers.X: {tranche_id} is not known here"),
    ],
)
def test_a_mistake_is_one_line_that_names_its_key(written, text, complaint):
    """Every mistake is refused when the file is read."""
    path = written(text)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_job_that_cannot_be_killed_is_not_to_be_killed(written):
    """One line, before anything starts; with [job.kill], or with other jobs, all is well."""
    silent, telling = (load(written(text)).payout for text in (LEAST, f"{LEAST}[job.kill]\n"))
    with pytest.raises(UsageError, match=r"payroll has no \[job\.kill\], so jobs=killed cannot be replayed"):
        check_jobs("payroll", silent, "killed")
    check_jobs("payroll", silent, "twice")
    check_jobs("payroll", telling, "killed")


@pytest.mark.parametrize(
    ("document", "made"),
    [
        ("{a}", [1]),
        (["{a}", "{b}"], [[1], "{b}"]),
        ({"x": {"y": "{a}"}, "{a}": " {a}"}, {"x": {"y": [1]}, "{a}": " {a}"}),
        ("{a", "{a"),
        ("", ""),
        (None, None),
        (7, 7),
    ],
)
def test_only_a_value_that_is_one_gap_is_grafted(document, made):
    """Names, parts of texts and other gaps stay."""
    assert grafted(document, {"a": [1]}) == made
