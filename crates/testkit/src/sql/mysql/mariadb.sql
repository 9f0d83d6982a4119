-- What only MariaDB has.

-- piece: sequences [only: mariadb]
CREATE SEQUENCE `seq; 1` START WITH 5 INCREMENT BY 3 MINVALUE 1 MAXVALUE 1000 CACHE 10;;
SELECT NEXTVAL(`seq; 1`), NEXTVAL(`seq; 1`);;
CREATE SEQUENCE `cycled` START WITH 3 MINVALUE 1 MAXVALUE 3 NOCACHE CYCLE;;
SELECT NEXTVAL(`cycled`), NEXTVAL(`cycled`);;
CREATE SEQUENCE `down` START WITH -1 INCREMENT BY -1 MINVALUE -9223372036854775807 MAXVALUE -1 NOCACHE;;
SELECT SETVAL(`down`, -500);;
CREATE SEQUENCE `unused` ENGINE = MyISAM COMMENT = 'it''s; new';;

-- piece: a sequence in a default [only: mariadb]
CREATE SEQUENCE `z numbers` START WITH 100 NOCACHE;;
CREATE TABLE `a numbered` (id BIGINT NOT NULL DEFAULT NEXTVAL(`z numbers`) PRIMARY KEY, v VARCHAR(9));;
INSERT INTO `a numbered` (v) VALUES ('x'), ('y');;
INSERT INTO `a numbered` VALUES (7, NULL);;

-- piece: a sequence of unsigned numbers [only: mariadb11]
CREATE SEQUENCE `wide` AS BIGINT UNSIGNED START WITH 18446744073709551600 MAXVALUE 18446744073709551610 NOCACHE;;
SELECT NEXTVAL(`wide`);;

-- piece: a table with history [only: mariadb]
CREATE TABLE versioned (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), unversioned INT WITHOUT SYSTEM VERSIONING) WITH SYSTEM VERSIONING;;
SET SESSION timestamp = 981173106.000001;;
INSERT INTO versioned VALUES (1, 'first', 1), (2, 'deleted', 1), (3, 'unchanged', NULL);;
SET SESSION timestamp = 981173107.5;;
UPDATE versioned SET v = 'second' WHERE id = 1;;
SET SESSION timestamp = 981173108;;
DELETE FROM versioned WHERE id = 2;;
UPDATE versioned SET v = NULL WHERE id = 1;;

-- piece: a table with named history [only: mariadb]
CREATE TABLE `named history` (id INT NOT NULL PRIMARY KEY, v TEXT,
  `from` TIMESTAMP(6) GENERATED ALWAYS AS ROW START INVISIBLE, `to` TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (`from`, `to`)
) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION `old ones` HISTORY, PARTITION `now` CURRENT);;
SET SESSION timestamp = 981173106;;
INSERT INTO `named history` (id, v) VALUES (1, 'a'), (2, 'b');;
SET SESSION timestamp = 981173107;;
UPDATE `named history` SET v = 'c' WHERE id = 1;;

-- piece: a period of the application [only: mariadb]
CREATE TABLE `booking` (room INT NOT NULL, since DATE, until DATE, who VARCHAR(20), PERIOD FOR `stay` (since, until), PRIMARY KEY (room, `stay` WITHOUT OVERLAPS));;
INSERT INTO `booking` VALUES (1, '2001-01-01', '2001-02-01', 'a'), (1, '2001-02-01', '2001-02-03', NULL), (2, '1999-01-01', '2030-01-01', '');;

-- piece: packages [only: mariadb]
SET SESSION sql_mode = 'ORACLE';;
CREATE DEFINER = `ghost`@`%` PACKAGE "pack; 'age'" COMMENT 'it''s' AS
  -- what it offers; in short
  FUNCTION one RETURN INT;
  PROCEDURE two(a IN INT, b OUT VARCHAR2(20));
END;;
CREATE DEFINER = `ghost`@`%` PACKAGE BODY "pack; 'age'" AS
  hidden INT := 7;
  FUNCTION one RETURN INT AS BEGIN RETURN hidden; END;
  PROCEDURE two(a IN INT, b OUT VARCHAR2(20)) AS BEGIN b := 'x''y' || a; END;
BEGIN
  hidden := 8;
END;;
CREATE PACKAGE bodiless AS FUNCTION f RETURN INT; END;;
CREATE PROCEDURE "oracle's" (p IN VARCHAR2(10)) AS BEGIN NULL; END;;

-- piece: compressed columns [only: mariadb]
CREATE TABLE compressed (id INT NOT NULL PRIMARY KEY, t TEXT COMPRESSED, v VARCHAR(3000) COMPRESSED DEFAULT 'x', b BLOB COMPRESSED) DEFAULT CHARSET utf8mb4;;
INSERT INTO compressed VALUES (1, REPEAT('long ', 1000), REPEAT('ä', 1000), REPEAT(0x00, 5000)), (2, NULL, NULL, NULL), (3, '', '', '');;

-- piece: compressed pages [only: mariadb]
CREATE TABLE `compressed pages` (id INT NOT NULL PRIMARY KEY, t TEXT) ENGINE = InnoDB PAGE_COMPRESSED = 1 PAGE_COMPRESSION_LEVEL = 3;;
INSERT INTO `compressed pages` VALUES (1, REPEAT('page ', 5000));;

-- piece: a long unique key [only: mariadb]
CREATE TABLE `long unique` (id INT NOT NULL PRIMARY KEY, t TEXT, b LONGBLOB, UNIQUE KEY (t), UNIQUE KEY `both` (b, t)) DEFAULT CHARSET utf8mb4;;
INSERT INTO `long unique` VALUES (1, REPEAT('x', 5000), 'y'), (2, NULL, NULL), (3, NULL, NULL), (4, '', '');;

-- piece: an aggregate function [only: mariadb]
CREATE AGGREGATE FUNCTION `sum; of squares` (x INT) RETURNS BIGINT DETERMINISTIC
BEGIN
  DECLARE total BIGINT DEFAULT 0;
  DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN total;
  LOOP
    FETCH GROUP NEXT ROW;
    SET total = total + x * x;
  END LOOP;
END;;
