class Pool:
    pool: str
