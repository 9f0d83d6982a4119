-- Views, triggers, routines and events.

-- piece: views over views
CREATE TABLE `under views` (id INT NOT NULL PRIMARY KEY, v VARCHAR(20), n INT) DEFAULT CHARSET utf8mb4;;
INSERT INTO `under views` VALUES (1, 'x', 1), (2, NULL, 2), (30, '', NULL);;
CREATE VIEW `z view` AS SELECT id, v FROM `under views` WHERE id < 20;;
CREATE VIEW `m view` (`number`, `it's "text"`, `a``b`) AS SELECT id, v, CONCAT(v, '\\', "it's", '"', '%') FROM `z view`;;
CREATE VIEW `a view` AS SELECT m.`number`, u.n FROM `m view` m LEFT JOIN `under views` u ON u.id = m.`number` UNION ALL SELECT 1, 2;;

-- piece: views with options
CREATE TABLE `under options` (id INT NOT NULL PRIMARY KEY, v INT);;
INSERT INTO `under options` VALUES (1, 1);;
CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW `merge view` AS SELECT id, v FROM `under options` WHERE v > 0 WITH LOCAL CHECK OPTION;;
CREATE VIEW `cascaded view` AS SELECT id, v FROM `merge view` WHERE id > 0 WITH CASCADED CHECK OPTION;;
CREATE ALGORITHM = TEMPTABLE SQL SECURITY DEFINER VIEW `temporary view` AS SELECT COUNT(*) AS `count(*)`, v FROM `under options` GROUP BY v ORDER BY v DESC LIMIT 5;;

-- piece: a view of a definer who is not
CREATE DEFINER = `ghost`@`%` SQL SECURITY INVOKER VIEW `view of a ghost` AS SELECT 1 AS `one`;;
CREATE DEFINER = `ghost`@`%` VIEW `view by a ghost` AS SELECT 'boo' AS `b;oo`;;

-- piece: a view over a function
CREATE FUNCTION `view's function` (x INT) RETURNS VARCHAR(20) CHARSET utf8mb4 NO SQL DETERMINISTIC RETURN CONCAT('<', x, '>');;
CREATE VIEW `a view over a function` AS SELECT `view's function`(7) AS v;;

-- piece: a function over a view
CREATE VIEW `function's view` AS SELECT 5 AS five;;
CREATE FUNCTION `a function over a view` () RETURNS INT READS SQL DATA RETURN (SELECT five FROM `function's view`);;
CREATE VIEW `a view over it` AS SELECT `a function over a view`() AS five;;

-- piece: a view that is broken
CREATE TABLE `soon gone` (a INT, b INT);;
CREATE VIEW `broken view` AS SELECT a, b FROM `soon gone`;;
CREATE VIEW `broken by that` AS SELECT a FROM `broken view`;;
DROP TABLE `soon gone`;;

-- piece: views in other character sets
SET NAMES latin1 COLLATE latin1_german1_ci;;
CREATE VIEW `view in latin1` AS SELECT 'grün' AS g, _utf8 'x' AS u, 'a' = 'A' COLLATE latin1_bin AS c;;
SET NAMES koi8r;;
CREATE VIEW `view in koi8r` AS SELECT 'п' AS p;;
SET NAMES utf8mb4 COLLATE utf8mb4_bin;;
CREATE VIEW `view in utf8mb4_bin` AS SELECT '😀' AS g, 'a' = 'A' AS `same`, _binary 'x' AS x, x'00FF' AS h, b'101' AS b, N'n' AS n;;

-- piece: views in other modes
SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';;
CREATE VIEW "view in ansi" AS SELECT 'a' || 'b' AS "a""b", '\\' AS "back\slash";;
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';;
CREATE VIEW `view without escapes` AS SELECT '\' AS b, 'it''s \n' AS n;;

-- piece: a trigger for each moment
CREATE TABLE `watched` (id INT NOT NULL PRIMARY KEY, v VARCHAR(20));;
CREATE TABLE `watch log` (what VARCHAR(40));;
INSERT INTO `watched` VALUES (1, 'before the triggers');;
CREATE TRIGGER `before insert` BEFORE INSERT ON `watched` FOR EACH ROW SET NEW.v = CONCAT('changed ', NEW.v);;
CREATE TRIGGER `after; insert` AFTER INSERT ON `watched` FOR EACH ROW INSERT INTO `watch log` VALUES ('after insert');;
CREATE TRIGGER before_update BEFORE UPDATE ON `watched` FOR EACH ROW
BEGIN
  -- a comment; with 'quotes' and "more" and `these`
  /* another; */ # and one
  IF NEW.v IS NULL THEN SET NEW.v = ';'; END IF;
