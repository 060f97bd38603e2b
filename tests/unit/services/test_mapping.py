"""A service file: what is read from it, what it means when it is silent, and one good line for each mistake."""

import errno
import os
import re
import tomllib
from pathlib import Path

import pytest

from oversold.errors import UsageError
from oversold.services import payout_mapping
from oversold.services.mapping import (
    Auth,
    BidRequest,
    Bounds,
    LedgerProbe,
    OpenRequest,
    PollRequest,
    Request,
    Rule,
    Service,
    StatusRequest,
    load,
    served,
)

URL = 'url = "http://127.0.0.1:8080"\n'
EXAMPLE = Path(__file__).parents[3] / "docs/examples/service.toml"
SECTIONS = {
    "auth": Auth,
    "open": OpenRequest,
    "bid": BidRequest,
    "poll": PollRequest,
    "status": StatusRequest,
    "ledger": LedgerProbe,
    "bounds": Bounds,
}
OF_PAYOUTS = set(payout_mapping.SECTIONS)
LEDGER = '[ledger]\nsql = "sqlite:////shop.db"\nquery = "SELECT user_id, amount_fen FROM orders"\n'


@pytest.fixture
def file(tmp_path):
    """Write a service file: file(text) returns its path."""

    def write(text, name="shop.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def complaint(path):
    """Return what is said of a file that cannot be used: one line that begins with the file."""
    with pytest.raises(UsageError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def own(name):
    """Return a service that does as `oversold serve`, but is somebody's own: 500 says nothing for sure."""
    return served("http://127.0.0.1:8080", name).model_copy(update={"bid": BidRequest()})


def test_a_url_is_enough(file):
    """All else has defaults; open, status and ledger are then things that the service does not have."""
    service = load(file(URL))
    assert service == Service(name="shop", url="http://127.0.0.1:8080")
    assert (service.open, service.status, service.ledger) == (None, None, None)
    assert (service.timeout_s, service.connect_timeout_s) == (10, 5)
    assert service.bid.path == "/tranches/{tranche_id}/bids"
    assert [(sorted(rule.codes), rule.verdict) for rule in service.bid.reply] == [
        ([200, 201], "ok"),
        ([202], "pending"),
        ([409], "sold_out"),
        ([429, 503], "busy"),
        ([402, 422], "declined"),
        (list(range(500, 600)), "unknown"),
    ]
    assert (service.bounds.users, service.bounds.requests) == (20_000, 1_000_000)


def test_a_section_that_is_there_but_empty_has_its_defaults(file):
    """An empty [open] and [status] are those of `oversold serve`."""
    assert load(file(URL + "[open]\n[status]\n")) == own("shop")


def test_what_is_written_replaces_the_default(file):
    """Key by key; rules and headers as a whole."""
    service = load(
        file(
            'name = "my-shop"\nurl = "https://shop.test/api/"\ntimeout_s = 2.5\n'
            '[auth]\nenv = "T"\n[bid]\nmethod = "put"\npath = "/buy"\n'
            'headers = { X-A = "{n}" }\njson = { a = 1 }\n'
            '[[bid.reply]]\nstatus = ["2xx", 301]\njson = { "x.y" = true }\nverdict = "ok"\n'
            '[poll]\npath = "location"\n'
        )
    )
    assert (service.name, service.url, service.prefix) == ("my-shop", "https://shop.test/api", "/api")
    assert (service.bid.method, service.bid.json_, dict(service.bid.headers)) == ("PUT", {"a": 1}, {"X-A": "{n}"})
    (rule,) = service.bid.reply
    assert (rule.status, rule.verdict, dict(rule.json_)) == (("2xx", 301), "ok", {"x.y": True})
    assert rule.codes == {*range(200, 300), 301}
    assert service.poll.by_location
    assert service.auth == Auth(env="T")


def test_a_form_takes_the_place_of_the_default_json(file):
    """Otherwise whoever wants a form would have to unsay the JSON."""
    bid = load(file(URL + '[bid]\nform = { bid = "{bid_id}" }\n')).bid
    assert (bid.json_, dict(bid.form)) == (None, {"bid": "{bid_id}"})


def test_a_service_survives_the_way_to_another_process():
    """What the workers read is what was loaded, types of values included."""
    service = Service(
        name="s",
        url="http://[::1]:80",
        open=OpenRequest(form={"a": "{run_id}"}),
        bid=BidRequest(
            reply=(Rule(status=(200, "3xx"), json_={"a": True, "b": 1, "c": "1", "d": 1.5}, verdict="ok"),)
        ),
        status=StatusRequest(full={}),
        ledger=LedgerProbe(http=Request(path="/orders"), rows="items"),
    )
    again = Service.model_validate(service.model_dump(mode="json", by_alias=True))
    assert again == service
    assert [type(value) for value in again.bid.reply[0].json_.values()] == [bool, int, str, float]
    assert again.open.json_ is None


def test_paths_of_files_are_taken_from_the_service_files_folder(file, tmp_path, monkeypatch):
    """A run can be started from anywhere; workers may stand elsewhere."""
    monkeypatch.chdir("/")
    text = 'url = "https://a.test"\nca_file = "ca.pem"\n[ledger]\n'
    by_csv = load(file(text + 'csv = "orders-{tranche_id}.csv"\n'))
    assert by_csv.ca_file == str(tmp_path / "ca.pem")
    assert by_csv.ledger.csv == f"{tmp_path}/orders-{{tranche_id}}.csv"
    by_sql = load(file(text + 'sql = "sqlite:///shop.db"\nquery = "SELECT 1"\n'))
    assert by_sql.ledger.sql == f"sqlite:///{tmp_path}/shop.db"


@pytest.mark.parametrize(
    "sql", ["sqlite:////shop.db", "sqlite:///${DB}", "${DB}", "postgresql://u:p@localhost/db"]
)
def test_an_address_that_is_whole_stays_as_it_is(file, sql):
    """Absolute paths, servers, and what only the environment knows."""
    service = load(file(URL + f'[ledger]\nsql = "{sql}"\nquery = "SELECT 1"\n'))
    assert service.ledger.sql == sql


def test_a_folder_with_braces_is_no_placeholder(tmp_path):
    """The folder's name is written into the path so that it is read as letters."""
    folder = tmp_path / "{odd}"
    folder.mkdir()
    (folder / "s.toml").write_text(URL + '[ledger]\ncsv = "o.csv"\n')
    assert load(folder / "s.toml").ledger.csv == f"{tmp_path}/{{{{odd}}}}/o.csv"


@pytest.mark.parametrize(
    ("name", "called"), [("my shop!.toml", "my-shop"), ("店.toml", "service"), ("a.b.toml", "a.b")]
)
def test_a_service_without_a_name_is_called_as_its_file(file, name, called):
    """With whatever of it can stand in a folder's name."""
    assert load(file(URL, name)).name == called


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty: it needs at least url"),
        ("# nothing\n", "it is empty"),
        ("name = 'a'\n", "url: it is missing: add it"),
        ("url = \n", "it is no TOML: Invalid value (at line 1, column 7)"),
        (URL + URL, "line 2"),
        (b"url = 1\nname = '\xff'\n", "it is not UTF-8 at line 2"),
        (URL + "tiemout_s = 1\n", "tiemout_s: no such key (did you mean timeout_s"),
        (URL + "[bid]\npaht = '/'\n", "bid.paht: no such key (did you mean path?): there are method, path"),
        (URL + "[bid]\njsn = 1\n", "bid.jsn: no such key (did you mean json"),
        (URL + "[[bid.reply]]\nverdikt = 'ok'\n", "bid.reply.0.verdict: it is missing"),
        (URL + "[[bid.reply]]\nverdict = 'ok'\nsttus = 1\n", "bid.reply.0.sttus: no such key (did"),
        (URL + LEDGER + "colums = {}\n", "ledger.colums: no such key (did you mean columns?)"),
        (URL + "timeout_s = 'long'\n", "timeout_s: 'long' does not fit: it must be a number"),
        (URL + "timeout_s = 0\n", "timeout_s: 0 does not fit: input should be greater than 0"),
        (URL + "timeout_s = inf\n", "timeout_s: inf does not fit"),
        (URL + "timeout_s = nan\n", "timeout_s: nan does not fit"),
        (URL + "open = true\n", "open: True does not fit: it must be a table"),
        (URL + "bid = [1]\n", "bid: a list does not fit: it must be a table"),
        (URL + "[bounds]\nusers = 0\n", "bounds.users: 0 does not fit"),
        (URL + "[bounds]\nusers = -5\n", "bounds.users: -5 does not fit"),
        (URL + "[bounds]\nrequests = 99999999999999999999\n", "bounds.requests: 99999999999999999999 does"),
        (URL + "[bounds]\nusers = 1.5\n", "bounds.users: 1.5 does not fit: it must be a whole number"),
        (URL + "name = 'a b'\n", "name: 'a b' is no name"),
        (URL + "name = '../x'\n", "name: '../x' is no name"),
        (URL + "tranche_id = '{n}'\n", "tranche_id: {n} is not known here: there are {run_id}"),
        (URL + "user_id = '{m}'\n", "user_id: {m} is not known here: there are {run_id}, {n}"),
        (URL + "[bid]\npath = '/{bidid}'\n", "bid.path: {bidid} is not known here (did you mean bid_id"),
        (URL + "[bid]\npath = '/{'\n", "bid.path: a brace stands alone"),
        (URL + "[bid]\njson = {a = [{b = '{x-y}'}]}\n", "bid.json.a.0.b: {x-y} is no placeholder"),
        (URL + "[bid]\njson = {'{x}' = 1}\n", "bid.json: {x} is not known here"),
        (URL + "[bid]\njson = {a = '${S}'}\n", "bid.json.a: ${S}: environment variables work in headers and"),
        (URL + "[open]\npath = '/{bid_id}'\n", "open.path: {bid_id} is not known here"),
        (URL + "[status]\nheaders = {A = '{n}'}\n", "status.headers.A: {n} is not known here"),
        (URL + "[headers]\nX-A = '{n}'\n", "headers.X-A: {n} is not known here"),
        (URL + "[bid]\nform = {a = '{x}'}\n", "bid.form.a: {x} is not known here"),
        (URL + "[bid]\nform = {}\njson = {}\n", "bid: json and form are both given"),
        (URL + "[bid]\npath = 'bids'\n", "bid.path: it must begin with /"),
        (URL + "[bid]\npath = '/a b'\n", "bid.path: it has a space"),
        (URL + '[bid]\npath = "/a\\r\\nX: y"\n', "bid.path: it has a space, a # or a control character"),
        (URL + "[bid]\npath = '/a#b'\n", "bid.path: it has a space, a #"),
        (URL + "[bid]\npath = 'location'\n", "bid.path: it must begin with /"),
        (URL + "[bid]\nmethod = 'TRACE'\n", "bid.method: 'TRACE' is no method that is sent: there are GET"),
        (URL + "[bid]\njson = {at = 2024-01-01}\n", "bid.json: 2024-01-01 is a date and JSON has none"),
        (URL + "[bid]\njson = {a = [nan]}\n", "bid.json: nan cannot be said in JSON"),
        (URL + "[bid]\nreply = []\n", "bid.reply: no rule says ok or pending"),
        (URL + "[[bid.reply]]\nstatus = 409\nverdict = 'sold_out'\n", "bid.reply: no rule says ok or pending"),
        (URL + "[[bid.reply]]\nverdict = 'soldout'\n", "'soldout' is no verdict (did you mean sold_out?)"),
        (URL + "[[bid.reply]]\nverdict = []\n", "bid.reply.0.verdict: [] is no verdict"),
        (URL + "[[bid.reply]]\nstatus = 99\nverdict = 'ok'\n", "bid.reply.0.status: 99 is no status: write 201"),
        (URL + "[[bid.reply]]\nstatus = '2x'\nverdict = 'ok'\n", "bid.reply.0.status: '2x' is no status"),
        (URL + "[[bid.reply]]\nstatus = true\nverdict = 'ok'\n", "bid.reply.0.status: True is no status"),
        (URL + "[[bid.reply]]\nstatus = []\nverdict = 'ok'\n", "bid.reply.0.status: an empty list never fits"),
        (URL + "[[bid.reply]]\njson = {a = [1]}\nverdict = 'ok'\n", "bid.reply.0.json: 'a' must be compared with"),
        (URL + "[status]\nfull = {a = {b = 1}}\n", "status.full: 'a' must be compared with a text"),
        (URL + "[headers]\n'X A' = ''\n", "headers: 'X A' is no name of a header"),
        (URL + '[headers]\nX-A = "a\\r\\nX-B: c"\n', "headers: X-A holds a line break"),
        (URL + "[headers]\ncontent-length = '1'\n", "headers: content-length is written by oversold itself"),
        (URL + "[bid]\nheaders = {A = '1', a = '2'}\n", "bid.headers: a header is there twice"),
        (URL + "[headers]\nX-A = 1\n", "headers.X-A: what is there does not fit: it must be text, in quotes"),
        (URL + "[headers]\nauthorization = 'x'\n[auth]\nenv = 'T'\n", "headers and auth both set Authorization"),
        (URL + "[auth]\nenv = 'T'\nheader = 'A:'\n", "auth: 'A:' is no name of a header"),
        (URL + "[auth]\nenv = 'T'\nheader = 'hOst'\n", "auth.header: Host says who is asked"),
        ('url = "http://127.0.0.1%x.shop.example.com"\n', "url: it has a % in its host"),
        (URL + "[poll]\nevery_ms = 0\n", "poll.every_ms: 0 does not fit"),
        (URL + "[poll]\nfor_s = -1\n", "poll.for_s: -1 does not fit"),
        (URL + "[ledger]\n", "ledger: nothing says where the truth is: give exactly one of sql"),
        (URL + LEDGER + "csv = 'a'\n", "ledger: sql and csv are given: give exactly one"),
        (URL + "[ledger]\nsql = 'x'\n", "ledger: sql and query go together"),
        (URL + "[ledger]\nquery = 'SELECT 1'\ncsv = 'a'\n", "ledger: sql and query go together"),
        (URL + "[ledger]\nsql = 'x'\nquery = 'DELETE FROM orders'\n", "ledger.query: it must begin with SELECT"),
        (URL + "[ledger]\ncsv = 'a'\nrows = 'b'\n", "ledger: rows belongs to http"),
        (URL + "[ledger]\ncsv = '{x}.csv'\n", "ledger.csv: {x} is not known here: there are {run_id}, "),
        (URL + "[ledger.http]\npath = '/{bid_id}'\n", "ledger.http.path: {bid_id} is not known here"),
        (URL + LEDGER + "columns = {user = 'u'}\n", "'user' is no column of ours (did you mean user_id"),
        (URL + LEDGER + "columns = {amount_fen = 'a', amount_yuan = 'b'}\n", "amount_fen and amount_yuan are"),
        (URL + "ca_file = 'ca.pem'\n", "ca_file is for https and the url is http"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_line(file, text, words):
    """The line names the file, the key, what is wrong and, where there is one, the near word."""
    assert words in complaint(file(text))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://ann:geheim@shop.test", "url: it has a user or a password in it: take them out and name a token"),
        ("http://geheim@shop.test", "url: it has a user or a password in it"),
        ("ftp://shop.test", "url: write http://HOST:PORT"),
        ("shop.test:80", "url: write http://HOST:PORT"),
        ("//shop.test", "url: write http://HOST:PORT"),
        ("", "url: write http://HOST:PORT"),
        ("http://", "url: write http://HOST:PORT"),
        ("http://:80", "url: write http://HOST:PORT"),
        ("http://shop.test:0", "url: write http://HOST:PORT"),
        ("http://shop.test:99999", "url: it is no URL"),
        ("http://shop.test:http", "url: it is no URL"),
        ("http://[::1", "url: it is no URL"),
        ("http://shop.test/?a=geheim", "url: it has a ? or a # in it"),
        ("http://{run_id}.test", "url: it has a placeholder"),
        ("http://${HOST}", "url: it has a placeholder"),
        ("http://sh op.test", "url: it has a placeholder, a space"),
        ("http://läden.test", "url: it has a placeholder, a space or a letter beyond ASCII"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(file, url, words):
    """It may hold a password."""
    text = complaint(file(f'url = "{url}"\n'))
    assert words in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    "text",
    [
        URL + "[auth]\nenv = 'geheim-123'\n",
        URL + "[auth]\ntoken = 'geheim-123'\n",
        URL + "[auth]\nenv = ['geheim-123']\n",
        URL + "[headers]\nA = ['geheim-123']\n",
        URL + '[headers]\nA = "geheim-123\\n"\n',
        URL + "[ledger]\nsql = ['postgresql://u:geheim-123@h/d']\nquery = 'SELECT 1'\n",
        URL + "[ledger]\nsql = 'postgresql://u:geheim-123@h/d'\n",
        URL + "[bid]\npath = '/a b?key=geheim-123'\n",
    ],
)
def test_no_complaint_shows_a_secret(file, text):
    """Whatever is wrong about a token or a password, it stays in its file."""
    assert "geheim-123" not in complaint(file(text))


def test_files_that_cannot_be_read_are_told_apart(tmp_path):
    """Missing, a folder, too large, no name of a file at all."""
    assert complaint(tmp_path / "none.toml") == "there is no such file"
    assert "it is no file" in complaint(tmp_path)
    large = tmp_path / "large.toml"
    large.write_text("#" * 1_000_001)
    assert "it is larger than 1,000,000 bytes" in complaint(large)
    with pytest.raises(UsageError, match="it is no name of a file"):
        load(Path("a\0b"))


def test_a_file_without_permission_is_told(file, monkeypatch):
    """With the system's own word for it."""
    path = file(URL)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refused)  # root, as whom tests may run, could read it
    assert complaint(path) == "it cannot be read: Permission denied"


def test_deep_nesting_is_an_error_and_no_crash(file):
    """A file made to break the reader gets a line as any other."""
    assert complaint(file(URL + "[bid]\njson = " + "[" * 5000 + "]" * 5000))
    assert "nested more than 50 deep" in complaint(file(URL + "[bid]\njson = " + "[" * 60 + "]" * 60))


def test_a_byte_order_mark_is_passed_over(file):
    """Some editors write one."""
    assert load(file(b"\xef\xbb\xbf" + URL.encode())).name == "shop"


def test_the_environment_is_not_read_at_load(file, monkeypatch):
    """A file can be looked at without its secrets."""
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    load(file(URL + "[headers]\nX-A = '${SHOP_TOKEN}'\n[auth]\nenv = 'SHOP_TOKEN'\n"))


def test_what_reports_may_say_holds_no_secret(file):
    """Name, url, what is mapped and the kind of ledger; no headers, bodies, queries or database."""
    service = load(
        file(
            URL
            + '[headers]\nX-Key = "geheim"\n[auth]\nenv = "GEHEIM"\n[bid]\npath = "/b?key=geheim"\n'
            + '[ledger]\nsql = "postgresql://u:geheim@localhost/d"\nquery = "SELECT \'geheim\'"\n'
        )
    )
    assert "geheim" not in str(service.public()).lower()
    assert service.public() == {
        "name": "shop",
        "url": "http://127.0.0.1:8080",
        "maps": {"bid": "POST /b", "poll": "GET /tranches/{tranche_id}/bids/{bid_id}"},
        "ledger": "sql",
    }
    assert "geheim" not in repr(service.ledger).partition("query=")[0]
    at_once = service.model_copy(update={"bid": BidRequest(path="/b", reply=(Rule(status=200, verdict="ok"),))})
    assert at_once.public()["maps"] == {"bid": "POST /b"}
    assert served("http://[::1]:1", "s").public()["ledger"] is None


def test_a_served_strategy_that_cannot_be_addressed_is_an_error():
    """Its url and its name go through the same checks."""
    with pytest.raises(UsageError, match="url: write http"):
        served("127.0.0.1:80", "x")


def uncommented(text):
    """Return the example with its alternatives switched on: lines that begin with # and a key or a table."""
    return re.sub(r"(?m)^#(?=[\w\[-])", "", text)


def test_the_example_is_the_defaults():
    """Loading it as it stands gives what its comments promise."""
    service = load(EXAMPLE)
    assert service.model_copy(update={"ledger": None}) == own("service")
    assert service.ledger.kind == "sql"
    rest = LedgerProbe(sql="x", query="SELECT 1").model_dump(exclude={"sql", "query"})
    assert service.ledger.model_dump(exclude={"sql", "query"}) == rest


def missing(model, table, where=""):
    """Yield the keys of a model, and of the sections in it, that a table does not have."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key not in table:
            yield f"{where}{key}"
        elif (section := SECTIONS.get(f"{where}{key}")) is not None:
            yield from missing(section, table[key], f"{key}.")


def test_the_example_has_every_key():
    """A key that is added to the models and not to the example is missed here; payouts have their own."""
    # The alternatives exclude one another in a run, but not as keys of TOML.
    table = tomllib.loads(uncommented(EXAMPLE.read_text(encoding="utf-8")))
    assert set(missing(Service, table)) == OF_PAYOUTS
    del table["poll"]["for_s"], table["bounds"]
    assert set(missing(Service, table)) == OF_PAYOUTS | {"poll.for_s", "bounds"}


@pytest.mark.parametrize(("model", "key"), [(PollRequest, "timeout"), (Rule, "code")])
def test_an_unknown_key_of_a_section_is_refused_in_code_too(model, key):
    """Helpers that build a service by hand get no typo past it."""
    with pytest.raises(ValueError, match="Extra inputs"):
        model.model_validate({"verdict": "ok", key: 1} if model is Rule else {key: 1})
