"What domostats uses of Airflow's task SDK."

import logging
from collections.abc import Mapping
from typing import Any

class BaseOperator:
    task_id: str
    output: Any
    log: logging.Logger
    def __init__(self, *, task_id: str, **options: Any) -> None: ...
    def set_downstream(self, other: Any) -> None: ...
    def set_upstream(self, other: Any) -> None: ...
    def defer(
        self, *, trigger: object, method_name: str, kwargs: dict[str, Any] | None = None
    ) -> None: ...

class BaseSensorOperator(BaseOperator):
    poke_interval: float
    timeout: float
    soft_fail: bool
    def __init__(self, **options: Any) -> None: ...
    def poke(self, context: Mapping[str, Any]) -> bool: ...
    def execute(self, context: Mapping[str, Any]) -> Any: ...

class DAG:
    dag_id: str
    task_ids: list[str]
    def __init__(self, dag_id: str, **options: Any) -> None: ...
    def __enter__(self) -> DAG: ...
    def __exit__(self, *error: object) -> None: ...
    def get_task(self, task_id: str) -> BaseOperator: ...

class Asset:
    name: str
    uri: str
    def __init__(self, name: str, uri: str) -> None: ...

class AssetAlias:
    name: str
    def __init__(self, name: str) -> None: ...

class Connection:
    conn_type: str
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None
    @property
    def extra_dejson(self) -> dict[str, Any]: ...
    @classmethod
    def get(cls, conn_id: str) -> Connection: ...
