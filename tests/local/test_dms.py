"""Tests of the local cloud's DMS, through boto3, as its users see it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from test_iam import RoleTest, allow, arn
from test_services import PostgresTest, ServiceTest, tearDownModule  # noqa: F401 (unittest calls it)

if TYPE_CHECKING:
    from rds.records import Fields

EVERYTHING = {
    "rules": [
        {
            "rule-type": "selection",
            "rule-id": "1",
            "rule-name": "everything",
            "object-locator": {"schema-name": "%", "table-name": "%"},
            "rule-action": "include",
        }
    ]
}
STOPS = {
    "DataErrorPolicy": "STOP_TASK",
    "TableErrorPolicy": "STOP_TASK",
    "ApplyErrorInsertPolicy": "STOP_TASK",
    "ApplyErrorUpdatePolicy": "STOP_TASK",
    "ApplyErrorDeletePolicy": "STOP_TASK",
    "ApplyErrorFailOnTruncationDdl": True,
}
SETTINGS = {
    "TargetMetadata": {"FullLobMode": True},
    "FullLoadSettings": {"TargetTablePrepMode": "TRUNCATE_BEFORE_LOAD"},
    "ValidationSettings": {"EnableValidation": True},
    "ErrorBehavior": STOPS,
}


class Replications(ServiceTest):
    """What the tests of the control plane and of the data plane share."""

    dms: Any
    ec2: Any

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.dms = cls.service.client("dms")
        cls.ec2 = cls.service.client("ec2")

    def subnet_group(self, name: str = "group") -> None:
        subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]]
        self.dms.create_replication_subnet_group(
            ReplicationSubnetGroupIdentifier=name, ReplicationSubnetGroupDescription="ours", SubnetIds=subnets
        )

    def replication_instance(self, name: str = "orders", **parameters: Any) -> str:
        made = self.dms.create_replication_instance(
            ReplicationInstanceIdentifier=name,
            ReplicationInstanceClass="dms.t3.medium",
            ReplicationSubnetGroupIdentifier="group",
            **parameters,
        )
        return str(made["ReplicationInstance"]["ReplicationInstanceArn"])

    def look_at_instance(self, arn: str) -> Any:
        filters = [{"Name": "replication-instance-arn", "Values": [arn]}]
        return self.dms.describe_replication_instances(Filters=filters)["ReplicationInstances"][0]

    def available_instance(self) -> str:
        self.subnet_group()
        arn = self.replication_instance()
        self.statuses(lambda: self.look_at_instance(arn)["ReplicationInstanceStatus"])
        return arn

    def endpoint(self, kind: str, **parameters: Any) -> str:
        made = self.dms.create_endpoint(
            **{
                "EndpointIdentifier": f"orders-{kind}",
                "EndpointType": kind,
                "EngineName": "postgres",
                "Username": "master",
                "Password": "password-1",
                "ServerName": "127.0.0.1",
                "Port": 9,
                "DatabaseName": "test",
            }
            | parameters
        )
        return str(made["Endpoint"]["EndpointArn"])

    def task(self, instance: str, source: str, target: str, settings: Fields | None = None, **parameters: Any) -> str:
        made = self.dms.create_replication_task(
            **{
                "ReplicationTaskIdentifier": "orders",
                "SourceEndpointArn": source,
                "TargetEndpointArn": target,
                "ReplicationInstanceArn": instance,
                "MigrationType": "full-load-and-cdc",
                "TableMappings": json.dumps(EVERYTHING),
                "ReplicationTaskSettings": json.dumps(SETTINGS | (settings or {})),
            }
            | parameters
        )
        return str(made["ReplicationTask"]["ReplicationTaskArn"])

    def look_at_task(self, arn: str) -> Any:
        filters = [{"Name": "replication-task-arn", "Values": [arn]}]
        return self.dms.describe_replication_tasks(Filters=filters)["ReplicationTasks"][0]

    def task_statuses(self, arn: str, until: str) -> list[Any]:
        def look() -> Any:
            task = self.look_at_task(arn)
            if task["Status"] == "failed" != until:
                raise AssertionError(task["LastFailureMessage"])
            return task["Status"]

        return self.statuses(look, until)

    def try_connection(self, instance: str, endpoint: str, until: str = "successful") -> Any:
        self.dms.test_connection(ReplicationInstanceArn=instance, EndpointArn=endpoint)
        filters = [{"Name": "endpoint-arn", "Values": [endpoint]}]

        def look() -> Any:
            return self.dms.describe_connections(Filters=filters)["Connections"][0]

        self.statuses(lambda: look()["Status"], until)
        return look()

    def gone(self, call: Any, **filters: str) -> None:
        """Nothing is found any more."""
        wanted = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]

        def is_gone() -> bool:
            try:
                call(Filters=wanted)
            except self.dms.exceptions.ResourceNotFoundFault:
                return True
            return False

        self.wait_for(is_gone)


class ControlPlane(Replications):
    def test_an_instance_takes_its_time_and_needs_its_subnet_group(self) -> None:
        self.refused("ResourceNotFoundFault", self.replication_instance)
        self.subnet_group()
        self.set_durations(replication_instance_create=500, replication_instance_delete=500)
        arn = self.replication_instance(Tags=[{"Key": "team", "Value": "a"}])
        self.assertEqual(
            self.statuses(lambda: self.look_at_instance(arn)["ReplicationInstanceStatus"]), ["creating", "available"]
        )
        self.refused("ResourceAlreadyExistsFault", self.replication_instance)
        self.refused(
            "InvalidResourceStateFault",
            self.dms.delete_replication_subnet_group,
            ReplicationSubnetGroupIdentifier="group",
        )
        self.assertEqual(self.dms.list_tags_for_resource(ResourceArn=arn)["TagList"], [{"Key": "team", "Value": "a"}])
        self.dms.delete_replication_instance(ReplicationInstanceArn=arn)
        self.assertEqual(self.look_at_instance(arn)["ReplicationInstanceStatus"], "deleting")
        self.gone(self.dms.describe_replication_instances, replication_instance_id="orders")
        self.dms.delete_replication_subnet_group(ReplicationSubnetGroupIdentifier="group")
        self.refused("ResourceNotFoundFault", self.dms.describe_replication_subnet_groups)

    def test_an_instance_that_is_not_available_is_neither_used_nor_deleted(self) -> None:
        self.subnet_group()
        self.set_durations(replication_instance_create=100_000)
        instance, source, target = self.replication_instance(), self.endpoint("source"), self.endpoint("target")
        self.refused("InvalidResourceStateFault", self.dms.delete_replication_instance, ReplicationInstanceArn=instance)
        self.refused(
            "InvalidResourceStateFault",
            self.dms.test_connection,
            ReplicationInstanceArn=instance,
            EndpointArn=source,
        )
        self.refused("InvalidResourceStateFault", self.task, instance=instance, source=source, target=target)

    def test_what_is_not_there_is_not_found(self) -> None:
        self.refused("ResourceNotFoundFault", self.dms.describe_endpoints)
        self.refused("ResourceNotFoundFault", self.dms.describe_replication_tasks)
        nowhere = "arn:aws:dms:us-east-1:123456789012:task:NOWHERE"
        self.refused("ResourceNotFoundFault", self.dms.stop_replication_task, ReplicationTaskArn=nowhere)
        self.refused("ResourceNotFoundFault", self.dms.describe_table_statistics, ReplicationTaskArn=nowhere)
        self.refused("ResourceNotFoundFault", self.dms.list_tags_for_resource, ResourceArn=nowhere)

    def test_an_endpoint_shows_no_password_and_no_call_keeps_it(self) -> None:
        arn = self.endpoint("source", SslMode="require")
        shown = self.dms.describe_endpoints(Filters=[{"Name": "endpoint-id", "Values": ["orders-source"]}])["Endpoints"]
        self.assertEqual((shown[0]["EndpointArn"], shown[0]["SslMode"]), (arn, "require"))
        self.assertNotIn("password-1", json.dumps([shown, self.control("GET", "calls")]))
        self.refused("ResourceAlreadyExistsFault", self.endpoint, kind="source")

    def test_ssl_modes_are_those_of_the_engine(self) -> None:
        self.refused(
            "InvalidParameterValueException", self.endpoint, kind="source", EngineName="mysql", SslMode="require"
        )
        self.refused("InvalidParameterCombinationException", self.endpoint, kind="source", SslMode="verify-full")

    def test_a_connection_that_fails_says_why_and_its_task_does_not_start(self) -> None:
        instance, source, target = self.available_instance(), self.endpoint("source"), self.endpoint("target")
        failed = self.try_connection(instance, source, "failed")
        self.assertIn("Connection refused", failed["LastFailureMessage"])
        task = self.task(instance, source, target)
        self.assertEqual(self.task_statuses(task, "ready"), ["creating", "ready"])
        self.refused(
            "InvalidResourceStateFault",
            self.dms.start_replication_task,
            ReplicationTaskArn=task,
            StartReplicationTaskType="start-replication",
        )
        self.refused("InvalidResourceStateFault", self.dms.stop_replication_task, ReplicationTaskArn=task)

    def test_what_is_used_is_not_deleted(self) -> None:
        instance, source, target = self.available_instance(), self.endpoint("source"), self.endpoint("target")
        task = self.task(instance, source, target)
        self.task_statuses(task, "ready")
        for call, named in (
            (self.dms.delete_endpoint, {"EndpointArn": source}),
            (self.dms.delete_replication_instance, {"ReplicationInstanceArn": instance}),
        ):
            self.refused("InvalidResourceStateFault", call, **named)
        self.dms.delete_replication_task(ReplicationTaskArn=task)
        self.gone(self.dms.describe_replication_tasks, replication_task_id="orders")
        for endpoint in (source, target):
            self.dms.delete_endpoint(EndpointArn=endpoint)
        self.dms.delete_replication_instance(ReplicationInstanceArn=instance)
        self.gone(self.dms.describe_endpoints, endpoint_arn=source)
        self.gone(self.dms.describe_replication_instances, replication_instance_arn=instance)

    def test_a_task_needs_json_that_includes_something(self) -> None:
        instance, source, target = self.available_instance(), self.endpoint("source"), self.endpoint("target")
        named = {"instance": instance, "source": source, "target": target}
        code = "InvalidParameterValueException"
        self.refused(code, self.task, **named, TableMappings="everything")
        self.refused(code, self.task, **named, TableMappings='{"rules": []}')
        self.refused(code, self.task, **named, ReplicationTaskSettings="[]")

    def test_a_fault_finds_a_task_by_its_name(self) -> None:
        instance, source, target = self.available_instance(), self.endpoint("source"), self.endpoint("target")
        arn = self.task(instance, source, target)
        self.task_statuses(arn, "ready")
        rule = {"operation": "DeleteReplicationTask", "naming": "orders", "action": {"type": "throttle"}}
        self.control("POST", "faults", rule)
        self.refused("Throttling", self.dms.delete_replication_task, ReplicationTaskArn=arn)
        self.control("POST", "faults", rule | {"action": {"type": "status", "status": "failed"}, "when": "after"})
        self.dms.delete_replication_task(ReplicationTaskArn=arn)
        self.assertEqual(self.look_at_task(arn)["Status"], "failed")


class Permissions(RoleTest, Replications):
    def setUp(self) -> None:
        super().setUp()
        self.owner, self.dms = self.dms, self.service.client("dms", app_id="rds-encrypt.step")

    def denied_in_json(self, action: str, resource: str, call: Any, **parameters: Any) -> None:
        error = self.refused("AccessDeniedException", call, **parameters)
        self.assertIn(f"is not authorized to perform: {action} on resource: {resource} ", error["Error"]["Message"])

    def test_what_is_made_has_no_name_yet_and_its_tags_are_asked_for(self) -> None:
        tags = [{"Key": "team", "Value": "a"}]
        made = arn("endpoint:*", "dms")
        self.give(allow("dms:CreateEndpoint", arn("endpoint:ORDERS", "dms")))
        self.denied_in_json("dms:CreateEndpoint", made, self.endpoint, kind="source")
        self.give(allow("dms:CreateEndpoint", made))
        self.endpoint("source")
        self.denied_in_json("dms:AddTagsToResource", made, self.endpoint, kind="target", Tags=tags)
        self.give(allow(["dms:CreateEndpoint", "dms:AddTagsToResource"], made))
        self.endpoint("target", Tags=tags)

    def test_an_instance_asks_for_its_subnet_group_and_its_key(self) -> None:
        self.subnet_group_of_owner()
        key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.give(allow("dms:CreateReplicationInstance", arn("rep:*", "dms")))
        self.denied_in_json("dms:CreateReplicationInstance", arn("subgrp:group", "dms"), self.replication_instance)
        self.give(allow("dms:CreateReplicationInstance"))
        self.refused("KMSKeyNotAccessibleFault", self.replication_instance, KmsKeyId=key)
        self.give(allow(["dms:CreateReplicationInstance", "kms:DescribeKey", "kms:CreateGrant"]))
        self.replication_instance(KmsKeyId=key)

    def test_a_tag_of_the_resource_decides_once_it_counts(self) -> None:
        self.give(allow("dms:*"))
        endpoint = self.endpoint("source", Tags=[{"Key": "team", "Value": "a"}])
        condition = {"StringEquals": {"aws:ResourceTag/team": "a"}}
        self.give(allow("dms:DeleteEndpoint", condition=condition))
        self.control("PATCH", "settings", {"tag_delay_seconds": 1_000_000})
        self.denied_in_json("dms:DeleteEndpoint", endpoint, self.dms.delete_endpoint, EndpointArn=endpoint)
        self.control("PATCH", "settings", {"tag_delay_seconds": 0})
        self.dms.delete_endpoint(EndpointArn=endpoint)

    def subnet_group_of_owner(self) -> None:
        self.dms, step = self.owner, self.dms
        self.subnet_group()
        self.dms = step


# What is awkward: a schema, identities, generated columns, partitions, large values, keys of two columns, quotes.
SCHEMA = """
    CREATE SCHEMA "Second";
    CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL DEFAULT 0, note text);
    CREATE TABLE entry (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL, amount int NOT NULL,
        doubled int GENERATED ALWAYS AS (amount * 2) STORED);
    CREATE TABLE "Second"."Odd ""table" ("Key" int, day date, v numeric, j jsonb, at timestamptz, list int[],
        PRIMARY KEY ("Key", day))
        PARTITION BY LIST (day);
    CREATE TABLE "Second".today PARTITION OF "Second"."Odd ""table" DEFAULT;
    CREATE TABLE keyless (session int, number int);
    CREATE TABLE document (id text PRIMARY KEY, n int NOT NULL DEFAULT 0, body text);
    ALTER TABLE document ALTER body SET STORAGE EXTERNAL;
