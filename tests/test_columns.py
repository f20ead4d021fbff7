"""What stands in which column: every formatter of every report, written out by hand, on single
records and over HTTP.

Every value of a record is another one, so that a column made from the wrong field is seen. Where
a column has two values only (true or false, Yes or No), no two columns have the same over all
rows."""

import json
import threading
import warnings
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import ROOT

from domostats import reports
from domostats.settings import Instance
from domostats.transport.pages import Page

TEXT, WHOLE, NUMBER, TRUTH, TIME = "string", "Int64", "float64", "boolean", "datetime64[us, UTC]"
FIXTURES = ROOT / "tests" / "fixtures" / "domo"
HERE = "{the address of the instance}"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# --- accounts -------------------------------------------------------------------------------------

ACCOUNT = {
    "id": 71,
    "name": "listed name",
    "userId": "101",
    "displayName": "listed display name",
    "type": "listed type",
    "dataProviderType": "listed-connector",
    "valid": True,
    "dateOfExpiration": 1893456000000,
    "dataSourceCount": 3,
    "daysToExpiry": 30,
    "expired": False,
}
ONLY_LISTED = {
    "id": 72,
    "name": "second name",
    "userId": "105",
    "displayName": "second display name",
    "type": "second type",
    "dataProviderType": "second-connector",
    "valid": False,
    "dateOfExpiration": 1577836800001,
    "dataSourceCount": 0,
    "daysToExpiry": -5,
    "expired": True,
}
CONNECTOR = {
    "key": "connector-key",
    "name": "Connector name",
    "authenticationScheme": "scheme",
    "unassociatedDataSourceCount": 8,
}
FLAT_ACCOUNT = {
    "id": 71,
    "userId": 111,
    "name": "flat name",
    "displayName": "flat display name",
    "type": "flat type",
    "valid": False,
    "dataProviderType": "flat-connector",
    "credentialsType": "oauth",
    "createdAt": 1704067200001,
    "createdBy": 112,
    "modifiedAt": 1704153600002,
    "modifiedBy": 113,
    "configurations": {},
    "accountId": 171,
    "accountTemplateId": 172,
    "accountTemplateAuthorizationId": 173,
}
ONLY_FLAT = {
    "id": 74,
    "userId": 114,
    "name": "fourth name",
    "displayName": "fourth display name",
    "type": "fourth type",
    "valid": True,
    "dataProviderType": "fourth-connector",
    "credentialsType": "fields",
    "createdAt": 1704240000003,
    "modifiedAt": 1704326400004,
    "origin": "OAUTH_CONFIGURATION",
}
ADA_OWNS = {"id": 101, "displayName": "Ada Example", "userName": "ada@example.com"}
SOMEBODY = {"id": 111, "displayName": "Somebody else", "userName": "somebody@example.com"}

ACCOUNT_ROWS = [  # the records of each row; the last one is in the flat list only
    {
        "account_obj": ACCOUNT,
        "dataprovider_obj": CONNECTOR,
        "flat_obj": FLAT_ACCOUNT,
        "owner_obj": ADA_OWNS,
    },
    {
        "account_obj": ONLY_LISTED,
        "dataprovider_obj": CONNECTOR,
        "flat_obj": None,
        "owner_obj": None,
    },
    {"account_obj": {"id": 73}, "dataprovider_obj": {}, "flat_obj": None, "owner_obj": None},
    {"account_obj": None, "dataprovider_obj": None, "flat_obj": ONLY_FLAT, "owner_obj": None},
]
ACCOUNT_REPLIES = {
    "/api/data/v2/datasources/providers": [
        CONNECTOR | {"accounts": [ACCOUNT, ONLY_LISTED]},
        {"accounts": [{"id": 73}]},
    ],
    "/api/data/v1/accounts": [ONLY_FLAT, FLAT_ACCOUNT],
    "/api/content/v2/users": [SOMEBODY, ADA_OWNS],
}

ACCOUNTS_OF_DOMOSTATS = [
    # column, type, and its value in each row
    ("Account_Id", WHOLE, 71, 72, 73, 74),
    ("Owner_Id", WHOLE, 111, 105, None, 114),
    ("Name", TEXT, "flat name", "second name", None, "fourth name"),
    ("Display_Name", TEXT, "flat display name", "second display name", None, "fourth display name"),
    ("Type", TEXT, "flat type", "second type", None, "fourth type"),
    ("Valid", TEXT, "false", "false", None, "true"),
    ("Data_Provider", TEXT, "flat-connector", "second-connector", None, "fourth-connector"),
    ("Credentials_Type", TEXT, "oauth", None, None, "fields"),
    (
        "Created_Date",
        TIME,
        utc("2024-01-01 00:00:00.001"),
        None,
        None,
        utc("2024-01-03 00:00:00.003"),
    ),
    (
        "Modified_Date",
        TIME,
        utc("2024-01-02 00:00:00.002"),
        None,
        None,
        utc("2024-01-04 00:00:00.004"),
    ),
    ("Account_Id_text", TEXT, "71", "72", "73", "74"),
    ("Owner_Id_text", TEXT, "111", "105", None, "114"),
    (
        "Account_Type",
        TEXT,
        "AUTHORIZATION",
        "AUTHORIZATION",
        "AUTHORIZATION",
        "OAUTH_CONFIGURATION",
    ),
]
ACCOUNTS_V1 = [
    ("user_id", TEXT, "101", "105", None),
    ("data_provider_type", TEXT, "listed-connector", "second-connector", None),
    ("date_of_expiration", TIME, utc("2030-01-01"), utc("2020-01-01 00:00:00.001"), None),
    ("data_source_count", WHOLE, 3, 0, None),
    ("data_provider_name", TEXT, "Connector name", "Connector name", None),
    ("account_id", WHOLE, 71, 72, 73),
    ("account_name", TEXT, "listed display name", "second display name", None),
]
ACCOUNTS_V2 = [
    ("user_id", TEXT, "101", "105", None),
    ("type", TEXT, "listed type", "second type", None),
    ("data_provider_type", TEXT, "listed-connector", "second-connector", None),
    ("date_of_expiration", TIME, utc("2030-01-01"), utc("2020-01-01 00:00:00.001"), None),
    ("data_source_count", WHOLE, 3, 0, None),
    ("days_to_expiry", WHOLE, 30, -5, None),
    ("expired", TRUTH, False, True, None),
    ("data_provider_name", TEXT, "Connector name", "Connector name", None),
    ("account_id", WHOLE, 71, 72, 73),
    ("account_name", TEXT, "listed display name", "second display name", None),
]
ACCOUNTS_WITH_OWNERS = [*ACCOUNTS_V2, ("owner_name", TEXT, "Ada Example", None, None)]

# --- OAuth configurations -------------------------------------------------------------------------

APP = {
    "id": 81,
    "name": "app name",
    "displayName": "app display name",
    "type": "app type",
    "userId": 121,
    "owner": 122,
    "dataProviderKey": "app-key",
    "dataProviderType": "app-connector",
    "credentialsType": "oauth",
    "valid": True,
    "createdAt": 1704067200011,
    "createdBy": 123,
    "modifiedAt": 1704153600012,
    "modifiedBy": 124,
    "configurations": {"a": 1},
    "configurationsList": [2],
    "configurationAsList": [3],
    "presetFields": {"b": 4},
    "presetFieldsList": [5],
}
OTHER_APP = {
    "id": 82,
    "owner": "125",
    "dataProviderType": "other-connector",
    "valid": False,
    "createdBy": "126",
}
APP_ROWS = [{"template_obj": APP}, {"template_obj": OTHER_APP}, {"template_obj": {"id": 83}}]
APP_REPLIES = {"/api/data/v1/accounts/templates/user/extended": [APP, OTHER_APP, {"id": 83}]}

APPS_OF_DOMOSTATS = [
    ("Account_Id", WHOLE, 81, 82, 83),
    ("Owner_Id", WHOLE, 121, 125, None),
    ("Name", TEXT, "app name", None, None),
    ("Display_Name", TEXT, "app display name", None, None),
    ("Type", TEXT, "app type", None, None),
    ("Valid", TEXT, "true", "false", None),
    ("Data_Provider", TEXT, "app-key", "other-connector", None),
    ("Credentials_Type", TEXT, "oauth", None, None),
    ("Created_Date", TIME, utc("2024-01-01 00:00:00.011"), None, None),
    ("Modified_Date", TIME, utc("2024-01-02 00:00:00.012"), None, None),
    ("Account_Id_text", TEXT, "81", "82", "83"),
    ("Owner_Id_text", TEXT, "121", "125", None),
    (
        "Account_Type",
        TEXT,
        "OAUTH_CONFIGURATION",
        "OAUTH_CONFIGURATION",
        "OAUTH_CONFIGURATION",
    ),
]
ALL_OF_APPS = [
    ("id", WHOLE, 81, 82, 83),
    ("name", TEXT, "app name", None, None),
    ("display_name", TEXT, "app display name", None, None),
    ("type", TEXT, "app type", None, None),
    ("user_id", TEXT, "121", None, None),
    ("owner", TEXT, "122", "125", None),
    ("data_provider_key", TEXT, "app-key", None, None),
    ("data_provider_type", TEXT, "app-connector", "other-connector", None),
    ("credentials_type", TEXT, "oauth", None, None),
    ("valid", TRUTH, True, False, None),
    ("created_at", TIME, utc("2024-01-01 00:00:00.011"), None, None),
    ("created_by", TEXT, "123", "126", None),
    ("modified_at", TIME, utc("2024-01-02 00:00:00.012"), None, None),
    ("modified_by", TEXT, "124", None, None),
]

