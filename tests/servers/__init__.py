"""Real servers for tests, one rule for each service.

A URL in the environment (``TRIGGERS_TEST_REDIS_URL``, …) is used, and must answer. Else a private server is started
from an installed program, on a free loopback port, in a folder that goes away. Else the test is skipped with the name
of the package that is missing, and the run ends with the line ``NOT TESTED against: …``; a service that
``TRIGGERS_TEST_REQUIRE`` lists makes the test fail instead.

Tests take the fixtures of ``tests.servers.plugin``. The servers are children of one process, the keeper, that all
workers of a run share, and that ends them when the run ends, however it ends.
"""
