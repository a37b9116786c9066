"""Django's backend for MySQL and MariaDB, with PyMySQL in place of mysqlclient."""

import pymysql

pymysql.install_as_MySQLdb()

from django.db.backends.mysql.base import DatabaseWrapper  # noqa: E402  (it imports MySQLdb)

__all__ = ["DatabaseWrapper"]
