from datetime import timedelta

class TimeDeltaTrigger:
    def __init__(self, delta: timedelta) -> None: ...
