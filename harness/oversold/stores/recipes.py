"""How each server runs in a container: the official image, with the settings of a private one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from functools import partial

from oversold.errors import UsageError, near
from oversold.stores import mariadb, memcached, postgres, rabbitmq, redis, redlock
from oversold.stores.containers import Recipe, check_name, start
from oversold.stores.endpoint import Endpoint
from oversold.stores.guard import Guard

# Pinned to a series: its tag moves on with corrections, and the version that ran is in the report.
IMAGES: Mapping[str, str] = {
    "redis": "redis:7.4-alpine",
    "memcached": "memcached:1.6-alpine",
    "sql": "postgres:17-alpine",
    "mariadb": "mariadb:11.4",
    "rabbitmq": "rabbitmq:4.1-alpine",
}
SECRET = "/oversold/password"  # a file in the container: arguments and variables are shown to more people


def images_of(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the image of every store: those named by the user, ours otherwise; redlock has that of redis.

    Raises:
        UsageError: a store that has none, or a name that cannot be one.
    """
    for store, image in pairs.items():
        if store not in IMAGES:
            raise UsageError(
                f"--image {store}=...: no such store{near(store, list(IMAGES))}: use {', '.join(IMAGES)}"
            )
        check_name(image)
    images = {**IMAGES, **pairs}
    return {**images, "redlock": images["redis"]}


def contained(store: str, image: str, guard: Guard, connections: int, session: str) -> Endpoint:
    """Start a store in a container of this image, for so many clients; redlock in five.

    Raises:
        StoreUnavailableError: it does not answer.
    """
    if store == redlock.name:
        one = partial(contained, redis.name, image, guard, connections, session)
        return redlock.together(one)
    recipe, probe = RECIPES[store]
    return start(recipe(image, connections), probe, guard, session)


def _redis(image: str, connections: int) -> Recipe:
    password, config = secrets.token_hex(16), "/oversold/redis.conf"
    return Recipe(
        image=image,
        port=6379,
        url=f"redis://:{password}@127.0.0.1:{{port}}/0",
        argv=["redis-server", config],
        clients=connections,
        files={config: f"bind * -::*\ndir /data\n{redis.rules(password, connections)}"},
        settings=redis.SETTINGS,
    )


def _memcached(image: str, connections: int) -> Recipe:
    return Recipe(
        image=image,
        port=11211,
        url="memcached://127.0.0.1:{port}",
        argv=["memcached", *memcached.limits(connections)],
        clients=connections,
        settings=memcached.SETTINGS,
    )


def _postgres(image: str, connections: int) -> Recipe:
    password = secrets.token_hex(16)
    return Recipe(
        image=image,
        port=5432,
        url=f"postgresql://postgres:{password}@127.0.0.1:{{port}}/postgres",
        argv=["postgres", *postgres.arguments(postgres.sizes(connections))],
        clients=connections,
        environment={
            "POSTGRES_PASSWORD_FILE": SECRET,
            "POSTGRES_INITDB_ARGS": " ".join(postgres.INITDB),
            "POSTGRES_HOST_AUTH_METHOD": postgres.AUTH,
        },
        files={SECRET: password},
        settings=postgres.FAST,
    )


def _mariadb(image: str, connections: int) -> Recipe:
    password = secrets.token_hex(16)
    return Recipe(
        image=image,
        port=3306,
        url=f"mysql://root:{password}@127.0.0.1:{{port}}/{mariadb.DATABASE}",
        argv=["mariadbd", *mariadb.SIZES, *mariadb.rules(connections)],
        clients=connections,
        environment={
            "MARIADB_ROOT_PASSWORD_FILE": SECRET,
            "MARIADB_DATABASE": mariadb.DATABASE,
            "MARIADB_INITDB_SKIP_TZINFO": "1",
        },
        files={SECRET: password},
        settings=mariadb.FAST,
        start_s=90.0,
    )


def _rabbitmq(image: str, connections: int) -> Recipe:
    password = secrets.token_hex(16)
    return Recipe(
        image=image,
        port=5672,
        url=f"amqp://{rabbitmq.USER}:{password}@127.0.0.1:{{port}}/",
        argv=["rabbitmq-server"],
        clients=connections,
        environment={"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": rabbitmq.SCHEDULERS},
        files={"/etc/rabbitmq/conf.d/90-oversold.conf": rabbitmq.config("0.0.0.0:5672", password)},
        settings=rabbitmq.SETTINGS,
        start_s=120.0,
    )


RECIPES: Mapping[str, tuple[Callable[[str, int], Recipe], Callable[[str], Endpoint]]] = {
    "redis": (_redis, redis.probe),
    "memcached": (_memcached, memcached.probe),
    "sql": (_postgres, postgres.probe),
    "mariadb": (_mariadb, mariadb.probe),
    "rabbitmq": (_rabbitmq, rabbitmq.probe),
}