"""
ROWS = """
    INSERT INTO account SELECT g, 0, md5(g::text) FROM generate_series(1, 500) g;
    INSERT INTO entry (account, amount) SELECT g, g FROM generate_series(1, 100) g;
    INSERT INTO document SELECT 'it''s ' || g, 0, repeat(md5(g::text), 2000) FROM generate_series(1, 20) g;
    INSERT INTO "Second"."Odd ""table" VALUES (1, '2026-01-01', 1.50, '{"a": [1, "[x]:"]}', now(), '{1,2}');
    INSERT INTO keyless SELECT g, g FROM generate_series(1, 50) g;
"""
CHANGES = """
    BEGIN;
    UPDATE account SET balance = balance + 1, note = 'a '' new-tuple: b' WHERE id <= 10;
    UPDATE account SET id = 1000 WHERE id = 20;
    DELETE FROM account WHERE id = 30;
    INSERT INTO entry (account, amount) VALUES (1, 7);
    UPDATE entry SET amount = 8 WHERE id = 1;
    UPDATE document SET n = n + 1 WHERE id = 'it''s 3';
    INSERT INTO "Second"."Odd ""table" VALUES (2, '2026-01-02', 'NaN', NULL, '2026-01-01 00:00:00+05:30', NULL);
    UPDATE "Second"."Odd ""table" SET day = '2026-02-01', v = 2 WHERE "Key" = 1;
    INSERT INTO keyless VALUES (1, 1);
    COMMIT;
    BEGIN; INSERT INTO account VALUES (2000); ROLLBACK;
