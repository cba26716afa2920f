"""What Databricks is told of the lake: SQL to run there, or its catalog by REST (`ddl`, `register`)."""

from silt.databricks.catalog import Catalog, Registration, Schema, register
from silt.databricks.ddl import Statement, statements
from silt.databricks.lake import LakeTable, Placed, look
from silt.databricks.login import Login, login

__all__ = [
    "Catalog",
    "LakeTable",
    "Login",
    "Placed",
    "Registration",
    "Schema",
    "Statement",
    "login",
    "look",
    "register",
    "statements",
]
