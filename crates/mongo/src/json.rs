//! Extended JSON, read: the definitions in a dump, as the bytes that a server had.
//!
//! Owns the reader of version 2, canonical and relaxed, and of the spellings of version 1 that tools before 100 wrote (<https://github.com/mongodb/specifications/blob/master/source/extended-json.md>). Promises that members keep
//! their order, that those of one name stay two, and that numbers are exact. Refuses to guess: a document that begins like a value of a kind of its own and is none is an error by name, never a document.

use crate::extjson::MEANT;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Error, Kind};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::{CString, RawJavaScriptCodeWithScope};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, RawArrayBuf, RawBson, RawDocumentBuf, Regex, Timestamp};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::str::FromStr;

/// JSON whose members keep their order, and those of one name stay two.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// A number without a point or an exponent.
    Whole(i64),
    /// Any other number.
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Members(Vec<(String, Json)>),
}

/// Members whose plain numbers say nothing of the version: every version writes them so.
const PLAIN_IN_ALL: [&str; 3] = ["$timestamp", "$minKey", "$maxKey"];

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is no JSON, saying where.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(text).map_err(|e| wrong(format!("no JSON ({e})")))
    }

    /// The first member of that name.
    pub fn member(&self, name: &str) -> Option<&Json> {
        let Json::Members(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether it was written in relaxed words or in those of version 1: canonical ones of version 2 have no plain numbers.
    pub fn is_legacy(&self) -> bool {
        match self {
            Json::Whole(_) | Json::Real(_) => true,
            Json::List(list) => list.iter().any(Json::is_legacy),
            Json::Members(members) => {
                members.iter().any(|(name, value)| !PLAIN_IN_ALL.contains(&name.as_str()) && value.is_legacy())
            }
            Json::Null | Json::Bool(_) | Json::Text(_) => false,
        }
    }

    /// The document that it is the text of; `legacy` as [`Json::is_legacy`] says of the whole text.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is none, by the name of what is wrong in it.
    pub fn document(&self, legacy: bool) -> Result<RawDocumentBuf, Error> {
        match self.value(legacy)? {
            RawBson::Document(document) => Ok(document),
            other => Err(wrong(format!("a value of type {:?} where a document should be", other.element_type()))),
        }
    }

    fn value(&self, legacy: bool) -> Result<RawBson, Error> {
        Ok(match self {
            Json::Null => RawBson::Null,
            Json::Bool(is) => RawBson::Boolean(*is),
            Json::Whole(number) => i32::try_from(*number).map_or(RawBson::Int64(*number), RawBson::Int32),
            Json::Real(number) => RawBson::Double(*number),
            Json::Text(text) => RawBson::String(text.clone()),
            Json::List(list) => {
                let mut array = RawArrayBuf::new();
                for item in list {
                    array.push(item.value(legacy)?);
                }
                RawBson::Array(array)
            }
            Json::Members(members) => {
                if let Some(value) = typed(members, legacy)? {
                    return Ok(value);
                }
                let mut document = RawDocumentBuf::new();
                for (name, value) in members {
                    document.append(cstring(name)?, value.value(legacy)?);
                }
                RawBson::Document(document)
            }
        })
    }

    fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    fn whole(&self) -> Option<i64> {
        if let Json::Whole(number) = self { Some(*number) } else { None }
    }

    /// The values of two members that are all that it has, in whatever order.
    fn both(&self, names: [&str; 2]) -> Option<(&Json, &Json)> {
        let Json::Members(members) = self else { return None };
        Some((self.member(names[0])?, self.member(names[1])?)).filter(|_| members.len() == 2)
    }
}

/// A value of a kind that JSON has not, if these members are one.
fn typed(members: &[(String, Json)], legacy: bool) -> Result<Option<RawBson>, Error> {
    let Some((name, value)) = members.first() else { return Ok(None) };
    let read = match members {
        _ if name == "$regex" && legacy => return legacy_regex(members),
        _ if !MEANT.contains(&name.as_str()) => return Ok(None),
        [_] => alone(name, value, legacy)?,
        [_, (second, other)] => pair((name.as_str(), value), (second.as_str(), other), legacy)?,
        _ => None,
    };
    read.map(Some).ok_or_else(|| wrong(format!("a {name} that is not one")))
}

/// A kind that is said by one member.
fn alone(name: &str, value: &Json, legacy: bool) -> Result<Option<RawBson>, Error> {
    let text = value.text();
    Ok(match name {
        "$numberInt" => number(text).map(RawBson::Int32),
        "$numberLong" => value.whole().or_else(|| number(text)).map(RawBson::Int64),
        "$numberDouble" => text.and_then(double).map(RawBson::Double),
        "$numberDecimal" => number::<Decimal128>(text).map(RawBson::Decimal128),
        "$oid" => text.and_then(|text| ObjectId::parse_str(text).ok()).map(RawBson::ObjectId),
        "$date" => date(value).map(RawBson::DateTime),
        "$timestamp" => value.both(["t", "i"]).and_then(timestamp).map(RawBson::Timestamp),
        "$regularExpression" => match value.both(["pattern", "options"]) {
            Some((Json::Text(pattern), Json::Text(options))) => Some(regex(pattern, options)?),
            _ => None,
        },
        "$binary" => match value.both(["base64", "subType"]) {
            Some((Json::Text(base64), Json::Text(kind))) => binary(base64, u8::from_str_radix(kind, 16).ok()),
            _ => None,
        },
        "$uuid" => text.and_then(uuid),
        "$code" => text.map(|code| RawBson::JavaScriptCode(code.to_owned())),
        "$symbol" => text.map(|text| RawBson::Symbol(text.to_owned())),
        "$undefined" => (*value == Json::Bool(true)).then_some(RawBson::Undefined),
        "$minKey" => value.whole().map(|_| RawBson::MinKey),
        "$maxKey" => value.whole().map(|_| RawBson::MaxKey),
        "$dbPointer" => match value.both(["$ref", "$id"]) {
            Some((Json::Text(of), id)) => pointer(of, &id.value(legacy)?),
            _ => None,
        },
        _ => None,
    })
}

/// A kind that is said by two members.
fn pair(first: (&str, &Json), second: (&str, &Json), legacy: bool) -> Result<Option<RawBson>, Error> {
    Ok(match (first, second) {
        (("$code", Json::Text(code)), ("$scope", scope)) | (("$scope", scope), ("$code", Json::Text(code))) => {
            let scope = scope.document(legacy)?;
            Some(RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope { code: code.clone(), scope }))
        }
        (("$binary", Json::Text(base64)), ("$type", Json::Text(kind))) => {
            binary(base64, u8::from_str_radix(kind, 16).ok())
        }
        (("$binary", Json::Text(base64)), ("$type", Json::Whole(kind))) => binary(base64, u8::try_from(*kind).ok()),
        _ => None,
    })
}

