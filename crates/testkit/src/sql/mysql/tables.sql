-- Tables by their keys, defaults, engines and partitions; the types are dull.

-- piece: generated columns [only: mariadb mysql9]
CREATE TABLE `generated` (
  id INT NOT NULL PRIMARY KEY, a INT,
  `sum` INT GENERATED ALWAYS AS (a + 1) STORED, twice BIGINT AS (a * 2) VIRTUAL COMMENT 'virtual; ''quoted''',
  `text` VARCHAR(40) AS (CONCAT('\'"\\', `a`, '%', 'ß')) VIRTUAL, b VARCHAR(9) DEFAULT 'after',
  KEY (twice), UNIQUE KEY `of text` (`text`), KEY (`sum`, b)
) DEFAULT CHARSET utf8mb4;;
INSERT INTO `generated` (id, a, b) VALUES (1, 1, 'x'), (2, NULL, NULL), (3, -5, '');;

-- piece: invisible columns [only: mariadb mysql9]
CREATE TABLE `invisible columns` (
  hidden INT NOT NULL DEFAULT 7 INVISIBLE, id INT NOT NULL, `also hidden` TEXT INVISIBLE, v VARCHAR(9), PRIMARY KEY (id), KEY (hidden)
);;
INSERT INTO `invisible columns` VALUES (1, 'default');;
INSERT INTO `invisible columns` (hidden, id, `also hidden`, v) VALUES (8, 2, 'seen', NULL), (-9, 3, NULL, '');;

-- piece: defaults of every kind
CREATE TABLE `default` (
  id INT NOT NULL AUTO_INCREMENT, v VARCHAR(30) NOT NULL DEFAULT 'it''s \\ "%s" \t', n INT DEFAULT NULL, x VARBINARY(4) DEFAULT 'a\0b',
  made TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), changed DATETIME(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  touched TIMESTAMP NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP, fixed TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06', d DECIMAL(5,2) DEFAULT -1.5,
  PRIMARY KEY (id)
) DEFAULT CHARSET utf8mb4;;
INSERT INTO `default` VALUES
  (1, '', 1, '', '2001-02-03 04:05:06.000001', '2001-02-03 04:05:06.001', '2001-02-03 04:05:06', '2001-02-03 04:05:06', 0),
  (3, DEFAULT, DEFAULT, DEFAULT, '1999-12-31 23:59:59.999999', NULL, NULL, '1999-12-31 23:59:59', DEFAULT);;

-- piece: default expressions [only: mariadb mysql9]
CREATE TABLE `default expressions` (
  id VARCHAR(36) NOT NULL DEFAULT (UUID()) PRIMARY KEY, t TEXT DEFAULT (CONCAT('\'', "\\", UPPER('ab'))), n INT DEFAULT (1 + 2 * 3),
  d DATE DEFAULT (CURRENT_DATE), b BLOB DEFAULT ('x'), later DATETIME DEFAULT (NOW() + INTERVAL 1 DAY), r DOUBLE DEFAULT (RAND() * 2)
);;
INSERT INTO `default expressions` VALUES
  ('first', DEFAULT, DEFAULT, '2001-02-03', DEFAULT, '2001-02-03 04:05:06', 0.5), ('second', NULL, NULL, NULL, NULL, NULL, NULL);;

-- piece: check constraints [only: mariadb mysql9]
CREATE TABLE `checked` (
  id INT NOT NULL PRIMARY KEY CHECK (id > 0), a INT, b INT, v VARCHAR(20),
  CONSTRAINT `a < b, "%" \ 'ok'` CHECK (`a` < `b`), CONSTRAINT `like` CHECK (v NOT LIKE '%\'%' AND v <> '\\')
);;
INSERT INTO `checked` VALUES (1, 1, 2, 'x'), (2, NULL, 5, NULL);;

-- piece: check that is not enforced [only: mysql9]
CREATE TABLE unenforced (id INT NOT NULL PRIMARY KEY, a INT, CONSTRAINT never CHECK (a > 10) NOT ENFORCED);;
INSERT INTO unenforced VALUES (1, 1), (2, 11);;

