"""How each service is found, started, asked whether it is up, and named by a URL."""

from __future__ import annotations

from tests.servers.recipes.amqp import RabbitMq
from tests.servers.recipes.base import Recipe
from tests.servers.recipes.memcached import Memcached
from tests.servers.recipes.mysql import MySql
from tests.servers.recipes.postgres import Postgres
from tests.servers.recipes.redis import Redis, RedisCluster, RedisSentinel

RECIPES: dict[str, Recipe] = {
    recipe.service: recipe for recipe in (Redis(), RedisCluster(), RedisSentinel(), Postgres(), MySql(), Memcached(), RabbitMq())
}