/// In version 1 the words of an expression are those of an operator that asks for it: both ask for the same, and tools of that time read an expression.
fn legacy_regex(members: &[(String, Json)]) -> Result<Option<RawBson>, Error> {
    match members {
        [(_, Json::Text(pattern)), (second, Json::Text(options))] if second == "$options" => {
            regex(pattern, options).map(Some)
        }
        _ => Ok(None),
    }
}

fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
    text.and_then(|text| text.parse().ok())
}

/// The words of JSON for numbers that are none, and digits for all others.
fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        digits if digits.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c)) => digits.parse().ok(),
        _ => None,
    }
}

/// Milliseconds, or a time with its zone; of version 1 also a zone without a colon.
fn date(value: &Json) -> Option<DateTime> {
    if let Some(millis) = value.whole() {
        return Some(DateTime::from_millis(millis));
    }
    if let Json::Members(members) = value {
        let millis = value.member("$numberLong").filter(|_| members.len() == 1)?;
        return number(millis.text()).map(DateTime::from_millis);
    }
    let text = value.text()?;
    let zone = text.len().checked_sub(5).and_then(|at| text.split_at_checked(at));
    let text = match zone {
        Some((time, zone)) if zone.starts_with(['+', '-']) && zone.bytes().skip(1).all(|c| c.is_ascii_digit()) => {
            let (hours, minutes) = zone.split_at(3);
            format!("{time}{hours}:{minutes}")
        }
        _ => text.to_owned(),
    };
    DateTime::parse_rfc3339_str(text).ok()
}

fn timestamp((time, increment): (&Json, &Json)) -> Option<Timestamp> {
    let part = |value: &Json| u32::try_from(value.whole()?).ok();
    Some(Timestamp { time: part(time)?, increment: part(increment)? })
}

fn regex(pattern: &str, options: &str) -> Result<RawBson, Error> {
    Ok(RawBson::RegularExpression(Regex { pattern: cstring(pattern)?, options: cstring(options)? }))
}

fn binary(base64: &str, kind: Option<u8>) -> Option<RawBson> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(RawBson::Binary(Binary { subtype: BinarySubtype::from(kind?), bytes }))
}

fn uuid(text: &str) -> Option<RawBson> {
    let bytes = hex::decode(text.replace('-', "")).ok().filter(|bytes| bytes.len() == 16)?;
    Some(RawBson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes }))
}

/// Its parts are shown to no one else: the driver's own reader makes it.
fn pointer(of: &str, id: &RawBson) -> Option<RawBson> {
    let RawBson::ObjectId(id) = id else { return None };
    let text = serde_json::json!({"$dbPointer": {"$ref": of, "$id": {"$oid": id.to_hex()}}});
    RawBson::try_from(serde_json::from_value::<Bson>(text).ok()?).ok()
}

fn cstring(text: &str) -> Result<CString, Error> {
    CString::try_from(text).map_err(|_| wrong(format!("{text:?}, which ends before its end")))
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Data, format!("it has {what}"))
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    #[allow(clippy::cast_precision_loss, reason = "what no integer holds is a double, says the specification")]
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::Real(value as f64), Json::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Real(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = entries.next_entry()? {
            members.push(member);
        }
        Ok(Json::Members(members))
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