# --- users ----------------------------------------------------------------------------------------

ADA = {
    "id": 101,
    "displayName": "Ada Example",
    "emailAddress": "ada@mail.example",
    "userName": "ada@login.example",
    "title": "Engineer",
    "department": "Research",
    "alternateEmail": "ada@home.example",
    "phoneNumber": "555-0101",
    "deskPhoneNumber": "555-0102",
    "employeeNumber": "4711",
    "employeeId": "E-17",
    "employeeLocation": "Oslo",
    "locale": "nb-NO",
    "timeZone": "Europe/Berlin",
    "roleId": 2,
    "reportsTo": "131",
    "invitorUserId": 132,
    "created": 1704067200021,
    "modified": 1704153600022,
    "lastActivity": 1704240000023,
    "lastLogin": 1704326400024,
    "hireDate": 1704412800025,
    "avatarKey": "/avatars/of/ada",
    "isActive": True,
    "isPending": False,
    "isAnonymous": True,
    "isSystemUser": False,
}
MONITOR = {  # whose id is a real one; a number that is none
    "id": 0,
    "displayName": "monitor",
    "employeeNumber": "E-18",
    "roleId": "1",
    "reportsTo": 133,
    "isActive": True,
    "isPending": True,
    "isAnonymous": False,
    "isSystemUser": False,
}
ADA_BEFORE = {
    "id": 101,
    "displayName": "Ada Before",
    "emailAddress": "before@mail.example",
    "userName": "before@login.example",
    "accepted": False,
    "userType": "USER",
    "avatarKey": "c605f478",
    "role": "Role before",
    "roleId": 1,
    "title": "Title before",
    "created": 1577836800,
    "modified": 1577836800000,
    "active": False,
    "pending": True,
    "anonymous": False,
    "systemUser": True,
}
MONITOR_BEFORE = {"id": 0, "accepted": None, "userType": "DOMO_SUPPORT"}
ADMIN = {"id": 1, "name": "Admin", "description": "may do everything"}
PRIVILEGED = {"id": 2, "name": "Privileged", "description": "may do much"}
NOBODY = {"id": 103}

USER_ROWS = [
    {"user_obj": ADA, "old_user_obj": ADA_BEFORE, "role_obj": PRIVILEGED},
    {"user_obj": MONITOR, "old_user_obj": MONITOR_BEFORE, "role_obj": ADMIN},
    {"user_obj": NOBODY, "old_user_obj": NOBODY, "role_obj": None},
]


def with_attributes(user, **beside):
    """A user as the identity service sends it; what stands `beside` the attributes is not what
    counts."""
    attributes = [{"key": key, "values": [value, "another"]} for key, value in user.items()]
    return {"attributes": attributes, "id": user["id"], **beside}


USER_REPLIES = {
    "/api/identity/v1/users": {
        "users": [
            with_attributes(ADA, displayName="Ada Beside", roleId=1, userName="beside@example.com"),
            with_attributes(MONITOR),
            NOBODY | {"attributes": [{"key": "title", "values": [None]}, {"key": "locale"}]},
        ]
    },
    "/api/content/v2/users": [NOBODY, MONITOR_BEFORE, ADA_BEFORE],
    "/api/authorization/v1/roles": [ADMIN, PRIVILEGED],
}

