from datetime import datetime

class GetPreviousDagRun:
    def __init__(self, *, dag_id: str, logical_date: datetime) -> None: ...
