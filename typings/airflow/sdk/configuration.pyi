class Configuration:
    def getint(self, section: str, key: str, *, fallback: int) -> int: ...

conf: Configuration