-- piece: rows that break their check [only: mariadb]
CREATE TABLE `broken check` (id INT NOT NULL PRIMARY KEY, a INT, CONSTRAINT `a is big` CHECK (a > 10));;
SET SESSION check_constraint_checks = OFF;;
INSERT INTO `broken check` VALUES (1, 1), (2, 11);;
SET SESSION check_constraint_checks = ON;;

-- piece: primary key of the server's making [only: mysql9]
SET SESSION sql_generate_invisible_primary_key = ON;;
CREATE TABLE `made primary key` (a INT, b VARCHAR(9));;
INSERT INTO `made primary key` VALUES (1, 'x'), (1, 'x'), (NULL, NULL);;
INSERT INTO `made primary key` (my_row_id, a, b) VALUES (77, 7, 'far');;
SET SESSION sql_generate_invisible_primary_key = OFF;;

-- piece: auto increment from zero and far ahead
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';;
CREATE TABLE `auto increment` (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9)) AUTO_INCREMENT = 5000000000;;
INSERT INTO `auto increment` VALUES (0, 'zero'), (1, 'one'), (7, NULL);;
INSERT INTO `auto increment` (v) VALUES ('next');;
ALTER TABLE `auto increment` AUTO_INCREMENT = 9000000000000000000;;
CREATE TABLE `auto increment below zero` (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY);;
INSERT INTO `auto increment below zero` VALUES (-5), (0), (3);;
CREATE TABLE `auto increment of none` (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 100;;

-- piece: auto increment that is not the first key part
CREATE TABLE `auto increment second` (g INT NOT NULL, n INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (g, n)) ENGINE = MyISAM;;
INSERT INTO `auto increment second` (g) VALUES (1), (1), (2), (1), (2);;
CREATE TABLE `auto increment unkeyed` (a INT NOT NULL, n SMALLINT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a), KEY (n));;
INSERT INTO `auto increment unkeyed` VALUES (30, 1), (20, 2), (10, 2);;

-- piece: no key and rows twice
CREATE TABLE `no key` (a INT, b VARCHAR(20), c BLOB);;
INSERT INTO `no key` VALUES (1, 'x', 'y'), (1, 'x', 'y'), (NULL, NULL, NULL), (NULL, NULL, NULL), (1, 'x', 'y'), (2, '', ''), (2, '', NULL);;

-- piece: unique keys only
CREATE TABLE `unique only` (a INT NOT NULL, b INT, c VARCHAR(9) NOT NULL, UNIQUE KEY nullable (b), UNIQUE KEY `both` (c, a));;
INSERT INTO `unique only` VALUES (1, NULL, 'x'), (2, NULL, 'x'), (1, 5, 'y'), (-1, 6, '');;
CREATE TABLE `unique nullable` (a INT, b VARCHAR(9), UNIQUE KEY (a, b));;
INSERT INTO `unique nullable` VALUES (1, NULL), (1, NULL), (NULL, NULL), (NULL, NULL), (1, '');;

