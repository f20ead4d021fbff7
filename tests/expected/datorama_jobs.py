"""What is expected of the report datorama_jobs."""

from expected import TEXT, TIME, WHOLE, Expected, utc
from expected.datorama_streams import DATORAMA_REPLIES, OTHER_STREAM, STREAM

JOB = {
    "id": 700001,
    "dataStreamId": 20001,
    "userId": 501,
    "status": "queued",
    "dataStartDate": "2024-05-01",
    "dataEndDate": "2024-05-10",
    "startExecutionTime": 1704067200091,
    "endExecutionTime": 1704153600092,
    "processLog": "what happened",
}

OTHER_JOB = {"id": 700002, "dataStreamId": 20002, "endExecutionTime": None, "status": "RUNNING"}

JOB_ROWS = [
    {"job_obj": JOB, "stream_obj": STREAM},
    {"job_obj": OTHER_JOB, "stream_obj": OTHER_STREAM},
    {"job_obj": {"id": 700003}, "stream_obj": None},
]

JOB_REPLIES = DATORAMA_REPLIES | {
    "/v1/data-streams/api/20001/stats": [JOB],
    "/v1/data-streams/api/20002/stats": [OTHER_JOB],
    "/v1/data-streams/api/20003/stats": [{"id": 700003}],
}

ALL_OF_JOBS = [
    ("id", WHOLE, 700001, 700002, 700003),
    ("data_stream_id", WHOLE, 20001, 20002, None),
    ("user_id", WHOLE, 501, None, None),
    ("status", TEXT, "queued", "RUNNING", None),
    ("data_start_date", TEXT, "2024-05-01", None, None),
    ("data_end_date", TEXT, "2024-05-10", None, None),
    ("start_execution_time", TIME, utc("2024-01-01 00:00:00.091"), None, None),
    ("end_execution_time", TIME, utc("2024-01-02 00:00:00.092"), None, None),
    ("process_log", TEXT, "what happened", None, None),
]

JOBS_WITH_STREAMS = [
    ("workspace_id", WHOLE, 1001, 1002, None),
    ("stream_name", TEXT, "Stream name", None, None),
    ("data_source_name", TEXT, "Source name", None, None),
    *ALL_OF_JOBS,
]

EXPECTED = Expected(
    grain="one job of a data stream",
    platform="datorama",
    rows=JOB_ROWS,
    replies=JOB_REPLIES,
    columns={"with_stream": JOBS_WITH_STREAMS, "all": ALL_OF_JOBS},
    lists={
        "job_obj": [JOB, OTHER_JOB, {"id": 700003}],
        "stream_obj": [OTHER_STREAM, STREAM],
    },
    neighbour=None,
    key_columns={"with_stream": ["id"], "all": ["id"]},
    key_fields={"id"},
    calls_of_many=(1 + 3 + 29, 1 + 3 + 29),
)
