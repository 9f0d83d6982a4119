//! Columns: how each is read so that nothing of its value is lost, and how it is given back.
//!
//! Owns the table of types whose plain text is not the whole truth. Promises that what [`Column::read`] yields and
//! [`Column::load`] takes is the stored value, to the last bit. Generated columns are left out of rows: the server computes them anew.

use crate::connection::{Product, Record, Session};
use crate::quote::{ident, literal};
use engine::Error;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a column's value travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Its bytes as they are stored, or its text where it has only one.
    Plain,
    /// As a number: `ENUM` and `SET` have members that text cannot tell apart, `BIT` has no text.
    Number,
    /// `FLOAT` is shown with six digits; as a double all of its bits are seen.
    Double,
    /// Text that the server must be told is text: JSON documents, UUIDs, addresses.
    Text,
    /// Binary, and refused by `LOAD DATA` unless it comes by a variable: geometries, vectors.
    Binary,
}

/// A column whose values are part of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub name: String,
    pub form: Form,
    /// MariaDB's reference system of a geometry, which its statement does not say; absent when it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srid: Option<u32>,
    /// Members of an `ENUM` or `SET` are shown with question marks: that is what servers show of characters of four bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
}

impl Column {
    /// One whose definition says everything.
    pub fn new(name: impl Into<String>, form: Form) -> Self {
        Self { name: name.into(), form, srid: None, doubtful: false }
    }

    /// The expression that reads it.
    pub fn read(&self) -> String {
        let name = ident(&self.name);
        match self.form {
            // Not `+0`, which is done in doubles: a set of 64 members would lose some.
            Form::Number => format!("CAST({name} AS UNSIGNED)"),
            Form::Double => format!("{name}*1E0"),
            Form::Plain | Form::Text | Form::Binary => name,
        }
    }

    /// What stands in a `LOAD DATA`'s list of columns, and what is said after `SET` where that is not the column itself.
    pub fn load(&self, number: usize) -> (String, Option<String>) {
        let variable = format!("@c{number}");
        match self.form {
            Form::Plain => (ident(&self.name), None),
            _ => {
                let value = self.value(&variable);
                (variable, Some(format!("{} = {value}", ident(&self.name))))
            }
        }
    }

    /// The column's value, made of an expression that yields the bytes of [`Column::read`].
    pub fn value(&self, bytes: &str) -> String {
        match self.form {
            Form::Plain | Form::Binary => bytes.to_owned(),
            // A number, where a text would be looked up among the members' names first.
            Form::Number => format!("CAST({bytes} AS UNSIGNED)"),
            // Not `+0E0`, which makes 0 of -0.
            Form::Double => format!("({bytes}*1E0)"),
            Form::Text => format!("CONVERT({bytes} USING utf8mb4)"),
        }
    }
}

/// What of the schema's columns a row needs, by table.
#[derive(Debug)]
pub(crate) struct Described {
    pub table: String,
    pub column: Column,
    /// Whether the server computes it.
    pub generated: bool,
    /// `ROW START` or `ROW END` of a table that keeps its history.
    pub history: bool,
    /// Its collation, where it has one.
    pub collation: Option<String>,
    /// Declared type, in lower case, as `int(10) unsigned`.
    pub declared: String,
}

/// All columns of all tables of a schema, in their order.
pub(crate) async fn describe(session: &mut Session, schema: &str) -> Result<Vec<Described>, Error> {
    let expression =
        if session.server.is_mariadb() || session.server.is_mysql(5, 7, 6) { "GENERATION_EXPRESSION" } else { "''" };
    let srids = srids(session, schema).await?;
    let sql = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, EXTRA, {expression}, COLLATION_NAME \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} ORDER BY TABLE_NAME, ORDINAL_POSITION",
        literal(schema)
    );
    let rows = session.rows("read the columns", &sql).await?;
    let product = session.server.product;
    let mut all: Vec<Described> = rows.iter().map(|row| described(row, product)).collect();
    for described in &mut all {
        described.column.srid = srids.get(&(described.table.clone(), described.column.name.clone())).copied();
    }
    Ok(all)
}

/// MariaDB: the reference systems of geometries, apart from 0.
async fn srids(session: &mut Session, schema: &str) -> Result<BTreeMap<(String, String), u32>, Error> {
    if !session.server.is_mariadb() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT G_TABLE_NAME, G_GEOMETRY_COLUMN, SRID FROM information_schema.GEOMETRY_COLUMNS \
         WHERE G_TABLE_SCHEMA = {} AND SRID <> 0",
        literal(schema)
    );
    let rows = session.rows("read the geometries", &sql).await?;
    let srid = |row: &Record| Some(((row.text(0), row.text(1)), u32::try_from(row.number(2)?).ok()?));
    Ok(rows.iter().filter_map(srid).collect())
}

fn described(row: &Record, product: Product) -> Described {
    let (kind, extra) = (row.text(2).to_ascii_lowercase(), row.text(4).to_ascii_uppercase());
    let expression = row.text(5).to_ascii_uppercase();
    let history = matches!(expression.as_str(), "ROW START" | "ROW END");
    let doubtful = matches!(kind.as_str(), "enum" | "set") && row.text(3).contains('?');
    Described {
        table: row.text(0),
        column: Column { doubtful, ..Column::new(row.text(1), form(&kind, product)) },
        // `DEFAULT_GENERATED` is a column with an expression for a default: its values are its own.
        generated: extra.contains("VIRTUAL GENERATED")
            || extra.contains("STORED GENERATED")
            || extra.contains("PERSISTENT"),
        history,
        collation: row.maybe(6),
        declared: row.text(3).to_ascii_lowercase(),
    }
}

fn form(kind: &str, product: Product) -> Form {
    match kind {
        "bit" | "enum" | "set" => Form::Number,
        "float" => Form::Double,
        // A document of MariaDB is a longtext with a check.
        "json" if product == Product::Mysql => Form::Text,
        "uuid" | "inet4" | "inet6" | "xmltype" => Form::Text,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geomcollection" | "geometrycollection" | "vector" => Form::Binary,
        _ => Form::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_text_would_lose_travels_in_another_form() {
        let column = |kind: &str| Column::new("a`b", form(kind, Product::Mysql));
        assert_eq!(column("int").load(3), ("`a``b`".to_owned(), None));
        assert_eq!(column("enum").read(), "CAST(`a``b` AS UNSIGNED)");
        assert_eq!(column("enum").load(3), ("@c3".to_owned(), Some("`a``b` = CAST(@c3 AS UNSIGNED)".to_owned())));
        assert_eq!(column("float").read(), "`a``b`*1E0");
        assert_eq!(form("json", Product::Mariadb), Form::Plain);
    }
}
