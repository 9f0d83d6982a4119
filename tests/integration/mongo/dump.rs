//! A reader of `mongodump`'s layout that knows nothing of the product.
//!
//! Owns what tests compare such folders by: documents as their bytes, options and indexes as text whose members keep their order.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::{CString, RawJavaScriptCodeWithScope};
use mongodb::bson::{DateTime, RawArrayBuf, RawBson, RawDocumentBuf, Regex, Timestamp};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::path::Path;

/// JSON whose members keep their order, and those of one name stay two.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Null,
    Bool(bool),
    /// A text, or a number's digits.
    Leaf(String),
    List(Vec<Node>),
    Members(Vec<(String, Node)>),
}

/// Members of these are in no order.
const WITHOUT_ORDER: [&str; 4] = ["$regularExpression", "$timestamp", "$binary", "$dbPointer"];

impl Node {
    pub fn member(&self, name: &str) -> Option<&Node> {
        let Node::Members(members) = self else { return None };
        members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn text(&self) -> &str {
        let Node::Leaf(text) = self else { panic!("{self:?} is no text") };
        text
    }

    pub fn list(&self) -> &[Node] {
        let Node::List(list) = self else { panic!("{self:?} is no list") };
        list
    }

    /// The document that it is the text of.
    pub fn document(&self) -> RawDocumentBuf {
        match self.value() {
            RawBson::Document(document) => document,
            other => panic!("{other:?} is no document"),
        }
    }

    fn value(&self) -> RawBson {
        match self {
            Node::Null => RawBson::Null,
            Node::Bool(is) => RawBson::Boolean(*is),
            Node::Leaf(text) => RawBson::String(text.clone()),
            Node::List(list) => {
                let mut array = RawArrayBuf::new();
                list.iter().for_each(|item| array.push(item.value()));
                RawBson::Array(array)
            }
            Node::Members(members) => typed(members).unwrap_or_else(|| {
                let mut document = RawDocumentBuf::new();
                members.iter().for_each(|(name, value)| document.append(cstring(name), value.value()));
                RawBson::Document(document)
            }),
        }
    }

    /// The same, where two ways to write it mean one thing.
    fn plain(self) -> Node {
        match self {
            Node::List(list) => Node::List(list.into_iter().map(Node::plain).collect()),
            Node::Members(members) => Node::Members(members.into_iter().map(plain_member).collect()),
            other => other,
        }
    }
}

fn plain_member((name, value): (String, Node)) -> (String, Node) {
    let value = match value.plain() {
        Node::Leaf(text) if name == "$numberDouble" => {
            Node::Leaf(text.parse::<f64>().map_or(text, |number| format!("{:016x}", number.to_bits())))
        }
        Node::Members(mut inner) if WITHOUT_ORDER.contains(&name.as_str()) => {
            inner.sort_by(|a, b| a.0.cmp(&b.0));
            Node::Members(inner)
        }
        other => other,
    };
    (name, value)
}

fn cstring(text: &str) -> CString {
    CString::try_from(text).unwrap()
}

/// A value of a kind that JSON has not, if these members are one.
fn typed(members: &[(String, Node)]) -> Option<RawBson> {
    let (name, value) = members.first()?;
    let inner = |name: &str| value.member(name).unwrap_or_else(|| panic!("{value:?} has no {name}")).text();
    Some(match name.as_str() {
        "$numberInt" => RawBson::Int32(value.text().parse().unwrap()),
        "$numberLong" => RawBson::Int64(value.text().parse().unwrap()),
        // As `plain` writes them.
        "$numberDouble" => RawBson::Double(f64::from_bits(u64::from_str_radix(value.text(), 16).unwrap())),
        "$numberDecimal" => RawBson::Decimal128(value.text().parse().unwrap()),
        "$oid" => RawBson::ObjectId(ObjectId::parse_str(value.text()).unwrap()),
        "$date" => RawBson::DateTime(DateTime::from_millis(inner("$numberLong").parse().unwrap())),
        "$timestamp" => {
            RawBson::Timestamp(Timestamp { time: inner("t").parse().unwrap(), increment: inner("i").parse().unwrap() })
        }
        "$regularExpression" => {
            let (pattern, options) = (cstring(inner("pattern")), cstring(inner("options")));
            RawBson::RegularExpression(Regex { pattern, options })
        }
        "$code" if members.len() == 1 => RawBson::JavaScriptCode(value.text().to_owned()),
        "$code" => {
            let scope = members[1].1.document();
            RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope { code: value.text().to_owned(), scope })
        }
        "$symbol" => RawBson::Symbol(value.text().to_owned()),
        "$undefined" => RawBson::Undefined,
        "$minKey" => RawBson::MinKey,
        "$maxKey" => RawBson::MaxKey,
        "$binary" | "$dbPointer" => panic!("{name} in a definition: teach the test to read it"),
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;
        impl<'de> Visitor<'de> for Reading {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Leaf(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Node, E> {
                Ok(Node::Leaf(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = entries.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Members(members))
            }
        }
        deserializer.deserialize_any(Reading)
    }
}

/// What is in a `.metadata.json`, indexes by name.
pub fn metadata(path: &Path) -> Node {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let node = serde_json::from_slice::<Node>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Node::Members(mut members) = node.plain() else { panic!("{}: no members", path.display()) };
    for (name, value) in &mut members {
        if let ("indexes", Node::List(list)) = (name.as_str(), value) {
            list.sort_by_key(|index| index.member("name").map(|name| name.text().to_owned()));
        }
    }
    Node::Members(members)
}

/// Documents one after the other.
pub fn documents(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut documents) = (bytes, Vec::new());
    while let Some(head) = rest.first_chunk() {
        let (document, after) = rest.split_at(usize::try_from(i32::from_le_bytes(*head)).unwrap());
        documents.push(document.to_vec());
        rest = after;
    }
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
    documents
}

/// Contents of a folder by file, in no order of their own.
pub fn folder(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
    };
    entries.map(read).collect()
}
