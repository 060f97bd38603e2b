"""Where scenarios, presets and configuration come from, and where runs go."""

import pytest

from oversold import places
from oversold.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, text=""):
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_packages_scenarios_are_found_from_anywhere():
    """The incident of the bid burst is there, by the name that people type."""
    assert places.scenario("bid-burst").name == "bid_burst.py"


def test_ones_own_scenarios_come_first(here):
    """A file of the user's own adds to the package's, and takes the place of one with the same name."""
    own, other = write(here / "scenarios/bid_burst.py"), write(here / "scenarios/my_own_sale.py")
    write(here / "scenarios/_shared.py")
    write(here / "scenarios/notes.txt")
    assert places.scenario("bid-burst") == own
    assert places.scenario("my-own-sale") == other
    assert not {"-shared", "_shared", "notes"} & set(places.scenarios())


def test_an_unknown_scenario_suggests_the_near_one():
    """And lists what there is."""
    with pytest.raises(UsageError, match=r"unknown scenario 'bid-brust' \(did you mean bid-burst\?\): there are"):
        places.scenario("bid-brust")


def test_presets_are_tables():
    """The two of the incident are there; no preset is an empty one."""
    assert places.preset("latched-full")["set"]["reopen_on_release"] is False
    assert {"seed", "latched-full"} <= set(places.presets())
    assert places.preset(None) == {}


def test_ones_own_presets_come_first(here):
    """As with scenarios."""
    write(here / "fixtures/presets/seed.toml", "users = 5")
    assert places.preset("seed") == {"users": 5}


def test_an_unknown_preset_suggests_the_near_one():
    """And lists what there is."""
    with pytest.raises(UsageError, match=r"did you mean latched-full\?"):
        places.preset("latched-ful")


@pytest.mark.parametrize("content", [b"users = ", b"\xff\xfe", b"users = 1\nusers = 2"])
def test_a_file_that_is_no_toml_is_named(content, here):
    """In one line: which file, and what is wrong with it."""
    path = write(here / "fixtures/presets/odd.toml")
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"odd\.toml cannot be read") as caught:
        places.presets()
    assert "\n" not in str(caught.value)


def test_there_need_be_no_configuration(here):
    """Neither file, or a pyproject.toml that is about other things."""
    assert places.configuration() == {}
    write(here / "pyproject.toml", "[project]\nname = 'x'\n[tool.ruff]\nline-length = 100")
    assert places.configuration() == {}


def test_oversold_toml_beats_pyproject_toml(here):
    """Key by key."""
    write(here / "pyproject.toml", "[tool.oversold]\nusers = 5\nlanes = 7")
    write(here / "oversold.toml", "users = 6")
    assert places.configuration() == {"users": 6, "lanes": 7}


def test_broken_configuration_is_named(here):
    """Even where the mistake is in another tool's part of the file."""
    write(here / "pyproject.toml", "[tool.oversold")
    with pytest.raises(UsageError, match=r"pyproject\.toml cannot be read"):
        places.configuration()


def test_configuration_that_is_no_table_is_named(here):
    """`oversold = 5` under [tool] is a mistake of the user's, not of the harness."""
    write(here / "pyproject.toml", "[tool]\noversold = 5")
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        places.configuration()


def test_a_run_gets_a_folder_of_its_own(here):
    """Named after scenario, time and seed; `latest` leads to it, and can be moved with the rest."""
    folder = places.new_run_folder(here / "out", "bid-burst", 7)
    assert folder.is_dir()
    assert folder.parent == here / "out/bid-burst"
    assert folder.name.endswith("-7")
    latest = here / "out/bid-burst/latest"
    assert latest.resolve() == folder.resolve()
    assert not latest.readlink().is_absolute()


def test_runs_within_a_second_do_not_share_a_folder(here):
    """Nothing is overwritten, and `latest` is the last one; no temporary name stays behind."""
    folders = [places.new_run_folder(here, "s", 1) for _ in range(4)]
    assert len(set(folders)) == 4
    assert (here / "s/latest").resolve() == folders[-1].resolve()
    assert {path.name for path in (here / "s").iterdir()} == {"latest", *(folder.name for folder in folders)}


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_a_usage_error(out, here):
    """It names the folder and the option."""
    write(here / "file")
    with pytest.raises(UsageError, match="choose another --out"):
        places.new_run_folder(here / out, "s", 1)
