//! Owns the pieces about documents: the names of their fields, their identities, their depth and their length.

use super::bytes::*;
use super::{Piece, create, insert, piece_of};
use mongodb::bson::doc;

/// What a document of a user may have at most, in bytes.
const LONGEST: usize = 16 << 20;

pub(super) fn pieces() -> Vec<Piece> {
    vec![
        piece_of("empty documents", [empty()]),
        piece_of("fields of one name", [twice()]),
        piece_of("odd names of fields", [names()]),
        piece_of("odd names within arrays", [arrays()]),
        piece_of("references", [references()]),
        piece_of("documents within documents", [deep()]),
        piece_of("the longest document", [longest()]),
        piece_of("identities of every type", [identities()]),
        piece_of("no identity at the beginning", [identity_last()]),
        piece_of("many documents", many()),
        piece_of("equal documents but for the order", [order()]),
    ]
}

fn empty() -> Value {
    let nothing = || document::<&str>([]);
    let fields = [("a", nothing()), ("b", array([])), ("c", array([nothing(), array([])])), ("", nothing())];
    let plain = document([("_id", int(1))]);
    let filled = document([("_id", int(2))].into_iter().chain(fields));
    insert("empty documents", [plain, filled, document([("_id", nothing())])])
}

/// Tools that keep a document as a map lose the first or the last of them.
fn twice() -> Value {
    let pair = || document([("a", int(1)), ("b", int(2)), ("a", int(3))]);
    let same = document([("_id", int(1)), ("a", int(1)), ("a", text("two")), ("b", int(0)), ("a", nothing(0x0a))]);
    let nested = document([("_id", int(2)), ("v", pair()), ("list", array([pair(), pair()]))]);
    insert("twice", [same, nested, document([("_id", pair())])])
}

/// Names that are paths or operators in every language of the server's but are mere names here.
fn names() -> Value {
    let long = "n".repeat(3_000);
    let some = [
        "",
        "a.b",
        ".",
        "..",
        "a.",
        ".a",
        "$a",
        "$",
        "$set",
        "a$",
        "a.$b",
        "__proto__",
        "naïve \u{1f6a2}",
        "e\u{301}",
        " ",
        "0",
        "-1",
        "\"",
        "\\",
        "\n",
        "$$ROOT",
        "_ID",
        "constructor",
        &long,
    ];
    let flat = document([("_id", int(1))].into_iter().chain((0..).zip(some).map(|(number, name)| (name, int(number)))));
    let nested = document([("v", document((0..).zip(some).map(|(number, name)| (name, int(number)))))]);
    let one_by_one = some.iter().zip(100..).map(|(name, id)| document([("_id", int(id)), (*name, text("alone"))]));
    let again = document([("_id", int(2)), ("v", nested)]);
    // A second field called so is not at the top.
    let within = document([("_id", int(3)), ("v", document([("a", int(1)), ("_id", int(2)), ("_id", int(3))]))]);
    insert("names", [flat, again, within].into_iter().chain(one_by_one))
}

/// Nobody looks at the names within an array, and some drivers wrote none or those of another array.
fn arrays() -> Value {
    let odd = array_with_names([("", int(1)), ("", int(2)), ("7", int(3)), ("word", int(4)), ("0", int(5))]);
    insert(
        "arrays",
        [document([("_id", int(1)), ("v", odd.clone())]), document([("_id", int(2)), ("v", array([odd]))])],
    )
}

/// Documents that drivers make a type of their own of, whole and in parts.
fn references() -> Value {
    let whole = [("$ref", text("names")), ("$id", int(1)), ("$db", text("elsewhere")), ("more", int(2))];
    let parts: [&[usize]; 5] = [&[0, 1], &[0, 1, 2], &[0, 1, 2, 3], &[1, 0], &[0]];
    let parts = parts.map(|part| document(part.iter().map(|index| whole[*index].clone())));
    // What looks like a type in the JSON of the vendor's tools, and is none.
    let json = [
        ("$oid", text("0123")),
        ("$date", long(1)),
        ("$numberLong", text("1")),
        ("$binary", text("")),
        ("$uuid", text("x")),
    ];
    let json = json.map(|field| document([field]));
    let documents = (0..).zip(parts.into_iter().chain(json));
    insert("references", documents.map(|(id, value)| document([("_id", int(id)), ("v", value)])))
}