END;;
CREATE DEFINER = `ghost`@`%` TRIGGER `after ``update` AFTER UPDATE ON `watched` FOR EACH ROW INSERT INTO `watch log` VALUES ('it''s; \\ %');;
CREATE TRIGGER `before delete` BEFORE DELETE ON `watched` FOR EACH ROW INSERT INTO `watch log` VALUES (OLD.id);;
CREATE TRIGGER `after delete 日本` AFTER DELETE ON `watched` FOR EACH ROW SET @deleted = OLD.id;;
INSERT INTO `watched` VALUES (2, 'row');;

-- piece: triggers in an order [only: mariadb mysql9]
CREATE TABLE `ordered triggers` (id INT NOT NULL PRIMARY KEY, v VARCHAR(40));;
CREATE TRIGGER `c is first` BEFORE INSERT ON `ordered triggers` FOR EACH ROW SET NEW.v = CONCAT(NEW.v, 'c');;
CREATE TRIGGER `a is last` BEFORE INSERT ON `ordered triggers` FOR EACH ROW FOLLOWS `c is first` SET NEW.v = CONCAT(NEW.v, 'a');;
CREATE TRIGGER `b is second` BEFORE INSERT ON `ordered triggers` FOR EACH ROW PRECEDES `a is last` SET NEW.v = CONCAT(NEW.v, 'b');;
CREATE TRIGGER `d is zeroth` BEFORE INSERT ON `ordered triggers` FOR EACH ROW PRECEDES `c is first` SET NEW.v = CONCAT(NEW.v, 'd');;
INSERT INTO `ordered triggers` VALUES (1, '');;

-- piece: triggers in other modes
CREATE TABLE `moded` (id INT NOT NULL PRIMARY KEY, v VARCHAR(40), `a"b` INT);;
SET SESSION sql_mode = 'ANSI_QUOTES';;
CREATE TRIGGER "ansi ""trigger""" BEFORE INSERT ON "moded" FOR EACH ROW SET NEW."a""b" = LENGTH('"');;
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';;
CREATE TRIGGER `no escapes \` BEFORE UPDATE ON `moded` FOR EACH ROW SET NEW.v = CONCAT('\', 'n\n', ';');;
SET SESSION sql_mode = 'PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE,IGNORE_SPACE,NO_AUTO_VALUE_ON_ZERO';;
CREATE TRIGGER `pipes` AFTER INSERT ON `moded` FOR EACH ROW SET @p = 'a' || 'b';;
SET NAMES latin1;;
CREATE TRIGGER `latin1 trigger` AFTER DELETE ON `moded` FOR EACH ROW SET @p = 'grün';;

-- piece: a trigger that fails at load
CREATE TABLE `guarded` (id INT NOT NULL PRIMARY KEY);;
INSERT INTO `guarded` VALUES (1), (2);;
CREATE TRIGGER `refuses` BEFORE INSERT ON `guarded` FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no; more';;

-- piece: a trigger on a table that is not there yet in order
CREATE TABLE `z written` (n INT NOT NULL);;
CREATE TABLE `a writing` (id INT NOT NULL PRIMARY KEY);;
CREATE TRIGGER `writes` AFTER INSERT ON `a writing` FOR EACH ROW INSERT INTO `z written` VALUES (NEW.id);;
INSERT INTO `a writing` VALUES (1);;

-- piece: procedures
CREATE TABLE `of procedures` (id INT NOT NULL PRIMARY KEY);;
CREATE PROCEDURE `proc; "odd" 'name' \ %s` (IN a INT, OUT `out` VARCHAR(20) CHARSET utf8mb4, INOUT `in``out` DECIMAL(65,30))
  LANGUAGE SQL MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s; a \\ "comment" 😀'
BEGIN
  DECLARE done BOOL DEFAULT FALSE; -- a comment; 'it'
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET done = TRUE;
  /* ; */ walk: LOOP
    IF a > 3 THEN LEAVE walk; END IF; # another;
    INSERT INTO `of procedures` VALUES (a);
    SET a = a + 1;
  END LOOP walk;
  SELECT '\'; DROP TABLE x; -- ', "it's", '\\' INTO @a, @b, @c;
END;;
CREATE DEFINER = `ghost`@`%` PROCEDURE `nothing` () BEGIN END;;
CREATE DEFINER = `gh'o"st`@`10.0.%` PROCEDURE `calls what is not` () CALL `no such`(1);;

