from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator

class Partial:
    def expand(self, **mapped: Any) -> BaseOperator: ...

class PythonOperator(BaseOperator):
    def __init__(
        self, *, task_id: str, python_callable: Callable[..., Any], **options: Any
    ) -> None: ...
    @classmethod
    def partial(
        cls, *, task_id: str, python_callable: Callable[..., Any], **options: Any
    ) -> Partial: ...

class ShortCircuitOperator(PythonOperator): ...
