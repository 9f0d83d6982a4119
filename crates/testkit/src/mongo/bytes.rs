//! Owns the making of documents byte by byte, for what a driver's own types cannot say: two fields of one name, text
//! that is not UTF-8, the odd bits of a number.
//!
//! Promises that what is given comes out, in its order. Refuses to look whether it is sensible: the server does that.

use mongodb::bson::{Bson, Document, RawDocumentBuf};

/// A value: the byte of its type, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    kind: u8,
    bytes: Vec<u8>,
}

impl Value {
    /// The bytes of it, without its type. Those of a document are the document.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The document that it is, as the driver takes it.
    ///
    /// # Panics
    /// When it is none.
    pub fn into_document(self) -> RawDocumentBuf {
        assert_eq!(self.kind, 3, "a document expected");
        RawDocumentBuf::from_bytes(self.bytes).expect("the length of a document is at its beginning")
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Value {
        Value { kind: 3, bytes: document.to_vec().expect("a document of the driver's has bytes") }
    }
}

impl From<Bson> for Value {
    fn from(value: Bson) -> Value {
        let kind = value.element_type() as u8;
        let mut document = Document::new();
        document.insert("", value);
        // Length, type, the empty name before it; what ends the document after it.
        let bytes = Value::from(document).bytes;
        Value { kind, bytes: bytes[6..bytes.len() - 1].to_vec() }
    }
}

/// A value of any type by its number in the specification of BSON, and its bytes.
pub fn value(kind: u8, bytes: &[u8]) -> Value {
    Value { kind, bytes: bytes.to_vec() }
}

/// A document of these fields. Their names hold no zero.
pub fn document<N: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, Value)>) -> Value {
    let mut bytes = vec![0; 4];
    for (name, value) in fields {
        bytes.push(value.kind);
        bytes.extend(name.as_ref());
        bytes.push(0);
        bytes.extend(value.bytes);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).expect("a document is not that long");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Value { kind: 3, bytes }
}

/// An array with the names that every array has.
pub fn array(values: impl IntoIterator<Item = Value>) -> Value {
    let named = values.into_iter().enumerate().map(|(index, value)| (index.to_string(), value));
    array_with_names(named)
}

/// An array with other names: the server keeps them, though a driver that reads it may not.
pub fn array_with_names<N: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, Value)>) -> Value {
    Value { kind: 4, ..document(fields) }
}

/// A number of 32 bits.
pub fn int(number: i32) -> Value {
    value(0x10, &number.to_le_bytes())
}

/// A number of 64 bits.
pub fn long(number: i64) -> Value {
    value(0x12, &number.to_le_bytes())
}

/// A floating number by its bits.
pub fn double(bits: u64) -> Value {
    value(0x01, &bits.to_le_bytes())
}

/// A decimal number by its bits.
pub fn decimal(bits: u128) -> Value {
    value(0x13, &bits.to_le_bytes())
}

/// A moment in milliseconds since 1970.
pub fn date(milliseconds: i64) -> Value {
    value(0x09, &milliseconds.to_le_bytes())
}

/// A moment of the oplog's kind: seconds, and a number among those of a second.
pub fn timestamp(seconds: u32, number: u32) -> Value {
    value(0x11, &((u64::from(seconds) << 32) | u64::from(number)).to_le_bytes())
}

/// Text, UTF-8 or not.
pub fn text(text: impl AsRef<[u8]>) -> Value {
    value(0x02, &counted(text.as_ref()))
}

/// A word of the old kind.
pub fn symbol(word: &str) -> Value {
    value(0x0e, &counted(word.as_bytes()))
}

/// Code without the variables that it would see.
pub fn code(code: &str) -> Value {
    value(0x0d, &counted(code.as_bytes()))
}

/// Code with them.
pub fn code_with_scope(code: &str, scope: Value) -> Value {
    let body = [counted(code.as_bytes()), scope.bytes].concat();
    let length = i32::try_from(body.len() + 4).expect("code is not that long");
    value(0x0f, &[&length.to_le_bytes()[..], &body].concat())
}

/// A pattern and its options. The server sorts nothing.
pub fn regex(pattern: &str, options: &str) -> Value {
    value(0x0b, &[pattern.as_bytes(), b"\0", options.as_bytes(), b"\0"].concat())
}

/// Bytes of a subtype, as they are: subtype 2 has its length a second time, which is the caller's to write.
pub fn binary(subtype: u8, bytes: &[u8]) -> Value {
    let length = i32::try_from(bytes.len()).expect("binary data is not that long");
    value(0x05, &[&length.to_le_bytes()[..], &[subtype], bytes].concat())
}

/// The identity of a document that some driver would have made, with one byte twelve times.
pub fn object_id(byte: u8) -> Value {
    value(0x07, &[byte; 12])
}

/// A pointer of the old kind to a document of a collection.
pub fn pointer(namespace: &str, id: u8) -> Value {
    value(0x0c, &[counted(namespace.as_bytes()), vec![id; 12]].concat())
}

/// True or false.
pub fn boolean(yes: bool) -> Value {
    value(0x08, &[u8::from(yes)])
}

/// What has no bytes: 0x06 undefined, 0x0a null, 0xff the least key of all, 0x7f the greatest.
pub fn nothing(kind: u8) -> Value {
    value(kind, &[])
}

fn counted(text: &[u8]) -> Vec<u8> {
    let length = i32::try_from(text.len() + 1).expect("text is not that long");
    [&length.to_le_bytes()[..], text, b"\0"].concat()
}
