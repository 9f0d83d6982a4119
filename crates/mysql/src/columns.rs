//! Columns: how each is read so that nothing of its value is lost, and how it is given back.
//!
//! Owns the table of types whose plain text is not the whole truth. Promises that what [`Column::read`] yields and
//! [`Column::load`] takes is the stored value, to the last bit. Generated columns are left out of rows: the server computes them anew.

use crate::connection::{Product, Record, Session};
use crate::quote::{ident, literal};
use engine::Error;
use serde::{Deserialize, Serialize};

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
}

impl Column {
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
            Form::Double => format!("({bytes}+0E0)"),
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
    /// Declared type, in lower case, as `int(10) unsigned`.
    pub declared: String,
    pub nullable: bool,
}

/// All columns of all tables of a schema, in their order.
pub(crate) async fn describe(session: &mut Session, schema: &str) -> Result<Vec<Described>, Error> {
    let expression =
        if session.server.is_mariadb() || session.server.is_mysql(5, 7, 6) { "GENERATION_EXPRESSION" } else { "''" };
    let sql = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, EXTRA, {expression}, IS_NULLABLE, CHARACTER_SET_NAME \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} ORDER BY TABLE_NAME, ORDINAL_POSITION",
        literal(schema)
    );
    let rows = session.rows("read the columns", &sql).await?;
    let product = session.server.product;
    Ok(rows.iter().map(|row| described(row, product)).collect())
}

fn described(row: &Record, product: Product) -> Described {
    let (kind, extra) = (row.text(2).to_ascii_lowercase(), row.text(4).to_ascii_uppercase());
    let expression = row.text(5).to_ascii_uppercase();
    let history = matches!(expression.as_str(), "ROW START" | "ROW END");
    Described {
        table: row.text(0),
        column: Column { name: row.text(1), form: form(&kind, product) },
        // `DEFAULT_GENERATED` is a column with an expression for a default: its values are its own.
        generated: extra.contains("VIRTUAL GENERATED")
            || extra.contains("STORED GENERATED")
            || extra.contains("PERSISTENT"),
        history,
        declared: row.text(3).to_ascii_lowercase(),
        nullable: row.text(6) == "YES",
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
        let column = |kind: &str| Column { name: "a`b".to_owned(), form: form(kind, Product::Mysql) };
        assert_eq!(column("int").load(3), ("`a``b`".to_owned(), None));
        assert_eq!(column("enum").read(), "CAST(`a``b` AS UNSIGNED)");
        assert_eq!(column("enum").load(3), ("@c3".to_owned(), Some("`a``b` = CAST(@c3 AS UNSIGNED)".to_owned())));
        assert_eq!(column("float").read(), "`a``b`*1E0");
        assert_eq!(form("json", Product::Mariadb), Form::Plain);
    }
}
