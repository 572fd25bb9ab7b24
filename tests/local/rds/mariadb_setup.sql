-- What RDS puts into the schema `mysql` of every MariaDB instance (RDS User Guide, "RDS for MariaDB reference", and
-- the procedures of RDS for MySQL that it refers to), as far as somebody who replicates has use for it. Run once, as
-- rdsadmin and without a binary log, for the folder that every new instance is a copy of.

CREATE TABLE mysql.rds_heartbeat2 (id int NOT NULL PRIMARY KEY, value bigint) ENGINE=InnoDB;

CREATE TABLE mysql.rds_configuration (
  name varchar(100) NOT NULL PRIMARY KEY, value varchar(100), description varchar(300) NOT NULL
) ENGINE=InnoDB;
INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', NULL,
  'binlog retention hours specifies the duration in hours before binary logs are automatically deleted.');

DELIMITER $$

-- Never logged: a replica is to replicate what it is told itself.
CREATE PROCEDURE mysql.rds_set_external_master_gtid(
  host varchar(255), port int, user varchar(128), password varchar(255), gtid varchar(4096), ssl_encryption int
)
SQL SECURITY DEFINER
BEGIN
  IF EXISTS (
    SELECT 1 FROM information_schema.global_status WHERE variable_name = 'SLAVE_RUNNING' AND variable_value = 'ON'
  ) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Replication is running: call mysql.rds_stop_replication first';
  END IF;
  EXECUTE IMMEDIATE CONCAT('SET GLOBAL gtid_slave_pos = ', QUOTE(gtid));
  EXECUTE IMMEDIATE CONCAT('CHANGE MASTER TO MASTER_HOST = ', QUOTE(host), ', MASTER_PORT = ', port,
    ', MASTER_USER = ', QUOTE(user), ', MASTER_PASSWORD = ', QUOTE(password), ', MASTER_SSL = ', ssl_encryption,
    ', MASTER_SSL_VERIFY_SERVER_CERT = 0, MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos');
END$$

CREATE PROCEDURE mysql.rds_set_external_master(
  host varchar(255), port int, user varchar(128), password varchar(255), log_file varchar(255), log_position bigint,
  ssl_encryption int
)
SQL SECURITY DEFINER
BEGIN
  EXECUTE IMMEDIATE CONCAT('CHANGE MASTER TO MASTER_HOST = ', QUOTE(host), ', MASTER_PORT = ', port,
    ', MASTER_USER = ', QUOTE(user), ', MASTER_PASSWORD = ', QUOTE(password), ', MASTER_SSL = ', ssl_encryption,
    ', MASTER_SSL_VERIFY_SERVER_CERT = 0, MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = no, MASTER_LOG_FILE = ',
    QUOTE(log_file), ', MASTER_LOG_POS = ', log_position);
END$$

CREATE PROCEDURE mysql.rds_start_replication()
SQL SECURITY DEFINER
BEGIN
  START SLAVE;
  SELECT 'Slave running normally.' AS Message;
END$$

CREATE PROCEDURE mysql.rds_stop_replication()
SQL SECURITY DEFINER
BEGIN
  STOP SLAVE;
  SELECT 'Slave is down or disabled' AS Message;
END$$

-- Refused by the server itself while replication runs.
CREATE PROCEDURE mysql.rds_reset_external_master()
SQL SECURITY DEFINER
BEGIN
  RESET SLAVE ALL;
  SELECT 'Slave has been reset' AS Message;
END$$

CREATE PROCEDURE mysql.rds_set_configuration(configured varchar(100), wanted int)
SQL SECURITY DEFINER
BEGIN
  IF configured <> 'binlog retention hours' OR wanted NOT BETWEEN 1 AND 168 THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'binlog retention hours is NULL or from 1 to 168';
  END IF;
  SET @rds_sql_log_bin = @@session.sql_log_bin;
  SET SESSION sql_log_bin = 0;
  UPDATE mysql.rds_configuration SET value = wanted WHERE name = configured;
  SET SESSION sql_log_bin = @rds_sql_log_bin;
END$$

CREATE PROCEDURE mysql.rds_show_configuration()
SQL SECURITY DEFINER
BEGIN
  SELECT name, value, description FROM mysql.rds_configuration;
END$$

CREATE PROCEDURE mysql.rds_kill(thread bigint)
SQL SECURITY DEFINER
BEGIN
  CALL mysql.rds_spare_own(thread);
  EXECUTE IMMEDIATE CONCAT('KILL CONNECTION ', thread);
END$$

CREATE PROCEDURE mysql.rds_kill_query(thread bigint)
SQL SECURITY DEFINER
BEGIN
  CALL mysql.rds_spare_own(thread);
  EXECUTE IMMEDIATE CONCAT('KILL QUERY ', thread);
END$$

-- Of this cloud alone: what both of them refuse.
CREATE PROCEDURE mysql.rds_spare_own(thread bigint)
SQL SECURITY DEFINER
BEGIN
  -- Who calls it runs as rdsadmin meanwhile.
  IF EXISTS (
    SELECT 1 FROM information_schema.processlist
    WHERE id = thread AND user = 'rdsadmin' AND thread <> CONNECTION_ID()
  ) THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'Cannot kill a session of RDS itself';
  END IF;
END$$

DELIMITER ;
