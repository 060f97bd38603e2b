"""Stores in containers without an engine: what is refused, how pulling is told, files for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import docker
import pytest
from docker.errors import DockerException

from oversold.errors import StoreUnavailableError, UsageError
from oversold.stores import containers, mariadb, postgres, recipes, redlock
from oversold.stores.providers import SERVERS, StoreChoice, describe, lacking

ROOT = Path(__file__).parents[2]


def one_line(refusal: pytest.ExceptionInfo[Exception]) -> str:
    """Return an error's text, which is one line."""
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, client: Callable[..., Any]) -> Iterator[None]:
    """Let something else stand in for the SDK's client."""
    with monkeypatch.context() as patch:
        patch.delenv("DOCKER_HOST", raising=False)
        patch.setattr(docker, "from_env", client)
        yield


class PullingClient:
    """An engine's client whose registry has one image of two layers."""

    class api:  # noqa: N801 - as in the SDK
        """What the SDK calls the lower level."""

        base_url = "http+docker://localhost"

        @staticmethod
        def pull(image: str, **_: Any) -> Iterator[dict[str, Any]]:
            """Tell of two layers, then of an error for one image."""
            yield {"status": "Pulling from library"}
            for layer, current in (("a", 1_000_000), ("b", 500_000), ("a", 4_000_000)):
                detail = {"current": current, "total": 4_000_000}
                yield {"status": "Downloading", "id": layer, "progressDetail": detail}
            if image == "broken:1":
                yield {"error": "toomanyrequests: slow\ndown"}

    def version(self) -> dict[str, str]:
        """Say which engine it is."""
        return {"Version": "1"}


def test_pulling_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """While an image is pulled its megabytes are told; what goes wrong in mid-pull is one line."""
    told: list[str] = []
    with answering(monkeypatch, lambda **_: PullingClient()):
        engine = containers.Engine()
        engine.pull("redis:1", told.append)
        assert told[0] == "pulling redis:1"
        assert told[-1] == "pulling redis:1: 4 of 8 MB"
        with pytest.raises(StoreUnavailableError) as refusal:
            engine.pull("broken:1", told.append)
    assert "toomanyrequests: slow" in one_line(refusal)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("unix:///no/such.sock", "no Docker engine answers"),
        ("unix:///tmp", "no Docker engine answers"),
        ("tcp://127.0.0.1:1", "no Docker engine answers"),
        ("tcp://me:hunter2@127.0.0.1:1", "cannot be used"),
        ("tcp://10.0.0.9:2375", "needs an engine on this machine"),
        ("ssh://me:hunter2@far", "needs an engine on this machine"),
        ("ssh://localhost", "needs an engine on this machine"),
        ("nonsense:", "cannot be used"),
        ("tcp://:", "cannot be used"),
        ("übel", "cannot be used"),
    ],
)
def test_no_engine(monkeypatch: pytest.MonkeyPatch, host: str, words: str) -> None:
    """An engine that is not there, or elsewhere, is one line that names it without its password."""
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises((StoreUnavailableError, UsageError), match=words) as refusal:
        containers.Engine()
    assert "hunter2" not in one_line(refusal)
    choice = StoreChoice("docker")
    assert not any(row["ready"] for row in describe(choice).values())
    assert set(lacking(choice)) == set(SERVERS)


def test_engine_that_refuses_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that this user may not open is told as that, with the group to join."""

    def refused(**_: Any) -> NoReturn:
        try:
            raise PermissionError(13, "Permission denied")
        except PermissionError as error:
            raise DockerException(f"Error while fetching server API version: {error}") from error

    with answering(monkeypatch, refused), pytest.raises(StoreUnavailableError, match="group docker") as refusal:
        containers.Engine()
    one_line(refusal)


def test_remote_engine_of_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine elsewhere is refused where Docker's own context names it; planted: one of this machine is not."""
    client = PullingClient()
    with answering(monkeypatch, lambda **_: client):
        assert containers.Engine().version == "1"
        monkeypatch.setattr(client.api, "base_url", "https://10.0.0.9:2376")
        with pytest.raises(UsageError, match=r"https to 10\.0\.0\.9"):
            containers.Engine()


@pytest.mark.parametrize(
    "images",
    [
        {"redis": ""},
        {"redis": " "},
        {"redis": "-v"},
        {"redis": "Redis:7"},
        {"redis": "redis:ü"},
        {"redis": "a:b:c"},
        {"redis": "redis 7"},
        {"reddis": "redis:7"},
        {"redlock": "redis:7"},
    ],
)
def test_unusable_image_name(images: dict[str, str]) -> None:
    """A name that cannot be an image's, or a store that has none of its own, is refused in one line."""
    with pytest.raises(UsageError) as refusal:
        StoreChoice("docker", images=images)
    one_line(refusal)


@pytest.mark.parametrize(
    "image", ["redis", "redis:7.2", "localhost:5000/redis:7", "ghcr.io/a/b_c@sha256:" + "0f" * 32]
)
def test_usable_image_name(image: str) -> None:
    """Planted: the names that registries use are taken, and redlock follows redis."""
    assert StoreChoice("docker", images={"redis": image}).images == {"redis": image}
    assert recipes.images_of({"redis": image})["redlock"] == image


# --- Files for people


def test_compose_file_is_the_same() -> None:
    """fixtures/compose.yaml has our images, and every port of it is on loopback."""
    text = (ROOT / "fixtures/compose.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"image: (\S+)", text)) == set(recipes.IMAGES.values())
    published = re.findall(r'- "([^"]+):(\d+)"', text)
    assert len(published) == len(recipes.IMAGES) + redlock.INSTANCES
    assert all(place.startswith("127.0.0.1:") for place, _ in published)
    for setting, value in {**postgres.FAST, **mariadb.FAST}.items():
        assert re.search(rf"{setting.replace('_', '[_-]')}={value}\b", text), setting


def test_dockerfile_is_pinned_and_unprivileged() -> None:
    """The image of oversold is built on one pinned base, from the lock file's hashes, and does not run as root."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases.pop())
    assert "--require-hashes" in text
    assert text.index("\nUSER ") < text.index("\nENTRYPOINT ")