/// A user's document may be 180 deep, with itself.
fn deep() -> Value {
    let nest = |depth: usize| (0..depth).fold(int(1), |inner, _| document([("d", inner)]));
    let lists = |depth: usize| (0..depth).fold(int(1), |inner, _| array([inner]));
    let some = [nest(100), nest(179), lists(100), lists(179)];
    insert("deep", (0..).zip(some).map(|(id, value)| document([("_id", int(id)), ("v", value)])))
}

/// To the byte: with what surrounds it in a command or an oplog it is longer than a document may be.
fn longest() -> Value {
    let document_of = |content: &[u8]| document([("_id", int(1)), ("v", binary(0, content))]);
    let rest = LONGEST - document_of(b"").bytes().len();
    let content: Vec<u8> = (0..rest).map(|index| ((index * 31) >> 7) as u8).collect();
    insert("longest", [document_of(&content), document([("_id", int(2))])])
}

/// Within one collection, in the order in which the server compares types and against it. Numbers that are equal are
/// one identity, of whatever type they are: there is only one of each.
fn identities() -> Value {
    let some = [
        nothing(0x7f),
        nothing(0xff),
        nothing(0x0a),
        int(1),
        long(2),
        double(2.5_f64.to_bits()),
        double(3.0_f64.to_bits()),
        double(f64::NAN.to_bits()),
        double(f64::INFINITY.to_bits()),
        double((-0.0_f64).to_bits()),
        long(i64::MIN),
        long(i64::MAX),
        decimal((0x303e_u128 << 112) | 41),
        decimal((0x303c_u128 << 112) | 4200),
        int(-7),
        text(""),
        text("a"),
        text("a\0b"),
        text("B"),
        text(b"\xff"),
        symbol("s"),
        document([("a", int(1)), ("b", int(2))]),
        document([("b", int(2)), ("a", int(1))]),
        document([("a", document([("", nothing(0x0a))]))]),
        document::<&str>([]),
        binary(0, b""),
        binary(0, b"zz"),
        binary(0, b"aaa"),
        binary(0x80, b"aaa"),
        binary(2, b"\x01\0\0\0o"),
        binary(3, &[3; 16]),
        binary(4, &[4; 16]),
        object_id(0),
        object_id(0xff),
        boolean(false),
        boolean(true),
        date(-1),
        date(i64::MAX),
        timestamp(0, 0),
        timestamp(5, 1),
        pointer("a.b", 1),
        code("return 1"),
        code_with_scope("return 1", document([("x", int(1))])),
    ];
    insert("identities", (0..).zip(some).map(|(number, id)| document([("_id", id), ("v", int(number))])))
}

/// The server puts it first.
fn identity_last() -> Value {
    insert("identity last", [document([("a", int(1)), ("b", int(2)), ("_id", text("last"))])])
}

/// More than the first batches of a reader: some 20 MiB, of which two documents do not fit where one ended.
fn many() -> Vec<Value> {
    let small = (0..1_500).map(|id| document([("_id", int(id)), ("v", text("x".repeat(id as usize % 90)))]));
    let large = |first: i32| {
        let ids = first..first + 5;
        insert("many", ids.map(|id| document([("_id", int(id)), ("v", binary(0, &vec![id as u8; 2_000_000]))])))
    };
    vec![create("many", doc! {}), insert("many", small), large(-10), large(5_000)]
}

/// Equal to whoever compares documents as maps.
fn order() -> Value {
    let one = document([("_id", int(1)), ("a", int(1)), ("b", int(2))]);
    insert("order", [one, document([("_id", int(2)), ("b", int(2)), ("a", int(1))])])
}
