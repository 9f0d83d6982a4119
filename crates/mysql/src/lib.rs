//! The MySQL and MariaDB driver.