-- piece: functions
CREATE FUNCTION `func` (a INT, b VARCHAR(20) CHARSET latin1) RETURNS VARCHAR(40) CHARSET utf8mb4 COLLATE utf8mb4_bin DETERMINISTIC CONTAINS SQL RETURN CONCAT(a, b, 'ß\\');;
CREATE FUNCTION `func of set` (e ENUM('a','it''s')) RETURNS SET('x','y z') CHARSET utf8mb4 NO SQL SQL SECURITY INVOKER COMMENT '' RETURN 'x';;
CREATE DEFINER = `ghost`@`%` FUNCTION `FUNC of none` () RETURNS BIGINT UNSIGNED NOT DETERMINISTIC READS SQL DATA RETURN 18446744073709551615;;
CREATE PROCEDURE `func` () SELECT `func`(1, 'x');;

-- piece: routines in other modes and character sets
SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO';;
CREATE PROCEDURE "ansi ""proc""" ("in ""p""" INT) SELECT "in ""p""" AS "x""y";;
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES';;
CREATE FUNCTION `no escapes` () RETURNS VARCHAR(9) CHARSET latin1 DETERMINISTIC COMMENT 'a \ b' RETURN '\';;
SET SESSION sql_mode = '';;
SET NAMES latin1 COLLATE latin1_bin;;
CREATE FUNCTION `of latin1` () RETURNS VARCHAR(9) CHARSET latin1 DETERMINISTIC COMMENT 'grün' RETURN 'grün';;
SET NAMES cp1251;;
CREATE PROCEDURE `of cp1251` () SELECT 'п', _latin1 'x';;
SET NAMES utf8mb4;;
SET SESSION collation_connection = utf8_general_ci;;
CREATE PROCEDURE `of two` () SELECT '日本';;

-- piece: events
CREATE TABLE `of events` (v VARCHAR(40));;
CREATE EVENT `once in the far future` ON SCHEDULE AT '2037-12-31 23:59:59' COMMENT 'it''s; \\ "far"' DO INSERT INTO `of events` VALUES ('far');;
CREATE EVENT `every year` ON SCHEDULE EVERY 1 YEAR STARTS '2037-02-03 04:05:06' ENDS '2037-12-31 00:00:00' ON COMPLETION PRESERVE DO
BEGIN
  -- a comment; here
  INSERT INTO `of events` VALUES ('a;b'); DELETE FROM `of events` WHERE v = '\'\\';
END;;
CREATE EVENT `disabled` ON SCHEDULE EVERY '1:30' MINUTE_SECOND STARTS '2001-02-03 04:05:06' DISABLE DO DELETE FROM `of events`;;
CREATE EVENT `done but kept` ON SCHEDULE AT '2001-02-03 04:05:06' ON COMPLETION PRESERVE DISABLE DO DELETE FROM `of events`;;
CREATE DEFINER = `ghost`@`%` EVENT `of a ghost; ``x``` ON SCHEDULE EVERY 2 QUARTER STARTS '2037-01-01 00:00:00' DISABLE ON SLAVE DO SELECT 1;;

-- piece: events in other zones and modes
SET SESSION time_zone = '+05:30';;
CREATE EVENT `in +05:30` ON SCHEDULE EVERY 7 DAY STARTS '2037-02-03 04:05:06' DO SET @e = 1;;
SET SESSION time_zone = '-11:59';;
SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';;
CREATE EVENT "in ""-11:59""" ON SCHEDULE AT '2037-02-03 04:05:06' ON COMPLETION PRESERVE DISABLE COMMENT 'a \ b' DO SELECT '\' AS "x";;
SET SESSION sql_mode = '';;
SET NAMES latin1;;
CREATE EVENT `in latin1` ON SCHEDULE EVERY 1 HOUR STARTS '2037-02-03 04:05:06' DISABLE DO SELECT 'grün';;