"""
SPOILER = """
    CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := 'spoilt'; RETURN NEW; END$$;
    CREATE TRIGGER spoil BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION spoil();
    ALTER TABLE account ENABLE ALWAYS TRIGGER spoil;
"""
TABLES = ("account", "entry", '"Second"."Odd ""table"', "keyless", "document")


class DataPlane(PostgresTest, Replications):
    def make_ends(self, more: str = "") -> None:
        """Two databases of one schema; the source has rows, the target other ones."""
        self.create("source", DBParameterGroupName=self.logical_replication())
        self.create("target")
        for name in ("source", "target"):
            self.psql(name, SCHEMA + more)
        self.psql("source", ROWS)
        self.psql("target", "INSERT INTO account VALUES (1, 1, 'stale')")

    def make_task(self, settings: Fields | None = None) -> str:
        self.instance_arn = self.available_instance()
        ends = {}
        for kind in ("source", "target"):
            at = self.instance(kind)["Endpoint"]
            script = {"AfterConnectScript": "SET session_replication_role = 'replica'"} if kind == "target" else {}
            ends[kind] = self.endpoint(
                kind,
                ServerName=at["Address"],
                Port=at["Port"],
                SslMode="require",
                PostgreSQLSettings=script | {"PluginName": "test_decoding"},
            )
            self.try_connection(self.instance_arn, ends[kind])
        arn = self.task(self.instance_arn, ends["source"], ends["target"], settings)
        self.task_statuses(arn, "ready")
        return arn

    def start(self, arn: str, kind: str = "start-replication", until: str = "running") -> None:
        self.dms.start_replication_task(ReplicationTaskArn=arn, StartReplicationTaskType=kind)
        self.task_statuses(arn, until)

    def tables(self, arn: str) -> dict[str, Any]:
        tables = self.dms.describe_table_statistics(ReplicationTaskArn=arn)["TableStatistics"]
        return {table["TableName"]: table for table in tables}

    def states(self, arn: str) -> set[str]:
        return {table["ValidationState"] for table in self.tables(arn).values()}

    def validated(self, arn: str) -> None:
        self.wait_for(lambda: self.states(arn) == {"Validated", "No primary key"})

    def digest(self, name: str) -> Any:
        sums = [f"(SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM {table} t)" for table in TABLES]
        return self.psql(name, f"SELECT concat_ws(';', {', '.join(sums)})")

    def drain(self) -> None:
        self.psql("source", "INSERT INTO keyless VALUES (-1, -1)")
        self.wait_for(lambda: self.psql("target", "SELECT count(*) FROM keyless WHERE session = -1") == "1")

    def test_rows_are_loaded_then_changed_and_compared(self) -> None:
        self.make_ends()
        arn = self.make_task({"ControlTablesSettings": {"ControlSchema": "Second"}})
        self.start(arn)
        self.validated(arn)
        controls = "SELECT DISTINCT relnamespace::regnamespace FROM pg_class WHERE relname ~ '^awsdms_'"
        self.assertEqual(self.psql("target", controls), '"Second"')
        self.assertEqual(self.digest("source"), self.digest("target"))
        self.assertEqual(self.look_at_task(arn)["ReplicationTaskStats"]["FullLoadProgressPercent"], 100)
        self.psql("source", CHANGES)
        self.drain()
        self.assertEqual(self.digest("source"), self.digest("target"))
        self.validated(arn)
        account = self.tables(arn)["account"]
        names = ("FullLoadRows", "Inserts", "Updates", "Deletes", "AppliedUpdates", "ValidationFailedRecords")
        self.assertEqual([account[name] for name in names], [500, 0, 11, 1, 11, 0])
        self.assertEqual(account["TableState"], "Table completed")
        # A trigger that fires whatever the session's role is: what it makes of a row is found.
        self.psql("target", SPOILER)
        self.psql("source", "UPDATE account SET note = 'b' WHERE id = 7")
        self.wait_for(lambda: self.tables(arn)["account"]["ValidationState"] == "Mismatched records")
        self.assertEqual(self.tables(arn)["account"]["ValidationFailedRecords"], 1)
        self.dms.stop_replication_task(ReplicationTaskArn=arn)
        self.task_statuses(arn, "stopped")
        self.assertEqual(self.psql("source", "SELECT count(*) FROM pg_replication_slots WHERE NOT active"), "1")
        self.dms.delete_replication_task(ReplicationTaskArn=arn)
        self.gone(self.dms.describe_replication_tasks, replication_task_arn=arn)
        self.assertEqual(self.psql("source", "SELECT count(*) FROM pg_replication_slots"), "0")

    def test_a_task_goes_on_where_it_stopped(self) -> None:
        self.make_ends()
        arn = self.make_task()
        self.start(arn)
        self.validated(arn)
        self.dms.stop_replication_task(ReplicationTaskArn=arn)
        self.task_statuses(arn, "stopped")
        self.psql("source", CHANGES)
        self.refused(
            "InvalidParameterCombinationException",
            self.dms.start_replication_task,
            ReplicationTaskArn=arn,
            StartReplicationTaskType="start-replication",
        )
        self.start(arn, "resume-processing")
        self.drain()
        self.assertEqual(self.digest("source"), self.digest("target"))

    def test_a_table_that_a_foreign_key_references_is_not_truncated(self) -> None:
        self.make_ends("ALTER TABLE entry ADD FOREIGN KEY (account) REFERENCES account")
        arn = self.make_task()
        self.start(arn, until="failed")
        task = self.look_at_task(arn)
        self.assertIn("FATAL_ERROR", task["StopReason"])
        self.assertIn("cannot truncate a table referenced in a foreign key constraint", task["LastFailureMessage"])
        self.assertEqual(self.tables(arn)["account"]["TableState"], "Table error")
        self.assertEqual(self.psql("target", "SELECT count(*) FROM account"), "1")

    def test_by_default_errors_are_logged_and_rows_left_out(self) -> None:
        self.make_ends("ALTER TABLE entry ADD FOREIGN KEY (account) REFERENCES account")
        arn = self.make_task({"ErrorBehavior": {}, "TargetMetadata": {"LobMaxSize": 1}})
        self.start(arn)
        self.wait_for(lambda: self.tables(arn)["keyless"]["TableState"] == "Table completed")
        self.assertEqual(self.tables(arn)["account"]["ValidationState"], "Table error")
        self.assertEqual(self.psql("target", "SELECT max(length(body)) FROM document"), "1024")
        self.wait_for(lambda: self.tables(arn)["document"]["ValidationState"] == "Mismatched records")
        self.psql("target", "INSERT INTO document VALUES ('taken')")
        self.psql("source", "INSERT INTO document VALUES ('taken', 1, 'lost')")
        self.drain()
        self.assertEqual(self.psql("target", "SELECT n FROM document WHERE id = 'taken'"), "0")
        self.assertEqual(self.psql("target", "SELECT count(*) FROM awsdms_apply_exceptions"), "1")
        self.assertEqual(self.look_at_task(arn)["Status"], "running")

    def test_a_change_that_the_target_does_not_take_stops_the_task(self) -> None:
        self.make_ends()
        arn = self.make_task()
        self.start(arn)
        self.validated(arn)
        self.psql("target", "DELETE FROM account WHERE id = 5")
        self.psql("source", "UPDATE account SET balance = 5 WHERE id = 5")
        self.task_statuses(arn, "failed")
        self.assertIn("UPDATE of a row of public.account", self.look_at_task(arn)["LastFailureMessage"])

    def test_a_truncated_source_stops_the_task(self) -> None:
        self.make_ends()
        arn = self.make_task()
        self.start(arn)
        self.validated(arn)
        self.psql("source", "TRUNCATE keyless")
        self.task_statuses(arn, "failed")

    def test_a_source_that_goes_away_fails_the_task(self) -> None:
        self.make_ends()
        arn = self.make_task()
        self.start(arn)
        self.validated(arn)
        self.control("DELETE", "instances/source")
        self.task_statuses(arn, "failed")
        # Its slot cannot be dropped any more, and the task goes all the same.
        self.dms.delete_replication_task(ReplicationTaskArn=arn)
        self.gone(self.dms.describe_replication_tasks, replication_task_arn=arn)

    def test_plays(self) -> None:
        self.make_ends()
        self.control("PATCH", "settings", {"dms_plays": {"pending": True}})
        arn = self.make_task()
        self.start(arn)
        self.wait_for(lambda: self.states(arn) == {"Pending records", "No primary key"})
        time.sleep(0.3)
        self.assertEqual(self.tables(arn)["account"]["ValidationPendingRecords"], 1)

        def play(**plays: Any) -> None:
            rule = {"operation": "DescribeTableStatistics", "when": "after", "action": {"type": "play", "plays": plays}}
            self.control("POST", "faults", rule)
            self.tables(arn)

        play(pending=False, mismatches=True)
        self.wait_for(lambda: self.tables(arn)["account"]["ValidationState"] == "Mismatched records")
        self.assertEqual(self.tables(arn)["account"]["ValidationFailedRecords"], 1)
        play(fails="changes")
        self.task_statuses(arn, "failed")