-- piece: composite primary key out of order
CREATE TABLE `composite key` (a INT, b VARCHAR(20) CHARACTER SET utf8 COLLATE utf8_general_ci NOT NULL, c DATETIME(6) NOT NULL, d DECIMAL(5,2) NOT NULL, v TEXT,
  PRIMARY KEY (c, b, d), KEY `a``b "c" %s \` (a, b)) DEFAULT CHARSET utf8;;
INSERT INTO `composite key` VALUES
  (1, 'a', '2001-02-03 04:05:06.000001', 1, 'x'), (1, 'a', '2001-02-03 04:05:06.000001', -1, NULL), (2, 'ä\'\\', '2001-02-03 04:05:06', 0.01, ''),
  (3, '', '1000-01-01', 999.99, 'y'), (3, 'ß', '2001-02-03 04:05:06', 0.01, 'z');;

-- piece: string primary keys
CREATE TABLE `key of text` (k VARCHAR(60) COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, n INT) DEFAULT CHARSET utf8mb4;;
INSERT INTO `key of text` VALUES ('', 0), ('a', 1), ('Á\'', 2), ('b\\', 3), ('\n', 4), ('ss ß', 5), ('😀', 6), ('%', 7), ('_', 8), ('日本', 9), ('\0z', 10);;
CREATE TABLE `key of bytes` (k VARBINARY(16) NOT NULL PRIMARY KEY, n INT);;
INSERT INTO `key of bytes` VALUES (0x00, 1), (0x0000, 2), ('', 3), (0xFF, 4), (0x5C27, 5), (0x20, 6);;
CREATE TABLE `key of enum` (k ENUM('z','a','m') NOT NULL, b BIT(9) NOT NULL, f FLOAT NOT NULL, PRIMARY KEY (k, b, f));;
INSERT INTO `key of enum` VALUES ('z', 256, 0.1), ('a', 0, 0.1), ('m', 39, 16777216), ('a', 0, 123456.789), ('a', 0, -0.1);;

-- piece: primary key by a prefix
CREATE TABLE `key by prefix` (t VARCHAR(200) NOT NULL, b BLOB NOT NULL, n INT, PRIMARY KEY (t(4), b(3)), KEY (t(1)), UNIQUE KEY (b(4), n)) DEFAULT CHARSET latin1;;
INSERT INTO `key by prefix` VALUES ('aaaa1', 'xxx1', 1), ('aaab1', 'xxx2', 1), ('aaaa2', 'xxy', 2), ('', '', NULL);;

-- piece: descending index
CREATE TABLE `descending` (a INT NOT NULL, b INT NOT NULL, c VARCHAR(9), PRIMARY KEY (a DESC, b ASC), KEY down (c DESC, b DESC) COMMENT 'down; \'all\' the way');;
INSERT INTO `descending` VALUES (1, 2, 'x'), (1, 1, 'y'), (2, 5, NULL), (-3, 0, 'x');;

-- piece: functional index [only: mysql9]
CREATE TABLE functional (
  id INT NOT NULL PRIMARY KEY, v VARCHAR(30), doc JSON, KEY lowered ((LOWER(v))), UNIQUE KEY `with "quote"` ((CONCAT(v, '\'"', id)) DESC, id),
  KEY many ((CAST(doc->'$.tags' AS CHAR(20) ARRAY)))
);;
INSERT INTO functional VALUES (1, 'Ab', '{"tags": ["x", "y"]}'), (2, NULL, NULL), (3, '', '{"tags": []}');;

-- piece: hidden indexes [only: mariadb mysql9]
CREATE TABLE `hidden indexes` (id INT NOT NULL PRIMARY KEY, a INT, b INT, KEY hidden (a) /*!80000 INVISIBLE */ /*M! IGNORED */, KEY seen (b));;
INSERT INTO `hidden indexes` VALUES (1, 1, 1), (2, NULL, 1);;

-- piece: fulltext index
CREATE TABLE `fulltext` (id INT NOT NULL PRIMARY KEY, title VARCHAR(50), body TEXT, FULLTEXT KEY `both` (title, body), FULLTEXT KEY (body)) ENGINE = InnoDB DEFAULT CHARSET utf8mb4;;
INSERT INTO `fulltext` VALUES (1, 'harbour', 'the longshore man'), (2, NULL, ''), (3, 'grüße', NULL);;
CREATE TABLE `fulltext in myisam` (t TEXT, FULLTEXT KEY (t)) ENGINE = MyISAM DEFAULT CHARSET latin1;;
INSERT INTO `fulltext in myisam` VALUES ('one'), ('one'), (NULL);;

-- piece: fulltext by n-grams [only: mysql9]
CREATE TABLE `n-grams` (id INT NOT NULL PRIMARY KEY, t TEXT, FULLTEXT KEY (t) WITH PARSER ngram) DEFAULT CHARSET utf8mb4;;
INSERT INTO `n-grams` VALUES (1, '日本語の文');;

-- piece: spatial index
CREATE TABLE `spatial` (id INT NOT NULL PRIMARY KEY, g GEOMETRY NOT NULL /*!80003 SRID 0 */, SPATIAL KEY (g)) ENGINE = MyISAM;;
INSERT INTO `spatial` VALUES (1, ST_GeomFromText('POINT(1 2)')), (2, ST_GeomFromText('LINESTRING(0 0, 5 5)'));;

-- piece: foreign keys in a chain
CREATE TABLE `z parent` (id INT NOT NULL PRIMARY KEY, `code` CHAR(3) NOT NULL, part INT NOT NULL, UNIQUE KEY (`code`), UNIQUE KEY (part, `code`)) DEFAULT CHARSET ascii;;
CREATE TABLE `m child` (id INT NOT NULL PRIMARY KEY, parent INT, `code` CHAR(3), part INT,
  CONSTRAINT `fk; "odd" 'name' %` FOREIGN KEY (parent) REFERENCES `z parent` (id) ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT `to a unique key` FOREIGN KEY (`code`) REFERENCES `z parent` (`code`) ON DELETE SET NULL ON UPDATE RESTRICT,
  CONSTRAINT `composite` FOREIGN KEY (part, `code`) REFERENCES `z parent` (part, `code`) ON DELETE NO ACTION) DEFAULT CHARSET ascii;;
CREATE TABLE `a grandchild` (id INT NOT NULL PRIMARY KEY, child INT NOT NULL, FOREIGN KEY (child) REFERENCES `m child` (id));;
INSERT INTO `z parent` VALUES (1, 'one', 10), (2, 'two', 20);;
INSERT INTO `m child` VALUES (5, 1, 'one', 10), (4, 2, 'one', NULL), (3, NULL, NULL, NULL);;
INSERT INTO `a grandchild` VALUES (9, 3), (8, 5), (7, 5);;

-- piece: foreign keys in a cycle
CREATE TABLE `cycle a` (id INT NOT NULL PRIMARY KEY, b INT NOT NULL);;
CREATE TABLE `cycle b` (id INT NOT NULL PRIMARY KEY, a INT NOT NULL, CONSTRAINT `b to a` FOREIGN KEY (a) REFERENCES `cycle a` (id));;
SET SESSION foreign_key_checks = 0;;
INSERT INTO `cycle a` VALUES (1, 1), (2, 1);;
INSERT INTO `cycle b` VALUES (1, 2), (2, 1);;
ALTER TABLE `cycle a` ADD CONSTRAINT `a to b` FOREIGN KEY (b) REFERENCES `cycle b` (id);;

-- piece: foreign key to itself
CREATE TABLE `tree` (id INT NOT NULL PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES `tree` (id) ON DELETE CASCADE);;
INSERT INTO `tree` VALUES (9, NULL);;
INSERT INTO `tree` VALUES (5, 9), (6, 9);;
INSERT INTO `tree` VALUES (1, 6), (2, 1), (9000, 9000);;

-- piece: rows without their parent
SET SESSION foreign_key_checks = 0;;
CREATE TABLE `orphans` (id INT NOT NULL PRIMARY KEY, parent INT, CONSTRAINT `of no one` FOREIGN KEY (parent) REFERENCES `parents of orphans` (id));;
INSERT INTO `orphans` VALUES (1, 1), (2, 99), (3, NULL);;
CREATE TABLE `parents of orphans` (id INT NOT NULL PRIMARY KEY);;
INSERT INTO `parents of orphans` VALUES (1);;

-- piece: partitions by range
CREATE TABLE `by range` (id INT NOT NULL, y INT NOT NULL, PRIMARY KEY (id, y))
  PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (0) COMMENT = 'below; \'zero\'', PARTITION `p ""1` VALUES LESS THAN (100), PARTITION `max` VALUES LESS THAN MAXVALUE);;
INSERT INTO `by range` VALUES (1, -5), (2, 0), (3, 99), (4, 100), (5, 2147483647);;
CREATE TABLE `by time` (ts TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06', v INT)
  PARTITION BY RANGE (UNIX_TIMESTAMP(ts)) (PARTITION p1 VALUES LESS THAN (UNIX_TIMESTAMP('2010-01-01 00:00:00')), PARTITION p2 VALUES LESS THAN (MAXVALUE));;
INSERT INTO `by time` VALUES ('2009-12-31 23:59:59', 1), ('2010-01-01 00:00:00', 2);;

-- piece: partitions by list
CREATE TABLE `by list` (id INT, v VARCHAR(9) CHARACTER SET latin1) PARTITION BY LIST (id) (PARTITION `odd one` VALUES IN (1, 3, NULL), PARTITION even VALUES IN (2, -4));;
INSERT INTO `by list` VALUES (1, 'a'), (NULL, 'b'), (-4, NULL);;
CREATE TABLE `by list of text` (k VARCHAR(9) CHARACTER SET utf8mb4, n INT)
  PARTITION BY LIST COLUMNS (k) (PARTITION p1 VALUES IN ('x', 'it''s', 'ä'), PARTITION p2 VALUES IN ('\\', ''));;
INSERT INTO `by list of text` VALUES ('it''s', 1), ('ä', 2), ('\\', 3), ('', 4);;

-- piece: partitions by hash and key
CREATE TABLE `by hash` (id INT NOT NULL PRIMARY KEY) PARTITION BY LINEAR HASH (id) PARTITIONS 3;;
INSERT INTO `by hash` VALUES (1), (2), (3), (4), (-1);;
CREATE TABLE `by key` (id VARCHAR(9) NOT NULL PRIMARY KEY, v INT) DEFAULT CHARSET utf8 PARTITION BY KEY () PARTITIONS 4;;
INSERT INTO `by key` VALUES ('a', 1), ('b', 2), ('', 3);;

-- piece: partitions by several columns with subpartitions
CREATE TABLE `by columns` (d DATE NOT NULL, s VARCHAR(9) CHARACTER SET latin1 NOT NULL, n INT)
  PARTITION BY RANGE COLUMNS (d, s) (PARTITION p1 VALUES LESS THAN ('2001-01-01', 'm'), PARTITION p2 VALUES LESS THAN ('2001-01-01', MAXVALUE), PARTITION p3 VALUES LESS THAN (MAXVALUE, MAXVALUE));;
INSERT INTO `by columns` VALUES ('2001-01-01', 'a', 1), ('2001-01-01', 'z', 2), ('2020-01-01', '', 3);;
CREATE TABLE `subpartitions` (id INT, d DATE)
  PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (TO_DAYS(d)) (PARTITION p1 VALUES LESS THAN (2000) (SUBPARTITION s1, SUBPARTITION `s 2`),
  PARTITION p2 VALUES LESS THAN MAXVALUE (SUBPARTITION s3 COMMENT = 'c', SUBPARTITION s4));;
INSERT INTO `subpartitions` VALUES (1, '1999-12-31'), (2, '2000-01-01'), (3, NULL), (1, '1999-12-31');;

-- piece: engine MyISAM
CREATE TABLE `my isam` (id INT NOT NULL AUTO_INCREMENT, t TEXT CHARACTER SET latin1, PRIMARY KEY (id))
  ENGINE = MyISAM AUTO_INCREMENT = 50 MAX_ROWS = 1000 AVG_ROW_LENGTH = 100 PACK_KEYS = 1 CHECKSUM = 1 DELAY_KEY_WRITE = 1 ROW_FORMAT = DYNAMIC;;
INSERT INTO `my isam` VALUES (1, 'x'), (2, NULL), (3, '');;
DELETE FROM `my isam` WHERE id = 2;;

-- piece: engine MEMORY
CREATE TABLE `in memory` (id INT NOT NULL, v VARCHAR(20), PRIMARY KEY (id) USING HASH, KEY (v) USING BTREE) ENGINE = MEMORY;;
INSERT INTO `in memory` VALUES (2, 'gone at a restart'), (1, NULL);;

-- piece: engine CSV
CREATE TABLE `comma separated` (a INT NOT NULL, b VARCHAR(40) NOT NULL, c BLOB NOT NULL) ENGINE = CSV DEFAULT CHARSET utf8mb4;;
INSERT INTO `comma separated` VALUES (1, 'a,b;"c"', 'x\ny'), (1, '\\ \'', ''), (-1, 'ä', '\t');;

-- piece: engine ARCHIVE [only: mysql]
CREATE TABLE archived (id INT NOT NULL AUTO_INCREMENT, v VARCHAR(40), KEY (id)) ENGINE = ARCHIVE;;
INSERT INTO archived VALUES (5, 'kept'), (9, NULL);;

-- piece: engine MERGE
CREATE TABLE `merged 1` (a INT NOT NULL, v VARCHAR(9), KEY (a)) ENGINE = MyISAM DEFAULT CHARSET latin1;;
CREATE TABLE `merged 2` (a INT NOT NULL, v VARCHAR(9), KEY (a)) ENGINE = MyISAM DEFAULT CHARSET latin1;;
INSERT INTO `merged 1` VALUES (1, 'x');;
CREATE TABLE `all merged` (a INT NOT NULL, v VARCHAR(9), KEY (a)) ENGINE = MERGE UNION = (`merged 1`, `merged 2`) INSERT_METHOD = LAST DEFAULT CHARSET latin1;;
INSERT INTO `all merged` VALUES (2, 'y');;

-- piece: engine Aria [only: mariadb]
CREATE TABLE aria (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, t TEXT) ENGINE = Aria TRANSACTIONAL = 1 PAGE_CHECKSUM = 1;;
CREATE TABLE `aria plain` (v VARCHAR(20)) ENGINE = Aria TRANSACTIONAL = 0 ROW_FORMAT = FIXED;;
INSERT INTO aria VALUES (3, 'x'), (7, NULL);;
INSERT INTO `aria plain` VALUES ('a'), ('a'), (NULL);;

-- piece: row formats and table options
CREATE TABLE `options` (id INT NOT NULL PRIMARY KEY, v VARCHAR(9)) ENGINE = InnoDB ROW_FORMAT = COMPACT STATS_PERSISTENT = 1 STATS_AUTO_RECALC = 0 STATS_SAMPLE_PAGES = 12 MAX_ROWS = 7 MIN_ROWS = 3;;
CREATE TABLE `redundant` (id INT) ENGINE = InnoDB ROW_FORMAT = REDUNDANT;;
INSERT INTO `options` VALUES (1, 'x');;

-- piece: comments
CREATE TABLE `comments` (id INT NOT NULL PRIMARY KEY COMMENT 'it''s; a \\ "column" /* */ -- %s', v INT COMMENT 'line\nbreak\ttab 😀 ä', KEY `k` (v) COMMENT '`key` */')
  DEFAULT CHARSET utf8mb4 COMMENT = '\'; DROP TABLE `comments`; -- \\ \r\n \0 日本';;

-- piece: names that need quotes
CREATE TABLE `a``b "c" 'd' %s \ $e; -- f` (`select` INT NOT NULL, ` lead` INT, `per%cent` INT, `back\slash` INT, `grün 日本` INT, `back``tick` INT, `1` INT, `?` INT, PRIMARY KEY (`select`), KEY `PRIMARY KEY` (`back``tick`));;
INSERT INTO `a``b "c" 'd' %s \ $e; -- f` VALUES (1, 2, 3, 4, 5, 6, 7, 8), (-1, NULL, NULL, NULL, NULL, NULL, NULL, NULL);;
CREATE TABLE `Table` (`Select` INT);;
CREATE TABLE `a.b/c:d*e?` (`a.b` INT);;
INSERT INTO `a.b/c:d*e?` VALUES (1);;
CREATE TABLE `1e5` (`0x1F` INT);;
CREATE TABLE `longest name 64 ääääääääääääääääääääääääääääääääääääääääääääääää` (a INT);;

-- piece: names in two cases
CREATE TABLE `Case` (a INT);;
CREATE TABLE `cASE` (b INT);;
INSERT INTO `Case` VALUES (1);;
INSERT INTO `cASE` VALUES (2), (3);;

-- piece: tables without rows and without names worth it
CREATE TABLE `empty` (id INT NOT NULL PRIMARY KEY, v TEXT);;
CREATE TABLE `rows without values` (a INT NULL);;
INSERT INTO `rows without values` VALUES (NULL), (NULL), (NULL);;
