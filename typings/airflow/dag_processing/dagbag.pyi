from typing import Any

class DagBag:
    dags: dict[str, Any]
    import_errors: dict[str, str]
    def __init__(self, dag_folder: str) -> None: ...
