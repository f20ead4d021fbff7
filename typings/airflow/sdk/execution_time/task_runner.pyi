from typing import Any

class Comms:
    def send(self, msg: object) -> Any: ...

SUPERVISOR_COMMS: Comms