PEOPLE = [
    ("Department", TEXT, "Research", None, None),
    ("Display Name", TEXT, "Ada Example", "monitor", None),
    ("Role", TEXT, "Privileged", "Admin", None),
    ("Title", TEXT, "Engineer", None, None),
    ("Email", TEXT, "ada@mail.example", None, None),
    ("Alternate Email", TEXT, "ada@home.example", None, None),
    (
        "Profile Picture URL",
        TEXT,
        HERE + "/api/content/v1/avatar/USER/101",
        HERE + "/api/content/v1/avatar/USER/0",
        HERE + "/api/content/v1/avatar/USER/103",
    ),
    ("Phone Number", TEXT, "555-0101", None, None),
    ("Desk Phone Number", TEXT, "555-0102", None, None),
    ("Employee Number", WHOLE, 4711, None, None),
    ("Employee ID", TEXT, "E-17", None, None),
    ("Location", TEXT, "Oslo", None, None),
    ("Locale", TEXT, "nb-NO", None, None),
    ("Timezone", TEXT, "Europe/Berlin", None, None),
    ("Role ID", WHOLE, 2, 1, None),
    ("User ID", TEXT, "101", "0", "103"),
    ("Last Login", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    ("Password Created", TIME, None, None, None),
    ("Account Locked", TEXT, None, None, None),
    ("Profile Picture", TEXT, "true", "false", "false"),
    ("Org Chart", TEXT, "true", "true", "false"),
    ("Two Factor Enabled", TEXT, None, None, None),
    ("Created Date", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("Created By User ID", TEXT, "132", None, None),
    ("Last Updated Date", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("Reports To", TEXT, "131", "133", None),
]
USER_ACTIVITY = [
    ("Display Name", TEXT, "Ada Example", "monitor", None),
    ("Role ID", TEXT, "2", "1", None),
    ("Timezone", TEXT, "Europe/Berlin", None, None),
    ("Location", TEXT, "Oslo", None, None),
    ("Last Activity", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("User ID", TEXT, "101", "0", "103"),
    ("Title", TEXT, "Engineer", None, None),
    ("Department", TEXT, "Research", None, None),
    ("Locale", TEXT, "nb-NO", None, None),
    ("Email", TEXT, "ada@mail.example", None, None),
]
FIRST_OF_USERS = [
    ("display_name", TEXT, "Ada Example", "monitor", None),
    ("email_address", TEXT, "ada@mail.example", None, None),
    ("user_name", TEXT, "ada@login.example", None, None),
    ("title", TEXT, "Engineer", None, None),
    ("department", TEXT, "Research", None, None),
    ("alternate_email", TEXT, "ada@home.example", None, None),
    ("phone_number", TEXT, "555-0101", None, None),
    ("desk_phone_number", TEXT, "555-0102", None, None),
    ("employee_number", TEXT, "4711", "E-18", None),
    ("employee_id", TEXT, "E-17", None, None),
    ("employee_location", TEXT, "Oslo", None, None),
    ("locale", TEXT, "nb-NO", None, None),
    ("time_zone", TEXT, "Europe/Berlin", None, None),
    ("role_id", TEXT, "2", "1", None),
    ("reports_to", TEXT, "131", "133", None),
    ("invitor_user_id", TEXT, "132", None, None),
]
LAST_OF_USERS = [
    ("hire_date", TIME, utc("2024-01-05 00:00:00.025"), None, None),
    ("avatar_key", TEXT, "/avatars/of/ada", None, None),
    ("is_active", TRUTH, True, True, None),
    ("is_pending", TRUTH, False, True, None),
    ("is_anonymous", TRUTH, True, False, None),
    ("is_system_user", TRUTH, False, False, None),
]
ALL_OF_USERS = [
    *FIRST_OF_USERS,
    *LAST_OF_USERS,
    ("user_id", TEXT, "101", "0", "103"),
    ("created_at", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("modified_at", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("last_activity_at", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("last_login_at", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    ("role_name", TEXT, "Privileged", "Admin", None),
    ("accepted", TRUTH, False, None, None),
    ("user_type", TEXT, "USER", "DOMO_SUPPORT", None),
]
IDENTITY = [
    ("id", TEXT, "101", "0", "103"),
    *FIRST_OF_USERS,
    ("created", TIME, utc("2024-01-01 00:00:00.021"), None, None),
    ("modified", TIME, utc("2024-01-02 00:00:00.022"), None, None),
    ("last_activity", TIME, utc("2024-01-03 00:00:00.023"), None, None),
    ("last_login", TIME, utc("2024-01-04 00:00:00.024"), None, None),
    *LAST_OF_USERS,
]

# --- groups ---------------------------------------------------------------------------------------

GROUP = {
    "groupId": 201,
    "name": "Night shift",
    "groupType": "closed",
    "description": "those of the night",
    "memberCount": 12,
    "created": "2023-06-08 20:59:05.0",
    "owners": [{"type": "USER", "id": "141", "displayName": "An owner"}],
    "groupMembers": [{"type": "USER", "id": "142"}],
}
OTHER_GROUP = {
    "groupId": "202",
    "name": "",
    "memberCount": 0,
    "created": "2022-01-15 10:11:12",
    "owners": [],
    "groupMembers": [],
}
GROUP_DETAIL = {
    "id": 201,
    "name": "Name of the detail",
    "type": "type of the detail",
    "userIds": [],
    "creatorId": 143,
    "memberCount": 13,
    "guid": "guid-of-201",
    "description": "described in the detail",
    "hidden": False,
    "default": True,
    "active": False,
}
OTHER_DETAIL = {"id": 202, "creatorId": 0, "default": False, "active": True, "hidden": True}
GROUP_ROWS = [
    {"group_obj": GROUP, "detail_obj": GROUP_DETAIL},
    {"group_obj": OTHER_GROUP, "detail_obj": OTHER_DETAIL},
    {"group_obj": {"groupId": 203}, "detail_obj": {"id": 203}},
]
GROUP_REPLIES = {
    "/api/content/v2/groups/grouplist": [GROUP, OTHER_GROUP, {"groupId": 203}],
    "/api/content/v2/groups/201": GROUP_DETAIL,
    "/api/content/v2/groups/202": OTHER_DETAIL,
    "/api/content/v2/groups/203": {"id": 203},
}

LISTED_OF_GROUPS = [
    ("Group Id", TEXT, "201", "202", "203"),
    ("Group Name", TEXT, "Night shift", "", None),
    ("LDAP Group Name", TEXT, None, None, None),
    ("Avatar Id", TEXT, None, None, None),
    ("Group Type", TEXT, "closed", None, None),
    ("Created", TIME, utc("2023-06-08 20:59:05"), utc("2022-01-15 10:11:12"), None),
]
GROUPS_OF_DOMOSTATS = [
    *LISTED_OF_GROUPS,
    ("Creator Id", TEXT, None, None, None),
    ("Is Default", TEXT, None, None, None),
]
GROUPS_WITH_CREATOR = [
    *LISTED_OF_GROUPS,
    ("Creator Id", TEXT, "143", "0", None),
    ("Is Default", TEXT, "true", "false", None),
]
ALL_OF_GROUPS = [
    ("group_id", TEXT, "201", "202", "203"),
    ("name", TEXT, "Night shift", "", None),
    ("group_type", TEXT, "closed", None, None),
    ("description", TEXT, "those of the night", None, None),
    ("member_count", WHOLE, 12, 0, None),
    ("created_at", TIME, utc("2023-06-08 20:59:05"), utc("2022-01-15 10:11:12"), None),
]

# --- group members --------------------------------------------------------------------------------

MEMBERS = [{"type": "USER", "id": "142"}, {"type": "GROUP", "id": 202}]
CREW = {"groupId": 201, "name": "Night shift", "memberCount": 2, "groupMembers": MEMBERS}
CREWS = [CREW, {"groupId": "204", "groupMembers": [{"type": "USER", "id": "142"}]}, OTHER_GROUP]
MEMBER_ROWS = [
    {"group_obj": CREW, "member_obj": MEMBERS[0]},
    {"group_obj": CREW, "member_obj": MEMBERS[1]},
    {"group_obj": CREWS[1], "member_obj": MEMBERS[0]},
]

ALL_OF_MEMBERS = [
    ("group_id", TEXT, "201", "201", "204"),
    ("member_type", TEXT, "USER", "GROUP", "USER"),
    ("member_id", TEXT, "142", "202", "142"),
    ("group_name", TEXT, "Night shift", "Night shift", None),
]
MEMBERS_OF_DOMOSTATS = [
    ("Group Id", TEXT, "201", "201", "204"),
    ("Group Name", TEXT, "Night shift", "Night shift", None),
    ("User Id", TEXT, "142", None, "142"),
]

# --- datasets -------------------------------------------------------------------------------------

SALES = {
    "id": "dataset-1",
    "name": "Sales",
    "description": "of all shops",
    "type": "Jupyter",
    "displayType": "display-type",
    "dataProviderType": "provider-type",
    "transportType": "TRANSPORT",
    "owner": {"id": "151", "name": "Owner of sales", "type": "USER", "group": False},
    "status": "INACTIVE_SCHEDULE",
    "state": "SUCCESS",
    "created": 1704067200031,
    "lastTouched": 1704153600032,
    "lastUpdated": 1704240000033,
    "nextUpdate": 1704326400034,
    "rowCount": 1185,
    "columnCount": 7,
    "cardCount": 3,
    "cardInfo": {"cardCount": 2, "cardViewCount": 44},
    "properties": {"formulas": {"formulas": {name: {"name": name} for name in "abcde"}}},
    "streamId": 825,
    "accountId": 152,
    "tags": '["a tag","another"]',
    "validConfiguration": True,
    "validAccount": True,
    "scheduleActive": True,
    "hidden": True,
    "masked": False,
    "currentUserFullAccess": False,
    "permissions": "READ_WRITE",
    "adc": False,
    "adcExternal": False,
    "adcSource": "DIRECT",
    "cloudId": "cloud-id",
    "cloudName": "Cloud name",
    "cloudEngine": "SNOWFLAKE",
    "cryoStatus": "ADRENALINE",
    "certification": {
        "state": "CERTIFIED",
        "lastUpdated": 1704412800035,
        "userId": 153,
        "processType": "process-type",
        "processName": "Process name",
        "approvalRequestId": "request-1",
        "adminCertified": True,
    },
}
FLAT_SALES = {
    name: value
    for name, value in SALES.items()
    if name not in ("owner", "cardInfo", "certification")
} | {
    "ownerId": "151",
    "ownerName": "Owner of sales",
    "ownerType": "USER",
    "ownerGroup": False,
    "cardInfoCardCount": 2,
    "cardInfoCardViewCount": 44,
    "beastModeCount": 5,
    "certificationState": "CERTIFIED",
    "certificationLastUpdated": 1704412800035,
    "certificationUserId": 153,
    "certificationProcessType": "process-type",
    "certificationProcessName": "Process name",
    "certificationApprovalRequestId": "request-1",
    "certificationAdminCertified": True,
}
STOCK = {
    "id": "dataset-2",
    "state": "ERROR",
    "owner": {"id": 154, "name": "Group of stock", "type": "GROUP", "group": True},
    "rowCount": 0,
    "columnCount": 0,
    "cardCount": 6,
    "streamId": 826,
    "tags": "[]",
    "validConfiguration": True,
    "validAccount": True,
    "scheduleActive": False,
    "hidden": False,
    "masked": True,
    "currentUserFullAccess": True,
    "adc": False,
    "adcExternal": False,
    "certification": {"adminCertified": None},
}
FLAT_STOCK = {
    name: value for name, value in STOCK.items() if name not in ("owner", "certification")
} | {
    "ownerId": 154,
    "ownerName": "Group of stock",
    "ownerType": "GROUP",
    "ownerGroup": True,
    "beastModeCount": 0,
    "certificationAdminCertified": None,
}
VIEW = {
    "id": "dataset-3",
    "state": "",
    "owner": {"group": None},
    "validConfiguration": True,
    "validAccount": False,
    "scheduleActive": True,
    "hidden": False,
    "masked": True,
    "currentUserFullAccess": False,
    "adc": True,
    "adcExternal": False,
}
FLAT_VIEW = {name: value for name, value in VIEW.items() if name != "owner"} | {
    "ownerGroup": None,
    "beastModeCount": 0,
}
BARE = dict.fromkeys(SALES) | {"id": "dataset-4"}  # a null in every other field

SALES_STREAM = {
    "id": 825,
    "transport": {"type": "CONNECTOR", "description": "com.example.sales", "version": "5"},
    "advancedScheduleJson": '{"type": "DAY", "at": "08:01 PM", "timezone": "UTC"}',
    "accounts": [{"accountId": 155}],
    "account": {"id": 156},
    "scheduleType": "not this one",
    "dataSource": {"id": "dataset-1"},
}
STOCK_STREAM = {
    "id": 826,
    "transport": {"type": "API", "description": "which is no connector", "version": "6"},
    "advancedScheduleJson": '{"type": "MANUAL"}',
    "accounts": [{"accountId": 157}, {"accountId": 158}],
}
DATASET_ROWS = [
    {
        "dataset_obj": FLAT_SALES,
        "document_obj": {"databaseId": "dataset-1", "pdpEnabled": True, "name": "found name"},
        "stream_obj": {
            "id": 825,
            "scheduleType": "DAY",
            "transportType": "CONNECTOR",
            "transportDescription": "com.example.sales",
            "firstAccountId": 155,
        },
    },
    {
        "dataset_obj": FLAT_STOCK,
        "document_obj": {"databaseId": "dataset-2", "pdpEnabled": False},
        "stream_obj": {
            "id": 826,
            "scheduleType": "MANUAL",
            "transportType": "API",
            "transportDescription": "which is no connector",
            "firstAccountId": 157,
        },
    },
    {
        "dataset_obj": FLAT_VIEW,
        "document_obj": {"databaseId": "dataset-3"},
        "stream_obj": None,
    },
    {
        "dataset_obj": {"id": "dataset-4", "beastModeCount": 0},
        "document_obj": {"databaseId": "dataset-4", "pdpEnabled": None},
        "stream_obj": None,
    },
]
DATASET_REPLIES = {
    "/api/data/ui/v3/datasources/search": {
        "dataSources": [{"id": f"dataset-{n}"} for n in (1, 2, 3, 4)],
        "_metaData": {"totalCount": 4},
    },
    "/api/data/v3/datasources/bulk": {"dataSources": [SALES, STOCK, VIEW, BARE]},
    "/api/search/v1/query": {
        "searchObjects": [row["document_obj"] for row in reversed(DATASET_ROWS)],
        "totalResultCount": 4,
    },
    "/api/data/v1/streams/bulk": [STOCK_STREAM, SALES_STREAM],
}

DATASETS_OF_DOMOSTATS = [
    ("ID", TEXT, "dataset-1", "dataset-2", "dataset-3", "dataset-4"),
    ("Name", TEXT, "Sales", None, None, None),
    (
        "Link",
        TEXT,
        HERE + "/datasources/dataset-1/details/overview",
        HERE + "/datasources/dataset-2/details/overview",
        HERE + "/datasources/dataset-3/details/overview",
        HERE + "/datasources/dataset-4/details/overview",
    ),
    ("Owner_User_ID", TEXT, "151", "154", None, None),
    ("Created_Date", TIME, utc("2024-01-01 00:00:00.031"), None, None, None),
    ("Last_Run_Date", TIME, utc("2024-01-03 00:00:00.033"), None, None, None),
    ("Status", TEXT, "Success", "Error", "", None),
    ("Schedule", TEXT, "Day", "Manual", None, None),
    ("Import_Type", TEXT, "Jupyter", None, None, None),
    ("Data_Provider", TEXT, "provider-type", None, None, None),
    ("Source_Type", TEXT, "com.example.sales", None, None, None),
    ("Cards_Powered", WHOLE, 2, 6, None, None),
    ("Row Count", WHOLE, 1185, 0, None, None),
    ("Column Count", WHOLE, 7, 0, None, None),
    ("PDP Enabled", TEXT, "Yes", "No", None, None),
    ("Shared", TEXT, None, None, None, None),
    ("Materialized", TEXT, None, None, None, None),
    ("Account_ID", TEXT, "152", "157", None, None),
    ("Data_Warehouse", TEXT, "Cloud name", None, None, None),
    ("Cloud_Engine", TEXT, "SNOWFLAKE", None, None, None),
]
ALL_OF_DATASETS = [
    ("name", TEXT, "Sales", None, None, None),
    ("description", TEXT, "of all shops", None, None, None),
    ("type", TEXT, "Jupyter", None, None, None),
    ("display_type", TEXT, "display-type", None, None, None),
    ("data_provider_type", TEXT, "provider-type", None, None, None),
    ("transport_type", TEXT, "TRANSPORT", None, None, None),
    ("owner_id", TEXT, "151", "154", None, None),
    ("owner_name", TEXT, "Owner of sales", "Group of stock", None, None),
    ("owner_type", TEXT, "USER", "GROUP", None, None),
    ("owner_group", TRUTH, False, True, None, None),
    ("status", TEXT, "INACTIVE_SCHEDULE", None, None, None),
    ("state", TEXT, "SUCCESS", "ERROR", "", None),
    ("row_count", WHOLE, 1185, 0, None, None),
    ("column_count", WHOLE, 7, 0, None, None),
    ("card_count", WHOLE, 3, 6, None, None),
    ("card_info_card_count", WHOLE, 2, None, None, None),
    ("card_info_card_view_count", WHOLE, 44, None, None, None),
    ("beast_mode_count", WHOLE, 5, 0, 0, 0),
    ("stream_id", TEXT, "825", "826", None, None),
    ("account_id", TEXT, "152", None, None, None),
    ("tags", TEXT, '["a tag","another"]', "[]", None, None),
    ("valid_configuration", TRUTH, True, True, True, None),
    ("valid_account", TRUTH, True, True, False, None),
    ("schedule_active", TRUTH, True, False, True, None),
    ("hidden", TRUTH, True, False, False, None),
    ("masked", TRUTH, False, True, True, None),
    ("current_user_full_access", TRUTH, False, True, False, None),
    ("permissions", TEXT, "READ_WRITE", None, None, None),
    ("adc", TRUTH, False, False, True, None),
    ("adc_external", TRUTH, False, False, False, None),
    ("adc_source", TEXT, "DIRECT", None, None, None),
    ("cloud_id", TEXT, "cloud-id", None, None, None),
    ("cloud_name", TEXT, "Cloud name", None, None, None),
    ("cloud_engine", TEXT, "SNOWFLAKE", None, None, None),
    ("cryo_status", TEXT, "ADRENALINE", None, None, None),
    ("certification_state", TEXT, "CERTIFIED", None, None, None),
    ("certification_last_updated", TIME, utc("2024-01-05 00:00:00.035"), None, None, None),
    ("certification_user_id", TEXT, "153", None, None, None),
    ("certification_process_type", TEXT, "process-type", None, None, None),
    ("certification_process_name", TEXT, "Process name", None, None, None),
    ("certification_approval_request_id", TEXT, "request-1", None, None, None),
    ("certification_admin_certified", TRUTH, True, None, None, None),
    ("dataset_id", TEXT, "dataset-1", "dataset-2", "dataset-3", "dataset-4"),
    ("created_at", TIME, utc("2024-01-01 00:00:00.031"), None, None, None),
    ("last_touched_at", TIME, utc("2024-01-02 00:00:00.032"), None, None, None),
    ("last_updated_at", TIME, utc("2024-01-03 00:00:00.033"), None, None, None),
    ("next_update_at", TIME, utc("2024-01-04 00:00:00.034"), None, None, None),
]

# --- pages ----------------------------------------------------------------------------------------

PAGE = {
    "pageId": 301,
    "pageTitle": "Page title",
    "pageType": "page-type",
    "subType": "sub-type",
    "parentPageId": 302,
    "parentPageTitle": "Title of the parent",
    "topPageId": 303,
    "topPageTitle": "Title of the top",
    "ownerId": 161,
    "ownerName": "Owner of the page",
    "owners": [{"id": 162, "type": "USER", "displayName": "Another owner"}],
    "locked": False,
    "lastModified": 1704067200041,
    "cardCount": 20,
    "dataAppId": 304,
    "dataAppTitle": "Title of the app",
}
BEN = {
    "id": 163,
    "displayName": "Ben Sample",
    "userName": "ben@login.example",
    "emailAddress": "ben@mail.example",
    "active": False,
    "invitorUserId": 164,
    "roleId": 4,
}
CY = {
    "id": "165",
    "displayName": "Cy Placeholder",
    "userName": "cy@login.example",
    "emailAddress": "cy@mail.example",
}
TEAM = {
    "id": 205,
    "name": "Team name",
    "type": "team-type",
    "active": True,
    "default": False,
    "creatorId": 166,
    "description": "team description",
    "users": [CY, BEN],
}
FORMER_TEAM = {"id": "206", "active": False, "users": [{"id": 167}]}
ACCESS_ROWS = [
    {
        "share_obj": {
            "pageId": 301,
            "entityType": "USER",
            "entityId": 163,
            "entityName": "Ben Sample",
        },
        "page_obj": PAGE,
    },
    {
        "share_obj": {
            "pageId": 301,
            "entityType": "GROUP",
            "entityId": 205,
            "entityName": "Team name",
            "groupType": "team-type",
            "isActive": True,
        },
        "page_obj": PAGE,
    },
    {
        "share_obj": {
            "pageId": 305,
            "entityType": "GROUP",
            "entityId": "206",
            "isActive": False,
        },
        "page_obj": {"pageId": 305},
    },
]
PEOPLE_ROWS = [
    {
        "person_obj": {
            "pageId": 301,
            "userId": 163,
            "viaGroupId": "",
            "userName": "Ben Sample",
            "emailAddress": "ben@mail.example",
        }
    },
    {
        "person_obj": {
            "pageId": 301,
            "userId": "165",
            "viaGroupId": "205",
            "userName": "Cy Placeholder",
            "emailAddress": "cy@mail.example",
        }
    },
    {
        "person_obj": {
            "pageId": 301,
            "userId": 163,
            "viaGroupId": "205",
            "userName": "Ben Sample",
            "emailAddress": "ben@mail.example",
        }
    },
    {"person_obj": {"pageId": 305, "userId": 167, "viaGroupId": "206"}},
]
PAGE_REPLIES = {
    "/api/content/v1/pages/adminsummary": {"pageAdminSummaries": [PAGE, {"pageId": 305}]},
    "/api/content/v1/share/accesslist/page/301": {
        "resource": {"id": "301", "type": "page"},
        "users": [BEN],
        "groups": [TEAM],
        "totalUserCount": 2,
    },
    "/api/content/v1/share/accesslist/page/305": {
        "resource": {"id": "305", "type": "page"},
        "users": [],
        "groups": [FORMER_TEAM],
        "totalUserCount": 1,
    },
}

PAGES_AND_USERS = [
    ("Page ID", TEXT, "301", "301", "305"),
    ("Title", TEXT, "Page title", "Page title", None),
    ("Type", TEXT, "page-type", "page-type", None),
    ("Owner User ID", TEXT, "161", "161", None),
    ("Owner Name", TEXT, "Owner of the page", "Owner of the page", None),
    ("Card Count", WHOLE, 20, 20, None),
    ("Parent ID", TEXT, "302", "302", None),
    ("Parent Title", TEXT, "Title of the parent", "Title of the parent", None),
    ("Parent Type", TEXT, None, None, None),
    ("Subpage Count", TEXT, None, None, None),
    ("User ID", TEXT, "163", None, None),
    ("User Name", TEXT, "Ben Sample", None, None),
    ("Group ID", TEXT, None, "205", "206"),
    ("Group Name", TEXT, None, "Team name", None),
]
ALL_OF_SHARES = [
    ("page_id", TEXT, "301", "301", "305"),
    ("entity_type", TEXT, "USER", "GROUP", "GROUP"),
    ("entity_id", TEXT, "163", "205", "206"),
    ("entity_name", TEXT, "Ben Sample", "Team name", None),
    ("group_type", TEXT, None, "team-type", None),
    ("is_active", TRUTH, None, True, False),
    ("page_title", TEXT, "Page title", "Page title", None),
]
ALL_OF_PEOPLE = [
    ("page_id", TEXT, "301", "301", "301", "305"),
    ("user_id", TEXT, "163", "165", "163", "167"),
    ("via_group_id", TEXT, "", "205", "205", "206"),
    ("user_name", TEXT, "Ben Sample", "Cy Placeholder", "Ben Sample", None),
    ("email_address", TEXT, "ben@mail.example", "cy@mail.example", "ben@mail.example", None),
]

# --- the activity log -----------------------------------------------------------------------------

EVENT = {
    "userName": "User name",
    "userId": "171",
    "userType": "user-type",
    "actorName": "Actor name",
    "actorId": 172,
    "actionType": "ACTION",
    "objectName": "Object name",
    "objectId": "object-id",
    "objectType": "OBJECT",
    "additionalComment": "A comment.",
    "time": 1704240000051,
    "eventText": "Text of the event",
    "clientId": "client-id",
    "authenticationMethod": "DEV_TOKEN",
}
OTHER_EVENT = {"time": 1704153600052, "userId": 0, "objectId": "", "clientId": None}
EVENT_REPLIES = {
    "/api/audit/v1/user-audits/count": {"count": 3},
    "/api/audit/v1/user-audits": [EVENT, OTHER_EVENT, {"time": 1704067200053}],
}
EVENT_KEYS = (  # made of time, user, action and object, and the same in every version
    "43d8d9aac337c2c885db35c3-1",
    "a33b989d6c5650bc012b29af-1",
    "f03e29b8d4bf6dc40afd0420-1",
)
EVENT_ROWS = [
    {"event_obj": event | {"eventKey": key}}
    for event, key in zip((EVENT, OTHER_EVENT, {"time": 1704067200053}), EVENT_KEYS, strict=True)
]
MOMENTS = (
    utc("2024-01-03 00:00:00.051"),
    utc("2024-01-02 00:00:00.052"),
    utc("2024-01-01 00:00:00.053"),
)

EVENTS_OF_DOMOSTATS = [
    ("Object_Name", TEXT, "Object name", None, None),
    ("User_ID", TEXT, "171", "0", None),
    ("Source_ID", TEXT, "171", "0", None),
    ("Name", TEXT, "User name", None, None),
    ("Action", TEXT, "ACTION", None, None),
    ("Object_Type", TEXT, "OBJECT", None, None),
    ("Object_ID", TEXT, "object-id", "", None),
    ("Type", TEXT, "user-type", None, None),
    ("Event_Time", TIME, *MOMENTS),
    ("Authentication_Method", TEXT, "DEV_TOKEN", None, None),
    ("IP_Address", TEXT, None, None, None),
    ("Device", TEXT, None, None, None),
    ("Browser_Details", TEXT, None, None, None),
    ("Event_ID", TEXT, *EVENT_KEYS),
    ("Client_ID", TEXT, "client-id", None, None),
    ("_BATCH_ID_", TEXT, None, None, None),
    ("_BATCH_LAST_RUN_", TIME, None, None, None),
]
ALL_OF_EVENTS = [
    ("event_key", TEXT, *EVENT_KEYS),
    ("user_id", TEXT, "171", "0", None),
    ("user_name", TEXT, "User name", None, None),
    ("user_type", TEXT, "user-type", None, None),
    ("actor_id", TEXT, "172", None, None),
    ("actor_name", TEXT, "Actor name", None, None),
    ("action_type", TEXT, "ACTION", None, None),
    ("object_type", TEXT, "OBJECT", None, None),
    ("object_id", TEXT, "object-id", "", None),
    ("object_name", TEXT, "Object name", None, None),
    ("event_text", TEXT, "Text of the event", None, None),
    ("additional_comment", TEXT, "A comment.", None, None),
    ("authentication_method", TEXT, "DEV_TOKEN", None, None),
    ("client_id", TEXT, "client-id", None, None),
    ("event_at", TIME, *MOMENTS),
]

# --- calls ----------------------------------------------------------------------------------------

CALL_ROWS = [
    {
        "call_obj": {
            "id": "desk-17",
            "at": 1704067200061,
            "method": "POST",
            "path": "/path",
            "status": 429,
            "reason": "rate_limited",
            "seconds": 0.25,
            "bytes": 1234,
            "attempt": 2,
            "rows": 100,
            "budget_left": 99_000,
        }
    },
    {
        "call_obj": {
            "id": "desk-18",
            "at": 1704067200062,
            "method": "GET",
            "path": "/other",
            "status": 200,
            "reason": "",
            "seconds": 2,
            "bytes": 0,
            "attempt": 1,
        }
    },
]
ALL_OF_CALLS = [
    ("id", TEXT, "desk-17", "desk-18"),
    ("at", TIME, utc("2024-01-01 00:00:00.061"), utc("2024-01-01 00:00:00.062")),
    ("method", TEXT, "POST", "GET"),
    ("path", TEXT, "/path", "/other"),
    ("status", WHOLE, 429, 200),
    ("reason", TEXT, "rate_limited", ""),
    ("seconds", NUMBER, 0.25, 2.0),
    ("bytes", WHOLE, 1234, 0),
    ("attempt", WHOLE, 2, 1),
    ("rows", WHOLE, 100, None),
    ("budget_left", WHOLE, 99_000, None),
]

# --- Datorama -------------------------------------------------------------------------------------

SWITCHES = {  # in four workspaces
    "costCenterEnabled": (True, True, True, True),
    "executiveWorkspace": (True, True, True, False),
    "customCalendarEnabled": (True, True, False, True),
    "customLocationEnabled": (True, True, False, False),
    "applyBlindPeriods": (True, False, True, True),
    "archivingEnabled": (True, False, True, False),
    "liteConnectEnabled": (True, False, False, True),
    "workflowsEnabled": (True, False, False, False),
    "actionCenterEnabled": (False, True, True, True),
    "balanceBudgetToolEnabled": (False, True, True, False),
    "hourlyProcessingAllowed": (False, True, False, True),
}
WORKSPACES = [
    {
        "id": 1001,
        "name": "Workspace name",
        "accountId": 181,
        "verticalId": 182,
        "colorSchemeId": 183,
        "currencyId": 184,
        "accountCurrencyId": 185,
        "cultureId": 186,
        "timezoneId": 187,
        "dashboardThemeId": 188,
        "subWorkspaces": [],
        "visibleBuckets": ["ADS", "SOCIAL"],
        "createUserId": 189,
        "createUser": "Who made it",
        "createTime": 1704067200071,
        "updateUserId": 190,
        "updateUser": "Who changed it",
        "updateTime": 1704153600072,
    },
    {"id": 1002, "subWorkspaces": [1001], "visibleBuckets": None},
    {"id": 1003},
    {"id": 1004},
]
for place, workspace in enumerate(WORKSPACES):
    workspace |= {name: values[place] for name, values in SWITCHES.items()}
WORKSPACES.append({"id": 1005})

ALL_OF_WORKSPACES = [
    ("id", WHOLE, 1001, 1002, 1003, 1004, 1005),
    ("name", TEXT, "Workspace name", None, None, None, None),
    ("account_id", WHOLE, 181, None, None, None, None),
    ("vertical_id", WHOLE, 182, None, None, None, None),
    ("color_scheme_id", WHOLE, 183, None, None, None, None),
    ("currency_id", WHOLE, 184, None, None, None, None),
    ("account_currency_id", WHOLE, 185, None, None, None, None),
    ("culture_id", WHOLE, 186, None, None, None, None),
    ("timezone_id", WHOLE, 187, None, None, None, None),
    ("dashboard_theme_id", WHOLE, 188, None, None, None, None),
    ("sub_workspaces", TEXT, "[]", "[1001]", None, None, None),
    ("visible_buckets", TEXT, '["ADS","SOCIAL"]', None, None, None, None),
    ("cost_center_enabled", TRUTH, True, True, True, True, None),
    ("executive_workspace", TRUTH, True, True, True, False, None),
    ("custom_calendar_enabled", TRUTH, True, True, False, True, None),
    ("custom_location_enabled", TRUTH, True, True, False, False, None),
    ("apply_blind_periods", TRUTH, True, False, True, True, None),
    ("archiving_enabled", TRUTH, True, False, True, False, None),
    ("lite_connect_enabled", TRUTH, True, False, False, True, None),
    ("workflows_enabled", TRUTH, True, False, False, False, None),
    ("action_center_enabled", TRUTH, False, True, True, True, None),
    ("balance_budget_tool_enabled", TRUTH, False, True, True, False, None),
    ("hourly_processing_allowed", TRUTH, False, True, False, True, None),
    ("create_user_id", WHOLE, 189, None, None, None, None),
    ("create_user", TEXT, "Who made it", None, None, None, None),
    ("create_time", TIME, utc("2024-01-01 00:00:00.071"), None, None, None, None),
    ("update_user_id", WHOLE, 190, None, None, None, None),
    ("update_user", TEXT, "Who changed it", None, None, None, None),
    ("update_time", TIME, utc("2024-01-02 00:00:00.072"), None, None, None, None),
]

STREAM = {
    "id": 20001,
    "name": "Stream name",
    "workspaceId": 1001,
    "enabled": True,
    "hasData": True,
    "runOnlyAsPartOfWorkflow": False,
    "dataSourceId": 77,
    "dataSourceName": "Source name",
    "sourceDisplayName": "Source display name",
    "dataSourceAuthenticationId": 301,
    "dataLoadMode": "UPDATE",
    "retrievalPeriodType": "DAILY",
    "retrievalPeriodHour": 6,
    "config": {"account_id": "000-1", "mapping": []},
    "lastRunStatus": False,
    "lastRowsRetrieved": 240,
    "processedRows": 241,
    "lastDataDate": "2024-05-31",
    "lastUpdate": 1704067200081,
    "processStatsCounts": {"a": 1},
    "channelId": 311,
    "templateId": 312,
    "originalId": 313,
    "originalDataStreamId": 314,
    "parentInstanceId": 315,
    "dataPreviewPageId": 316,
    "customAttribute1": "first of our own",
    "customAttribute2": "second of our own",
    "customAttribute3": "third of our own",
    "createUserId": 317,
    "createUser": "Who made the stream",
    "createTime": 1704153600082,
    "updateUserId": 318,
    "updateUser": "Who changed the stream",
    "updateTime": 1704240000083,
}
OTHER_STREAM = {
    "id": 20002,
    "workspaceId": 1002,
    "enabled": True,
    "hasData": False,
    "runOnlyAsPartOfWorkflow": True,
    "lastRunStatus": "FAILED",
    "lastRowsRetrieved": 0,
    "processStatsCounts": 0,
    "customAttribute1": "",
}
STREAM_ROWS = [
    {"stream_obj": STREAM, "workspace_obj": WORKSPACES[0]},
    {"stream_obj": OTHER_STREAM, "workspace_obj": {"id": 1002, "name": "Other workspace"}},
    {"stream_obj": {"id": 20003}, "workspace_obj": None},
]
DATORAMA_REPLIES = {
    "/v1/workspaces": WORKSPACES[:1] + [WORKSPACES[1] | {"name": "Other workspace"}],
    "/v1/workspaces/1001/data-streams": [STREAM],
    "/v1/workspaces/1002/data-streams": [OTHER_STREAM, {"id": 20003}],
    "/v1/data-streams/api/20001/stats": [],
    "/v1/data-streams/api/20002/stats": [],
    "/v1/data-streams/api/20003/stats": [],
}
TABLE_OF_STREAMS = [
    ("id", WHOLE, 20001, 20002, 20003),
    ("name", TEXT, "Stream name", None, None),
    ("dataSourceId", WHOLE, 77, None, None),
    ("sourceDisplayName", TEXT, "Source display name", None, None),
    ("workspaceId", WHOLE, 1001, 1002, None),
    ("enabled", TRUTH, True, True, None),
    ("hasData", TRUTH, True, False, None),
    ("dataSourceAuthenticationId", WHOLE, 301, None, None),
    ("createTime", TIME, utc("2024-01-02 00:00:00.082"), None, None),
    ("lastUpdate", TIME, utc("2024-01-01 00:00:00.081"), None, None),
    ("lastRunStatus", TEXT, "false", "FAILED", None),
    ("lastRowsRetrieved", WHOLE, 240, 0, None),
    ("processedRows", WHOLE, 241, None, None),
    ("lastDataDate", TEXT, "2024-05-31", None, None),
]
STREAMS_WITH_WORKSPACES = [
    ("workspace_name", TEXT, "Workspace name", "Other workspace", None),
    *TABLE_OF_STREAMS,
]
ALL_OF_STREAMS = [
    ("id", WHOLE, 20001, 20002, 20003),
    ("name", TEXT, "Stream name", None, None),
    ("workspace_id", WHOLE, 1001, 1002, None),
    ("enabled", TRUTH, True, True, None),
    ("has_data", TRUTH, True, False, None),
    ("run_only_as_part_of_workflow", TRUTH, False, True, None),
    ("data_source_id", WHOLE, 77, None, None),
    ("data_source_name", TEXT, "Source name", None, None),
    ("source_display_name", TEXT, "Source display name", None, None),
    ("data_source_authentication_id", WHOLE, 301, None, None),
    ("data_load_mode", TEXT, "UPDATE", None, None),
    ("retrieval_period_type", TEXT, "DAILY", None, None),
    ("retrieval_period_hour", WHOLE, 6, None, None),
    ("config", TEXT, '{"account_id":"000-1","mapping":[]}', None, None),
    ("last_run_status", TEXT, "false", "FAILED", None),
    ("last_rows_retrieved", WHOLE, 240, 0, None),
    ("processed_rows", WHOLE, 241, None, None),
    ("last_data_date", TEXT, "2024-05-31", None, None),
    ("last_update", TIME, utc("2024-01-01 00:00:00.081"), None, None),
    ("process_stats_counts", TEXT, '{"a":1}', "0", None),
    ("channel_id", WHOLE, 311, None, None),
    ("template_id", WHOLE, 312, None, None),
    ("original_id", WHOLE, 313, None, None),
    ("original_data_stream_id", WHOLE, 314, None, None),
    ("parent_instance_id", WHOLE, 315, None, None),
    ("data_preview_page_id", WHOLE, 316, None, None),
    ("custom_attribute_1", TEXT, "first of our own", "", None),
    ("custom_attribute_2", TEXT, "second of our own", None, None),
    ("custom_attribute_3", TEXT, "third of our own", None, None),
    ("create_user_id", WHOLE, 317, None, None),
    ("create_user", TEXT, "Who made the stream", None, None),
    ("create_time", TIME, utc("2024-01-02 00:00:00.082"), None, None),
    ("update_user_id", WHOLE, 318, None, None),
    ("update_user", TEXT, "Who changed the stream", None, None),
    ("update_time", TIME, utc("2024-01-03 00:00:00.083"), None, None),
]

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

# --- all of them ----------------------------------------------------------------------------------

ROWS = {  # report: the records of each row, and the replies they are made from
    "accounts": (ACCOUNT_ROWS, ACCOUNT_REPLIES),
    "oauth_configurations": (APP_ROWS, APP_REPLIES),
    "users": (USER_ROWS, USER_REPLIES),
    "groups": (GROUP_ROWS, GROUP_REPLIES),
    "group_members": (MEMBER_ROWS, {"/api/content/v2/groups/grouplist": CREWS}),
    "datasets": (DATASET_ROWS, DATASET_REPLIES),
    "page_access": (ACCESS_ROWS, PAGE_REPLIES),
    "page_people": (PEOPLE_ROWS, PAGE_REPLIES),
    "activity_log": (EVENT_ROWS, EVENT_REPLIES),
    "calls": (CALL_ROWS, {}),
    "datorama_workspaces": (
        [{"workspace_obj": workspace} for workspace in WORKSPACES],
        {"/v1/workspaces": WORKSPACES},
    ),
    "datorama_streams": (STREAM_ROWS, DATORAMA_REPLIES),
    "datorama_jobs": (JOB_ROWS, JOB_REPLIES),
}
COLUMNS = {  # report: formatter, the first is the one that is taken without a name: what it makes
    "accounts": {
        "domostats": ACCOUNTS_OF_DOMOSTATS,
        "v1": ACCOUNTS_V1,
        "v2": ACCOUNTS_V2,
        "owners": ACCOUNTS_WITH_OWNERS,
    },
    "oauth_configurations": {"domostats": APPS_OF_DOMOSTATS, "all": ALL_OF_APPS},
    "users": {
        "domostats": PEOPLE,
        "user_activity": USER_ACTIVITY,
        "all": ALL_OF_USERS,
        "identity": IDENTITY,
    },
    "groups": {
        "domostats": GROUPS_OF_DOMOSTATS,
        "with_creator": GROUPS_WITH_CREATOR,
        "all": ALL_OF_GROUPS,
    },
    "group_members": {"all": ALL_OF_MEMBERS, "domostats": MEMBERS_OF_DOMOSTATS},
    "datasets": {"domostats": DATASETS_OF_DOMOSTATS, "all": ALL_OF_DATASETS},
    "page_access": {"domostats": PAGES_AND_USERS, "all": ALL_OF_SHARES},
    "page_people": {"all": ALL_OF_PEOPLE},
    "activity_log": {"domostats": EVENTS_OF_DOMOSTATS, "all": ALL_OF_EVENTS},
    "calls": {"all": ALL_OF_CALLS},
    "datorama_workspaces": {"all": ALL_OF_WORKSPACES},
    "datorama_streams": {
        "table": TABLE_OF_STREAMS,
        "with_workspace": STREAMS_WITH_WORKSPACES,
        "all": ALL_OF_STREAMS,
    },
    "datorama_jobs": {"with_stream": JOBS_WITH_STREAMS, "all": ALL_OF_JOBS},
}
SHAPES = [(name, shape) for name, shapes in COLUMNS.items() for shape in shapes]


def expected_rows(name, shape, address=""):
    "The rows as they are written out above, of an instance at this address."
    columns = [column for column, *_ in COLUMNS[name][shape]]
    values = [cells for _, _, *cells in COLUMNS[name][shape]]
    return [
        {
            column: cell.replace(HERE, address) if isinstance(cell, str) else cell
            for column, cell in zip(columns, row, strict=True)
        }
        for row in zip(*values, strict=True)
    ]


class Desk(BaseHTTPRequestHandler):
    "Answers with the replies above; a list has one page."

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body go in one piece
    replies = {
        "/api/content/v2/users/me": {"id": 101, "roleId": 2},
        "/api/content/v2/users/101": {"id": 101, "roleId": 2},
        "/api/authorization/v1/roles/2/authorities": [
            "account.admin",
            "audit",
            "content.admin",
            "dataset.admin",
            "group.admin",
            "user.edit",
        ],
    }

    failures = {}  # path: the statuses that come before its reply

    def do_GET(self):
        address = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
        asked = dict(parse_qsl(address.query)) | (body if isinstance(body, dict) else {})
        reply = self.replies.get(address.path)
        if (
            any(int(asked.get(name, 0)) > 0 for name in ("offset", "skip"))
            or asked.get("pageNumber", 1) > 1
        ):
            reply = self.without_rows(reply)
        content = json.dumps(reply).encode()
        failures = self.failures.get(address.path)
        self.send_response(failures.pop() if failures else 404 if reply is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_POST = do_GET

    @staticmethod
    def without_rows(reply):
        if isinstance(reply, list):
            return []
        return {name: [] if isinstance(value, list) else value for name, value in reply.items()}

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    class Served(Desk):
        replies = dict(Desk.replies)

    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def served(server, name):
    "The instance whose replies are those of this report."
    server.RequestHandlerClass.replies = Desk.replies | ROWS[name][1]
    platform = "datorama" if name.startswith("datorama") else "domo"
    return Instance(f"{platform}-desk", f"http://127.0.0.1:{server.server_port}")


def generated(server, name, **how):
    "The report over HTTP, and what it warns of."
    if name == "activity_log":
        how["since"] = datetime(2024, 1, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = reports.find(name).generate(served(server, name), "a-token", **how)
    return made, [str(one.message) for one in caught]


def rows_of(frame):
    "The rows of a data frame as dicts, its nulls as None."
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def test_every_formatter_of_every_report_is_written_out_here_and_the_first_is_the_usual_one():
    assert {name: [*reports.find(name).formatters] for name in reports.names()} == {
        name: [*shapes] for name, shapes in COLUMNS.items()
    }


def test_what_each_report_says_that_a_row_is():
    assert [repr(reports.find(name)) for name in COLUMNS] == [
        "<report accounts: one account: the credential that a connector signs in with>",
        "<report oauth_configurations: one OAuth configuration: the app through which accounts "
        "sign in>",
        "<report users: one user, also those of Domo's support>",
        "<report groups: one group>",
        "<report group_members: one member of one group>",
        "<report datasets: one dataset>",
        "<report page_access: one share of a page, with a user or with a group>",
        "<report page_people: one person who may open a page, and the way>",
        "<report activity_log: one event>",
        "<report calls: one attempt of this process>",
        "<report datorama_workspaces: one workspace>",
        "<report datorama_streams: one data stream>",
        "<report datorama_jobs: one job of a data stream>",
    ]


def test_a_column_that_is_always_empty_says_why():
    found = {}
    for name, shape in SHAPES:
        for line in repr(reports.find(name).formatters[shape]).splitlines():
            column, _, source = line.partition(" ← ")
            if source.startswith("nothing: "):
                found[name, shape, column] = source.removeprefix("nothing: ")
    assert found == {
        ("users", "domostats", "Password Created"): "no field is known",
        ("users", "domostats", "Account Locked"): "no field is known",
        (
            "users",
            "domostats",
            "Two Factor Enabled",
        ): "a call for each user, whose reply nobody recorded",
        ("groups", "domostats", "LDAP Group Name"): "no field is known",
        ("groups", "domostats", "Avatar Id"): "no field is known",
        ("groups", "domostats", "Creator Id"): "a call for each group, see with_creator",
        ("groups", "domostats", "Is Default"): "a call for each group, see with_creator",
        ("groups", "with_creator", "LDAP Group Name"): "no field is known",
        ("groups", "with_creator", "Avatar Id"): "no field is known",
        (
            "datasets",
            "domostats",
            "Shared",
        ): "stands in a report of its own, a call for each dataset",
        ("datasets", "domostats", "Materialized"): "no field is known",
        ("page_access", "domostats", "Parent Type"): "stands in the row of the parent",
        ("page_access", "domostats", "Subpage Count"): "counted in a report of pages",
        ("activity_log", "domostats", "IP_Address"): "another API",
        ("activity_log", "domostats", "Device"): "another API",
        ("activity_log", "domostats", "Browser_Details"): "another API",
        ("activity_log", "domostats", "_BATCH_ID_"): "of the connector",
        ("activity_log", "domostats", "_BATCH_LAST_RUN_"): "of the connector",
    }


@pytest.mark.parametrize("name, shape", SHAPES)
def test_a_single_record_becomes_the_row_that_is_written_out(name, shape):
    formatter = reports.find(name).formatters[shape]
    for records, expected in zip(ROWS[name][0], expected_rows(name, shape), strict=True):
        made = formatter(**records)
        assert [*made.items()] == [*expected.items()]
        assert [type(cell) for cell in made.values()] == [type(cell) for cell in expected.values()]


@pytest.mark.parametrize("name, shape", SHAPES)
def test_a_field_that_is_null_makes_the_row_of_one_that_is_missing(name, shape):
    formatter, rows = reports.find(name).formatters[shape], ROWS[name][0]
    known = {keyword: dict.fromkeys(record or {}) for keyword, record in rows[0].items()}
    for records, expected in zip(rows, expected_rows(name, shape), strict=True):
        padded = {
            keyword: record if record is None else known[keyword] | record
            for keyword, record in records.items()
        }
        assert formatter(**padded) == expected


@pytest.mark.parametrize("name, shape", SHAPES)
def test_no_two_columns_are_alike_by_chance(name, shape):
    "Of two columns that are alike nobody would see that one is made from the field of the other."
    alike = {"Source_ID"}  # the same field twice
    seen = {}
    for column, type, *cells in COLUMNS[name][shape]:
        if column not in alike and any(cell is not None for cell in cells):
            assert seen.setdefault((type, *cells), column) == column


@pytest.mark.parametrize("name, shape", [one for one in SHAPES if one[0] != "calls"])
def test_a_data_frame_over_http_holds_what_is_written_out(server, name, shape):
    usual = shape == next(iter(COLUMNS[name]))
    frame, told = generated(server, name, **({} if usual else {"format_fn": shape}))
    assert [(column, str(type)) for column, type in frame.dtypes.items()] == [
        (column, type) for column, type, *_ in COLUMNS[name][shape]
    ]
    assert rows_of(frame) == expected_rows(name, shape, f"http://127.0.0.1:{server.server_port}")
    assert not told and not frame.attrs["domostats"]["incomplete"]


def test_plain_rows_over_http_hold_it_too(server):
    rows, told = generated(server, "page_access", is_dataframe=False)
    expected = expected_rows("page_access", "domostats")
    assert [[*row.items()] for row in rows] == [[*row.items()] for row in expected] and not told


def recorded(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def test_recorded_records_become_the_rows_of_the_connector():
    "Whole replies as they were recorded, with every field that the services send."
    stream = recorded("stream_detail")
    own_name = "00000000-0000-4000-8000-000000000081"
    (row,) = reports.find("datasets").format(
        [stream["dataSource"]], is_dataframe=False, stream_obj=[stream], document_obj=[]
    )
    assert row == {
        "ID": "00000000-0000-4000-8000-000000000082",
        "Name": "Example Governance Datasets",
        "Link": "/datasources/00000000-0000-4000-8000-000000000082/details/overview",
        "Owner_User_ID": "100000001",
        "Created_Date": utc("2022-11-02 20:26:22"),
        "Last_Run_Date": utc("2023-11-16 00:50:10.118"),
        "Status": "Error",
        "Schedule": "Day",
        "Import_Type": f"domo-governance-{own_name}",
        "Data_Provider": f"domo-governance-{own_name}",
        "Source_Type": f"com.example.connector.{own_name}",
        "Cards_Powered": 0,
        "Row Count": 1188,
        "Column Count": 18,
        "PDP Enabled": None,
        "Shared": None,
        "Materialized": None,
        "Account_ID": "5",
        "Data_Warehouse": "Domo",
        "Cloud_Engine": "domo",
    }
    (row,) = reports.find("users").format(
        recorded("users_identity_v1_list")["users"],
        is_dataframe=False,
        old_user_obj=recorded("users_v2"),
        role_obj=recorded("roles"),
    )
    assert row == dict.fromkeys(column for column, *_ in PEOPLE) | {
        "Department": "Example Department",
        "Display Name": "Ada Example",
        "Role": "Privileged",
        "Title": "Example Title",
        "Email": "ada@example.com",
        "Profile Picture URL": "/api/content/v1/avatar/USER/100000001",
        "Phone Number": "000-000-0000",
        "Employee Number": 1,
        "Employee ID": "1",
        "Timezone": "UTC",
        "Role ID": 2,
        "User ID": "100000001",
        "Profile Picture": "false",
        "Org Chart": "true",
        "Created Date": utc("2025-01-01"),
        "Last Updated Date": utc("2025-01-01"),
        "Reports To": "100000002",
    }
    rows = reports.find("groups").format(
        recorded("groups_list"),
        "with_creator",
        is_dataframe=False,
        detail_obj=[{"parent": 200000001, "reply": recorded("group_by_id_deleted")}],
    )
    assert [[*row.values()] for row in rows] == [
        [
            *("200000001", "Example Group", None, None, "open"),
            *(utc("2023-06-08 20:59:05"), "100000001", "false"),
        ],
        [
            *("200000002", "Grant: Manage all groups", None, None, "system"),
            *(utc("2022-01-15 10:11:12"), None, None),
        ],
    ]
    rows = reports.find("page_access").format(
        [{"parent": 300000001, "reply": recorded("page_access_list")}],
        is_dataframe=False,
        page_obj=recorded("pages_adminsummary")["pageAdminSummaries"],
    )
    page = ("300000001", "Example Top Page", "page", "100000001", "Ada Example", *5 * [None])
    assert [[*row.values()] for row in rows] == [
        [*page, "100000002", "Ben Sample", None, None],
        [*page, None, None, "200000001", "Example Group"],
        [*page, None, None, "200000002", "Example Group Two"],
    ]
    rows = reports.find("activity_log").format(recorded("activity_log_events"), is_dataframe=False)
    assert [[*row.values()] for row in rows] == [
        [
            *("example_job", "100000001", "100000001", "Ada Example", "EXECUTED", "EXECUTOR_JOB"),
            *("00000000-0000-4000-8000-000000000101", "USER", utc("2024-03-23 18:20:47.106")),
            *("DEV_TOKEN", None, None, None, rows[0]["Event_ID"], None, None, None),
        ],
        [
            *("example token", "100000001", "100000001", "Ada Example", "DELETED", "ACCESS_TOKEN"),
            *("100103", "USER", utc("2024-03-23 18:20:00.296")),
            *("DEV_TOKEN", None, None, None, rows[1]["Event_ID"], None, None, None),
        ],
    ]


ACCESS = "/api/content/v1/share/accesslist/page/"
LISTS = {  # report: its records as the service lists them, and those of its lookups
    "accounts": {
        "dataprovider_obj": ACCOUNT_REPLIES["/api/data/v2/datasources/providers"],
        "flat_obj": ACCOUNT_REPLIES["/api/data/v1/accounts"],
        "owner_obj": ACCOUNT_REPLIES["/api/content/v2/users"],
    },
    "oauth_configurations": {"template_obj": [APP, OTHER_APP, {"id": 83}]},
    "users": {
        "user_obj": USER_REPLIES["/api/identity/v1/users"]["users"],
        "old_user_obj": USER_REPLIES["/api/content/v2/users"],
        "role_obj": [ADMIN, PRIVILEGED],
    },
    "groups": {
        "group_obj": [GROUP, OTHER_GROUP, {"groupId": 203}],
        "detail_obj": [
            {"parent": detail["id"], "reply": detail}
            for detail in ({"id": 203}, OTHER_DETAIL, GROUP_DETAIL)
        ],
    },
    "group_members": {"group_obj": CREWS},
    "datasets": {
        "dataset_obj": [SALES, STOCK, VIEW, BARE],
        "document_obj": DATASET_REPLIES["/api/search/v1/query"]["searchObjects"],
        "stream_obj": [STOCK_STREAM, SALES_STREAM],
    },
    "page_access": {
        "share_obj": [{"parent": n, "reply": PAGE_REPLIES[f"{ACCESS}{n}"]} for n in (301, 305)],
        "page_obj": [PAGE, {"pageId": 305}],
    },
    "page_people": {
        "person_obj": [{"parent": n, "reply": PAGE_REPLIES[f"{ACCESS}{n}"]} for n in (301, 305)],
    },
    "activity_log": {"event_obj": [EVENT, OTHER_EVENT, {"time": 1704067200053}]},
    "calls": {"call_obj": [row["call_obj"] for row in CALL_ROWS]},
    "datorama_workspaces": {"workspace_obj": WORKSPACES},
    "datorama_streams": {
        "stream_obj": [STREAM, OTHER_STREAM, {"id": 20003}],
        "workspace_obj": DATORAMA_REPLIES["/v1/workspaces"],
    },
    "datorama_jobs": {
        "job_obj": [JOB, OTHER_JOB, {"id": 700003}],
        "stream_obj": [OTHER_STREAM, STREAM],
    },
}
NEIGHBOURS = {  # what may stand beside them in the list, and makes a row or none
    "accounts": {"name": 5, "accounts": [{"id": "x"}]},
    "oauth_configurations": {"id": "x"},
    "users": {
        "id": [],
        "attributes": [
            {"key": "title", "values": {}},
            {"key": "locale", "values": None},
            {"key": "department", "values": "bare"},
            {"key": 5},
            None,
        ],
    },
    "groups": {"groupId": {}, "memberCount": "many"},
    "group_members": {"groupId": {}, "groupMembers": MEMBERS},
    "datasets": {"id": None, "owner": {"": 5}, "cardInfo": 5, "properties": 5, "tags": 5},
    "page_access": {"parent": 306, "reply": {"users": [{"id": None}], "groups": 5}},
    "page_people": {"parent": 306, "reply": {"users": [5], "groups": [{"users": [{"id": 1}]}]}},
    "activity_log": 5,
    "calls": {"id": None},
    "datorama_workspaces": {"id": "x"},
    "datorama_streams": {"id": "x", "workspaceId": "x"},
    "datorama_jobs": None,
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.filterwarnings("ignore")
def test_what_was_fetched_before_makes_these_rows_whatever_stands_beside_it(name):
    report, (own, *lookups) = reports.find(name), LISTS[name].items()
    for shape in COLUMNS[name]:
        for records in (own[1], [5, NEIGHBOURS[name], None, *own[1]]):
            rows = report.format(records, shape, is_dataframe=False, **dict(lookups))
            assert rows == expected_rows(name, shape), (shape, len(records))


def run_of(name, *pages):
    "The run of a report over pages of records."
    arrays = [json.dumps(page).encode() for page in pages]
    pages = [Page(number, array, 0) for number, array in enumerate(arrays, 1)]
    report = reports.find(name)
    lookups = {lookup.keyword: [] for lookup in report.lookups}
    return report.over(report.formatter("all"), {report.source.keyword: pages} | lookups)


@pytest.mark.parametrize(
    "part, columns",
    [
        ("owner", ["owner_id", "owner_name", "owner_type", "owner_group"]),
        ("cardInfo", ["card_info_card_count", "card_info_card_view_count"]),
        ("properties", ["beast_mode_count"]),
        (
            "certification",
            [
                *("certification_state", "certification_last_updated", "certification_user_id"),
                *("certification_process_type", "certification_process_name"),
                *("certification_approval_request_id", "certification_admin_certified"),
            ],
        ),
    ],
)
def test_a_part_of_a_dataset_that_is_none_is_null_in_its_own_columns(part, columns):
    run = run_of("datasets", [SALES | {part: [5]}])
    assert run.rows == [expected_rows("datasets", "all")[0] | dict.fromkeys(columns)]
    assert {cell["column"] for cell in run.uncertain.to_pylist()} == {*columns}
    absent = run_of("datasets", [SALES | {part: None}])
    counts = {"beast_mode_count": 0} if part == "properties" else {}
    assert absent.rows == [expected_rows("datasets", "all")[0] | dict.fromkeys(columns) | counts]
    assert not absent.findings and len(absent.uncertain) == 0


@pytest.mark.parametrize("name, count", [("page_access", 2), ("page_people", 3)])
@pytest.mark.parametrize(
    "odd, field",
    [
        ({"parent": 306}, "pageId"),
        ({"reply": {"users": [], "groups": []}}, "pageId"),
        ({"parent": 306, "reply": 5}, "pageId"),
        ({"parent": 306, "reply": {"users": []}}, "pageId"),
        ({"parent": 306, "reply": {"groups": [], "users": None}}, "pageId"),
        ({"parent": 306, "reply": {"groups": [], "users": 5}}, ""),
        ({"parent": 306, "reply": {"groups": [], "users": [[]]}}, ""),
        ({"parent": 306, "reply": {"groups": [7], "users": []}}, ""),
        (5, ""),
    ],
)
def test_what_is_no_access_list_is_rejected_beside_others(name, count, odd, field):
    whole = {"parent": 301, "reply": PAGE_REPLIES[f"{ACCESS}301"]}
    run = run_of(name, [odd, whole])
    assert [row["page_id"] for row in run.rows] == count * ["301"]
    assert [(one.page, one.row, one.field) for one in run.violations] == [(1, 1, field)]
    assert run.incomplete


def test_a_group_is_told_by_a_whole_id_only():
    groups = [{"id": id, "users": [{"id": n}]} for n, id in enumerate((7.0, "8", True, 1.5, None))]
    run = run_of("page_people", [{"parent": 301, "reply": {"users": [], "groups": groups}}])
    assert [(row["user_id"], row["via_group_id"]) for row in run.rows] == [("0", "7"), ("1", "8")]
    assert [(one.row, one.field, one.met) for one in run.violations] == [
        (3, "viaGroupId", "true or false"),
        (4, "viaGroupId", "number"),
        (5, "viaGroupId", "null"),
    ]
    assert run.spellings == {"person_obj.viaGroupId": 1}


def test_events_that_are_the_same_are_told_apart_by_a_number():
    twin, other = EVENT | {"eventText": "is no part of the key"}, EVENT | {"objectId": "other"}
    later = EVENT | {"time": 1704240000052}
    run = run_of("activity_log", [later, EVENT, other], [twin, other, EVENT], [{}])  # newest first
    assert [row["event_key"] for row in run.rows] == [
        "f485a6edd94e46e9cd74c835-1",
        "43d8d9aac337c2c885db35c3-1",
        "c24ed15f65849f9a5c44753a-1",
        "43d8d9aac337c2c885db35c3-2",
        "c24ed15f65849f9a5c44753a-2",
        "43d8d9aac337c2c885db35c3-3",
        "3f8f1e8ee83b7051a9750918-1",
    ]
    assert run.repeated == 0


def test_the_calls_of_a_run_over_http(server):
    place = served(server, "oauth_configurations")
    path = "/api/data/v1/accounts/templates/user/extended"
    server.RequestHandlerClass.failures = {path: [503]}
    before = datetime.now(timezone.utc)
    reports.find("oauth_configurations").generate(place, "of-the-calls")
    frame = reports.find("calls").generate(place, "of-the-calls")
    after = datetime.now(timezone.utc)
    assert [(column, str(type)) for column, type in frame.dtypes.items()] == [
        (column, type) for column, type, *_ in ALL_OF_CALLS
    ]
    rows = rows_of(frame.drop(columns=["id", "at", "seconds"]))
    assert [tuple(row.values()) for row in rows] == [
        # method, path, status, reason, bytes, attempt, rows and what is left of the budget
        ("GET", "/api/content/v2/users/me", 200, "", 24, 1, None, None),
        ("GET", "/api/content/v2/users/101", 200, "", 24, 1, None, None),
        ("GET", "/api/authorization/v1/roles/2/authorities", 200, "", 88, 1, None, None),
        ("GET", path, 503, "", len(json.dumps(APP_REPLIES[path])), 1, None, None),
        ("GET", path, 200, "", len(json.dumps(APP_REPLIES[path])), 2, 3, None),
    ]
    assert frame["id"].is_unique and frame["at"].is_monotonic_increasing
    assert before <= frame["at"].min() + timedelta(milliseconds=1)
    assert frame["at"].max() <= after + timedelta(milliseconds=1)
    assert (frame["seconds"] > 0).all()
